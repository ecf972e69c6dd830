//! Launches, described and checked before they reach the device.

use bytemuck::Pod;

use super::arguments::Arguments;
use super::shape::Shape;
use super::sys::{self, Code, Failure, LaunchAttribute, LaunchConfig};
use super::{Context, DeviceSlice, DeviceSliceMut, DriverError, Function, Result, Stream};

/// A launch of a kernel: its shape and its arguments in order.
///
/// [`Launch::run`] refuses what the device or the kernel does not allow with a
/// text that names both sides, where the driver would answer "invalid value".
#[derive(Debug)]
pub struct Launch<'a> {
    function: &'a Function,
    shape: Shape,
    arguments: Arguments<'a>,
    /// A buffer of another device was given.
    foreign: Option<&'a Context>,
}

impl<'a> Launch<'a> {
    /// A launch of `grid` blocks of `block` threads, each in x, y and z.
    pub fn new(function: &'a Function, grid: [u32; 3], block: [u32; 3]) -> Self {
        Self {
            function,
            shape: Shape {
                grid,
                block,
                shared_bytes: 0,
            },
            arguments: Arguments::new(),
            foreign: None,
        }
    }

    /// Gives each block `bytes` of dynamic shared memory.
    pub fn shared_bytes(mut self, bytes: u32) -> Self {
        self.shape.shared_bytes = bytes;
        self
    }

    /// Appends the address of memory that the kernel reads.
    pub fn buffer<T: Pod>(mut self, slice: DeviceSlice<'a, T>) -> Self {
        self.note_context(slice.context());
        self.arguments.push_address(slice.address());
        self
    }

    /// Appends the address of memory that the kernel writes.
    pub fn buffer_mut<T: Pod>(mut self, slice: &DeviceSliceMut<'a, T>) -> Self {
        self.note_context(slice.context());
        self.arguments.push_address(slice.address());
        self
    }

    /// Appends an address, such as that of a [`super::PinnedArena`].
    pub fn address(mut self, address: u64) -> Self {
        self.arguments.push_address(address);
        self
    }

    /// Appends a number or a plain struct.
    pub fn value<T: Pod>(mut self, value: &'a T) -> Self {
        self.arguments.push(value);
        self
    }

    /// Queues the kernel.
    ///
    /// # Safety
    /// Given these arguments and this shape, the kernel stays within its
    /// buffers, takes the argument types that were given, and reads nothing
    /// that another stream or the host is writing. The buffers live until it is
    /// done, which dropping a [`super::DeviceBuffer`] waits for.
    ///
    /// # Errors
    /// [`DriverError::Launch`] if a check fails; [`DriverError::DeviceLost`] or
    /// [`DriverError::Call`].
    pub unsafe fn run(mut self, stream: &Stream) -> Result<()> {
        self.check(stream)?;
        let context = self.function.context();
        let _current = context.enter()?;
        self.function.allow_shared_bytes(self.shape.shared_bytes)?;
        let mut overlap = LaunchAttribute::OVERLAP;
        let config = LaunchConfig {
            grid: self.shape.grid,
            block: self.shape.block,
            shared_bytes: self.shape.shared_bytes,
            stream: stream.raw(),
            attributes: &raw mut overlap,
            // A kernel that does not wait starts when the launch ahead of it is done.
            attribute_count: self.function.waits().into(),
        };
        let launch = sys::driver()?.recent.launch_kernel_ex;
        let mut arguments = self.arguments.pointers();
        let none = std::ptr::null_mut();
        // SAFETY: the arguments match the kernel's parameters in number and
        // size, and outlive the call, which copies them. The rest is the caller's.
        let code = unsafe { launch(&config, self.function.raw(), arguments.as_mut_ptr(), none) };
        match Code(code) {
            Code(0) => Ok(()),
            Code::LAUNCH_OUT_OF_RESOURCES => Err(self.refused(self.too_large())),
            code => Err(context.fail(Failure {
                call: "cuLaunchKernelEx",
                code,
            })),
        }
    }

    fn check(&self, stream: &Stream) -> Result<()> {
        let context = self.function.context();
        let stranger = Some(stream.context()).filter(|other| !other.same_as(context));
        if let Some(other) = self.foreign.or(stranger) {
            return Err(self.refused(format!(
                "it is loaded on {}, and a buffer or stream is of {}",
                context.device(),
                other.device()
            )));
        }
        self.shape
            .check(&context.device().limits, &self.function.resources())
            .and_then(|()| self.arguments.check(self.function.parameters()))
            .map_err(|reason| self.refused(reason))
    }

