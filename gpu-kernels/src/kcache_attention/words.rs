//! The static shared memory of a block.

use cuda_std::{Shared, U32x2};

use super::WARPS;
use crate::decode_scores::MAX_GROUP;
use crate::reduce::MAX_WARPS;
use crate::top_n::SCRATCH;

/// Static shared memory: the softmaxes of the warps, those of the heads, room to work, a counter.
#[derive(Clone, Copy)]
pub struct Words(pub Shared<u32>);

impl Words {
    const STATS: u32 = 2 * WARPS * MAX_GROUP;
    const SCRATCH: u32 = Self::STATS + 2 * MAX_GROUP;
    const ARRIVED: u32 = Self::SCRATCH + SCRATCH;

    /// How many they are: so many that what follows is aligned to 8 bytes.
    pub const COUNT: u32 = (Self::ARRIVED + 1).next_multiple_of(2);

    /// What follows them.
    #[cfg(any(hopper, not(target_arch = "nvptx64")))]
    #[inline(always)]
    pub fn after(self) -> Shared<u32> {
        self.0.offset(Self::COUNT)
    }

    #[inline(always)]
    pub fn softmaxes(self) -> Shared<U32x2> {
        self.0.cast()
    }

    #[inline(always)]
    pub fn stats(self) -> Shared<U32x2> {
        self.0.offset(Self::STATS).cast()
    }

    #[inline(always)]
    pub fn scratch(self) -> Shared<u32> {
        self.0.offset(Self::SCRATCH)
    }

    /// The part of the scratch memory that counts and sums over a block work in.
    #[inline(always)]
    pub fn sums(self) -> Shared<u32> {
        self.scratch().offset(SCRATCH - MAX_WARPS)
    }

    #[inline(always)]
    pub fn arrived(self) -> Shared<u32> {
        self.0.offset(Self::ARRIVED)
    }
}
