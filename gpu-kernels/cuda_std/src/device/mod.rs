//! Every operation as instructions of the device.
//!
//! What lanes do together goes through LLVM's intrinsics, which are convergent: the optimiser must
//! not move them into a branch. Where inline assembly stands in (tensor cores), it is volatile, so
//! it stays where it was written.

mod async_copy;
mod atomic;
mod float;
mod index;
mod matrix;
mod memory;
mod warp;

pub use async_copy::*;
pub use atomic::*;
pub use float::*;
pub use index::*;
pub use matrix::*;
pub use memory::*;
pub use warp::*;

use core::arch::asm;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: ends the launch with an error.
    unsafe { asm!("trap;", options(noreturn)) }
}
