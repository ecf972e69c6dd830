//! Every operation of the device, as the emulation performs it.

#![allow(missing_docs, reason = "documented at the functions that call these")]

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
