//! Rows of V that are brought back near the keys.

use cuda_std::{Float16, Global, GlobalMut, Kernel, bf16, f16};
use gpu_kernels::near_rows;

use crate::device::{Gpu, LaunchConfig};
use crate::support::{Cache, Random, wide};

type NearRows<T> = fn(GlobalMut<T>, Global<u64>, u32, u32, u32, u32);

fn check<T: Float16>((kernel, near_rows): (&Kernel, NearRows<T>), length: usize, dim: usize) {
    const KV_HEADS: usize = 2;
    const SINKS: usize = 4;
    const WINDOW: usize = 7;
    let mut random = Random::new((70 + length) as u64);
    let mut gpu = Gpu::new();
    let v = Cache::<T>::random(&mut gpu, &mut random, &[length], KV_HEADS, dim);
    let near = gpu.allocate::<T>("near", KV_HEADS * (SINKS + WINDOW) * dim);
    let (target, table) = (near.global_mut(), v.table.global());
    let grid = [KV_HEADS as u32, (SINKS + WINDOW) as u32, 1];
    gpu.launch(
        kernel,
        LaunchConfig::new(grid, near_rows::THREADS),
        move || {
            let [length, sinks, window, dim] = [length, SINKS, WINDOW, dim].map(|s| s as u32);
            near_rows(target, table, length, sinks, window, dim);
        },
    )
    .unwrap();
    let got = wide(&gpu.download(near));
    let first = length.saturating_sub(WINDOW).max(SINKS);
    let places = (0..SINKS.min(length))
        .map(|p| (p, p))
        .chain((first..length).map(|p| (p, SINKS + p % WINDOW)));
    let mut written = 0;
    for (position, place) in places {
        for head in 0..KV_HEADS {
            let row = &got[(head * (SINKS + WINDOW) + place) * dim..][..dim];
            assert_eq!(row, v.row(0, position, head), "position {position}");
            written += dim;
        }
    }
    assert_eq!(got.iter().filter(|x| !x.is_nan()).count(), written);
}

#[test]
fn sinks_and_window_are_copied() {
    for length in [1, 3, 4, 5, 10, 11, 12, 64, 65, 200] {
        let kernel = (&near_rows::NEAR_ROWS_BF16, near_rows::near_rows_bf16 as _);
        check::<bf16>(kernel, length, 64);
    }
    let kernel = (&near_rows::NEAR_ROWS_F16, near_rows::near_rows_f16 as _);
    check::<f16>(kernel, 77, 264);
}
