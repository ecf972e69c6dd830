//! The state of a running launch, and the accesses that its threads make.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::Location;

use super::clock::Clocks;
use super::finding::{Finding, FindingKind, Findings};
use super::gpu::LaunchConfig;
use super::memory::{Memory, range_inside};
use super::region::{Fault, Region};
use super::rendezvous::Rendezvous;
use super::shadow::Access;
use super::warpgroup::THREADS;

/// A line of a kernel.
pub type Site = &'static Location<'static>;

/// The most static shared memory a block can have.
const STATIC_SHARED_LIMIT: usize = 48 * 1024;

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// Everything that the threads of a launch share.
pub struct Machine {
    /// Grid, block and dynamic shared memory.
    pub config: LaunchConfig,
    /// The regions.
    pub memory: Memory,
    /// What is wrong so far.
    pub findings: Findings,
    /// The clocks of the running block.
    pub clocks: Clocks,
    /// What its threads wait for.
    pub rendezvous: Rendezvous,
    /// The index of the running block.
    pub block: [u32; 3],
    /// The running thread in its block.
    pub current: u32,
    /// The asynchronous copies of each thread.
    pub copies: Vec<super::intrinsics::Copies>,
    /// The copies to shared memory that no thread makes.
    pub bulk_copies: super::bulk::Copies,
    /// The barriers that count arrivals and bytes.
    pub barriers: super::mbarrier::Barriers,
    /// The product that threads of each warpgroup wait for.
    pub products: Vec<Option<super::warpgroup::Group>>,
    /// The product that each thread has started and not waited for.
    pub running_products: Vec<Option<(super::warpgroup::Product, Site)>>,
    static_shared: HashMap<(&'static str, u32, u32), u64>,
    dynamic_shared: u64,
}

/// Calls `f` with the machine of the running launch.
///
/// # Panics
/// Where none is running: the kernel was called as a plain function.
#[expect(
    clippy::expect_used,
    reason = "a kernel called outside a launch is a bug of the caller"
)]
pub fn with<R>(f: impl FnOnce(&mut Machine) -> R) -> R {
    MACHINE.with(|machine| {
        f(machine
            .borrow_mut()
            .as_mut()
            .expect("a kernel runs by Gpu::launch"))
    })
}

/// Makes a machine the running one; `None` ends the launch. Gives the one before.
pub fn replace(machine: Option<Machine>) -> Option<Machine> {
    MACHINE.with(|slot| slot.replace(machine))
}

impl Machine {
    /// A machine at the start of a launch.
    pub fn new(config: LaunchConfig, mut memory: Memory, findings: Findings) -> Self {
        memory.start_launch();
        Self {
            memory,
            findings,
            rendezvous: Rendezvous::new(config.seed),
            config,
            clocks: Clocks::default(),
            block: [0; 3],
            current: 0,
            copies: Vec::new(),
            bulk_copies: Default::default(),
            barriers: Default::default(),
            products: Vec::new(),
            running_products: Vec::new(),
            static_shared: HashMap::new(),
            dynamic_shared: 0,
        }
    }

    /// Prepares for the threads of a block.
    pub fn start_block(&mut self, block: [u32; 3]) {
        let [columns, rows, _] = self.config.grid;
        let threads = self.config.threads();
        self.block = block;
        self.clocks
            .start(block[0] + columns * (block[1] + rows * block[2]), threads);
        self.rendezvous.start_block(threads);
        self.copies.clear();
        self.copies.resize_with(threads as usize, Default::default);
        self.bulk_copies = Default::default();
        self.barriers = Default::default();
        self.products.clear();
        self.products
            .resize_with((threads as usize).div_ceil(THREADS), || None);
        self.running_products.clear();
        self.running_products.resize(threads as usize, None);
        self.static_shared.clear();
        self.memory.start_block();
        let bytes = self.config.dynamic_shared as usize;
        self.dynamic_shared =
            self.memory
                .add_shared(Region::new("dynamic shared memory".into(), bytes, 2));
    }

    /// The address of dynamic shared memory.
    pub fn dynamic_shared(&self) -> u64 {
        self.dynamic_shared
    }

