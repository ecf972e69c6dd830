//! What a launch is found to do wrong.

use std::fmt;
use std::panic::Location;

/// The kinds of fault that the emulation finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// An access outside every buffer, or past the bounds of one.
    OutOfBounds,
    /// An address that is no multiple of the size of the access.
    Misaligned,
    /// A read of memory that nothing has written.
    Uninitialised,
    /// Two accesses that nothing orders, one of them a write.
    Race,
    /// An access to shared memory that an asynchronous copy is still writing.
    CopyInFlight,
    /// A block barrier that not every thread reached, or not at the same place.
    DivergentBarrier,
    /// A barrier that counts arrivals and bytes, used otherwise than it was made.
    Barrier,
    /// Threads that wait for others for ever.
    Deadlock,
    /// A warp operation by a lane that its mask does not name.
    LaneNotInMask,
    /// A panic in the kernel.
    Panic,
    /// A launch that the kernel's bounds or the device's limits forbid.
    Launch,
}

/// One fault; the same fault at the same place is reported once.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The kind of fault.
    pub kind: FindingKind,
    /// What happened, with buffer, offset and size where memory is concerned.
    pub message: String,
    /// The line of the kernel, where one line is to blame.
    pub site: Option<&'static Location<'static>>,
    /// The block's index.
    pub block: [u32; 3],
    /// The thread's index in its block, counted along the first axis first.
    pub thread: u32,
    /// How often it happened.
    pub count: usize,
}

/// The faults of one launch.
#[derive(Debug)]
pub struct Findings {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The faults, in the order in which they were found.
    pub list: Vec<Finding>,
}

impl Findings {
    /// Whether a fault of this kind is among them.
    pub fn contains(&self, kind: FindingKind) -> bool {
        self.list.iter().any(|finding| finding.kind == kind)
    }

    /// Adds a finding, or counts it where the like is known.
    pub(super) fn add(&mut self, finding: Finding) {
        let known = self
            .list
            .iter_mut()
            .find(|f| f.kind == finding.kind && f.site == finding.site);
        match known {
            Some(known) => known.count += 1,
            None => self.list.push(finding),
        }
    }
}

impl std::error::Error for Findings {}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: {} faults", self.kernel, self.list.len())?;
        self.list
            .iter()
            .try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "{:?}: {}", self.kind, self.message)?;
        if let Some(site) = self.site {
            write!(f, ", at {site}")?;
        }
        write!(f, ", block ({x}, {y}, {z}) thread {}", self.thread)?;
        if self.count > 1 {
            write!(f, ", {} times", self.count)?;
        }
        Ok(())
    }
}
