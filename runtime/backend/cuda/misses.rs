//! Which kernels select rows, by how many of the selected rows were not hot lately.
//!
//! Reads of keys that are copied ahead fill the way from the memory, and rows from the host come
//! slower beside them: where most rows are fetched, kernels that hold keys in registers are the
//! faster ones (docs/performance.md). No model of ours misses so often; a text that jumps may.

use super::CudaKvCache;
use super::tuning::{ScanChoice, ScanKernel};
use crate::Result;
use crate::driver::Stream;

/// Steps between two looks at the counters, which a step would otherwise wait for.
const STEPS: u32 = 16;

/// Of 100 selected rows so many fetched: above the first registers are taken, below the second
/// copies. Between them stays what is, since a change costs the capture of a step.
const MOST: u64 = 60;
const FEWEST: u64 = 40;

/// What was seen of a batch.
#[derive(Debug)]
pub(super) struct Misses {
    scan: ScanKernel,
    steps: u32,
    /// The caches that were counted, and rows found hot and rows fetched until then.
    counted: Option<(Vec<u64>, [u64; 2])>,
}

impl Default for Misses {
    fn default() -> Self {
        Self {
            scan: ScanKernel::Copies,
            steps: 0,
            counted: None,
        }
    }
}

impl Misses {
    /// The kernels of the next step of `caches`. `count` gives the rows that they have found hot,
    /// and those fetched.
    pub fn next(
        &mut self,
        choice: ScanChoice,
        caches: &[u64],
        count: impl FnOnce() -> Result<[u64; 2]>,
    ) -> Result<ScanKernel> {
        match choice {
            ScanChoice::Registers => return Ok(ScanKernel::Registers),
            ScanChoice::Copies => return Ok(ScanKernel::Copies),
            ScanChoice::ByMisses => {}
        }
        if self.steps == 0 {
            let now = count()?;
            match &self.counted {
                Some((of, before)) if of == caches => self.decide(*before, now),
                _ => {}
            }
            self.counted = Some((caches.to_vec(), now));
        }
        self.steps = (self.steps + 1) % STEPS;
        Ok(self.scan)
    }

    fn decide(&mut self, before: [u64; 2], now: [u64; 2]) {
        let [hot, fetched] = [0, 1].map(|i| now[i].saturating_sub(before[i]));
        let scan = if 100 * fetched > MOST * (hot + fetched) {
            ScanKernel::Registers
        } else if 100 * fetched < FEWEST * (hot + fetched) {
            ScanKernel::Copies
        } else {
            return;
        };
        if scan != self.scan {
            log::debug!("{fetched} rows fetched and {hot} hot: keys by {scan:?}");
            self.scan = scan;
        }
    }
}

/// Rows that `caches` have found hot, and those fetched.
pub(super) fn traffic(caches: &[&mut CudaKvCache], stream: &Stream) -> Result<[u64; 2]> {
    let mut sum = [0; 2];
    for near in caches.iter().filter_map(|cache| cache.near.as_ref()) {
        let [hot, fetched] = near.traffic(stream)?;
        sum = [sum[0] + hot, sum[1] + fetched];
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_follow_the_misses() {
        use ScanKernel::{Copies, Registers};

        let (mut misses, mut sum) = (Misses::default(), [0; 2]);
        // Rows that each of so many steps finds hot and fetches, and the kernels of these steps,
        // which follow from those before.
        for (hot, fetched, expected) in [
            (0, 9, Copies),
            (9, 1, Registers),
            (1, 1, Copies),
            // Half of the rows changes nothing.
            (1, 3, Copies),
            (1, 1, Registers),
            (0, 0, Registers),
            // Without rows there is nothing to follow.
            (0, 0, Registers),
        ] {
            for _ in 0..STEPS {
                let scan = misses.next(ScanChoice::ByMisses, &[7], || Ok(sum));
                assert_eq!(scan.unwrap(), expected, "{hot} hot, {fetched} fetched");
                sum = [sum[0] + hot, sum[1] + fetched];
            }
        }
    }

    #[test]
    fn other_caches_are_counted_anew() {
        let mut misses = Misses::default();
        for (cache, fetched) in [(1, 0), (2, 1 << 40)] {
            for _ in 0..STEPS {
                let scan = misses.next(ScanChoice::ByMisses, &[cache], || Ok([0, fetched]));
                assert_eq!(scan.unwrap(), ScanKernel::Copies);
            }
        }
    }

    #[test]
    fn a_table_that_names_kernels_is_followed() {
        let mut misses = Misses::default();
        for (choice, expected) in [
            (ScanChoice::Registers, ScanKernel::Registers),
            (ScanChoice::Copies, ScanKernel::Copies),
        ] {
            let never = || unreachable!("counted");
            assert_eq!(misses.next(choice, &[], never).unwrap(), expected);
        }
    }
}
