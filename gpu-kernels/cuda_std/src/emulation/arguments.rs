//! The arguments of a kernel as the bytes that a launch carries.

use std::cell::RefCell;

use crate::{Element, Global, GlobalMut};

/// What a kernel can be given.
pub trait Argument: Copy + 'static {
    /// Bytes of it.
    const SIZE: usize;

    /// As a launch carries it.
    fn to_bytes(self) -> Vec<u8>;

    /// From what [`Argument::to_bytes`] gave.
    ///
    /// # Panics
    /// For another number of bytes.
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Argument for $number {
            const SIZE: usize = size_of::<$number>();

            fn to_bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("an argument of this size"))
            }
        }
    )*};
}

numbers! { u32 u64 f32 }

impl<T: Element> Argument for Global<T> {
    const SIZE: usize = size_of::<u64>();

    fn to_bytes(self) -> Vec<u8> {
        self.address().to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_address(u64::from_bytes(bytes))
    }
}

impl<T: Element> Argument for GlobalMut<T> {
    const SIZE: usize = size_of::<u64>();

    fn to_bytes(self) -> Vec<u8> {
        self.as_const().to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_address(u64::from_bytes(bytes))
    }
}

thread_local! {
    /// What a kernel that is called leaves, instead of running, while there is room for it.
    static RECORD: RefCell<Option<Vec<Vec<u8>>>> = const { RefCell::new(None) };
}

/// The arguments of the kernel that `call` calls. The kernel itself does not run.
///
/// ```
/// use cuda_std::emulation::arguments_of;
/// use cuda_std::{GlobalMut, kernel};
///
/// #[kernel(max_threads = 32)]
/// fn scale(x: GlobalMut<f32>, factor: f32) {
///     x.write(0, x.read(0) * factor);
/// }
///
/// let arguments = arguments_of(|| scale(GlobalMut::from_address(0x1000), 2.0));
/// assert_eq!(arguments, [0x1000u64.to_le_bytes().to_vec(), 2f32.to_le_bytes().to_vec()]);
/// ```
pub fn arguments_of(call: impl FnOnce()) -> Vec<Vec<u8>> {
    RECORD.set(Some(Vec::new()));
    call();
    RECORD.take().unwrap_or_default()
}

/// Called by every kernel first: whether its arguments, rather than its work, are asked for.
#[doc(hidden)]
pub fn record(arguments: impl FnOnce() -> Vec<Vec<u8>>) -> bool {
    RECORD.with_borrow_mut(|record| match record {
        Some(record) => {
            *record = arguments();
            true
        }
        None => false,
    })
}
