//! Products of a warpgroup.

use std::panic::Location;

use crate::emulation::machine::with;
use crate::emulation::warpgroup::{Left, Product, end_running, multiply, start};

/// Sums that a warpgroup multiplies into.
pub trait WarpgroupSums {
    /// Adds the product of two tiles of `bf16`.
    #[track_caller]
    fn multiply_bf16(&mut self, a: u64, b: u64);
    /// Adds the product of two tiles of `f16`.
    #[track_caller]
    fn multiply_f16(&mut self, a: u64, b: u64);
    /// Starts the product of two tiles of `bf16`.
    #[track_caller]
    fn start_bf16(a: u64, b: u64) -> Self;
    /// Starts the product of two tiles of `f16`.
    #[track_caller]
    fn start_f16(a: u64, b: u64) -> Self;
    /// Starts adding the product of two tiles of `bf16`, and waits for those started before.
    #[track_caller]
    fn add_bf16(&mut self, a: u64, b: u64);
    /// Starts adding the product of two tiles of `f16`, and waits for those started before.
    #[track_caller]
    fn add_f16(&mut self, a: u64, b: u64);
    /// Waits for all products.
    fn wait(&mut self);
    /// Adds the product of `bf16` in registers and a tile that lies across.
    #[track_caller]
    fn multiply_registers_bf16(&mut self, a: &[[u32; 4]; 4], b: u64);
    /// Adds the product of `f16` in registers and a tile that lies across.
    #[track_caller]
    fn multiply_registers_f16(&mut self, a: &[[u32; 4]; 4], b: u64);
}

impl<const COUNT: usize> WarpgroupSums for [f32; COUNT] {
    #[track_caller]
    fn multiply_bf16(&mut self, a: u64, b: u64) {
        let product = Product::of_tiles(true, a, b);
        multiply(product, Left::default(), self, Location::caller());
    }

    #[track_caller]
    fn multiply_f16(&mut self, a: u64, b: u64) {
        let product = Product::of_tiles(false, a, b);
        multiply(product, Left::default(), self, Location::caller());
    }

    #[track_caller]
    fn start_bf16(a: u64, b: u64) -> Self {
        start(Product::of_tiles(true, a, b), Location::caller());
        [0.0; COUNT]
    }

    #[track_caller]
    fn start_f16(a: u64, b: u64) -> Self {
        start(Product::of_tiles(false, a, b), Location::caller());
        [0.0; COUNT]
    }

    #[track_caller]
    fn add_bf16(&mut self, a: u64, b: u64) {
        end_running(self);
        start(Product::of_tiles(true, a, b), Location::caller());
    }

    #[track_caller]
    fn add_f16(&mut self, a: u64, b: u64) {
        end_running(self);
        start(Product::of_tiles(false, a, b), Location::caller());
    }

    fn wait(&mut self) {
        end_running(self);
    }

    #[track_caller]
    fn multiply_registers_bf16(&mut self, a: &[[u32; 4]; 4], b: u64) {
        let product = Product::of_registers(true, b);
        multiply(product, *a, self, Location::caller());
    }

    #[track_caller]
    fn multiply_registers_f16(&mut self, a: &[[u32; 4]; 4], b: u64) {
        let product = Product::of_registers(false, b);
        multiply(product, *a, self, Location::caller());
    }
}

pub fn fence_async_proxy() {
    with(|m| m.clocks.fence(m.current));
}

pub fn take_registers<const COUNT: u32>() {}

pub fn give_registers<const COUNT: u32>() {}
