//! Finding a `rustc` that can write PTX.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The target that the kernels are compiled for.
pub(crate) const TARGET: &str = "nvptx64-nvidia-cuda";

/// A compiler with a PTX back end and the source of `core` beside it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    rustc: PathBuf,
}

impl Toolchain {
    /// Looks at `KCACHE_KERNEL_RUSTC`, or where that is unset at the `rustc` of the search path and
    /// at `/usr/bin/rustc`.
    ///
    /// # Errors
    /// [`Error::NoToolchain`], with what each of them lacks and what to install.
    pub fn find() -> Result<Self, Error> {
        let candidates = match env::var_os("KCACHE_KERNEL_RUSTC") {
            Some(rustc) => vec![PathBuf::from(rustc)],
            None => vec![PathBuf::from("rustc"), PathBuf::from("/usr/bin/rustc")],
        };
        let mut tried = String::new();
        for rustc in candidates {
            match missing(&rustc) {
                None => return Ok(Self { rustc }),
                Some(lack) => tried += &format!("  {}: {lack}\n", rustc.display()),
            }
        }
        Err(Error::NoToolchain { tried })
    }

    /// The compiler's path.
    pub fn rustc(&self) -> &Path {
        &self.rustc
    }
}

/// What a compiler lacks, if anything.
fn missing(rustc: &Path) -> Option<String> {
    let processors = match query(rustc, &["--print", "target-cpus", "--target", TARGET]) {
        Ok(list) => list,
        Err(lack) => return Some(lack),
    };
    if !processors.contains("sm_90a") {
        return Some("its LLVM does not know sm_90a".into());
    }
    match query(rustc, &["--print", "sysroot"]) {
        Ok(sysroot) => {
            let lock = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
            (!lock.exists()).then(|| format!("no source of core ({})", lock.display()))
        }
        Err(lack) => Some(lack),
    }
}

fn query(rustc: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(rustc)
        .args(arguments)
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
