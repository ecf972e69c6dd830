//! The device kernels, run by their emulation.

use cuda_std::emulation::{Gpu, LaunchConfig};
use cuda_std::{Element, Global, GlobalMut, Kernel};
use gpu_kernels::{
    decode_scores as ds, elementwise as ew, embedding, gemm, gemv, prefill_attention as pa,
    rmsnorm, rope, select_rows, swiglu, trim_rows, v_combine, v_sum, v_total,
};

use super::memory::contents;
use super::queue::Call;
use super::{State, Status};

/// A launch that failed.
const LAUNCH_FAILED: u32 = 719;

/// An argument of a kernel.
trait Argument {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Argument for $number {
            const SIZE: usize = size_of::<$number>();
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("an argument of this size"))
            }
        }
    )*};
}
numbers! { u32 u64 f32 }

impl<T: Element> Argument for Global<T> {
    const SIZE: usize = 8;
    fn read(bytes: &[u8]) -> Self {
        Self::from_address(u64::read(bytes))
    }
}

impl<T: Element> Argument for GlobalMut<T> {
    const SIZE: usize = 8;
    fn read(bytes: &[u8]) -> Self {
        Self::from_address(u64::read(bytes))
    }
}

/// A kernel as a function of the host.
trait Callable: Copy + 'static {
    const SIZES: &'static [usize];
    fn call(self, arguments: &[Vec<u8>]);
}

macro_rules! callable {
    ($($argument:ident)*) => {
        impl<$($argument: Argument + 'static),*> Callable for fn($($argument),*) {
            const SIZES: &'static [usize] = &[$($argument::SIZE),*];
            fn call(self, arguments: &[Vec<u8>]) {
                let mut arguments = arguments.iter();
                self($($argument::read(arguments.next().expect("all arguments"))),*);
            }
        }
    };
}
callable! { A B C }
callable! { A B C D }
callable! { A B C D E }
callable! { A B C D E F G }
callable! { A B C D E F G H I }
callable! { A B C D E F G H I J K }
callable! { A B C D E F G H I J K L M N O }
callable! { A B C D E F G H I J K L M N O P }

type Body = Box<dyn Fn(&[Vec<u8>])>;

/// A kernel: what to launch, the sizes of its parameters, and its body.
type Entry = (&'static Kernel, &'static [usize], Body);

fn entry<F: Callable>(kernel: &'static Kernel, function: F) -> Entry {
    let body = Box::new(move |arguments: &[Vec<u8>]| function.call(arguments));
    (kernel, F::SIZES, body)
}

macro_rules! find {
    ($name:ident: $($kernel:path, $function:path as $type:ty;)*) => {
        $(if $name == $kernel.name {
            return Some(entry(&$kernel, $function as $type));
        })*
    };
}

/// The kernel of this name.
fn find(name: &str) -> Option<Entry> {
    find! { name:
        embedding::EMBED_BF16, embedding::embed_bf16 as fn(_, _, _, _);
        rmsnorm::RMSNORM_BF16, rmsnorm::rmsnorm_bf16 as fn(_, _, _, _, _);
        swiglu::SWIGLU_BF16, swiglu::swiglu_bf16 as fn(_, _, _, _, _);
        ew::ADD, ew::add as fn(_, _, _);
        ew::NARROW_BF16, ew::narrow_bf16 as fn(_, _, _);
        gemv::GEMV_1_BF16, gemv::gemv_1_bf16 as fn(_, _, _, _, _, _, _);
        gemv::GEMV_2_BF16, gemv::gemv_2_bf16 as fn(_, _, _, _, _, _, _);
        gemv::GEMV_4_BF16, gemv::gemv_4_bf16 as fn(_, _, _, _, _, _, _);
        gemv::GEMV_8_BF16, gemv::gemv_8_bf16 as fn(_, _, _, _, _, _, _);
        gemm::GEMM_SMALL_BF16, gemm::gemm_small_bf16 as fn(_, _, _, _, _, _, _);
        gemm::GEMM_LARGE_BF16, gemm::gemm_large_bf16 as fn(_, _, _, _, _, _, _);
        rope::ROPE_HALVES_BF16, rope::rope_halves_bf16
            as fn(_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _);
        rope::ROPE_NEIGHBOURS_BF16, rope::rope_neighbours_bf16
            as fn(_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _);
        pa::PREFILL_ATTENTION_64_BF16, pa::prefill_attention_64_bf16
            as fn(_, _, _, _, _, _, _, _, _);
        pa::PREFILL_ATTENTION_96_BF16, pa::prefill_attention_96_bf16
            as fn(_, _, _, _, _, _, _, _, _);
        ds::DECODE_SCORES_64_BF16, ds::decode_scores_64_bf16 as fn(_, _, _, _, _, _, _, _, _);
        ds::DECODE_SCORES_96_BF16, ds::decode_scores_96_bf16 as fn(_, _, _, _, _, _, _, _, _);
        select_rows::SELECT_ROWS, select_rows::select_rows
            as fn(_, _, _, _, _, _, _, _, _, _, _, _, _, _, _);
        trim_rows::TRIM_ROWS, trim_rows::trim_rows as fn(_, _, _, _, _, _, _, _, _, _, _);
        v_sum::V_SUM_64_BF16, v_sum::v_sum_64_bf16 as fn(_, _, _, _, _, _, _, _, _, _, _);
        v_sum::V_SUM_96_BF16, v_sum::v_sum_96_bf16 as fn(_, _, _, _, _, _, _, _, _, _, _);
        v_combine::V_COMBINE_BF16, v_combine::v_combine_bf16 as fn(_, _, _, _, _, _, _, _, _);
        v_total::V_TOTAL, v_total::v_total as fn(_, _, _, _, _);
    }
    None
}

/// The sizes of a kernel's parameters.
pub(super) fn parameters(name: &str) -> Option<&'static [usize]> {
    find(name).map(|(_, sizes, _)| sizes)
}

/// Runs one launch on copies of all memory, and writes back what it touched.
pub(super) fn run(state: &mut State, device: i32, call: &Call) -> Status {
    let (kernel, _, body) = find(&call.kernel).ok_or(super::INVALID_VALUE)?;
    let mut gpu = Gpu::new();
    for (address, bytes) in contents(state) {
        gpu.map(&format!("the buffer at {address:#x}"), address, bytes);
    }
    let mut config = LaunchConfig::new(call.grid, 1).dynamic_shared(call.shared_bytes);
    config.block = call.block;
    let arguments = call.arguments.clone();
    let outcome = gpu.launch(kernel, config, move || body(&arguments));
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
