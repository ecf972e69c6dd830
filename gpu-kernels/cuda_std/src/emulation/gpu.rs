//! The emulated device as tests see it.

use std::marker::PhantomData;
use std::rc::Rc;

use super::finding::{Finding, FindingKind, Findings};
use super::machine::{Machine, replace, with};
use super::memory::Memory;
use super::region::Region;
use super::tensor_map::TensorLayout;
use super::{block, intrinsics};
use crate::{Element, Float16, Global, GlobalMut, Kernel, TensorMap};

/// The most dynamic shared memory of a block, as on Hopper.
const DYNAMIC_SHARED_LIMIT: u32 = 227 * 1024;

/// The most threads of a block.
const THREAD_LIMIT: u32 = 1024;

/// The most blocks along the second and third axis of a grid.
const GRID_YZ_LIMIT: u32 = 65_535;

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub struct LaunchConfig {
    /// Blocks along each axis.
    pub grid: [u32; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// Draws the order in which threads take turns; 0 keeps their own order.
    pub seed: u64,
}

impl LaunchConfig {
    /// A grid, and blocks of one axis, without dynamic shared memory.
    pub fn new(grid: [u32; 3], threads: u32) -> Self {
        Self {
            grid,
            block: [threads, 1, 1],
            dynamic_shared: 0,
            seed: 0,
        }
    }

    /// With that many bytes of dynamic shared memory.
    pub fn dynamic_shared(self, bytes: u32) -> Self {
        Self {
            dynamic_shared: bytes,
            ..self
        }
    }

    /// With an order of threads drawn from a seed.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }
}

/// A device: buffers, and launches on them.
#[derive(Debug, Default)]
pub struct Gpu {
    memory: Memory,
}

/// A buffer of an emulated device.
#[derive(Debug)]
pub struct Buffer<T> {
    address: u64,
    element: PhantomData<T>,
}

impl<T> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Buffer<T> {}

impl<T: Element> Buffer<T> {
    /// The argument of a kernel that reads it.
    pub fn global(self) -> Global<T> {
        Global::from_address(self.address)
    }

    /// The argument of a kernel that writes it.
    pub fn global_mut(self) -> GlobalMut<T> {
        GlobalMut::from_address(self.address)
    }

    /// Its address, for tables.
    pub fn address(self) -> u64 {
        self.address
    }
}

impl Gpu {
    /// A device without buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `length` elements that nothing has written.
    pub fn allocate<T: Element>(&mut self, name: &str, length: usize) -> Buffer<T> {
        let region = Region::new(name.to_owned(), length * size_of::<T>(), size_of::<T>());
        Buffer {
            address: self.memory.add_global(region),
            element: PhantomData,
        }
    }

    /// A buffer that holds these elements.
    pub fn upload<T: Element>(&mut self, name: &str, elements: &[T]) -> Buffer<T> {
        let buffer = self.allocate(name, elements.len());
        self.write(buffer, 0, elements);
        buffer
    }

    /// A map of a buffer of `[rows, columns]` elements for [`TensorMap::copy`], whose box has
    /// `box_rows` rows.
    ///
    /// # Errors
    /// Where a driver would refuse it.
    pub fn tensor_map<T: Float16>(
        &mut self,
        buffer: Buffer<T>,
        [rows, columns]: [usize; 2],
        box_rows: u32,
    ) -> Result<TensorMap, String> {
        let layout = TensorLayout {
            address: buffer.address,
            rows: rows as u32,
            columns: columns as u32,
            row_bytes: 2 * columns as u64,
            box_rows,
        };
        layout.encode()
    }

    /// Gives kernels a copy of `bytes` at an address, as a driver's stand-in does with the buffers
    /// of a program. All buffers of a device must then be given so. Elements have 2 bytes or more.
    pub fn map(&mut self, name: &str, address: u64, bytes: &[u8]) {
        let region = Region::holding(name.to_owned(), bytes, size_of::<u16>());
        self.memory.map(address, region);
    }

    /// What the last launch touched of the memory mapped: addresses, and the bytes from there on.
    pub fn touched(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.memory.mapped().flat_map(|(address, region)| {
            let parts = region.touched();
            parts.map(move |(offset, bytes)| (address + offset as u64, bytes))
        })
    }

    /// Sets the elements of a buffer from `start` on. Past its end nothing happens.
    pub fn write<T: Element>(&mut self, buffer: Buffer<T>, start: usize, elements: &[T]) {
        if let Some((region, _)) = self.memory.find(buffer.address) {
            region.fill(start * size_of::<T>(), &bytes_of(elements));
        }
    }

    /// What a buffer holds. Bytes that nothing wrote are all ones: NaN, as floats.
    pub fn download<T: Element>(&mut self, buffer: Buffer<T>) -> Vec<T> {
        self.read(buffer, 0, usize::MAX)
    }

    /// At most `count` elements of a buffer from `start` on, as [`Self::download`] gives them.
    pub fn read<T: Element>(&mut self, buffer: Buffer<T>, start: usize, count: usize) -> Vec<T> {
        let Some((region, _)) = self.memory.find(buffer.address) else {
            return Vec::new();
        };
        let count = count.min((region.length() / size_of::<T>()).saturating_sub(start));
        let mut bytes = vec![0; count * size_of::<T>()];
        region.load(start * size_of::<T>(), &mut bytes);
        let elements = bytes.chunks_exact(size_of::<T>());
        elements.map(intrinsics::from_bytes).collect()
    }

    /// Runs a kernel: `body` calls it once, as one thread.
    ///
    /// # Errors
    /// Everything that the threads were found to do wrong.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        config: LaunchConfig,
        body: impl Fn() + 'static,
    ) -> Result<(), Findings> {
        let mut findings = Findings {
            kernel: kernel.name,
            list: Vec::new(),
        };
        if let Some(message) = forbidden(kernel, &config) {
            findings.add(launch_finding(message));
            return Err(findings);
        }
        let machine = Machine::new(config, std::mem::take(&mut self.memory), findings);
        let outer = replace(Some(machine));
        let outcome = run_grid(config.grid, Rc::new(body));
        let Some(mut machine) = replace(outer) else {
            return Ok(());
        };
        self.memory = machine.memory;
        if let Err(error) = outcome {
            machine
                .findings
                .add(launch_finding(format!("no stack for a thread: {error}")));
        }
        if machine.findings.list.is_empty() {
            Ok(())
        } else {
            Err(machine.findings)
        }
    }
}

