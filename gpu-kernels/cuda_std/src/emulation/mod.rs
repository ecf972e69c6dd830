//! A device on the host: runs a kernel thread by thread and checks what it does.
//!
//! Each thread of a block is a fiber; barriers and what lanes do together switch between fibers.
//! Blocks run one after the other, and the order of threads is fixed, or drawn from a seed. Memory
//! is a set of regions with addresses far apart, so that no wrong index of one buffer reaches
//! another. Found and reported, each with the line of the kernel, the block and the thread:
//!
//! - reads and writes outside a buffer, and misaligned ones;
//! - reads of memory that nothing has written;
//! - races: two accesses to the same element, one of them a write, neither atomic, with no barrier
//!   between them, nor a release by the one's thread that the other's acquires;
//! - accesses to shared memory that an asynchronous copy is still writing;
//! - barriers and warp operations that not every thread reaches, and wrong masks;
//! - barriers that count bytes and are not made, not fenced, or waited for in vain;
//! - panics in the kernel, such as an index of a local array out of its bounds.
//!
//! A launch goes on after a finding where it can: a bad read gives zero, a bad write does nothing.

mod arguments;
mod block;
mod bulk;
mod clock;
mod collective;
mod finding;
mod gpu;
#[doc(hidden)]
pub mod intrinsics;
mod machine;
mod mbarrier;
mod memory;
mod region;
mod release;
mod rendezvous;
mod shadow;
mod tensor_map;
mod warpgroup;

#[doc(hidden)]
pub use arguments::record;
pub use arguments::{Argument, arguments_of};
pub use finding::{Finding, FindingKind, Findings};
pub use gpu::{Buffer, Gpu, LaunchConfig};
pub use tensor_map::TensorLayout;
