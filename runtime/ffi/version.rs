//! Which kcache this is.

use std::ffi::c_char;

/// Major version of the header: incompatible changes.
pub const KCACHE_VERSION_MAJOR: u32 = 0;
/// Minor version of the header: additions; before 1.0 incompatible changes too.
pub const KCACHE_VERSION_MINOR: u32 = 1;
/// Patch version of the header: corrections.
pub const KCACHE_VERSION_PATCH: u32 = 0;

/// The version of the library that runs, as
/// `major * 1000000 + minor * 1000 + patch`. Programs that load the library at
/// run time compare it with KCACHE_VERSION_MAJOR and KCACHE_VERSION_MINOR.
#[unsafe(no_mangle)]
pub extern "C" fn kcache_version() -> u32 {
    KCACHE_VERSION_MAJOR * 1_000_000 + KCACHE_VERSION_MINOR * 1000 + KCACHE_VERSION_PATCH
}

/// The same as text, such as "0.1.0": it lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn kcache_version_text() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_packages_version() {
        let numbers = [
            KCACHE_VERSION_MAJOR,
            KCACHE_VERSION_MINOR,
            KCACHE_VERSION_PATCH,
        ];
        let text = numbers.map(|n| n.to_string()).join(".");
        assert_eq!(text, env!("CARGO_PKG_VERSION"));
    }
}
