//! Rows of one layer and sequence, in blocks of positions.

use crate::{Error, Result};

/// Positions in one block.
pub const BLOCK: usize = 64;

/// Rows of `head_dim` floats for each position and KV head of one layer.
///
/// Layout `[position / 64][kv_head][position % 64][head_dim]`: appending never
/// moves a row, and the rows of one head in one block are contiguous.
#[derive(Debug)]
pub struct BlockStore {
    n_kv_heads: usize,
    head_dim: usize,
    len: usize,
    blocks: Vec<Vec<f32>>,
}

impl BlockStore {
    /// An empty store.
    pub fn new(n_kv_heads: usize, head_dim: usize) -> Self {
        Self {
            n_kv_heads,
            head_dim,
            len: 0,
            blocks: Vec::new(),
        }
    }

    /// Positions stored.
    pub fn len(&self) -> usize {
        self.len
    }

    /// KV heads of each position.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    /// Floats of one row.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Whether no position is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held, counted by whole blocks.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * self.block_floats() * size_of::<f32>()
    }

    /// Appends `rows`, `[m, n_kv_heads * head_dim]`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; the store is then unchanged.
    pub fn append(&mut self, rows: &[f32]) -> Result<()> {
        let width = self.n_kv_heads * self.head_dim;
        debug_assert_eq!(rows.len() % width, 0);
        let m = rows.len() / width;
        self.reserve(self.len + m)?;
        for (pos, row) in (self.len..).zip(rows.chunks_exact(width)) {
            for (head, part) in row.chunks_exact(self.head_dim).enumerate() {
                let start = self.offset(head, pos);
                self.blocks[pos / BLOCK][start..start + self.head_dim].copy_from_slice(part);
            }
        }
        self.len += m;
        Ok(())
    }

    /// Forgets all positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(BLOCK));
    }

    /// The row of `head` at `pos`.
    pub fn row(&self, head: usize, pos: usize) -> &[f32] {
        debug_assert!(pos < self.len);
        let start = self.offset(head, pos);
        &self.blocks[pos / BLOCK][start..start + self.head_dim]
    }

    /// The stored rows of `head` in block `block`: up to 64 × `head_dim`, contiguous.
    pub fn block(&self, head: usize, block: usize) -> &[f32] {
        let rows = (self.len - block * BLOCK).min(BLOCK);
        let start = self.offset(head, block * BLOCK);
        &self.blocks[block][start..start + rows * self.head_dim]
    }

    fn offset(&self, head: usize, pos: usize) -> usize {
        (head * BLOCK + pos % BLOCK) * self.head_dim
    }

    fn block_floats(&self) -> usize {
        self.n_kv_heads * BLOCK * self.head_dim
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        let before = self.blocks.len();
        while self.blocks.len() < len.div_ceil(BLOCK) {
            if let Err(error) = self.push_block() {
                self.blocks.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    fn push_block(&mut self) -> Result<()> {
        let floats = self.block_floats();
        let refused = |_| Error::OutOfMemory {
            what: "a block of the KV cache".into(),
            bytes: (floats * size_of::<f32>()) as u64,
            available: None,
        };
        let mut block = Vec::new();
        block.try_reserve_exact(floats).map_err(refused)?;
        block.resize(floats, 0.0);
        self.blocks.try_reserve(1).map_err(refused)?;
        self.blocks.push(block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(pos: usize, i: usize) -> f32 {
        (pos * 100 + i) as f32
    }

    fn filled(n: usize) -> BlockStore {
        let mut store = BlockStore::new(2, 3);
        let rows: Vec<f32> = (0..n)
            .flat_map(|pos| (0..6).map(move |i| value(pos, i)))
            .collect();
        // Two pieces, so that one append ends and one starts inside a block.
        let (head, tail) = rows.split_at(6 * (n / 3));
        store.append(head).unwrap();
        store.append(tail).unwrap();
        store
    }

    #[test]
    fn rows_and_blocks_hold_what_was_appended() {
        let store = filled(150);
        assert_eq!(store.len(), 150);
        for pos in [0, 63, 64, 127, 128, 149] {
            assert_eq!(store.row(1, pos)[0], value(pos, 3));
        }
        assert_eq!(store.block(0, 2).len(), 22 * 3);
        assert_eq!(store.block(1, 1)[..3], *store.row(1, 64));
    }

    #[test]
    fn truncate_then_append_overwrites() {
        let mut store = filled(150);
        store.truncate(70);
        assert_eq!((store.len(), store.bytes()), (70, 2 * 64 * 6 * 4));
        store.append(&[-1.0; 6]).unwrap();
        assert_eq!(store.row(0, 70), [-1.0; 3]);
        assert_eq!(store.row(0, 69)[0], value(69, 0));
    }
}
