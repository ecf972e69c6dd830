//! Values that memory can hold.

/// A value that one load or store moves: 1, 2, 4, 8 or 16 bytes.
///
/// # Safety
/// The type has no padding, any bit pattern is a value of it, its size is 1, 2, 4, 8 or 16 bytes,
/// and its alignment on the device equals its size.
pub unsafe trait Element: Copy + Default + 'static {}

/// Two 32-bit words, moved by one 8-byte access.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(8))]
pub struct U32x2(pub [u32; 2]);

/// Two floats, moved by one 8-byte access.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(8))]
pub struct F32x2(pub [f32; 2]);

/// Four 32-bit words, moved by one 16-byte access.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(16))]
pub struct U32x4(pub [u32; 4]);

/// Four floats, moved by one 16-byte access.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(16))]
pub struct F32x4(pub [f32; 4]);

// SAFETY: plain numbers, aligned to their size on the device.
unsafe impl Element for u8 {}
// SAFETY: as above.
unsafe impl Element for i8 {}
// SAFETY: as above.
unsafe impl Element for u16 {}
// SAFETY: as above.
unsafe impl Element for u32 {}
// SAFETY: as above.
unsafe impl Element for i32 {}
// SAFETY: as above.
unsafe impl Element for u64 {}
// SAFETY: as above.
unsafe impl Element for f32 {}
// SAFETY: arrays of plain numbers without padding, aligned to their size.
unsafe impl Element for U32x2 {}
// SAFETY: as above.
unsafe impl Element for F32x2 {}
// SAFETY: as above.
unsafe impl Element for U32x4 {}
// SAFETY: as above.
unsafe impl Element for F32x4 {}
