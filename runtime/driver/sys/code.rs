//! What the driver's functions return, and what it means.

use std::fmt;

use super::{CUresult, entry_points, library};

/// A result of the driver other than success, as `CUresult` numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    pub(in crate::driver) const OUT_OF_MEMORY: Self = Self(2);
    pub(in crate::driver) const NO_DEVICE: Self = Self(100);
    pub(in crate::driver) const NO_BINARY_FOR_GPU: Self = Self(209);
    pub(in crate::driver) const INVALID_PTX: Self = Self(218);
    pub(in crate::driver) const UNSUPPORTED_PTX_VERSION: Self = Self(222);
    pub(in crate::driver) const NOT_READY: Self = Self(600);
    pub(in crate::driver) const LAUNCH_OUT_OF_RESOURCES: Self = Self(701);
    pub(in crate::driver) const NOT_PERMITTED: Self = Self(800);
    pub(in crate::driver) const NOT_SUPPORTED: Self = Self(801);

    /// Whether no call can succeed in this process any more: a fault in a
    /// kernel, broken hardware, or a context that is gone.
    pub(in crate::driver) fn is_sticky(self) -> bool {
        match self.0 {
            // ECC and NVLink errors, a contained error, shutdown of the driver.
            4 | 214 | 220 | 226 => true,
            // Refused before it ran: these leave the context whole.
            701 | 703..=705 | 708 | 711..=713 | 720 => false,
            // Faults and timeouts of kernels, also those of later drivers.
            700..=799 => true,
            _ => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match library::describe(self.0) {
            Some((name, text)) => write!(f, "{name} ({}): {text}", self.0),
            None => write!(f, "CUDA error {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A call of the driver that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The driver's function. After an asynchronous fault it is the call that
    /// reported the fault, not the one that caused it.
    pub call: &'static str,
    /// What it returned.
    pub code: Code,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returned {}", self.call, self.code)
    }
}

/// Turns what `call` returned into a `Result`.
pub(in crate::driver) fn outcome(
    call: &'static str,
    result: CUresult,
) -> std::result::Result<(), Failure> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        _ => Err(Failure {
            call,
            code: Code(entry_points::last_code()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_sticky_and_refusals_are_not() {
        for code in [214, 220, 226, 700, 702, 709, 710, 715, 716, 718, 719, 721] {
            assert!(Code(code).is_sticky(), "{code}");
        }
        for code in [
            1, 2, 3, 100, 201, 209, 218, 222, 400, 500, 600, 701, 703, 712, 720, 801, 900, 999,
        ] {
            assert!(!Code(code).is_sticky(), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_still_has_a_text() {
        let failure = Failure {
            call: "cuThing",
            code: Code(70_000),
        };
        assert_eq!(failure.to_string(), "cuThing returned CUDA error 70000");
    }
}
