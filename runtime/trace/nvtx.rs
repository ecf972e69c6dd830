//! NVTX, version 3: how Nsight and other profilers listen to a program.
//!
//! A profiler names its library in `NVTX_INJECTION64_PATH`. The program opens
//! it, calls its `InitializeInjectionNvtx2`, and hands it the tables of slots
//! that the functions of NVTX go through; the library fills those it wants. This
//! is what NVIDIA's headers do, of which only the few functions needed here are
//! declared, so that neither a C compiler nor libclang is needed to build.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::Library;

use super::Range;

/// The domain that all ranges are in.
const DOMAIN: &CStr = c"kcache";
/// Where a profiler names its library.
const LIBRARY: &str = "NVTX_INJECTION64_PATH";
/// `NVTX_VERSION`.
const VERSION: u16 = 3;

/// Functions of each module of NVTX, by the module's number: none, core, CUDA,
/// OpenCL, the CUDA runtime, domains, synchronisation.
const SIZES: [usize; 7] = [0, 16, 9, 15, 7, 16, 7];
/// The module of domains.
const CORE2: usize = 5;
/// Its functions, by number.
const RANGE_PUSH: usize = 4;
const RANGE_POP: usize = 5;
const REGISTER_STRING: usize = 10;
const CREATE_DOMAIN: usize = 12;

/// `NVTX_MESSAGE_TYPE_REGISTERED`.
const REGISTERED: i32 = 3;
/// `NVTX_PAYLOAD_TYPE_UNSIGNED_INT64`.
const UNSIGNED: i32 = 1;

/// `nvtxEventAttributes_t`.
#[repr(C)]
#[derive(Debug)]
struct Attributes {
    version: u16,
    size: u16,
    category: u32,
    color_type: i32,
    color: u32,
    payload_type: i32,
    reserved: i32,
    payload: u64,
    message_type: i32,
    message: *mut c_void,
}

type GetExportTable = unsafe extern "C" fn(u32) -> *const c_void;
type Initialize = unsafe extern "C" fn(GetExportTable) -> c_int;
type CreateDomain = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type RegisterString = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type PushRange = unsafe extern "C" fn(*mut c_void, *const Attributes) -> c_int;
type PopRange = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `NvtxExportTableCallbacks`.
#[repr(C)]
struct Callbacks {
    size: usize,
    table: unsafe extern "C" fn(c_int, *mut *mut Slot, *mut c_uint) -> c_int,
}

/// `NvtxExportTableVersionInfo`.
#[repr(C)]
struct VersionInfo {
    size: usize,
    version: u32,
    reserved: u32,
    set_version: unsafe extern "C" fn(u32),
}

static CALLBACKS: Callbacks = Callbacks {
    size: size_of::<Callbacks>(),
    table: module_table,
};

static VERSION_INFO: VersionInfo = VersionInfo {
    size: size_of::<VersionInfo>(),
    version: VERSION as u32,
    reserved: 0,
    set_version,
};

/// A pointer to where the address of a function goes.
type Slot = *mut *mut c_void;

/// The functions of all modules, null until a profiler gives them.
static FUNCTIONS: [[AtomicPtr<c_void>; 16]; SIZES.len()] =
    [const { [const { AtomicPtr::new(null_mut()) }; 16] }; SIZES.len()];

/// A profiler that listens.
struct Profiler {
    domain: *mut c_void,
    /// Handles of the names, in the order of [`Range::ALL`].
    names: [*mut c_void; Range::ALL.len()],
    push: PushRange,
    pop: PopRange,
}

// SAFETY: NVTX takes its handles from any thread.
unsafe impl Send for Profiler {}
// SAFETY: as above.
unsafe impl Sync for Profiler {}

static PROFILER: OnceLock<Option<Profiler>> = OnceLock::new();

/// Whether a profiler listens; looks for it at the first call. A library that
/// cannot be opened or does not want to listen is as good as none.
pub fn listens() -> bool {
    PROFILER
        .get_or_init(|| connect(&std::env::var_os(LIBRARY)?))
        .is_some()
}

fn profiler() -> Option<&'static Profiler> {
    PROFILER.get()?.as_ref()
}

/// Begins a range of this thread; `false` if nobody listens.
pub(super) fn push(range: Range, layer: Option<usize>) -> bool {
    let Some(profiler) = profiler() else {
        return false;
    };
    let attributes = Attributes {
        version: VERSION,
        size: size_of::<Attributes>() as u16,
        category: 0,
        color_type: 0,
        color: 0,
        payload_type: layer.map_or(0, |_| UNSIGNED),
        reserved: 0,
        payload: layer.unwrap_or(0) as u64,
        message_type: REGISTERED,
        message: profiler.names[range as usize],
    };
    // SAFETY: the domain and the name are the profiler's own handles, and it
    // reads the attributes before it returns.
    unsafe { (profiler.push)(profiler.domain, &attributes) };
    true
}

/// Ends the newest range of this thread.
pub(super) fn pop() {
    if let Some(profiler) = profiler() {
        // SAFETY: as in `push`.
        unsafe { (profiler.pop)(profiler.domain) };
    }
}