fn bytes_of<T: Element>(elements: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of_val(elements));
    elements
        .iter()
        .for_each(|&element| intrinsics::with_bytes(element, |b| bytes.extend(b)));
    bytes
}

/// Runs the blocks in order, up to one that hangs.
fn run_grid(grid: [u32; 3], body: Rc<dyn Fn()>) -> std::io::Result<()> {
    for z in 0..grid[2] {
        for y in 0..grid[1] {
            for x in 0..grid[0] {
                with(|m| m.start_block([x, y, z]));
                if !block::run(&body)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Why a launch is not possible, if it is not.
fn forbidden(kernel: &Kernel, config: &LaunchConfig) -> Option<String> {
    let threads = config.threads();
    if config.grid.contains(&0) || threads == 0 {
        return Some(format!(
            "a grid of {:?} blocks of {:?} threads",
            config.grid, config.block
        ));
    }
    if threads > kernel.max_threads.min(THREAD_LIMIT) {
        return Some(format!(
            "{threads} threads, the kernel allows {}",
            kernel.max_threads
        ));
    }
    if config.grid[1].max(config.grid[2]) > GRID_YZ_LIMIT {
        return Some(format!(
            "a grid of {:?}, second or third axis too long",
            config.grid
        ));
    }
    (config.dynamic_shared > DYNAMIC_SHARED_LIMIT)
        .then(|| format!("{} bytes of dynamic shared memory", config.dynamic_shared))
}

fn launch_finding(message: String) -> Finding {
    Finding {
        kind: FindingKind::Launch,
        message,
        site: None,
        block: [0; 3],
        thread: 0,
        count: 1,
    }
}
