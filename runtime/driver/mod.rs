//! CUDA devices through the driver alone.
//!
//! No toolkit is needed to build or to run, and a machine without a driver
//! learns so from an error: [`DeviceChoice::place`] says where to compute, and
//! [`Context::new`] opens the device. A [`Stream`] queues copies between
//! [`DeviceBuffer`], [`PinnedBuffer`] and [`PinnedArena`], and the [`Launch`] of
//! a [`Function`] from a [`Module`]; [`Event`] orders and times streams;
//! [`Graph`] replays what was queued once.
//!
//! Every call returns its failure, and none panics. After a fault on the device
//! all answer [`DriverError::DeviceLost`].

mod arena;
mod arguments;
mod buffer;
mod choice;
mod context;
mod device;
mod error;
mod event;
#[cfg(all(test, not(feature = "gpu-tests")))]
mod fake;
#[cfg(any(test, feature = "gpu-tests"))]
mod fault;
mod function;
mod graph;
mod host_limits;
mod host_range;
mod image;
mod jit;
mod launch;
mod launch_clock;
mod module;
mod parameters;
mod pinned;
mod profiler;
mod shape;
mod slice;
mod stream;
mod sys;
mod tensor_map;
#[cfg(test)]
pub(crate) mod testing;

pub use arena::PinnedArena;
pub use buffer::DeviceBuffer;
pub use choice::{DeviceChoice, Placement};
pub use context::{Context, MemoryInfo};
pub use device::{Capability, Device, DeviceLimits};
pub use error::{DriverError, Result};
pub use event::Event;
#[cfg(all(test, not(feature = "gpu-tests")))]
pub(crate) use fake::{refuse_pinning, reorder};
#[cfg(any(test, feature = "gpu-tests"))]
pub use fault::AllocationFaults;
pub use function::{Function, FunctionResources};
pub use graph::Graph;
pub use host_limits::HostLimits;
pub use image::{Architecture, Portability, PtxImage};
pub use launch::Launch;
pub use launch_clock::{LaunchClock, Turn};
pub use module::Module;
pub use pinned::PinnedBuffer;
pub use slice::{DeviceSlice, DeviceSliceMut};
pub use stream::{Priority, Stream};
pub use sys::{Code, CudaVersion, Failure};
pub use tensor_map::TensorMap;
#[cfg(all(test, feature = "gpu-tests"))]
pub(crate) use testing::sleeps::reorder;
