//! What the text of a PTX image says about itself.

use std::fmt;
use std::str::FromStr;

use super::{Capability, DriverError, Result};

/// A target of the kernel compiler, such as `sm_80` or `sm_90a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Architecture {
    /// The capability that it is for.
    pub capability: Capability,
    /// Which later devices run it.
    pub portability: Portability,
}

/// Which devices beside its own an image runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Portability {
    /// All later ones.
    All,
    /// Later ones of the same generation: the suffix `f`.
    Family,
    /// None: the suffix `a`.
    Exact,
}

impl Architecture {
    /// Whether a device of `capability` runs it.
    pub fn runs_on(self, capability: Capability) -> bool {
        match self.portability {
            Portability::All => self.capability <= capability,
            Portability::Family => {
                self.capability <= capability && self.capability.major == capability.major
            }
            Portability::Exact => self.capability == capability,
        }
    }

    /// Orders images by how much of the device they use.
    fn rank(self) -> (Capability, u8) {
        let specific = match self.portability {
            Portability::All => 0,
            Portability::Family => 1,
            Portability::Exact => 2,
        };
        (self.capability, specific)
    }
}

impl FromStr for Architecture {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || DriverError::argument(format!("{text:?} is no architecture like sm_80"));
        let rest = text.strip_prefix("sm_").ok_or_else(invalid)?;
        let (digits, portability) = match rest.as_bytes().last() {
            Some(b'a') => (&rest[..rest.len() - 1], Portability::Exact),
            Some(b'f') => (&rest[..rest.len() - 1], Portability::Family),
            _ => (rest, Portability::All),
        };
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u32 = digits.parse().map_err(|_| invalid())?;
        Ok(Self {
            capability: Capability {
                major: number / 10,
                minor: number % 10,
            },
            portability,
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.portability {
            Portability::All => "",
            Portability::Family => "f",
            Portability::Exact => "a",
        };
        let Capability { major, minor } = self.capability;
        write!(f, "sm_{major}{minor}{suffix}")
    }
}

/// Kernels as PTX text, for one architecture.
#[derive(Clone, Copy, Debug)]
pub struct PtxImage<'a> {
    /// The PTX.
    pub text: &'a str,
    /// Its `.target`.
    pub architecture: Architecture,
    /// Its `.version`.
    pub version: &'a str,
}

impl<'a> PtxImage<'a> {
    /// Reads the head of `text`.
    ///
    /// # Errors
    /// [`DriverError::InvalidArgument`] if it has no `.version` and `.target`,
    /// or holds a NUL.
    pub fn new(text: &'a str) -> Result<Self> {
        let directive = |name: &str| {
            let mut words = text.lines().map(|line| line.split_whitespace());
            words.find_map(|mut line| (line.next()? == name).then(|| line.next())?)
        };
        let missing = |name: &str| DriverError::argument(format!("PTX without {name}"));
        let version = directive(".version").ok_or_else(|| missing(".version"))?;
        let target = directive(".target").ok_or_else(|| missing(".target"))?;
        if text.contains('\0') {
            return Err(DriverError::argument("PTX with a NUL in it"));
        }
        Ok(Self {
            text,
            version,
            architecture: target.trim_end_matches(',').parse()?,
        })
    }

    /// The text with those kernels alone whose names are `wanted`. A kernel ends with a line that
    /// is a brace, as compilers write it.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut kept = String::with_capacity(self.text.len() / 4);
        let mut skips = false;
        for line in self.text.lines() {
            if let Some(name) = declared(line) {
                skips = !wanted(name);
            }
            if !skips {
                kept.extend([line, "\n"]);
            }
            skips &= line != "}";
        }
        kept
    }
}

/// The kernel whose declaration a line of PTX starts, as compilers write it.
pub(super) fn declared(line: &str) -> Option<&str> {
    let (_, declared) = line.split_once(".entry ")?;
    let end = declared.find(|c: char| c == '(' || c.is_whitespace());
    Some(&declared[..end.unwrap_or(declared.len())])
}

/// Those of `images` that a device of `capability` runs, the best first.
pub(super) fn by_preference<'i, 'a>(
    images: &'i [PtxImage<'a>],
    capability: Capability,
) -> Vec<&'i PtxImage<'a>> {
    let mut fitting: Vec<_> = images
        .iter()
        .filter(|image| image.architecture.runs_on(capability))
        .collect();
    fitting.sort_by_key(|image| std::cmp::Reverse(image.architecture.rank()));
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(major: u32, minor: u32) -> Capability {
        Capability { major, minor }
    }

    #[test]
    fn architectures_are_read_and_written() {
        for name in ["sm_80", "sm_90", "sm_90a", "sm_100f", "sm_121a"] {
            assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        }
        let blackwell: Architecture = "sm_120".parse().unwrap();
        assert_eq!(blackwell.capability, capability(12, 0));
        for text in [
            "",
            "sm_",
            "sm_a",
            "compute_80",
            "sm_8x",
            "sm_-80",
            "sm_99999999999",
        ] {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_best_image_of_a_device_comes_first() {
        let texts = ["sm_80", "sm_90a", "sm_90", "sm_100f"]
            .map(|target| format!("//\n.version 8.0\n.target {target}\n"));
        let images = texts.each_ref().map(|text| PtxImage::new(text).unwrap());
        let order = |major, minor| {
            by_preference(&images, capability(major, minor))
                .iter()
                .map(|image| image.architecture.to_string())
                .collect::<Vec<_>>()
        };
        assert!(order(7, 5).is_empty());
        assert_eq!(order(8, 6), ["sm_80"]);
        assert_eq!(order(9, 0), ["sm_90a", "sm_90", "sm_80"]);
        assert_eq!(order(10, 3), ["sm_100f", "sm_90", "sm_80"]);
        assert_eq!(order(12, 0), ["sm_90", "sm_80"]);
    }

    #[test]
    fn kernels_that_are_not_wanted_are_left_out() {
        let head = ".version 7.8\n.target sm_80\n";
        let kernel =
            |name| format!(".visible .entry {name}(\n\t.param .u64 p\n)\n{{\n\t{{ }}\n}}\n");
        let [first, second] = ["scale", "scale_all"].map(kernel);
        let between = ".shared .align 4 .b8 array[64];\n";
        let text = format!("{head}{first}{between}{second}.section .debug\n");
        let image = PtxImage::new(&text).unwrap();
        let without_second = format!("{head}{first}{between}.section .debug\n");
        assert_eq!(image.only(|name| name == "scale"), without_second);
        assert_eq!(image.only(|_| true), text);
    }

    #[test]
    fn the_head_of_an_image_is_checked() {
        let image = PtxImage::new("// x\n.version 7.8\n.target sm_80, debug\n").unwrap();
        assert_eq!(image.version, "7.8");
        assert_eq!(image.architecture.to_string(), "sm_80");
        for text in [
            "",
            ".version 7.8",
            ".target sm_80",
            ".version 7.8\n.target sm_80\n\0",
        ] {
            assert!(PtxImage::new(text).is_err(), "{text:?}");
        }
    }
}