    /// The address of the static array declared at a place in the source.
    pub fn static_shared(
        &mut self,
        place: (&'static str, u32, u32),
        bytes: usize,
        granule: usize,
    ) -> u64 {
        if let Some(&address) = self.static_shared.get(&place) {
            return address;
        }
        let (file, line, column) = place;
        let name = format!("the shared array of {file}:{line}:{column}");
        if bytes > STATIC_SHARED_LIMIT {
            let message = format!("{name} has {bytes} bytes, more than {STATIC_SHARED_LIMIT}");
            self.report(FindingKind::Launch, message, None);
        }
        let address = self.memory.add_shared(Region::new(name, bytes, granule));
        self.static_shared.insert(place, address);
        address
    }

    /// Reads bytes; where that is not possible they are zero.
    #[inline(never)]
    pub fn read(&mut self, address: u64, bytes: &mut [u8], site: Site) {
        bytes.fill(0);
        self.access(address, bytes.len(), Access::Read, site, |region, range| {
            region.load(range.start, bytes);
        });
    }

    /// Writes bytes, where that is possible.
    #[inline(never)]
    pub fn write(&mut self, address: u64, bytes: &[u8], site: Site) {
        self.clocks.overwrite(address);
        self.access(
            address,
            bytes.len(),
            Access::Write,
            site,
            |region, range| {
                region.store(range.start, bytes);
            },
        );
    }

    /// Replaces a word of `N` bytes atomically and gives the old one.
    pub fn atomic<const N: usize>(
        &mut self,
        address: u64,
        site: Site,
        new: impl FnOnce([u8; N]) -> [u8; N],
    ) -> [u8; N] {
        let mut old = [0; N];
        self.access(address, N, Access::Atomic, site, |region, range| {
            region.load(range.start, &mut old);
            region.store(range.start, &new(old));
        });
        old
    }

    /// Checks that there is memory at an address.
    pub fn prefetch(&mut self, address: u64, site: Site) {
        let message = match self.memory.find(address) {
            None => format!("Prefetch at {address:#x}, in no buffer"),
            Some((region, offset)) if range_inside(region, offset, 1).is_none() => format!(
                "Prefetch at byte {offset} of {}, which has {}",
                region.name,
                region.length()
            ),
            Some(_) => return,
        };
        self.report(FindingKind::OutOfBounds, message, Some(site));
    }

    /// Checks an access of `size` bytes, a power of two, and performs it where it lies in a region.
    pub fn access(
        &mut self,
        address: u64,
        size: usize,
        access: Access,
        site: Site,
        perform: impl FnOnce(&mut Region, Range<usize>),
    ) {
        let stamp = self.clocks.stamp(self.current, site);
        let Some((region, offset)) = self.memory.find(address) else {
            let message = format!("{access:?} of {size} bytes at {address:#x}, in no buffer");
            return self.report(FindingKind::OutOfBounds, message, Some(site));
        };
        let place = |region: &Region| {
            format!(
                "{access:?} of {size} bytes at byte {offset} of {}",
                region.name
            )
        };
        if offset % size as i64 != 0 {
            let message = place(region);
            return self.report(FindingKind::Misaligned, message, Some(site));
        }
        let Some(range) = range_inside(region, offset, size) else {
            let message = format!("{}, which has {}", place(region), region.length());
            return self.report(FindingKind::OutOfBounds, message, Some(site));
        };
        let finding = region
            .touch(&range, access, stamp, &self.clocks)
            .map(|fault| match fault {
                Fault::Uninitialised => (FindingKind::Uninitialised, place(region)),
                Fault::CopyInFlight => (FindingKind::CopyInFlight, place(region)),
                Fault::Race(kind, earlier) => {
                    let message = format!(
                        "{}, after a {kind:?} by thread {} of block {} at {}",
                        place(region),
                        earlier.thread,
                        earlier.block,
                        earlier.site
                    );
                    (FindingKind::Race, message)
                }
            });
        perform(region, range);
        if let Some((kind, message)) = finding {
            self.report(kind, message, Some(site));
        }
    }

    /// Adds a finding of the running thread.
    pub fn report(&mut self, kind: FindingKind, message: String, site: Option<Site>) {
        let (block, thread) = (self.block, self.current);
        self.findings.add(Finding {
            kind,
            message,
            site,
            block,
            thread,
            count: 1,
        });
    }
}
