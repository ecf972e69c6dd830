//! What is left after an allocation that failed.

use super::{KERNELS, context, in_own_process};
use crate::driver::{
    Context, DeviceBuffer, DriverError, Module, PinnedArena, PinnedBuffer, PtxImage, Result, Stream,
};

/// The smallest leak that is told from what a real driver keeps for itself.
const SMALLEST_LEAK: u64 = if cfg!(feature = "gpu-tests") {
    16 << 20
} else {
    1
};

#[test]
fn a_failed_allocation_leaks_nothing() {
    in_own_process("driver::testing::exhaustion::every_allocation_may_fail");
}

#[test]
#[ignore = "counts the device's memory, and so runs in a process of its own"]
fn every_allocation_may_fail() {
    let context = context();
    // What the driver keeps for itself is there after the first round.
    work(&context).unwrap();
    let free = context.memory_info().unwrap().free;
    let mut failures = 0;
    loop {
        context.faults().arm(failures + 1);
        let result = work(&context);
        let leaked = free.saturating_sub(context.memory_info().unwrap().free);
        assert!(leaked < SMALLEST_LEAK, "{leaked} bytes leaked");
        if context.faults().armed() {
            context.faults().arm(0);
            result.unwrap();
            break;
        }
        let error = result.unwrap_err();
        let told = matches!(
            error,
            DriverError::OutOfMemory { .. } | DriverError::PinnedMemory { .. }
        );
        assert!(told, "{error}");
        failures += 1;
    }
    println!("{failures} allocations failed in turn");
    assert_eq!(failures, 5);
}

/// Two allocations of each kind, the arena's two chunks among them.
fn work(context: &Context) -> Result<()> {
    let stream = Stream::new(context)?;
    let image = PtxImage::new(KERNELS)?;
    let _module = Module::load(context, "kernels", &[image])?;
    let mut first = DeviceBuffer::<u8>::new(context, "first", 32 << 20)?;
    let mut pinned = PinnedBuffer::<u8>::new(context, "staging", 1 << 20)?;
    let mut part = first.slice_mut(0..1 << 20)?;
    pinned.copy_to_device(0..1 << 20, &mut part, &stream)?;
    let mut arena = PinnedArena::reserve(context, 2 << 20)?;
    arena.grow(1 << 20, 1 << 20)?;
    arena.copy_from_device(0, first.slice(0..1 << 20)?, &stream)?;
    let second = DeviceBuffer::<u8>::zeroed(&stream, "second", 32 << 20)?;
    arena.grow(2 << 20, 2 << 20)?;
    drop(second);
    stream.synchronize()
}
