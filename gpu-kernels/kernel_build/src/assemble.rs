//! Running the assembler, `ptxas`, and reading its report.

use std::path::Path;
use std::process::Command;

use crate::{Architecture, Error};

/// What the assembler allocated for one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelResources {
    /// The entry's name.
    pub name: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Local memory of a thread, in bytes.
    pub stack_bytes: u32,
    /// Bytes of registers stored to local memory.
    pub spill_store_bytes: u32,
    /// Bytes of registers loaded back.
    pub spill_load_bytes: u32,
}

impl KernelResources {
    /// Whether the kernel touches local memory.
    pub fn uses_local_memory(&self) -> bool {
        self.stack_bytes + self.spill_store_bytes + self.spill_load_bytes > 0
    }
}

/// Assembles a PTX file with `ptxas` and returns what each kernel uses, in the order of the file.
///
/// # Errors
/// [`Error::Start`] where `ptxas` is not to be had, [`Error::Failed`] with its messages.
pub fn assemble(
    ptxas: &Path,
    ptx: &Path,
    architecture: Architecture,
) -> Result<Vec<KernelResources>, Error> {
    let output = Command::new(ptxas)
        .args([
            "--verbose",
            "--warn-on-spills",
            "--warn-on-local-memory-usage",
            "--generate-line-info",
        ])
        .args([
            "--gpu-name",
            architecture.name(),
            "--output-file",
            "/dev/null",
        ])
        .arg(ptx)
        .output()
        .map_err(|source| Error::Start {
            program: ptxas.display().to_string(),
            source,
        })?;
    let report = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        Ok(parse_report(&report))
    } else {
        Err(Error::Failed {
            program: ptxas.display().to_string(),
            subject: ptx.display().to_string(),
            output: report.into_owned(),
        })
    }
}

/// Reads the report of `ptxas --verbose`.
pub fn parse_report(report: &str) -> Vec<KernelResources> {
    let mut kernels: Vec<KernelResources> = Vec::new();
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default().to_owned();
            kernels.push(KernelResources {
                name,
                ..KernelResources::default()
            });
        } else if let Some(kernel) = kernels.last_mut() {
            for part in line.split(',') {
                read_part(kernel, part);
            }
        }
    }
    kernels
}

/// Reads one figure, such as `Used 40 registers` or `8 bytes stack frame`.
fn read_part(kernel: &mut KernelResources, part: &str) {
    let words: Vec<&str> = part.split_whitespace().collect();
    let figure = words.iter().find_map(|word| word.parse().ok()).unwrap_or(0);
    if part.ends_with("registers") {
        kernel.registers = figure;
    } else if part.ends_with("bytes smem") {
        kernel.shared_bytes = figure;
    } else if part.ends_with("bytes stack frame") {
        kernel.stack_bytes = figure;
    } else if part.ends_with("bytes spill stores") {
        kernel.spill_store_bytes = figure;
    } else if part.ends_with("bytes spill loads") {
        kernel.spill_load_bytes = figure;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read_whole() {
        let report = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'gemm' for 'sm_90a'\n\
            ptxas info    : Function properties for gemm\n    \
            16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 128 registers, used 1 barriers, 4096 bytes smem\n\
            ptxas info    : Compiling entry function 'copy' for 'sm_90a'\n    \
            0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
            ptxas info    : Used 14 registers\n";
        let kernels = parse_report(report);
        let gemm = KernelResources {
            name: "gemm".into(),
            registers: 128,
            shared_bytes: 4096,
            stack_bytes: 16,
            spill_store_bytes: 8,
            spill_load_bytes: 12,
        };
        assert_eq!(kernels[0], gemm);
        assert!(kernels[0].uses_local_memory());
        assert_eq!(
            (kernels[1].name.as_str(), kernels[1].registers),
            ("copy", 14)
        );
        assert!(!kernels[1].uses_local_memory());
    }
}
