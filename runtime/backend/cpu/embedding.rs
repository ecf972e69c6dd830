//! Rows of the embedding by token.

use kcache_models::{Tensor, quant};

/// `out[i] = table[ids[i]]`; every id is below `table.rows()`.
pub fn lookup(table: &Tensor, ids: &[u32], out: &mut [f32]) {
    debug_assert_eq!(out.len(), ids.len() * table.cols());
    let row_bytes = table.row_bytes();
    for (id, out) in ids.iter().zip(out.chunks_exact_mut(table.cols())) {
        let row = &table.bytes()[*id as usize * row_bytes..][..row_bytes];
        quant::dequantize(table.dtype(), row, out);
    }
}
