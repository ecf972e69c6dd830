//! Which device a user asks for, and what the machine makes of it.

use std::fmt;
use std::str::FromStr;

use super::{Device, DriverError, Result};

/// What a user asks for: `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The first supported CUDA device, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number; `cuda` alone is `cuda:0`.
    Cuda(u32),
}

/// Where to compute.
#[derive(Clone, Debug)]
pub enum Placement {
    /// On the CPU.
    Cpu {
        /// Why no CUDA device is used, if one was looked for.
        reason: Option<DriverError>,
    },
    /// On a CUDA device that runs the kernels.
    Cuda(Device),
}

impl DeviceChoice {
    /// Looks for a device. The driver is left alone if `self` is the CPU.
    ///
    /// # Errors
    /// As [`Device::open`] and [`Device::supported`], if a CUDA device was asked for.
    pub fn place(self) -> Result<Placement> {
        match self {
            Self::Cpu => Ok(Placement::Cpu { reason: None }),
            Self::Cuda(ordinal) => Device::open(ordinal)?.supported().map(Placement::Cuda),
            Self::Auto => Ok(match first_supported() {
                Ok(device) => Placement::Cuda(device),
                Err(reason) => Placement::Cpu {
                    reason: Some(reason),
                },
            }),
        }
    }
}

fn first_supported() -> Result<Device> {
    let mut refused = DriverError::NoDevice;
    for device in Device::all()? {
        match device.supported() {
            Ok(device) => return Ok(device),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl FromStr for DeviceChoice {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            DriverError::argument(format!(
                "device {text:?}: expected auto, cpu, cuda or cuda:N"
            ))
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(invalid)?;
                // parse() alone would take a sign.
                if !number.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(invalid());
                }
                number.parse().map(Self::Cuda).map_err(|_| invalid())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for choice in [
            DeviceChoice::Auto,
            DeviceChoice::Cpu,
            DeviceChoice::Cuda(0),
            DeviceChoice::Cuda(u32::MAX),
        ] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
    }

    #[test]
    fn refuses_other_texts_and_names_them() {
        for text in [
            "",
            "gpu",
            "CUDA:0",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda: 1",
            "cuda:1x",
            "cuda:0:1",
            "cuda:4294967296",
            "auto ",
        ] {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains(&format!("{text:?}")), "{message}");
            assert!(message.contains("cuda:N"), "{message}");
        }
    }

    #[test]
    fn the_machine_decides_what_auto_means() {
        let Placement::Cuda(device) = DeviceChoice::Auto.place().unwrap() else {
            panic!("a supported device is there");
        };
        assert_eq!(device.ordinal, 0);
        let cpu = DeviceChoice::Cpu.place().unwrap();
        assert!(matches!(cpu, Placement::Cpu { reason: None }));
        let missing = DeviceChoice::Cuda(7_000).place().unwrap_err();
        assert!(matches!(
            missing,
            DriverError::NoSuchDevice { ordinal: 7_000, .. }
        ));
    }
}
