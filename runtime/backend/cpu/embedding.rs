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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::dot::testing::{rng, tensor};
    use kcache_models::DType;

    #[test]
    fn rows_are_those_of_the_whole_table() {
        let mut rng = rng(1);
        for dtype in DType::ALL {
            let table = tensor(&mut rng, dtype, 19, 512);
            let mut all = vec![0.0; 19 * 512];
            quant::dequantize(dtype, table.bytes(), &mut all);
            let ids = [18, 0, 7, 7];
            let mut out = vec![f32::NAN; ids.len() * 512];
            lookup(&table, &ids, &mut out);
            for (id, out) in ids.iter().zip(out.chunks(512)) {
                assert_eq!(out, &all[*id as usize * 512..][..512], "{dtype}");
            }
        }
    }
}
