//! Products of a warpgroup.

use std::panic::Location;

use crate::emulation::warpgroup::{Product, multiply};

/// Sums that a warpgroup multiplies into.
pub trait WarpgroupSums {
    /// Adds the product of two tiles of `bf16`.
    #[track_caller]
    fn multiply_bf16(&mut self, a: u64, b: u64);
    /// Adds the product of two tiles of `f16`.
    #[track_caller]
    fn multiply_f16(&mut self, a: u64, b: u64);
}

impl<const COUNT: usize> WarpgroupSums for [f32; COUNT] {
    #[track_caller]
    fn multiply_bf16(&mut self, a: u64, b: u64) {
        let columns = 2 * COUNT;
        let bf16 = true;
        multiply(
            Product {
                bf16,
                columns,
                a,
                b,
            },
            self,
            Location::caller(),
        );
    }

    #[track_caller]
    fn multiply_f16(&mut self, a: u64, b: u64) {
        let columns = 2 * COUNT;
        let bf16 = false;
        multiply(
            Product {
                bf16,
                columns,
                a,
                b,
            },
            self,
            Location::caller(),
        );
    }
}

pub fn take_registers<const COUNT: u32>() {}

pub fn give_registers<const COUNT: u32>() {}