    fn note_context(&mut self, context: &'a Context) {
        if !context.same_as(self.function.context()) {
            self.foreign = Some(context);
        }
    }

    fn refused(&self, reason: String) -> DriverError {
        DriverError::Launch {
            kernel: self.function.name().to_owned(),
            reason,
        }
    }

    fn too_large(&self) -> String {
        let used = self.function.resources();
        format!(
            "a block of {:?} threads with {} registers each and {} + {} bytes of shared memory \
             exceeds the multiprocessor",
            self.shape.block, used.registers, used.shared_bytes, self.shape.shared_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DeviceBuffer;
    use crate::driver::testing::{function, stream};

    #[test]
    fn a_kernel_gets_its_arguments_and_memory() {
        let stream = stream();
        let add = function(&stream, "vector_add");
        let host: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let left = DeviceBuffer::from_host(&stream, "left", &host).unwrap();
        let mut sum = DeviceBuffer::from_host(&stream, "sum", &[-1f32; 1001]).unwrap();
        let launch = Launch::new(&add, [4, 1, 1], [256, 1, 1])
            .buffer(left.as_slice())
            .buffer(left.as_slice())
            .buffer_mut(&sum.as_mut_slice())
            .value(&1000u32);
        // SAFETY: 1000 elements, within all three.
        unsafe { launch.run(&stream) }.unwrap();
        let seen = sum.to_host(&stream).unwrap();
        assert!(seen.iter().zip(&host).all(|(s, h)| *s == 2.0 * h));
        assert_eq!(seen[1000], -1.0, "the sentinel");
    }

    #[test]
    fn large_arguments_travel_whole() {
        let stream = stream();
        let sum_struct = function(&stream, "sum_struct");
        let mut out = DeviceBuffer::<u64>::zeroed(&stream, "out", 1).unwrap();
        let terms = [1u64 << 40, 2, 3];
        let launch = Launch::new(&sum_struct, [1, 1, 1], [1, 1, 1])
            .value(&terms)
            .buffer_mut(&out.as_mut_slice());
        // SAFETY: one thread writes one element.
        unsafe { launch.run(&stream) }.unwrap();
        assert_eq!(out.to_host(&stream).unwrap(), [(1 << 40) + 5]);
    }

    #[test]
    fn much_shared_memory_is_opted_in_to() {
        let stream = stream();
        let reverse = function(&stream, "reverse");
        let limit = stream.context().device().limits.shared_bytes;
        for shared_bytes in [128, 49_152, 49_153, 100_000, limit] {
            let mut data: Vec<u32> = (0..32).collect();
            let mut buffer = DeviceBuffer::from_host(&stream, "data", &data).unwrap();
            // The last bytes there are.
            let base = (shared_bytes - 128) / 4 * 4;
            let launch = Launch::new(&reverse, [1, 1, 1], [32, 1, 1])
                .shared_bytes(shared_bytes)
                .buffer_mut(&buffer.as_mut_slice())
                .value(&base);
            // SAFETY: one element for each of 32 threads, there and in shared memory.
            unsafe { launch.run(&stream) }.unwrap();
            data.reverse();
            assert_eq!(buffer.to_host(&stream).unwrap(), data, "{shared_bytes}");
        }
        assert!(reverse.blocks_per_multiprocessor(32, limit).unwrap() >= 1);
        assert_eq!(
            reverse.blocks_per_multiprocessor(1 << 20, 0).unwrap_or(0),
            0
        );
    }

    #[test]
    fn wrong_arguments_never_reach_the_device() {
        let stream = stream();
        let add = function(&stream, "vector_add");
        let launch = || Launch::new(&add, [1, 1, 1], [32, 1, 1]);
        // SAFETY: refused before they are queued.
        let run = |launch: Launch<'_>| unsafe { launch.run(&stream) }.unwrap_err().to_string();
        let few = run(launch().value(&1u64));
        assert_eq!(
            few,
            "cannot launch vector_add: 1 arguments for 4 parameters"
        );
        let wide = run(launch().address(0).address(0).address(0).value(&1u64));
        assert!(wide.contains("argument 3 has 8 bytes"), "{wide}");
        let empty = run(Launch::new(&add, [0, 1, 1], [32, 1, 1]));
        assert!(empty.contains("grid [0, 1, 1]"), "{empty}");
    }
}
