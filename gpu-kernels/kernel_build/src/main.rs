//! `kernels`: writes the PTX images, and with `--ptxas` checks them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kernel_build::{Architecture, Error, KernelResources, Toolchain, assemble, compile};

const USAGE: &str = "usage: kernels MANIFEST OUTPUT_DIR [--ptxas PROGRAM]

Compiles the kernels of the crate at MANIFEST to OUTPUT_DIR/kernels.ARCH.ptx for every
architecture. With --ptxas, prints what each kernel uses, and fails if one uses local memory.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (manifest, output, ptxas) = match words[..] {
        [manifest, output] => (manifest, output, None),
        [manifest, output, "--ptxas", program] => (manifest, output, Some(program)),
        _ => return report(&USAGE),
    };
    match run(Path::new(manifest), Path::new(output), ptxas.map(Path::new)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => report(&"a kernel uses local memory: marked with * above"),
        Err(error) => report(&error),
    }
}

fn report(message: &dyn std::fmt::Display) -> ExitCode {
    // Nothing is left to do where standard error is closed.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::FAILURE
}

/// Builds every image; `false` where a kernel uses local memory.
fn run(manifest: &Path, output: &Path, ptxas: Option<&Path>) -> Result<bool, Error> {
    let toolchain = Toolchain::find()?;
    let mut clean = true;
    for architecture in Architecture::ALL {
        let ptx = compile(&toolchain, manifest, &output.join("build"), architecture)?;
        let path = output.join(format!("kernels.{}.ptx", architecture.name()));
        write(&path, &ptx)?;
        if let Some(ptxas) = ptxas {
            let kernels = assemble(ptxas, &path, architecture)?;
            clean &= !kernels.iter().any(KernelResources::uses_local_memory);
            print(&table(architecture, &kernels))?;
        }
    }
    Ok(clean)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| Error::File {
            path: PathBuf::from("standard output"),
            source,
        })
}

fn table(architecture: Architecture, kernels: &[KernelResources]) -> String {
    let mut text = format!(
        "{:<40} {:>9} {:>7} {:>6} {:>7}\n",
        architecture.name(),
        "registers",
        "shared",
        "stack",
        "spills",
    );
    for kernel in kernels {
        let mark = if kernel.uses_local_memory() { "*" } else { "" };
        text += &format!(
            "{:<40} {:>9} {:>7} {:>6} {:>7}{mark}\n",
            kernel.name,
            kernel.registers,
            kernel.shared_bytes,
            kernel.stack_bytes,
            kernel.spill_store_bytes + kernel.spill_load_bytes,
        );
    }
    text
}
