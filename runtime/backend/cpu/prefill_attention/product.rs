//! Products of small matrices inside a tile.

use gemm::Parallelism;

/// A matrix in borrowed floats.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub floats: &'a [f32],
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Floats from one row to the next, and from one column to the next.
    pub strides: [usize; 2],
}

impl<'a> View<'a> {
    /// All of `floats` as rows of `cols`.
    pub fn rows(floats: &'a [f32], cols: usize) -> Self {
        Self {
            floats,
            shape: [floats.len() / cols, cols],
            strides: [cols, 1],
        }
    }

    /// Rows as columns.
    pub fn transposed(self) -> Self {
        let ([rows, cols], [row, col]) = (self.shape, self.strides);
        Self {
            shape: [cols, rows],
            strides: [col, row],
            ..self
        }
    }

    /// Whether all elements lie inside the floats.
    fn is_inside(&self) -> bool {
        let last = |i: usize| self.shape[i].saturating_sub(1) * self.strides[i];
        last(0) + last(1) < self.floats.len()
    }
}

/// `out = a b`, or `out += a b` if `add`; rows of `out` are `stride` floats apart.
pub(super) fn product(a: View<'_>, b: View<'_>, out: &mut [f32], stride: usize, add: bool) {
    let ([m, k], [k_b, n]) = (a.shape, b.shape);
    assert!(k == k_b && a.is_inside() && b.is_inside());
    assert!(n <= stride && m.saturating_sub(1) * stride + n <= out.len());
    // SAFETY: the assertions keep every element of all three matrices inside
    // its slice, and `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.floats.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.floats.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
