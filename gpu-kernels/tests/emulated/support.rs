//! Inputs, and the comparison of outputs.

use cuda_std::{Float16, Global};

use crate::device::{Buffer, Gpu};

/// A generator of test inputs (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u32) -> u32 {
        (self.bits() % u64::from(end)) as u32
    }

    /// Uniform from -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Numbers that a 16-bit type holds.
    pub fn halves<T: Float16>(&mut self, count: usize) -> Vec<T> {
        (0..count).map(|_| T::from_f32(self.float())).collect()
    }
}

/// Widens exactly.
pub fn wide<T: Float16>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.to_f32())).collect()
}

/// Widens exactly.
pub fn wide_f32(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The squared error over the squared norm.
fn nmse(got: &[f64], want: &[f64]) -> f64 {
    let error: f64 = got.iter().zip(want).map(|(g, w)| (g - w).powi(2)).sum();
    let norm: f64 = want.iter().map(|w| w * w).sum();
    if error == 0.0 { 0.0 } else { error / norm }
}

/// Compares an output of rows of `width` elements: NaN and infinities must stand in the same
/// places, the normalised squared error of each row of finite elements must be within `limit`.
#[track_caller]
pub fn compare(what: &str, got: &[f64], want: &[f64], width: usize, limit: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let mut worst = 0.0f64;
    for (row, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
        for (column, (g, w)) in got.iter().zip(want).enumerate() {
            let alike = (g.is_nan() && w.is_nan()) || (g.is_finite() && w.is_finite()) || g == w;
            assert!(
                alike,
                "{what}: row {row} column {column} is {g}, should be {w}"
            );
        }
        let finite = |row: &[f64]| {
            row.iter()
                .map(|x| if x.is_finite() { *x } else { 0.0 })
                .collect()
        };
        let (got, want): (Vec<f64>, Vec<f64>) = (finite(got), finite(want));
        let error = nmse(&got, &want);
        assert!(
            error <= limit,
            "{what}: row {row} has a squared error of {error:e}"
        );
        worst = worst.max(error);
    }
    println!("{what}: worst row {worst:.1e} of {limit:.0e}");
}

/// The sizes of a test: on a device also large ones.
pub fn cases<T: Clone>(small: &[T], large: &[T]) -> Vec<T> {
    match crate::device::large() {
        true => [small, large].concat(),
        false => small.to_vec(),
    }
}

/// A null argument.
pub fn null<T: cuda_std::Element>() -> Global<T> {
    Global::from_address(0)
}

/// K or V of several sequences in blocks of 64 positions.
pub struct Cache<T> {
    /// A row of block addresses for each sequence.
    pub table: Buffer<u64>,
    pub table_stride: usize,
    /// By sequence: `[position][kv_head][dim]`.
    pub values: Vec<Vec<f64>>,
    pub kv_heads: usize,
    pub dim: usize,
    pub blocks: Vec<Vec<Buffer<T>>>,
}

impl<T: Float16> Cache<T> {
    /// A cache of random values; positions past a sequence's length are not written.
    pub fn random(
        gpu: &mut Gpu,
        random: &mut Random,
        lengths: &[usize],
        kv_heads: usize,
        dim: usize,
    ) -> Self {
        let values = lengths
            .iter()
            .map(|length| random.halves(length * kv_heads * dim))
            .collect();
        Self::holding(gpu, values, kv_heads, dim)
    }

    /// A cache of these values, by sequence `[position][kv_head][dim]`.
    pub fn holding(gpu: &mut Gpu, values: Vec<Vec<T>>, kv_heads: usize, dim: usize) -> Self {
        let lengths: Vec<usize> = values.iter().map(|v| v.len() / (kv_heads * dim)).collect();
        let mut cache = Self::unwritten(gpu, &lengths, kv_heads, dim);
        for (sequence, values) in values.iter().enumerate() {
            let length = lengths[sequence];
            for (block, buffer) in cache.blocks[sequence].iter().enumerate() {
                for position in block * 64..length.min(block * 64 + 64) {
                    for head in 0..kv_heads {
                        let start = (position * kv_heads + head) * dim;
                        let target = (head * 64 + position % 64) * dim;
                        gpu.write(*buffer, target, &values[start..start + dim]);
                    }
                }
            }
            cache.values.push(wide(values));
        }
        cache
    }

    /// A cache with room for these lengths.
    pub fn unwritten(gpu: &mut Gpu, lengths: &[usize], kv_heads: usize, dim: usize) -> Self {
        let blocks: Vec<Vec<Buffer<T>>> = lengths
            .iter()
            .map(|length| {
                let name = |b| format!("cache block {b}");
                (0..length.div_ceil(64))
                    .map(|b| gpu.allocate(&name(b), 64 * kv_heads * dim))
                    .collect()
            })
            .collect();
        let table_stride = blocks.iter().map(Vec::len).max().unwrap_or(0);
        let mut table = vec![0; blocks.len() * table_stride];
        for (row, blocks) in table.chunks_mut(table_stride).zip(&blocks) {
            row.iter_mut()
                .zip(blocks)
                .for_each(|(entry, block)| *entry = block.address());
        }
        let table = gpu.upload("block table", &table);
        Self {
            table,
            table_stride,
            values: Vec::new(),
            kv_heads,
            dim,
            blocks,
        }
    }

    /// The row of a position.
    pub fn row(&self, sequence: usize, position: usize, kv_head: usize) -> &[f64] {
        let start = (position * self.kv_heads + kv_head) * self.dim;
        &self.values[sequence][start..start + self.dim]
    }
}

/// The inner product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The softmax of scores.
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}
