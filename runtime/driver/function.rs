//! One kernel of a module, and what it takes to launch it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::parameters::Entry;
use super::sys::{
    CUfunction, CUfunction_attribute as Attribute, cuFuncGetAttribute, cuFuncSetAttribute,
    cuOccupancyMaxActiveBlocksPerMultiprocessor,
};
use super::{Context, DriverError, Module, Result};

/// Shared memory of a block that needs no opting in, in bytes.
const ORDINARY_SHARED_BYTES: u32 = 48 << 10;

/// A kernel. It keeps its module loaded.
#[derive(Debug)]
pub struct Function {
    module: Module,
    name: String,
    raw: RawFunction,
    resources: FunctionResources,
    entry: Entry,
    /// Whether it may use all of the device's shared memory.
    opted_in: AtomicBool,
}

/// What a kernel uses, as compiled for its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionResources {
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Local memory of a thread, in bytes: spills and arrays.
    pub local_bytes: u32,
    /// Threads that a block may have, by registers and launch bounds.
    pub threads_per_block: u32,
}

/// The driver's handle.
#[derive(Clone, Copy, Debug)]
struct RawFunction(CUfunction);

// SAFETY: the driver takes functions from any thread at any time.
unsafe impl Send for RawFunction {}
// SAFETY: as above.
unsafe impl Sync for RawFunction {}

impl Function {
    /// `raw` is a function of `module`, whose context is current.
    pub(super) fn new(module: &Module, name: &str, raw: CUfunction, entry: Entry) -> Result<Self> {
        let get = |attribute| {
            let mut value = 0;
            // SAFETY: writes one integer; the module keeps the function.
            let result = unsafe { cuFuncGetAttribute(&mut value, attribute, raw) };
            module.context().check("cuFuncGetAttribute", result)?;
            Ok::<u32, DriverError>(u32::try_from(value).unwrap_or(0))
        };
        Ok(Self {
            resources: FunctionResources {
                registers: get(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
                shared_bytes: get(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
                local_bytes: get(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
                threads_per_block: get(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            },
            module: module.clone(),
            name: name.to_owned(),
            raw: RawFunction(raw),
            entry,
            opted_in: AtomicBool::new(false),
        })
    }

    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel uses.
    pub fn resources(&self) -> FunctionResources {
        self.resources
    }

    /// The size of each parameter, in bytes.
    pub fn parameters(&self) -> &[u32] {
        &self.entry.parameters
    }

    /// Whether the kernel waits itself for the launches ahead of it in its
    /// stream, so that it may be launched before they are done.
    pub(super) fn waits(&self) -> bool {
        self.entry.waits
    }

    /// The context that it runs in.
    pub fn context(&self) -> &Context {
        self.module.context()
    }

    /// How many blocks of `threads` threads and `shared_bytes` of dynamic shared
    /// memory run on a multiprocessor at once.
    ///
    /// # Errors
    /// [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn blocks_per_multiprocessor(&self, threads: u32, shared_bytes: u32) -> Result<u32> {
        let _current = self.context().enter()?;
        self.allow_shared_bytes(shared_bytes)?;
        let mut blocks = 0;
        let threads = i32::try_from(threads).unwrap_or(i32::MAX);
        // SAFETY: writes one integer; the module keeps the function.
        let result = unsafe {
            cuOccupancyMaxActiveBlocksPerMultiprocessor(
                &mut blocks,
                self.raw(),
                threads,
                shared_bytes as usize,
            )
        };
        self.context().check("cuOccupancyMaxActiveBlocks", result)?;
        Ok(u32::try_from(blocks).unwrap_or(0))
    }

    /// Opts in to more shared memory if a launch with `dynamic` bytes needs it.
    /// The context is current, and the device has as much.
    pub(super) fn allow_shared_bytes(&self, dynamic: u32) -> Result<()> {
        let fixed = self.resources.shared_bytes;
        let ordinary = fixed.saturating_add(dynamic) <= ORDINARY_SHARED_BYTES;
        if ordinary || self.opted_in.load(Ordering::Acquire) {
            return Ok(());
        }
        // All there is: it is only a limit, and so one call serves every launch.
        let limit = self.context().device().limits.shared_bytes;
        let all = limit.saturating_sub(fixed);
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: takes no pointer; the module keeps the function.
        let result = unsafe { cuFuncSetAttribute(self.raw(), attribute, all as i32) };
        self.context().check("cuFuncSetAttribute", result)?;
        self.opted_in.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn raw(&self) -> CUfunction {
        self.raw.0
    }
}
