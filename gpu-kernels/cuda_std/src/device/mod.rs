//! Every operation as instructions of the device.
//!
//! What lanes do together goes through LLVM's intrinsics, which are convergent: the optimiser must
//! not move them into a branch. Where inline assembly stands in (tensor cores), it is volatile, so
//! it stays where it was written.

mod async_copy;
mod atomic;
mod bulk_copy;
mod float;
mod grid;
mod index;
mod matrix;
mod mbarrier;
mod memory;
mod timer;
mod warp;
mod wgmma;

pub use async_copy::*;
pub use atomic::*;
pub use bulk_copy::*;
pub use float::*;
pub use grid::*;
pub use index::*;
pub use matrix::*;
pub use mbarrier::*;
pub use memory::*;
pub use timer::*;
pub use warp::*;
pub use wgmma::*;

use core::arch::asm;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: ends the launch with an error.
    unsafe { asm!("trap;", options(noreturn)) }
}
