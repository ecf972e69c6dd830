//! The bytes of checkpoint files, mapped or copied.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use crate::{Error, Result};

/// How the bytes of a checkpoint's files come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As a mapping: quick, shared with other processes, and the system can drop
    /// and reread it. A file that is truncated or rewritten in place meanwhile
    /// ends the process or changes the weights.
    #[default]
    Mapped,
    /// As a copy, safe from what becomes of the files, of this many bytes at most.
    Copied {
        /// Bytes that all files together may have.
        limit: u64,
    },
}

impl Reading {
    /// What is left for further files, after one of `bytes` bytes.
    pub(crate) fn after(self, bytes: usize) -> Self {
        match self {
            Self::Mapped => Self::Mapped,
            Self::Copied { limit } => Self::Copied {
                limit: limit.saturating_sub(bytes as u64),
            },
        }
    }
}

/// The whole of a regular file.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Invalid`] when `path` is a
/// directory, pipe or device, when the file is empty, and when a copy would be
/// above its limit.
pub(crate) fn read_file(path: &Path, reading: Reading) -> Result<Arc<Mmap>> {
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        return Err(Error::invalid(path, "not a regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let map = match reading {
        // SAFETY: the map is read-only and the bytes are only ever read as plain
        // numbers or checked text. That no one rewrites or truncates a checkpoint
        // while it is open is what `Reading::Mapped` asks for.
        Reading::Mapped => unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?,
        Reading::Copied { limit } => copy(path, file, limit)?,
    };
    if map.is_empty() {
        return Err(Error::invalid(path, "the file is empty"));
    }
    Ok(Arc::new(map))
}

fn copy(path: &Path, mut file: File, limit: u64) -> Result<Mmap> {
    let refused = |e| Error::io(path, e);
    let length = file.metadata().map_err(refused)?.len();
    if length > limit {
        let message = format!("a copy takes {length} bytes of memory, and {limit} are to be had");
        return Err(Error::invalid(path, message));
    }
    // An empty mapping is an error of the system; the caller says it better.
    let mut bytes = MmapMut::map_anon(length as usize).map_err(refused)?;
    file.read_exact(&mut bytes).map_err(refused)?;
    bytes.make_read_only().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, b"bytes").unwrap();
        assert_eq!(&read_file(&path, Reading::Mapped).unwrap()[..], b"bytes");
    }

    #[test]
    fn a_copy_does_not_follow_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 10_000]).unwrap();
        let copy = read_file(&path, Reading::Copied { limit: 10_000 }).unwrap();
        fs::write(&path, b"").unwrap();
        assert_eq!(copy[..], [7; 10_000]);
    }

    #[test]
    fn copies_keep_their_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 100]).unwrap();
        let reading = Reading::Copied { limit: 150 };
        let copy = read_file(&path, reading).unwrap();
        let error = read_file(&path, reading.after(copy.len())).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("100 bytes") && message.contains("50 are"),
            "{message}"
        );
    }

    #[test]
    fn refuses_what_is_no_readable_file() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, b"").unwrap();
        let missing = dir.path().join("missing");
        for (path, expected) in [
            (dir.path(), "not a regular file"),
            (&empty, "the file is empty"),
            (&missing, "No such file"),
        ] {
            let message = read_file(path, Reading::Mapped).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn refuses_a_pipe_and_a_symlink_loop_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let message = read_file(&fifo, Reading::Mapped).unwrap_err().to_string();
        assert!(message.contains("not a regular file"), "{message}");

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(matches!(
            read_file(&link, Reading::Mapped),
            Err(Error::Io { .. })
        ));
    }
}
