//! How much memory the host can give.

use std::fmt;

use kcache_models::Reading;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Left to the system and to the rest of the process.
const MARGIN: u64 = 512 << 20;

/// The limits on host memory that this process meets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// What the system can give without swapping, if it tells.
    pub available: Option<u64>,
    /// What is left of the control group's limit, where there is one.
    pub control_group: Option<u64>,
    /// `RLIMIT_MEMLOCK`, where it is finite.
    pub memlock: Option<u64>,
}

impl HostLimits {
    /// Reads the limits as they are now.
    pub fn read() -> Self {
        let memory = MemoryRefreshKind::nothing().with_ram();
        let kind = RefreshKind::nothing().with_memory(memory);
        let system = System::new_with_specifics(kind).ok();
        let group = system.as_ref().and_then(System::cgroup_limits);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            available: system.as_ref().map(System::available_memory),
            control_group: group.map(|group| group.free_memory),
            memlock: parse_memlock(&limits),
        }
    }

    /// Bytes that can be taken without risking that the system kills the
    /// process. `RLIMIT_MEMLOCK` is left out: drivers differ in heeding it.
    pub fn spare(&self) -> u64 {
        self.left().unwrap_or(u64::MAX).saturating_sub(MARGIN)
    }

    /// Bytes that the system and the control group have left, if they tell.
    pub fn left(&self) -> Option<u64> {
        let limits = [self.available, self.control_group];
        limits.into_iter().flatten().min()
    }

    /// A copy of a checkpoint's files, as large as [`HostLimits::spare`] allows.
    pub fn copies(&self) -> Reading {
        Reading::Copied {
            limit: self.spare(),
        }
    }

    /// What a user can do who needs `wanted` bytes pinned.
    pub(super) fn advice(&self, wanted: u64) -> String {
        let mut advice = format!("{self}; lower the context length or the batch");
        if self.control_group.is_some_and(|left| left < wanted) {
            advice.push_str(", or raise the container's memory limit");
        }
        if self.memlock.is_some_and(|limit| limit < wanted) {
            advice.push_str(", or raise the limit on locked memory (ulimit -l)");
        }
        advice
    }
}

impl fmt::Display for HostLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.available {
            Some(available) => write!(f, "{available} bytes are available")?,
            None => write!(f, "the system does not tell what is available")?,
        }
        if let Some(left) = self.control_group {
            write!(f, ", {left} within the control group")?;
        }
        if let Some(limit) = self.memlock {
            write!(f, ", {limit} may be locked")?;
        }
        Ok(())
    }
}

/// The soft limit in the text of `/proc/self/limits`; `None` if unlimited.
fn parse_memlock(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_locked_memory_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max locked memory         8388608              unlimited            bytes\n";
        assert_eq!(parse_memlock(text), Some(8 << 20));
        let unlimited = text.replace("8388608  ", "unlimited");
        assert_eq!(parse_memlock(&unlimited), None);
        assert_eq!(parse_memlock(""), None);
    }

    #[test]
    fn this_machine_has_memory() {
        let limits = HostLimits::read();
        let available = limits.available.unwrap();
        assert!(available > 0 && limits.spare() < available, "{limits}");
    }

    #[test]
    fn advice_names_only_limits_that_are_met() {
        let limits = HostLimits {
            available: Some(10 << 30),
            control_group: Some(1 << 30),
            memlock: Some(8 << 20),
        };
        let tight = limits.advice(2 << 30);
        assert!(
            tight.contains("container") && tight.contains("ulimit -l"),
            "{tight}"
        );
        let loose = limits.advice(1 << 20);
        assert!(
            !loose.contains("container") && !loose.contains("ulimit"),
            "{loose}"
        );
        assert_eq!(limits.spare(), (1 << 30) - MARGIN);
    }
}
