//! Every operation of the device, as the emulation performs it.

#![allow(missing_docs, reason = "documented at the functions that call these")]

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
