//! A stand-in for the driver, in host memory, for tests without a GPU.
//!
//! It has two devices, runs everything at once unless told to hold it back, knows the test kernels by
//! name, and is stricter than the driver: a call without a current context, an
//! address outside an allocation, a copy across registrations are all errors.

mod emulated;
mod kernels;
mod launch;
mod machine;
mod memory;
mod queue;
mod schedule;

use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use memory::Allocation;
use queue::{Call, Queue};

pub(crate) use memory::refuse_pinning;
pub(crate) use schedule::reorder;

/// What a fake function returns: `Err` is the driver's code.
type Status = Result<(), u32>;

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const INVALID_CONTEXT: u32 = 201;
const INVALID_HANDLE: u32 = 400;
const CAPTURE_UNSUPPORTED: u32 = 900;

/// Everything the driver knows.
#[derive(Default)]
struct State {
    next_handle: usize,
    /// The fault that ended each device.
    faults: HashMap<i32, u32>,
    /// By first byte.
    memory: HashMap<u64, Allocation>,
    queues: HashMap<usize, Queue>,
    /// Whether it notes time, and when it was recorded.
    events: HashMap<usize, (bool, Option<Instant>)>,
    /// Text of each module.
    modules: HashMap<usize, String>,
    functions: HashMap<usize, launch::Kernel>,
    graphs: HashMap<usize, Vec<Call>>,
    /// What streams hold back, if they do.
    schedule: Option<schedule::Schedule>,
}

impl State {
    fn handle(&mut self) -> usize {
        self.next_handle += 16;
        self.next_handle
    }
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Runs `work` on the state, for the device of the current context.
fn on_device(work: impl FnOnce(&mut State, i32) -> Status) -> u32 {
    let Some(device) = machine::current_device() else {
        return INVALID_CONTEXT;
    };
    let mut state: MutexGuard<'_, Option<State>> =
        STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state.get_or_insert_default();
    if let Some(&fault) = state.faults.get(&device) {
        return fault;
    }
    work(state, device).err().unwrap_or(0)
}

/// Writes what a function returns through a pointer.
fn give<T>(to: *mut T, value: T) {
    // SAFETY: the driver module passes a place for one value.
    unsafe { to.write(value) };
}

/// The fake of each function, as `dlsym` would find it.
pub(super) fn symbol(name: &CStr) -> Option<*mut c_void> {
    let name = name.to_str().ok()?;
    machine::symbol(name)
        .or_else(|| memory::symbol(name))
        .or_else(|| queue::symbol(name))
        .or_else(|| launch::symbol(name))
}

/// A look-up of the functions named, in their own module.
macro_rules! symbols {
    ($($name:ident)+) => {
        pub(super) fn symbol(name: &str) -> Option<*mut std::ffi::c_void> {
            match name {
                $(stringify!($name) => Some($name as *const () as *mut std::ffi::c_void),)+
                _ => None,
            }
        }
    };
}
use symbols;
