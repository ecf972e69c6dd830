//! The PTX images that are built.

/// A target of the kernel compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Ampere and everything after it.
    Sm80,
    /// Hopper, with the instructions that only Hopper has.
    Sm90a,
}

impl Architecture {
    /// Every image, the most portable first.
    pub const ALL: [Self; 2] = [Self::Sm80, Self::Sm90a];

    /// The name that compilers use: `sm_80`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm90a => "sm_90a",
        }
    }

    /// What the kernels' source is told of it: `hopper` where kernels are compiled that only Hopper
    /// can run.
    pub(crate) fn cfg(self) -> &'static str {
        match self {
            Self::Sm80 => "",
            Self::Sm90a => "--cfg=hopper",
        }
    }

    /// The PTX version to write. 7.8 is what the cache hints need, and drivers since 520 read it;
    /// 8.0 is the first that knows `sm_90a`.
    pub(crate) fn ptx_feature(self) -> &'static str {
        match self {
            Self::Sm80 => "+ptx78",
            Self::Sm90a => "+ptx80",
        }
    }
}
