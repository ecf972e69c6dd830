//! What a launch needs: shared memory, candidates, blocks side by side.

#[cfg(not(target_arch = "nvptx64"))]
use super::scan_copied;
use super::{gather, hot_rows, select, weigh};

/// The most candidates that are ranked in shared memory.
const MAX_CANDIDATES: u32 = 8192;

/// Blocks that should share a multiprocessor: as many as leave each thread the registers it needs,
/// of which heads of 96 take more, since a row of theirs is no power of two of parts.
pub const fn min_blocks(dim: u32) -> u32 {
    match dim {
        64 | 128 => 3,
        _ => 2,
    }
}

/// The same of the kernels that copy keys, which hold none in registers.
#[cfg(any(hopper, not(target_arch = "nvptx64")))]
pub const fn min_blocks_copied(dim: u32) -> u32 {
    match dim {
        64 | 128 => 4,
        96 => 3,
        _ => 2,
    }
}

/// Bytes of dynamic shared memory of the kernels that hold keys in registers, for heads of `dim`
/// elements, `candidates` and `slots`.
pub const fn shared_bytes(dim: u32, candidates: u32, slots: u32) -> u32 {
    largest([
        gather::shared_bytes(dim),
        select::shared_bytes(candidates),
        hot_rows::shared_bytes(slots),
        weigh::SHARED_BYTES,
    ])
}

/// As [`shared_bytes`], of the kernels that copy keys.
#[cfg(not(target_arch = "nvptx64"))]
pub const fn shared_bytes_copied(dim: u32, candidates: u32, slots: u32) -> u32 {
    let rest = shared_bytes(dim, candidates, slots);
    largest([scan_copied::shared_bytes(dim), rest, 0, 0])
}

const fn largest(numbers: [u32; 4]) -> u32 {
    let (mut most, mut i) = (0, 0);
    while i < numbers.len() {
        if numbers[i] > most {
            most = numbers[i];
        }
        i += 1;
    }
    most
}

/// Candidates for `top` rows: as many as the shared memory of the sum has room for anyway, or, for
/// many rows, a few more than those.
pub const fn candidates(dim: u32, top: u32) -> u32 {
    let free = largest([gather::shared_bytes(dim), weigh::SHARED_BYTES, 0, 0]);
    let free = free / select::shared_bytes(1);
    let wanted = top + top / 2;
    if wanted < free {
        free
    } else if wanted < MAX_CANDIDATES {
        wanted
    } else {
        MAX_CANDIDATES
    }
}
