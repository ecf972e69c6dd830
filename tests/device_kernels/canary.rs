//! Kernels that are wrong on purpose. A sanitizer that does not report them has not looked.

use kcache::driver::{Context, Device, DeviceBuffer, Launch, Module, PtxImage, Stream};

const KERNELS: &str = include_str!("canary.ptx");

/// Launches a kernel of one block of 64 threads that takes a buffer of 64 words.
fn launch(name: &str) {
    let context = Context::new(Device::open(0).unwrap()).unwrap();
    let stream = Stream::new(&context).unwrap();
    let images = [PtxImage::new(KERNELS).unwrap()];
    let module = Module::load(&context, "canary", &images).unwrap();
    let kernel = module.function(name).unwrap();
    let mut words = DeviceBuffer::<u32>::zeroed(&stream, "words", 64).unwrap();
    let words = words.as_mut_slice();
    let launch = Launch::new(&kernel, [1, 1, 1], [64, 1, 1]).buffer_mut(&words);
    // SAFETY: it is not; that is what the test is for. What it overruns is the
    // padding that every allocation has.
    let done = unsafe { launch.run(&stream) }.and_then(|()| stream.synchronize());
    println!("{name}: {done:?}");
}

#[test]
#[ignore = "wrong on purpose, for compute-sanitizer"]
fn canary_out_of_bounds() {
    launch("one_too_far");
}

#[test]
#[ignore = "wrong on purpose, for compute-sanitizer"]
fn canary_race() {
    launch("no_barrier");
}
