//! Kernels that treat each element by itself.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::{elementwise, read_rate};

use crate::device::{Gpu, LaunchConfig};
use crate::support::{Random, cases};

const COUNTS: [usize; 4] = [4, 1020, 1024, 5000];

fn config(count: usize) -> LaunchConfig {
    let blocks = (count as u32 / 4).div_ceil(elementwise::THREADS);
    LaunchConfig::new([blocks, 1, 1], elementwise::THREADS)
}

#[test]
fn sums_are_those_of_the_host() {
    let mut random = Random::new(60);
    for count in cases(&COUNTS, &[40_000_004]) {
        let mut gpu = Gpu::new();
        let (x, y) = (random.floats(count), random.floats(count));
        let (x_buffer, y_buffer) = (gpu.upload("x", &x), gpu.upload("y", &y).global());
        let target = x_buffer.global_mut();
        gpu.launch(&elementwise::ADD, config(count), move || {
            elementwise::add(target, y_buffer, count as u64);
        })
        .unwrap();
        let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        assert!(gpu.download(x_buffer) == want, "{count} elements");
    }
}

type Narrow<T> = fn(GlobalMut<T>, Global<f32>, u64);

fn check_narrow<T: Float16>(seed: u64, (kernel, narrow): (&Kernel, Narrow<T>)) {
    let mut random = Random::new(seed);
    for count in cases(&COUNTS, &[40_000_004]) {
        let mut gpu = Gpu::new();
        let mut x = random.floats(count);
        x[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, -0.0, f32::MAX]);
        let out = gpu.allocate::<T>("out", count);
        let (target, source) = (out.global_mut(), gpu.upload("x", &x).global());
        gpu.launch(kernel, config(count), move || {
            narrow(target, source, count as u64);
        })
        .unwrap();
        let got = gpu.download(out);
        assert!(got[0].to_f32().is_nan());
        for (got, x) in got.iter().zip(&x).skip(1) {
            let want = T::from_f32(*x).to_f32();
            assert_eq!(got.to_f32().to_bits(), want.to_bits(), "{x}");
        }
    }
}

#[test]
fn rounding_is_that_of_the_host() {
    let kernel = (&elementwise::NARROW_BF16, elementwise::narrow_bf16 as _);
    check_narrow::<bf16>(61, kernel);
    let kernel = (&elementwise::NARROW_F16, elementwise::narrow_f16 as _);
    check_narrow::<f16>(62, kernel);
}

#[test]
fn every_word_is_read_once() {
    let words: Vec<u32> = (0..4 * 9001u32)
        .map(|i| i.wrapping_mul(2_654_435_761))
        .collect();
    let mut gpu = Gpu::new();
    let x = gpu.upload("x", &words).global().cast();
    let out = gpu.allocate::<u32>("out", 2 * read_rate::THREADS as usize);
    let target = out.global_mut();
    let config = LaunchConfig::new([2, 1, 1], read_rate::THREADS);
    gpu.launch(&read_rate::READ_RATE, config, move || {
        read_rate::read_rate(target, x, 9001)
    })
    .unwrap();
    let xor = |words: Vec<u32>| words.into_iter().fold(0, |all, word| all ^ word);
    assert_eq!(xor(gpu.download(out)), xor(words));
}
