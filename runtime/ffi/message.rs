//! The texts that a handle keeps of calls that failed.

use std::collections::VecDeque;
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// Threads whose last text is kept, so that a host with ever new threads does
/// not grow.
const THREADS: usize = 64;

/// The last text of each thread that used a handle.
#[derive(Default)]
pub struct Messages(Mutex<VecDeque<(ThreadId, String)>>);

impl Messages {
    /// Replaces the calling thread's text; `None` after a call that succeeded.
    pub fn note(&self, message: Option<String>) {
        let thread = thread::current().id();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(owner, _)| *owner != thread);
        if let Some(message) = message {
            kept.truncate(THREADS - 1);
            kept.push_front((thread, message));
        }
    }

    /// Copies the calling thread's text as `snprintf` does, and returns its length.
    ///
    /// # Safety
    /// `buffer` is NULL or has `capacity` bytes to write.
    pub unsafe fn copy(&self, buffer: *mut c_char, capacity: usize) -> usize {
        let thread = thread::current().id();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let message = kept.iter().find(|(owner, _)| *owner == thread);
        let text = message.map_or("", |(_, text)| text);
        // SAFETY: passed on.
        unsafe { copy_cut(text, buffer, capacity) };
        text.len()
    }
}

/// Copies as much of `text` as fits before a NUL, whole characters only.
///
/// # Safety
/// As [`Messages::copy`].
pub unsafe fn copy_cut(text: &str, buffer: *mut c_char, capacity: usize) {
    if buffer.is_null() || capacity == 0 {
        return;
    }
    let room = text.floor_char_boundary(capacity - 1);
    // SAFETY: `room` and the NUL are within `capacity`; a `&str` of ours does not
    // overlap a buffer of the caller's.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), room);
        *buffer.add(room) = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(messages: &Messages, capacity: usize) -> (usize, Vec<u8>) {
        let mut buffer = vec![7_u8; capacity];
        // SAFETY: the buffer has `capacity` bytes.
        let length = unsafe { messages.copy(buffer.as_mut_ptr().cast(), capacity) };
        (length, buffer)
    }

    #[test]
    fn a_short_buffer_gets_whole_characters() {
        let messages = Messages::default();
        messages.note(Some("aé".into()));
        assert_eq!(copied(&messages, 5), (3, b"a\xc3\xa9\0\x07".to_vec()));
        assert_eq!(copied(&messages, 3), (3, b"a\0\x07".to_vec()));
        assert_eq!(copied(&messages, 0), (3, vec![]));
        messages.note(None);
        assert_eq!(copied(&messages, 1), (0, vec![0]));
    }

    #[test]
    fn each_thread_has_its_own_text_and_old_ones_go() {
        let messages = Messages::default();
        messages.note(Some("mine".into()));
        for _ in 0..THREADS - 1 {
            thread::scope(|s| s.spawn(|| messages.note(Some("theirs".into()))).join()).unwrap();
        }
        assert_eq!(copied(&messages, 0).0, 4);
        thread::scope(|s| s.spawn(|| messages.note(Some("theirs".into()))).join()).unwrap();
        assert_eq!(copied(&messages, 0).0, 0);
    }
}
