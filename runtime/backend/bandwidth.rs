//! How fast memory can be read at all: the roof of a decode step.

/// Rates in bytes per second that plain streaming reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// Of the memory that the model computes from.
    pub near: f64,
    /// From the host's memory to a device; `None` where both are one memory.
    pub link: Option<f64>,
}
