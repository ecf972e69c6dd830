//! The arguments of a launch, as the driver wants them.

use std::ffi::c_void;
use std::marker::PhantomData;

use bytemuck::Pod;

/// More than any kernel takes.
const MAX: usize = 32;

/// Arguments in order. Those up to 8 bytes are kept here, larger ones borrowed.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    values: [u64; MAX],
    /// The argument itself where it is larger than 8 bytes, else null.
    borrowed: [*const c_void; MAX],
    sizes: [u32; MAX],
    /// How many were pushed; more than [`MAX`] are counted and not kept.
    count: usize,
    _borrowed: PhantomData<&'a ()>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new() -> Self {
        Self {
            values: [0; MAX],
            borrowed: [std::ptr::null(); MAX],
            sizes: [0; MAX],
            count: 0,
            _borrowed: PhantomData,
        }
    }

    /// Appends a copy of `value`, or a reference where it is larger than 8 bytes.
    pub(super) fn push<T: Pod>(&mut self, value: &'a T) {
        let bytes = bytemuck::bytes_of(value);
        let borrowed = bytes.as_ptr().cast();
        let mut kept = [0; 8];
        match kept.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.append(u64::from_ne_bytes(kept), std::ptr::null(), bytes.len());
            }
            None => self.append(0, borrowed, bytes.len()),
        }
    }

    /// Appends a device address.
    pub(super) fn push_address(&mut self, address: u64) {
        self.append(address, std::ptr::null(), size_of::<u64>());
    }

    fn append(&mut self, value: u64, borrowed: *const c_void, size: usize) {
        if self.count < MAX {
            self.values[self.count] = value;
            self.borrowed[self.count] = borrowed;
            self.sizes[self.count] = u32::try_from(size).unwrap_or(u32::MAX);
        }
        self.count += 1;
    }

    /// Compares with the sizes that the kernel declares.
    ///
    /// # Errors
    /// What differs, in words.
    pub(super) fn check(&self, parameters: &[u32]) -> Result<(), String> {
        if self.count != parameters.len() || self.count > MAX {
            return Err(format!(
                "{} arguments for {} parameters",
                self.count,
                parameters.len()
            ));
        }
        let pairs = self.sizes.iter().zip(parameters);
        match pairs
            .enumerate()
            .find(|(_, (given, wanted))| given != wanted)
        {
            Some((i, (given, wanted))) => Err(format!(
                "argument {i} has {given} bytes where the kernel takes {wanted}"
            )),
            None => Ok(()),
        }
    }

    /// The array of pointers that a launch takes, valid as long as `self`.
    pub(super) fn pointers(&mut self) -> [*mut c_void; MAX] {
        std::array::from_fn(|i| {
            if self.borrowed[i].is_null() {
                (&raw mut self.values[i]).cast()
            } else {
                self.borrowed[i].cast_mut()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_size_are_found_again() {
        let large = [1u64, 2, 3];
        let mut arguments = Arguments::new();
        arguments.push_address(0xdead_beef);
        arguments.push(&7u16);
        arguments.push(&large);
        arguments.push(&1.5f32);
        arguments.check(&[8, 2, 24, 4]).unwrap();
        let pointers = arguments.pointers();
        // SAFETY: each points at a value of the type read.
        unsafe {
            assert_eq!(*pointers[0].cast::<u64>(), 0xdead_beef);
            assert_eq!(*pointers[1].cast::<u16>(), 7);
            assert_eq!(*pointers[2].cast::<[u64; 3]>(), large);
            assert_eq!(*pointers[3].cast::<f32>(), 1.5);
        }
    }

    #[test]
    fn counts_and_sizes_are_compared() {
        let mut arguments = Arguments::new();
        arguments.push(&1u32);
        arguments.push(&2u64);
        let message = arguments.check(&[4]).unwrap_err();
        assert_eq!(message, "2 arguments for 1 parameters");
        let message = arguments.check(&[4, 4]).unwrap_err();
        assert_eq!(message, "argument 1 has 8 bytes where the kernel takes 4");
        for _ in 0..MAX {
            arguments.push(&0u32);
        }
        assert!(arguments.check(&[4; MAX + 2]).is_err());
    }
}
