//! The device kernels, run by their emulation.

use cuda_std::Kernel;
use cuda_std::emulation::{Gpu, LaunchConfig};
use gpu_kernels::{
    decode_attention, elementwise, embedding, gemm, gemm_skinny, gemm_wgmma, gemv,
    kcache_attention, near_rows, prefill_attention as prefill,
    prefill_attention_wgmma as prefill_wgmma, rmsnorm, rope, swiglu, v_total,
};

use super::memory::contents;
use super::queue::Call;
use super::{State, Status};

/// A launch that failed.
const LAUNCH_FAILED: u32 = 719;

/// The kernels that a test may launch: those of the backend's type, for the sizes of heads that
/// tests use.
const KERNELS: [&Kernel; 54] = [
    &embedding::EMBED_BF16,
    &rmsnorm::RMSNORM_BF16,
    &swiglu::SWIGLU_BF16,
    &elementwise::ADD,
    &elementwise::NARROW_BF16,
    &gemm_skinny::GEMM_SKINNY_8_BF16,
    &gemm_skinny::GEMM_SKINNY_16_BF16,
    &gemm_skinny::GEMM_SKINNY_32_BF16,
    &gemm_skinny::GEMM_SKINNY_64_BF16,
    &gemm_skinny::GEMM_SKINNY_JOINT_8_BF16,
    &gemm_skinny::GEMM_SKINNY_JOINT_16_BF16,
    &gemm_skinny::GEMM_SKINNY_JOINT_32_BF16,
    &gemm_skinny::GEMM_SKINNY_JOINT_64_BF16,
    &gemm_skinny::GEMM_SKINNY_GATED_8_BF16,
    &gemm_skinny::GEMM_SKINNY_GATED_16_BF16,
    &gemm_skinny::GEMM_SKINNY_GATED_32_BF16,
    &gemm_skinny::GEMM_SKINNY_GATED_64_BF16,
    &gemm_skinny::GEMM_STREAMED_BF16,
    &gemm_skinny::GEMM_STREAMED_JOINT_BF16,
    &gemm_skinny::GEMM_STREAMED_GATED_BF16,
    &gemm_skinny::GEMM_KEPT_BF16,
    &gemm_skinny::GEMM_KEPT_JOINT_BF16,
    &gemm_skinny::GEMM_KEPT_GATED_BF16,
    &gemm_skinny::GEMM_BOXED_BF16,
    &gemm_skinny::GEMM_BOXED_JOINT_BF16,
    &gemm_skinny::GEMM_BOXED_GATED_BF16,
    &gemv::GEMV_1_BF16,
    &gemv::GEMV_2_BF16,
    &gemv::GEMV_4_BF16,
    &gemv::GEMV_8_BF16,
    &gemm::GEMM_SMALL_BF16,
    &gemm::GEMM_LARGE_BF16,
    &gemm_wgmma::GEMM_WGMMA_128_BF16,
    &gemm_wgmma::GEMM_WGMMA_256_BF16,
    &gemm_wgmma::GEMM_WGMMA_GATED_BF16,
    &rope::ROPE_HALVES_BF16,
    &rope::ROPE_NEIGHBOURS_BF16,
    &prefill::PREFILL_ATTENTION_64_BF16,
    &prefill::PREFILL_ATTENTION_96_BF16,
    &prefill_wgmma::PREFILL_ATTENTION_WGMMA_64_BF16,
    &prefill_wgmma::PREFILL_ATTENTION_WGMMA_128_BF16,
    &prefill_wgmma::PREFILL_ATTENTION_WGMMA_256_BF16,
    &decode_attention::DECODE_ATTENTION_64_BF16,
    &decode_attention::DECODE_ATTENTION_96_BF16,
    &v_total::V_TOTAL,
    &near_rows::NEAR_ROWS_BF16,
    &kcache_attention::KCACHE_ATTENTION_64_BF16,
    &kcache_attention::KCACHE_ATTENTION_96_BF16,
    &kcache_attention::KCACHE_ATTENTION_COPIED_64_BF16,
    &kcache_attention::KCACHE_ATTENTION_COPIED_96_BF16,
    &kcache_attention::KCACHE_ATTENTION_TRACED_64_BF16,
    &kcache_attention::KCACHE_ATTENTION_TRACED_96_BF16,
    &kcache_attention::KCACHE_ATTENTION_COPIED_TRACED_64_BF16,
    &kcache_attention::KCACHE_ATTENTION_COPIED_TRACED_96_BF16,
];

fn find(name: &str) -> Option<&'static Kernel> {
    KERNELS.into_iter().find(|kernel| kernel.name == name)
}

/// The sizes of a kernel's parameters.
pub(super) fn parameters(name: &str) -> Option<&'static [usize]> {
    find(name).map(|kernel| kernel.parameters)
}

/// Runs one launch on copies of all memory, and writes back what it touched.
pub(super) fn run(state: &mut State, device: i32, call: &Call) -> Status {
    let kernel = find(&call.kernel).ok_or(super::INVALID_VALUE)?;
    let mut gpu = Gpu::new();
    for (address, bytes) in contents(state) {
        gpu.map(&format!("the buffer at {address:#x}"), address, bytes);
    }
    let mut config = LaunchConfig::new(call.grid, 1).dynamic_shared(call.shared_bytes);
    config.block = call.block;
    let arguments = call.arguments.clone();
    let outcome = gpu.launch(kernel, config, move || (kernel.call)(&arguments));
    if let Err(findings) = outcome {
        // The test that launched it sees the device lost, and this is why.
        #[expect(clippy::print_stderr, reason = "tests have no other way to say it")]
        {
            eprintln!("{findings}");
        }
        state.faults.insert(device, LAUNCH_FAILED);
        return Err(LAUNCH_FAILED);
    }
    for (address, bytes) in gpu.touched() {
        // SAFETY: the range lies in the allocation that was copied from here.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    }
    Ok(())
}
