//! What the emulation keeps in the 128 bytes of a [`TensorMap`], whose form on a device only its driver knows.

use super::arguments::Argument;
use crate::TensorMap;
use crate::bulk_copy::{BOX_ALIGNMENT, BOX_COLUMNS};

/// Bytes of a map.
pub const BYTES: usize = 128;

/// What stands first in a map that the emulation has made.
const MARK: u64 = u64::from_le_bytes(*b"boxes128");

/// The most rows of a box.
const MOST_ROWS: u32 = 256;

/// Bytes of a part of a row that the swizzle moves.
const PART: u64 = 16;

/// A matrix of 16-bit elements, and the box that a copy moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorLayout {
    /// The first element; a multiple of 16.
    pub address: u64,
    /// Rows of the matrix.
    pub rows: u32,
    /// Columns of the matrix.
    pub columns: u32,
    /// Bytes from one row to the next, a multiple of 16.
    pub row_bytes: u64,
    /// Rows of the box, at most 256. It is [`BOX_COLUMNS`] wide.
    pub box_rows: u32,
}

impl TensorLayout {
    /// The map of this layout for the emulation.
    ///
    /// # Errors
    /// What a driver would refuse.
    pub fn encode(&self) -> Result<TensorMap, String> {
        let Self {
            address,
            rows,
            columns,
            row_bytes,
            box_rows,
        } = *self;
        let strides = row_bytes.is_multiple_of(PART) && row_bytes < 1 << 40;
        let sizes = rows > 0 && columns > 0 && (1..=MOST_ROWS).contains(&box_rows);
        if !address.is_multiple_of(PART) || !strides || !sizes {
            return Err(format!("no map has the layout {self:?}"));
        }
        let words = [
            MARK,
            address,
            u64::from(rows) << 32 | u64::from(columns),
            row_bytes,
            u64::from(box_rows),
        ];
        let mut handle = [0; BYTES];
        for (bytes, word) in handle.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Ok(TensorMap::from_handle(handle))
    }

    /// The layout of a map that [`Self::encode`] has made.
    pub(super) fn decode(handle: &[u8; BYTES]) -> Option<Self> {
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(handle.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let [mark, address, size, row_bytes, box_rows] = words;
        (mark == MARK).then_some(Self {
            address,
            rows: (size >> 32) as u32,
            columns: size as u32,
            row_bytes,
            box_rows: box_rows as u32,
        })
    }

    /// The 16-byte parts of the box whose first element is at `column`, `row`: for each its place,
    /// its source, and how many of its bytes lie in the matrix.
    pub(super) fn parts(
        self,
        destination: u64,
        [column, row]: [u32; 2],
    ) -> impl Iterator<Item = (u64, u64, usize)> {
        let row_parts = u64::from(BOX_COLUMNS) * 2 / PART;
        (0..u64::from(self.box_rows) * row_parts).map(move |part| {
            let (box_row, place) = (part / row_parts, part % row_parts);
            // Coordinates are signed: those before the matrix are far behind it as unsigned ones.
            let row = row.wrapping_add(box_row as u32);
            let column = column.wrapping_add(place as u32 * 8);
            let inside = row < self.rows && column < self.columns;
            let valid = if inside {
                (self.columns - column).min(8) * 2
            } else {
                0
            };
            let source = self
                .address
                .wrapping_add(u64::from(row).wrapping_mul(self.row_bytes))
                .wrapping_add(2 * u64::from(column));
            (swizzled(destination + part * PART), source, valid as usize)
        })
    }
}

/// Where what belongs at an address goes in a layout of 128-byte rows that is swizzled.
pub fn swizzled(address: u64) -> u64 {
    address ^ (address >> 3) & 0x70
}

/// Whether a box may lie at an address.
pub fn is_aligned(address: u64) -> bool {
    address.is_multiple_of(u64::from(BOX_ALIGNMENT))
}

impl Argument for TensorMap {
    const SIZE: usize = BYTES;

    fn to_bytes(self) -> Vec<u8> {
        self.handle().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        // Zeros are no map, which the first copy reports.
        Self::from_handle(bytes.try_into().unwrap_or([0; BYTES]))
    }
}
