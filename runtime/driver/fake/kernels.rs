//! The test kernels, as the host would write them; others are emulated.

use super::memory::check_device;
use super::queue::Call;
use super::{State, Status};

/// The sizes of a kernel's parameters.
pub(super) fn parameters(kernel: &str) -> &'static [usize] {
    match kernel {
        "vector_add" => &[8, 8, 8, 4],
        "reverse" => &[8, 4],
        "sum_struct" => &[24, 8],
        _ => super::emulated::parameters(kernel).unwrap_or(&[]),
    }
}

/// Runs one launch.
pub(super) fn run(state: &mut State, device: i32, call: &Call) -> Status {
    match call.kernel.as_str() {
        "vector_add" => vector_add(state, device, call),
        "reverse" => reverse(state, device, call),
        "sum_struct" => sum_struct(state, device, call),
        "fault" => {
            state.faults.insert(device, 719);
            Ok(()) // Seen by the next call, as on a device.
        }
        _ => super::emulated::run(state, device, call),
    }
}

impl Call {
    /// The unsigned number at word `word` of argument `i`.
    fn number(&self, i: usize, word: usize) -> u64 {
        let bytes = &self.arguments[i][word * 8..];
        let mut number = [0; 8];
        let len = bytes.len().min(8);
        number[..len].copy_from_slice(&bytes[..len]);
        u64::from_le_bytes(number)
    }
}

fn vector_add(state: &mut State, device: i32, call: &Call) -> Status {
    let [left, right, sum] = [0, 1, 2].map(|i| call.number(i, 0));
    let threads = u64::from(call.grid[0]) * u64::from(call.block[0]);
    for i in 0..call.number(3, 0).min(threads) {
        let at = |base: u64| (base + 4 * i) as *mut f32;
        for base in [left, right, sum] {
            check_device(state, device, base + 4 * i, 4)?;
        }
        // SAFETY: checked to lie in allocations.
        unsafe { at(sum).write(at(left).read() + at(right).read()) };
    }
    Ok(())
}

fn reverse(state: &mut State, device: i32, call: &Call) -> Status {
    let (data, base) = (call.number(0, 0), call.number(1, 0));
    let count = u64::from(call.block[0]);
    check_device(state, device, data, 4 * count)?;
    if base + 4 * count > u64::from(call.shared_bytes) {
        state.faults.insert(device, 700);
        return Ok(());
    }
    // SAFETY: checked to lie in an allocation, which is aligned.
    let elements = unsafe { std::slice::from_raw_parts_mut(data as *mut u32, count as usize) };
    elements.reverse();
    Ok(())
}

fn sum_struct(state: &mut State, device: i32, call: &Call) -> Status {
    let out = call.number(1, 0);
    check_device(state, device, out, 8)?;
    let sum = (0..3).map(|word| call.number(0, word)).sum();
    // SAFETY: checked to lie in an allocation, which is aligned.
    unsafe { (out as *mut u64).write(sum) };
    Ok(())
}
