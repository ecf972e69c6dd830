//! Matrices as the unit that copies boxes of them to shared memory knows them.

use std::ffi::c_void;

use bytemuck::{Pod, Zeroable};

use super::sys::{self, Code, Failure};
use super::{DeviceSlice, DriverError, Result};

/// Columns of a box: 128 bytes of 16-bit elements, the width of the swizzle.
const BOX_COLUMNS: u32 = 64;

/// The most rows of a box.
const MOST_BOX_ROWS: u32 = 256;

/// A matrix of 16-bit elements in device memory, and the box of it that one copy moves: an argument
/// of a kernel that copies boxes of 64 columns, with rows of 128 swizzled bytes. What lies outside
/// the matrix reads as zero.
///
/// It holds the matrix's address and does not keep it alive.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct TensorMap(sys::TensorMapBits);

// SAFETY: any bits are a value.
unsafe impl Zeroable for TensorMap {}
// SAFETY: plain numbers without padding.
unsafe impl Pod for TensorMap {}

impl TensorMap {
    /// The map of `matrix`, `[rows, columns]`, row-major and contiguous, with boxes of `box_rows`
    /// rows. `columns` is a multiple of 8, the address of 16.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] for other sizes, where `matrix` is shorter, and where the driver
    /// has no such maps (before CUDA 12.0); [`DriverError::DeviceLost`] or [`DriverError::Call`].
    pub fn new<T: Pod>(
        matrix: DeviceSlice<'_, T>,
        [rows, columns]: [usize; 2],
        box_rows: u32,
    ) -> Result<Self> {
        let refused = |reason: String| DriverError::argument(format!("no tensor map: {reason}"));
        check(&matrix, [rows, columns], box_rows).map_err(refused)?;
        let encode = sys::driver()?.recent.encode_tensor_map;
        let encode = encode.ok_or_else(|| refused("the driver is older than CUDA 12.0".into()))?;
        let layout = sys::TensorLayout {
            element_type: sys::TensorLayout::UINT16,
            sizes: [columns as u64, rows as u64],
            row_bytes: 2 * columns as u64,
            box_sizes: [BOX_COLUMNS, box_rows],
        };
        let _current = matrix.context().enter()?;
        let mut map = Self(sys::TensorMapBits([0; 16]));
        let address = matrix.address() as *mut c_void;
        let code = encode.encode(&mut map.0, address, &layout);
        match Code(code) {
            Code(0) => Ok(map),
            code => Err(matrix.context().fail(Failure {
                call: "cuTensorMapEncodeTiled",
                code,
            })),
        }
    }
}

/// What the unit cannot address, in words.
fn check<T: Pod>(
    matrix: &DeviceSlice<'_, T>,
    [rows, columns]: [usize; 2],
    box_rows: u32,
) -> std::result::Result<(), String> {
    let bytes = size_of::<T>() * matrix.len();
    let needed = rows.checked_mul(columns).and_then(|n| n.checked_mul(2));
    if needed.is_none_or(|needed| needed > bytes) {
        return Err(format!(
            "{rows} × {columns} elements of 2 bytes in a buffer of {bytes} bytes"
        ));
    }
    let most = 1 << 32;
    if !(1..most).contains(&rows) || !(1..most).contains(&columns) || !columns.is_multiple_of(8) {
        return Err(format!(
            "{rows} × {columns} elements; both are 1 or more, the second a multiple of 8"
        ));
    }
    if !matrix.address().is_multiple_of(16) {
        let address = matrix.address();
        return Err(format!("the address {address:#x} is no multiple of 16"));
    }
    if !(1..=MOST_BOX_ROWS).contains(&box_rows) {
        return Err(format!(
            "a box of {box_rows} rows, of {MOST_BOX_ROWS} at most"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DeviceBuffer;
    use crate::driver::testing::stream;

    #[test]
    #[cfg(not(feature = "gpu-tests"))]
    fn a_map_says_where_the_matrix_lies() {
        use cuda_std::emulation::{Argument, TensorLayout};

        let stream = stream();
        let matrix = DeviceBuffer::<u16>::zeroed(&stream, "matrix", 5 * 72).unwrap();
        let map = TensorMap::new(matrix.as_slice(), [5, 72], 128).unwrap();
        let layout = TensorLayout {
            address: matrix.as_slice().address(),
            rows: 5,
            columns: 72,
            row_bytes: 144,
            box_rows: 128,
        };
        let want = layout.encode().unwrap().to_bytes();
        assert_eq!(bytemuck::bytes_of(&map), want);
    }

    #[test]
    fn what_the_unit_cannot_address_is_refused_in_words() {
        let stream = stream();
        let matrix = DeviceBuffer::<u16>::zeroed(&stream, "matrix", 640).unwrap();
        let refusal = |size, rows| {
            let map = TensorMap::new(matrix.as_slice(), size, rows);
            map.unwrap_err().to_string()
        };
        assert!(refusal([11, 64], 64).contains("in a buffer of 1280 bytes"));
        assert!(refusal([10, 60], 64).contains("10 × 60 elements"));
        assert!(refusal([0, 64], 64).contains("0 × 64 elements"));
        assert!(refusal([10, 64], 257).contains("a box of 257 rows"));
        let odd = matrix.as_slice().slice(4..640).unwrap();
        let odd = TensorMap::new(odd, [1, 64], 64).unwrap_err().to_string();
        assert!(odd.contains("no multiple of 16"), "{odd}");
    }
}
