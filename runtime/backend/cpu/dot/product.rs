//! Products of matrices in plain memory, on one thread.

use gemm::Parallelism;

/// A matrix in borrowed floats.
#[derive(Clone, Copy)]
pub(in crate::backend::cpu) struct View<'a> {
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
pub(in crate::backend::cpu) fn product(
    a: View<'_>,
    b: View<'_>,
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    let (rows, cols) = (a.shape[0], b.shape[1]);
    assert!(cols <= stride && rows.saturating_sub(1) * stride + cols <= out.len());
    // SAFETY: all of the product lies in `out`, which is borrowed exclusively.
    unsafe { product_at(a, b, out.as_mut_ptr(), stride, add) }
}

/// [`product`] to memory that the caller vouches for.
///
/// # Safety
/// The product's rows at `out` can be written, and read if `add`.
pub(in crate::backend::cpu) unsafe fn product_at(
    a: View<'_>,
    b: View<'_>,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    assert!(a.shape[1] == b.shape[0] && a.is_inside() && b.is_inside());
    // SAFETY: the assertion keeps every element of `a` and `b` inside its
    // slice; the caller vouches for `out`.
    unsafe {
        gemm::gemm(
            a.shape[0],
            b.shape[1],
            a.shape[1],
            out,
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
