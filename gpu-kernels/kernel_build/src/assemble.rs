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
/// [`Error::Start`] where `ptxas` is not to be had, [`Error::Failed`] with its messages, also where it
/// lets each `wgmma` wait for the one before.
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
    if output.status.success() && !waits_between_products(&report) {
        Ok(parse_report(&report))
    } else {
        Err(Error::Failed {
            program: ptxas.display().to_string(),
            subject: ptx.display().to_string(),
            output: report.into_owned(),
        })
    }
}

/// Whether the assembler says that products of a warpgroup wait for each other where the source does
/// not: it serialises them, or puts in what orders their registers.
fn waits_between_products(report: &str) -> bool {
    const SIGNS: [&str; 3] = [
        "wgmma.mma_async instructions are serialized",
        "warpgroup.wait is injected",
        "warpgroup.arrive is injected",
    ];
    SIGNS.iter().any(|sign| report.contains(sign))
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

/// Reads one figure, such as `Used 40 registers` or `8 bytes stack frame`. The report goes on with
/// the functions that a kernel calls: the largest figure counts, so that theirs hide none of its.
fn read_part(kernel: &mut KernelResources, part: &str) {
    let words: Vec<&str> = part.split_whitespace().collect();
    let figure: u32 = words.iter().find_map(|word| word.parse().ok()).unwrap_or(0);
    let target = if part.ends_with("registers") {
        &mut kernel.registers
    } else if part.ends_with("bytes smem") {
        &mut kernel.shared_bytes
    } else if part.ends_with("bytes stack frame") {
        &mut kernel.stack_bytes
    } else if part.ends_with("bytes spill stores") {
        &mut kernel.spill_store_bytes
    } else if part.ends_with("bytes spill loads") {
        &mut kernel.spill_load_bytes
    } else {
        return;
    };
    *target = figure.max(*target);
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

    #[test]
    fn products_that_wait_for_each_other_are_told() {
        let injected = "ptxas info    : (C7519) warpgroup.arrive is injected in around line 48186 by \
                        compiler to allow use of registers in GMMA in function 'gemm'\n";
        let serialised = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async \
                          instructions are serialized due to insufficient register resources\n";
        assert!(waits_between_products(injected) && waits_between_products(serialised));
        let usual = "ptxas info    : Compiling entry function 'gemm_wgmma' for 'sm_90a'\n";
        assert!(!waits_between_products(usual));
    }

    #[test]
    fn a_function_that_a_kernel_calls_hides_nothing() {
        let report = "ptxas info    : Compiling entry function 'scan' for 'sm_90a'\n\
            ptxas info    : Function properties for scan\n    \
            24 bytes stack frame, 28 bytes spill stores, 20 bytes spill loads\n\
            ptxas info    : Used 128 registers, 24 bytes cumulative stack size, 1488 bytes smem\n\
            ptxas info    : Function properties for panic_fmt\n    \
            0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n";
        let [scan] = parse_report(report).try_into().unwrap();
        let local = [
            scan.stack_bytes,
            scan.spill_store_bytes,
            scan.spill_load_bytes,
        ];
        assert_eq!((local, scan.registers), ([24, 28, 20], 128));
        assert!(scan.uses_local_memory());
    }
}
