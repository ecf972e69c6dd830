//! From the parts of a weighted sum of V to the output of attention.

use cuda_std::{Float16, Global, GlobalMut, bf16, f16, kernel, thread};

/// Threads of a block.
pub const THREADS: u32 = 128;

/// What becomes of the probability of the rows that were not selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Weighting {
    /// It is lost.
    Raw = 0,
    /// The selected rows share it in proportion.
    Renormalised = 1,
    /// It goes to the mean of all rows.
    MeanV = 2,
}

#[inline(always)]
fn combine<T: Float16>(
    out: GlobalMut<T>,
    partials: Global<f32>,
    kept: Global<f32>,
    (totals, lengths): (Global<u64>, Global<u32>),
    (kv_heads, dim, splits): (u32, u32, u32),
    weighting: u32,
) {
    let (head, sequence) = (thread::block_idx_x(), thread::block_idx_y() as usize);
    let q_heads = thread::grid_dim_x();
    let row = sequence * q_heads as usize + head as usize;
    let kept = kept.offset(row * splits as usize);
    let partials = partials.offset(row * splits as usize * dim as usize);
    let mut mass = 0.0;
    for split in 0..splits {
        mass += kept.read(split as usize);
    }
    // Rounding may leave a little more than the whole.
    let rest = (1.0 - mass).max(0.0);
    let scale = if weighting == Weighting::Renormalised as u32 {
        1.0 / mass
    } else {
        1.0
    };
    let kv_head = head / (q_heads / kv_heads);
    let mut i = thread::thread_idx_x();
    while i < dim {
        let mut sum = 0.0;
        for split in 0..splits {
            sum += partials.read(split as usize * dim as usize + i as usize);
        }
        sum *= scale;
        if weighting == Weighting::MeanV as u32 {
            let totals = Global::<f32>::from_address(totals.read(sequence));
            let total = totals.read((kv_head * dim + i) as usize);
            sum += rest * total / lengths.read(sequence) as f32;
        }
        out.write(row * dim as usize + i as usize, T::from_f32(sum));
        i += THREADS;
    }
}

macro_rules! kernels {
    ($($name:ident, $element:ty;)*) => {$(
        /// Adds the parts that [`crate::v_sum`] left, and accounts for the rest.
        ///
        /// `out [sequences, q_heads, dim]`; `partials [sequences, q_heads, splits, dim]`; `kept
        /// [sequences, q_heads, splits]`; `totals [sequences]`, addresses of
        /// `[kv_heads, dim]` that [`crate::v_total`] keeps, and `lengths [sequences]`, both read
        /// only by [`Weighting::MeanV`]; `weighting`: a [`Weighting`].
        ///
        /// Grid `(q_heads, sequences)`, block `(THREADS)`.
        #[kernel(max_threads = THREADS)]
        pub fn $name(
            out: GlobalMut<$element>,
            partials: Global<f32>,
            kept: Global<f32>,
            totals: Global<u64>,
            lengths: Global<u32>,
            kv_heads: u32,
            dim: u32,
            splits: u32,
            weighting: u32,
        ) {
            combine(out, partials, kept, (totals, lengths), (kv_heads, dim, splits), weighting);
        }
    )*};
}

kernels! {
    v_combine_bf16, bf16;
    v_combine_f16, f16;
}
