//! Products of one matrix with several.

use cuda_std::{Float16, Global, GlobalMut, Kernel, TensorMap, bf16, f16};
use gpu_kernels::gemm_skinny::{self as gemm, SkinnyShape};

use crate::device::{Buffer, Gpu, LaunchConfig, has_wgmma};
use crate::products_skinny::{MULTIPROCESSORS, Weights, product};
use crate::support::{Random, cases, compare, null, wide, wide_f32};

pub type Joint<T, W> = fn(
    GlobalMut<f32>,
    GlobalMut<f32>,
    GlobalMut<f32>,
    W,
    W,
    W,
    Global<f32>,
    Global<f32>,
    Global<f32>,
    u32,
    u32,
    u32,
    Global<T>,
    u32,
    u32,
);

/// Three matrices, of which the second has a bias.
struct Matrices<T> {
    sizes: [usize; 3],
    w: [Vec<T>; 3],
    bias: Vec<f32>,
    w_buffers: [Buffer<T>; 3],
    bias_buffer: Global<f32>,
    out: [Buffer<f32>; 3],
}

impl<T: Float16> Matrices<T> {
    fn new(gpu: &mut Gpu, random: &mut Random, m: usize, sizes: [usize; 3], k: usize) -> Self {
        let w = sizes.map(|n| random.halves::<T>(n * k));
        let bias = random.floats(sizes[1]);
        Self {
            sizes,
            w_buffers: [0, 1, 2].map(|i| gpu.upload("w", &w[i])),
            bias_buffer: gpu.upload("bias", &bias).global(),
            out: sizes.map(|n| gpu.allocate("out", m * n)),
            w,
            bias,
        }
    }

    fn grid(&self, shape: SkinnyShape) -> [u32; 3] {
        let parts = self.sizes.iter();
        let parts = parts.map(|&n| (n as u32).div_ceil(shape.columns));
        [shape.blocks(parts.sum(), MULTIPROCESSORS), 1, 1]
    }

    /// Compares with products of `x`, whose squared error is at most `limit`.
    fn compare(&self, gpu: &mut Gpu, name: &str, x: &[f64], k: usize, limit: f64) {
        for (i, &n) in self.sizes.iter().enumerate().filter(|(_, n)| **n > 0) {
            let mut want = product(x, &wide(&self.w[i]), k);
            if i == 1 {
                for (i, want) in want.iter_mut().enumerate() {
                    *want += f64::from(self.bias[i % n]);
                }
            }
            let what = format!("{name}, matrix {i} of {n}×{k}");
            compare(
                &what,
                &wide_f32(&gpu.download(self.out[i])),
                &want,
                n,
                limit,
            );
        }
    }
}

pub fn check_joint<T: Float16, W: Weights<T>>(
    (kernel, multiply, shape): (&Kernel, Joint<T, W>, SkinnyShape),
    (m, sizes, k): (usize, [usize; 3], usize),
) {
    let (mut random, mut gpu) = (Random::new((m + k) as u64), Gpu::new());
    let x: Vec<T> = random.halves(m * k);
    let all = Matrices::<T>::new(&mut gpu, &mut random, m, sizes, k);
    let config = LaunchConfig::new(all.grid(shape), shape.threads)
        .dynamic_shared(shape.shared_bytes)
        .seed(m as u64);
    let [w0, w1, w2] = [0, 1, 2].map(|i| {
        // Of a matrix without rows there is no map.
        let i = if sizes[i] == 0 { 0 } else { i };
        W::of(&mut gpu, all.w_buffers[i], [sizes[i], k], gemm::BOX_ROWS)
    });
    let bias = all.bias_buffer;
    let [out0, out1, out2] = all.out.map(|out| out.global_mut());
    let (x_buffer, [n0, n1, n2]) = (gpu.upload("x", &x).global(), sizes.map(|n| n as u32));
    let (m, depth) = (m as u32, k as u32);
    gpu.launch(kernel, config, move || {
        multiply(
            out0,
            out1,
            out2,
            w0,
            w1,
            w2,
            null(),
            bias,
            null(),
            n0,
            n1,
            n2,
            x_buffer,
            m,
            depth,
        );
    })
    .unwrap();
    let limit = 1e-11_f64.max(k as f64 * 2e-13);
    all.compare(&mut gpu, kernel.name, &wide(&x), k, limit);
}

#[test]
fn joint_products_go_to_their_own_results() {
    let [rows_8, rows_16, rows_32, rows_64] = gemm::SHAPES;
    type Case = (&'static Kernel, Joint<bf16, Global<bf16>>, SkinnyShape);
    let kernels: [Case; 5] = [
        (
            &gemm::GEMM_SKINNY_JOINT_8_BF16,
            gemm::gemm_skinny_joint_8_bf16,
            rows_8,
        ),
        (
            &gemm::GEMM_SKINNY_JOINT_16_BF16,
            gemm::gemm_skinny_joint_16_bf16,
            rows_16,
        ),
        (
            &gemm::GEMM_SKINNY_JOINT_32_BF16,
            gemm::gemm_skinny_joint_32_bf16,
            rows_32,
        ),
        (
            &gemm::GEMM_SKINNY_JOINT_64_BF16,
            gemm::gemm_skinny_joint_64_bf16,
            rows_64,
        ),
        (
            &gemm::GEMM_STREAMED_JOINT_BF16,
            gemm::gemm_streamed_joint_bf16,
            gemm::STREAMED_JOINT,
        ),
    ];
    let count = if has_wgmma() { 5 } else { 4 };
    for (kernel, multiply, shape) in kernels.into_iter().take(count) {
        let rows = shape.rows as usize;
        let small = [(rows, [40, 16, 8], 72), (1, [21, 33, 16], 296)];
        for size in cases(&small, &[(rows, [4096, 1024, 1024], 4096)]) {
            check_joint((kernel, multiply, shape), size);
        }
    }
    let half: Joint<f16, Global<f16>> = gemm::gemm_skinny_joint_8_f16;
    let kernel = (&gemm::GEMM_SKINNY_JOINT_8_F16, half, gemm::SHAPES[0]);
    check_joint(kernel, (3, [24, 0, 0], 64));
}

#[test]
fn boxed_joint_products_go_to_their_own_results() {
    if !has_wgmma() {
        return;
    }
    let kernel = (
        &gemm::GEMM_BOXED_JOINT_BF16,
        gemm::gemm_boxed_joint_bf16 as Joint<bf16, TensorMap>,
        gemm::BOXED,
    );
    let small = [(16, [40, 16, 8], 72), (1, [21, 33, 16], 296)];
    for size in cases(&small, &[(16, [4096, 1024, 1024], 4096)]) {
        check_joint(kernel, size);
    }
    let half: Joint<f16, TensorMap> = gemm::gemm_boxed_joint_f16;
    let kernel = (&gemm::GEMM_BOXED_JOINT_F16, half, gemm::BOXED);
    check_joint(kernel, (3, [24, 0, 0], 64));
}
