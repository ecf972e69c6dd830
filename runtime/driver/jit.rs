//! The driver's compiler, from PTX to code for its device.

use std::ffi::{CString, c_void};

use super::sys::{self, CUjit_option as Jit, CUmodule, Code, Failure, cuModuleLoadDataEx, outcome};
use super::{Device, PtxImage};

/// Room for what the compiler has to say.
const LOG_BYTES: usize = 16 << 10;

/// A module, with the compiler's remarks.
pub(super) struct Compiled {
    pub module: CUmodule,
    pub log: String,
}

/// A compilation that failed, with the compiler's errors.
pub(super) struct Failed {
    pub failure: Failure,
    pub log: String,
}

/// Compiles `image`, with line information for profilers, into the current context.
pub(super) fn compile(image: &PtxImage<'_>) -> Result<Compiled, Failed> {
    // `PtxImage` holds no NUL, so nothing is cut off.
    let text = CString::new(image.text).unwrap_or_default();
    let mut info = vec![0u8; LOG_BYTES];
    let mut errors = vec![0u8; LOG_BYTES];
    // Numbers travel in the place of pointers.
    let number = |value: usize| value as *mut c_void;
    let mut names = [
        Jit::CU_JIT_INFO_LOG_BUFFER,
        Jit::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
        Jit::CU_JIT_ERROR_LOG_BUFFER,
        Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        Jit::CU_JIT_LOG_VERBOSE,
        Jit::CU_JIT_GENERATE_LINE_INFO,
    ];
    let mut values: [*mut c_void; 6] = [
        info.as_mut_ptr().cast(),
        number(LOG_BYTES),
        errors.as_mut_ptr().cast(),
        number(LOG_BYTES),
        number(1),
        number(1),
    ];
    let mut module: CUmodule = std::ptr::null_mut();
    // SAFETY: the text is terminated; as many values as names, each of its
    // option's kind; the logs are as long as said and outlive the call.
    let result = unsafe {
        cuModuleLoadDataEx(
            &mut module,
            text.as_ptr().cast(),
            names.len() as u32,
            names.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    match outcome("cuModuleLoadDataEx", result) {
        Ok(()) => Ok(Compiled {
            module,
            log: log_text(&info),
        }),
        Err(failure) => Err(Failed {
            failure,
            log: log_text(&errors),
        }),
    }
}

/// The log up to its terminator.
fn log_text(log: &[u8]) -> String {
    let len = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..len]).trim().to_owned()
}

impl Failed {
    /// The reason, what to do about it, and what the compiler said.
    pub(super) fn explain(&self, image: &PtxImage<'_>, device: &Device) -> String {
        let reason = match self.failure.code {
            Code::UNSUPPORTED_PTX_VERSION => format!(
                "they are PTX {}, and the driver is for CUDA {}: update the NVIDIA driver",
                image.version,
                sys::driver().map_or_else(|_| "?".to_owned(), |d| d.version.to_string()),
            ),
            Code::INVALID_PTX => "the PTX is invalid".to_owned(),
            Code::NO_BINARY_FOR_GPU => format!(
                "the image for {} does not suit compute capability {}",
                image.architecture, device.capability
            ),
            _ => "the driver refuses them".to_owned(),
        };
        let mut text = format!("{reason}; {}", self.failure);
        if !self.log.is_empty() {
            text.push_str("; its compiler says: ");
            text.push_str(&self.log);
        }
        text
    }
}
