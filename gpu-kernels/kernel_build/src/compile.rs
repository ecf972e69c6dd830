//! Running the compiler.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::toolchain::TARGET;
use crate::{Architecture, Error, Toolchain, write_launch_bounds};

/// Settings of the host build that must not reach the kernels' build.
const FOREIGN: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
];

/// Loops over arrays of registers must be unrolled whole, or the arrays end up in local memory.
const UNROLL: &str = "-Cllvm-args=-unroll-threshold=4000";

/// This pass of rustc copies what follows a condition into its branches, calls included: threads
/// of a block would then wait at different copies of a barrier, for ever. LLVM's own pass knows
/// which instructions must not be copied.
const NO_JUMP_THREADING: &str = "-Zmir-enable-passes=-JumpThreading";

/// Compiles the crate whose manifest is given, and returns its PTX with launch bounds.
///
/// Build products go to `target_dir`, one folder for each architecture, so that `core` is compiled
/// once; it must not be the target folder of a cargo that is waiting for this call.
///
/// # Errors
/// [`Error::Failed`] with the compiler's messages, [`Error::Start`], [`Error::File`], and
/// [`Error::Ptx`] where the compiler wrote something unexpected.
pub fn compile(
    toolchain: &Toolchain,
    manifest: &Path,
    target_dir: &Path,
    architecture: Architecture,
) -> Result<String, Error> {
    let target_dir = target_dir.join(architecture.name());
    let file_error = |source| Error::File {
        path: target_dir.clone(),
        source,
    };
    fs::create_dir_all(&target_dir).map_err(file_error)?;
    // The compiler runs in another folder than this program.
    let target_dir = std::path::absolute(&target_dir).map_err(file_error)?;
    let ptx = target_dir.join("kernels.ptx");
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(&cargo);
    for name in FOREIGN {
        command.env_remove(name);
    }
    let flags = format!(
        "-Ctarget-cpu={} -Ctarget-feature={} {UNROLL} {NO_JUMP_THREADING} {}",
        architecture.name(),
        architecture.ptx_feature(),
        architecture.cfg(),
    );
    command
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--lib",
            "--crate-type",
            // The one kind that is optimised whole and needs no linker.
            "staticlib",
        ])
        .args(["-Zbuild-std=core", "--target", TARGET])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        .arg("--")
        .arg(format!("--emit=asm={}", ptx.display()))
        .env("RUSTC", toolchain.rustc())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_NVPTX64_NVIDIA_CUDA_RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-directives-only");
    let output = command.output().map_err(|source| Error::Start {
        program: cargo.clone(),
        source,
    })?;
    if !output.status.success() {
        return Err(Error::Failed {
            program: cargo,
            subject: format!("the kernels for {}", architecture.name()),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let text = fs::read_to_string(&ptx).map_err(|source| Error::File { path: ptx, source })?;
    write_launch_bounds(&text)
}
