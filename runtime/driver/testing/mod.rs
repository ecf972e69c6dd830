//! What the unit tests share.

mod exhaustion;
mod loss;
#[cfg(feature = "gpu-tests")]
pub(crate) mod sleeps;

use std::process::Command;

use super::{Context, Device, Function, Module, PtxImage, Stream};

/// A few kernels for `sm_80`.
pub(super) const KERNELS: &str = include_str!("kernels.ptx");

/// Device 0, in a handle whose faults and loss are the test's own.
pub(super) fn context() -> Context {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    Context::new(device).unwrap_or_else(|e| panic!("{e}"))
}

/// A stream of [`context`].
pub(super) fn stream() -> Stream {
    Stream::new(&context()).unwrap_or_else(|e| panic!("{e}"))
}

/// A kernel of [`KERNELS`].
pub(super) fn function(stream: &Stream, name: &str) -> Function {
    let image = PtxImage::new(KERNELS).unwrap_or_else(|e| panic!("{e}"));
    Module::load(stream.context(), "test kernels", &[image])
        .and_then(|module| module.function(name))
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Runs an ignored test of this program in a process of its own: one that loses
/// the device, or that others would disturb.
pub(crate) fn in_own_process(test: &str) {
    let program = std::env::current_exe().unwrap_or_else(|e| panic!("{e}"));
    let arguments = ["--exact", "--ignored", "--nocapture", test];
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{words}");
    assert!(text.contains("1 passed"), "no test {test}: {text}");
}
