//! Which kernels select rows, by how many of the selected rows were not hot lately.
//!
//! Reads of keys that are copied ahead fill the way from the memory, and rows from the host come
//! slower beside them: where most rows are fetched, kernels that hold keys in registers are the
//! faster ones (docs/performance.md). No model of ours misses so often; a text that jumps may.

use super::tuning::{ScanChoice, ScanKernel};
use crate::Result;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a batch that find and fetch so many rows each, and the kernels of the last.
    fn steps(misses: &mut Misses, sum: &mut [u64; 2], count: u32, rows: [u64; 2]) -> ScanKernel {
        let mut scan = ScanKernel::Copies;
        for _ in 0..count {
            scan = misses
                .next(ScanChoice::ByMisses, &[7], || Ok(*sum))
                .unwrap();
            *sum = [sum[0] + rows[0], sum[1] + rows[1]];
        }
        scan
    }

    #[test]
    fn the_kernels_follow_the_misses() {
        let (mut misses, mut sum) = (Misses::default(), [0; 2]);
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [0, 9]),
            ScanKernel::Copies
        );
        // Cold caches miss everything, and are seen no sooner than others.
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [9, 1]),
            ScanKernel::Registers
        );
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [1, 1]),
            ScanKernel::Copies
        );
        // Half of the rows changes nothing.
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [1, 3]),
            ScanKernel::Copies
        );
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [1, 1]),
            ScanKernel::Registers
        );
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [0, 0]),
            ScanKernel::Registers
        );
        // Without rows there is nothing to follow.
        assert_eq!(
            steps(&mut misses, &mut sum, STEPS, [0, 0]),
            ScanKernel::Registers
        );
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
