//! The backend against the processor's, on random models of the shapes that the
//! kernels tell apart. Without a GPU the kernels are emulated; with the feature
//! `gpu-tests` the same tests run on a device.

mod batch;
mod checkpoint;
mod failures;
mod hot_rows;
mod launch_clock;
mod models;
mod order;
mod profile;

use std::sync::Arc;

use super::{Cuda, Tuning};
use crate::Model;
use crate::backend::cpu::Cpu;
use crate::driver::Device;
use checkpoint::Shape;

/// The device that may have Hopper's instructions: the stand-in's second does.
pub const HOPPER: u32 = if cfg!(feature = "gpu-tests") { 0 } else { 1 };

/// The device under test.
fn device() -> Cuda {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    Cuda::new(device).unwrap_or_else(|e| panic!("{e}"))
}

/// One with the kernels that are not in the embedded table.
fn device_with_newest_kernels(ordinal: u32) -> Cuda {
    let device = Device::open(ordinal).unwrap_or_else(|e| panic!("{e}"));
    Cuda::with_tuning(device, &Tuning::newest()).unwrap_or_else(|e| panic!("{e}"))
}

/// One random model on both backends.
struct Pair {
    gpu: Arc<Model<Cuda>>,
    cpu: Arc<Model<Cpu>>,
}

impl Pair {
    fn new(shape: &Shape, seed: u64) -> Self {
        Self::on(device(), shape, seed)
    }

    fn on(gpu: Cuda, shape: &Shape, seed: u64) -> Self {
        let folder = shape.write(seed);
        let cpu = Cpu::new(None).unwrap_or_else(|e| panic!("{e}"));
        let load = &mut |_, _| Ok(());
        Self {
            gpu: Arc::new(Model::load(folder.path(), gpu, load).expect("a GPU model")),
            cpu: Arc::new(Model::load(folder.path(), cpu, load).expect("a CPU model")),
        }
    }
}

/// `‖a - b‖² / ‖b‖²`.
fn nmse(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let error: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(x - y))).sum();
    let norm: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    error / norm
}

/// Compares rows of logits, each by itself.
fn assert_close(what: &str, got: &[f32], expected: &[f32], width: usize, limit: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let rows = got.chunks(width).zip(expected.chunks(width));
    let worst = rows.map(|(g, e)| nmse(g, e)).fold(0.0, f64::max);
    println!("{what}: worst row's NMSE {worst:.1e} of {limit:.0e}");
    assert!(worst <= limit, "{what}: {worst:e}");
}