/// Opens a profiler's library and lets it fill the slots.
fn connect(path: &OsStr) -> Option<Profiler> {
    // SAFETY: loading runs the library's initialisers: the user named it for that.
    let library = unsafe { Library::new(path) }.ok()?;
    // SAFETY: NVTX gives the function of this name this type.
    let initialize: Initialize = unsafe { *library.get(c"InitializeInjectionNvtx2").ok()? };
    // SAFETY: the tables behind `export_table` live as long as the process.
    let listens = unsafe { initialize(export_table) } != 0;
    // Never closed: the slots may point into it.
    std::mem::forget(library);
    listens.then(Profiler::introduce)?
}

impl Profiler {
    /// Makes the domain and registers the names with whoever filled the slots;
    /// `None` if they left out what a range needs.
    fn introduce() -> Option<Self> {
        let function = |number: usize| {
            let function = FUNCTIONS[CORE2][number].load(Ordering::Acquire);
            (!function.is_null()).then_some(function)
        };
        // SAFETY: the profiler puts functions of these types into these slots.
        let (create, push, pop) = unsafe {
            (
                transmute::<*mut c_void, CreateDomain>(function(CREATE_DOMAIN)?),
                transmute::<*mut c_void, PushRange>(function(RANGE_PUSH)?),
                transmute::<*mut c_void, PopRange>(function(RANGE_POP)?),
            )
        };
        // SAFETY: as above.
        let register =
            unsafe { transmute::<*mut c_void, RegisterString>(function(REGISTER_STRING)?) };
        // SAFETY: the name is terminated.
        let domain = unsafe { create(DOMAIN.as_ptr()) };
        let names = Range::ALL.map(|range| {
            let name = CString::new(range.name()).unwrap_or_default();
            // SAFETY: the name is terminated, and copied by the profiler.
            unsafe { register(domain, name.as_ptr()) }
        });
        Some(Self {
            domain,
            names,
            push,
            pop,
        })
    }
}

/// `nvtxGetExportTable`.
unsafe extern "C" fn export_table(number: u32) -> *const c_void {
    match number {
        1 => (&raw const CALLBACKS).cast(),
        3 => (&raw const VERSION_INFO).cast(),
        _ => std::ptr::null(),
    }
}

unsafe extern "C" fn set_version(_: u32) {}

/// Hands out where the functions of a module go: an array with a pointer to the
/// slot of each function by its number, the first and the last null.
unsafe extern "C" fn module_table(
    module: c_int,
    table: *mut *mut Slot,
    size: *mut c_uint,
) -> c_int {
    static TABLES: OnceLock<[Box<[usize]>; SIZES.len()]> = OnceLock::new();
    let Ok(module) = usize::try_from(module) else {
        return 0;
    };
    let tables = TABLES.get_or_init(|| std::array::from_fn(slots));
    let Some(slots) = tables.get(module).filter(|slots| !slots.is_empty()) else {
        return 0;
    };
    if !table.is_null() {
        // SAFETY: the caller passes room for one pointer; the array is never freed.
        unsafe { table.write(slots.as_ptr().cast_mut().cast()) };
    }
    if !size.is_null() {
        // SAFETY: the caller passes room for one number.
        unsafe { size.write(SIZES[module] as c_uint) };
    }
    1
}

/// Addresses of a module's slots.
fn slots(module: usize) -> Box<[usize]> {
    match SIZES[module] {
        0 => Box::default(),
        size => (0..=size)
            .map(|number| match (1..size).contains(&number) {
                true => FUNCTIONS[module][number].as_ptr() as usize,
                false => 0,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_laid_out_as_in_the_header() {
        assert_eq!(size_of::<Attributes>(), 48);
        assert_eq!(std::mem::offset_of!(Attributes, payload), 24);
        assert_eq!(std::mem::offset_of!(Attributes, message), 40);
    }

    #[test]
    fn the_names_are_in_the_order_of_the_ranges() {
        for (i, range) in Range::ALL.into_iter().enumerate() {
            assert_eq!(range as usize, i);
        }
    }

    #[test]
    fn every_module_has_its_table_and_no_other() {
        for module in -1..9 {
            let (mut table, mut size) = (null_mut(), 0);
            // SAFETY: room for both.
            let found = unsafe { module_table(module, &mut table, &mut size) };
            assert_eq!(found != 0, (1..7).contains(&module), "{module}");
            if found == 0 {
                continue;
            }
            assert_eq!(size as usize, SIZES[module as usize]);
            // SAFETY: the table has one entry more than its size says.
            let slots = unsafe { std::slice::from_raw_parts(table, size as usize + 1) };
            assert!(slots[0].is_null() && slots[size as usize].is_null());
            assert!(slots[1..size as usize].iter().all(|slot| !slot.is_null()));
        }
    }

    #[test]
    fn a_library_that_is_not_there_is_as_good_as_none() {
        assert!(connect(OsStr::new("/no/such/profiler.so")).is_none());
    }
}
