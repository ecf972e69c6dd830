//! Compiles the device kernels to PTX, for the library to embed.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kernel_build::{Architecture, Toolchain, compile};

/// What the PTX is made from. Nothing else starts this program again.
const SOURCES: [&str; 7] = [
    "gpu-kernels/Cargo.toml",
    "gpu-kernels/src",
    "gpu-kernels/cuda_std/Cargo.toml",
    "gpu-kernels/cuda_std/src",
    "gpu-kernels/cuda_std_macros/Cargo.toml",
    "gpu-kernels/cuda_std_macros/src",
    "gpu-kernels/kernel_build/src",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do where standard error is closed.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes `kernels.ARCH.ptx` for every architecture to `OUT_DIR`.
fn build() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    for source in SOURCES {
        writeln!(out, "cargo::rerun-if-changed={source}")?;
    }
    writeln!(out, "cargo::rerun-if-env-changed=KCACHE_KERNEL_RUSTC")?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    let toolchain = Toolchain::find()?;
    for architecture in Architecture::ALL {
        let manifest = Path::new("gpu-kernels/Cargo.toml");
        let ptx = compile(&toolchain, manifest, &folder.join("kernels"), architecture)?;
        fs::write(
            folder.join(format!("kernels.{}.ptx", architecture.name())),
            ptx,
        )?;
    }
    Ok(())
}
