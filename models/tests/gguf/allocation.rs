//! Opening a file, sound or broken, allocates less than twice its size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kcache_models::gguf::GgufFile;

use crate::builder::{Gguf, array, kind, string, write};

/// Path, error text and the like, whatever the file's size.
const SLACK: usize = 4096;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Counts each thread's bytes, so that tests beside this one do not matter.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters
// are plain cells that allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().wrapping_add(layout.size());
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `run` had allocated at its worst moment.
fn peak_of(run: impl FnOnce()) -> usize {
    LIVE.set(0);
    PEAK.set(0);
    run();
    PEAK.get()
}

#[track_caller]
fn assert_bounded(what: &str, gguf: &Gguf, sound: bool) {
    let bytes = gguf.bytes();
    let (_dir, path) = write(&bytes);
    let peak = peak_of(|| assert_eq!(GgufFile::open(&path).is_ok(), sound, "{what}"));
    let limit = 2 * bytes.len() + SLACK;
    assert!(peak <= limit, "{what}: {peak} bytes, limit {limit}");
}

#[test]
fn the_counter_counts() {
    assert!(peak_of(|| drop(std::hint::black_box(vec![0u8; 100_000]))) >= 100_000);
}

#[test]
fn many_small_things() {
    let keys = (0..60_000).fold(Gguf::new(), |gguf, i| {
        gguf.raw(format!("{i:x}"), kind::U8, &[0])
    });
    assert_bounded("keys", &keys, true);
    let tensors = (0..60_000).fold(Gguf::new(), |gguf, i| {
        gguf.tensor(&format!("{i:x}"), &[1], 0, &[0; 4])
    });
    assert_bounded("tensors", &tensors, true);
    let empty = string(b"").repeat(100_000);
    let texts = array(kind::STRING, 100_000, &empty);
    assert_bounded("texts", &Gguf::new().raw("k", kind::ARRAY, &texts), true);
}

#[test]
fn an_array_of_text_read_at_once() {
    let texts = array(kind::STRING, 100_000, &string(b"").repeat(100_000));
    let (_dir, path) = Gguf::new().raw("k", kind::ARRAY, &texts).write();
    let file = GgufFile::open(&path).unwrap();
    let peak = peak_of(|| drop(file.require::<Vec<&str>>("k").unwrap()));
    assert!(peak <= 2 * texts.len() + SLACK, "{peak}");
}

#[test]
fn huge_counts() {
    for n in [1000, 1 << 20, 1 << 32, 1 << 60, u64::MAX] {
        let mut gguf = Gguf::new().u32("k", 1);
        gguf.n_keys = Some(n);
        assert_bounded("keys", &gguf, false);
        let mut gguf = Gguf::new().floats("t", &[1], &[0.0]);
        gguf.n_tensors = Some(n);
        assert_bounded("tensors", &gguf, false);
        for element in [kind::U8, kind::U64, kind::STRING] {
            let payload = array(element, n, &[0; 8]);
            assert_bounded("array", &Gguf::new().raw("k", kind::ARRAY, &payload), false);
        }
        let payload = n.to_le_bytes();
        assert_bounded("text", &Gguf::new().raw("k", kind::STRING, &payload), false);
    }
}
