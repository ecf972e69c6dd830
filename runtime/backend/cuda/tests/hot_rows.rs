//! Rows that are fetched and rows that stay: whichever, the logits are the same.

use super::checkpoint::{ALONE, GROUPED};
use super::models::{run, top_n};
use super::{HOPPER, Pair, assert_close, device_with_newest_kernels};
use crate::cache::{KvPolicy, Weighting};

/// Eight rows beside sinks and window, and so many that stay hot.
fn hot(hot_rows: usize) -> KvPolicy {
    KvPolicy {
        hot_rows,
        ..top_n(8, Weighting::MeanV)
    }
}

/// A cache of one row, one that evicts at every step, and none.
#[test]
fn hot_rows_change_nothing() {
    let pair = Pair::new(&GROUPED, 10);
    let with = |hot_rows| run(&pair.gpu, &hot(hot_rows), &[3, 200, 17, 90]).1;
    let expected = with(512);
    for hot_rows in [0, 1, 9] {
        assert_eq!(with(hot_rows), expected, "{hot_rows} hot rows");
    }
}

/// Without hot rows every row is fetched, and after 16 steps other kernels do it.
#[test]
fn kernels_that_fetch_most_rows_equal_the_others() {
    let pair = Pair::on(device_with_newest_kernels(HOPPER), &ALONE, 12);
    let width = pair.cpu.config().vocab_size;
    let next: Vec<u32> = (0..20).map(|i| 13 * i + 3).collect();
    let with = |hot_rows| run(&pair.gpu, &hot(hot_rows), &next).1;
    assert_close("no hot rows", &with(0), &with(512), width, 1e-6);
}
