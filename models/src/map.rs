//! Read-only mappings of checkpoint files.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::{Error, Result};

/// Maps the whole of a regular file.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Invalid`] when `path` is a
/// directory, pipe or device, or the file is empty.
pub(crate) fn map_file(path: &Path) -> Result<Arc<Mmap>> {
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        return Err(Error::invalid(path, "not a regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    // SAFETY: the map is read-only and the bytes are only ever read as plain
    // numbers or checked text. That no one rewrites or truncates a checkpoint
    // while it is open is this crate's documented requirement.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
    if map.is_empty() {
        return Err(Error::invalid(path, "the file is empty"));
    }
    Ok(Arc::new(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, b"bytes").unwrap();
        assert_eq!(&map_file(&path).unwrap()[..], b"bytes");
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
            let message = map_file(path).unwrap_err().to_string();
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
        let message = map_file(&fifo).unwrap_err().to_string();
        assert!(message.contains("not a regular file"), "{message}");

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(matches!(map_file(&link), Err(Error::Io { .. })));
    }
}
