//! When the turn of each launch comes, inside a graph too: instructions that are added to the text of
//! kernels. The time from one turn to the next is what a launch adds to its stream, whatever of it
//! overlaps with its neighbours.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::image::declared;
use super::parameters::WAIT;
use super::{Context, DeviceBuffer, Result, Stream};

/// Turns that are kept until they are read.
const ROOM: usize = 1 << 14;

/// A launch's turn: the launches ahead of it are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The kernel's name.
    pub kernel: String,
    /// Nanoseconds of the device's clock.
    pub at: u64,
}

/// Notes turns, in the memory of a device, of the kernels whose text it was added to. It outlives them.
#[derive(Debug)]
pub struct LaunchClock {
    /// For its own copies.
    stream: Stream,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    /// How many turns there were, and for each that is kept its time and the number of its kernel.
    words: DeviceBuffer<u64>,
    kernels: Vec<String>,
}

impl LaunchClock {
    /// # Errors
    /// As [`DeviceBuffer::zeroed`].
    pub fn new(context: &Context) -> Result<Self> {
        let stream = Stream::new(context)?;
        let words = DeviceBuffer::zeroed(&stream, "turns of launches", 1 + 2 * ROOM)?;
        stream.synchronize()?;
        let kernels = Vec::new();
        Ok(Self {
            stream,
            noted: Mutex::new(Noted { words, kernels }),
        })
    }

    /// PTX `text` whose kernels note their turns: those that wait for the launches ahead.
    pub fn add_to(&self, text: &str) -> String {
        let mut noted = self.noted();
        let address = noted.words.as_slice().address();
        let mut noting = String::with_capacity(text.len());
        for line in text.lines() {
            noted.kernels.extend(declared(line).map(str::to_owned));
            noting.extend([line, "\n"]);
            if line.trim().strip_suffix(';') == Some(WAIT) {
                note(&mut noting, address, noted.kernels.len().saturating_sub(1));
            }
        }
        noting
    }

    /// The turns since the last call, in their order; of very many the first. Waits for the device.
    ///
    /// # Errors
    /// As [`super::DeviceSlice::copy_to_host`].
    pub fn turns(&self) -> Result<Vec<Turn>> {
        self.stream.context().synchronize()?;
        let mut noted = self.noted();
        let words = noted.words.to_host(&self.stream)?;
        noted.words.as_mut_slice().fill_bytes(0, &self.stream)?;
        self.stream.synchronize()?;
        let kept = words[1..].chunks_exact(2).take(words[0] as usize);
        let turn = |words: &[u64]| {
            let kernel = noted.kernels.get(words[1] as usize)?.clone();
            let at = words[0];
            Some(Turn { kernel, at })
        };
        Ok(kept.filter_map(turn).collect())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what notes the time, by the first thread of the first block alone.
fn note(text: &mut String, words: u64, kernel: usize) {
    const INDICES: [&str; 5] = ["%tid.y", "%tid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z"];
    text.push_str(
        "{\n.reg .pred %notes;\n.reg .b32 %any, %index;\n.reg .b64 %at, %place, %time;\n",
    );
    text.push_str("mov.u64 %time, %globaltimer;\nmov.u32 %any, %tid.x;\n");
    for index in INDICES {
        let _ = writeln!(text, "mov.u32 %index, {index};\nor.b32 %any, %any, %index;");
    }
    let _ = writeln!(
        text,
        "setp.eq.u32 %notes, %any, 0;\n\
         mov.u64 %at, {words};\n\
         @%notes atom.global.add.u64 %place, [%at], 1;\n\
         @%notes setp.lt.u64 %notes, %place, {ROOM};\n\
         mad.lo.u64 %at, %place, 16, %at;\n\
         @%notes st.global.u64 [%at+8], %time;\n\
         @%notes st.global.u64 [%at+16], {kernel};\n}}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::context;

    const TEXT: &str = "\
.version 8.0
.target sm_90a
.visible .entry first(
)
{
\tgriddepcontrol.wait;
\tret;
}
.visible .entry second()
{
\tret;
}
.visible .entry third()
{
\tgriddepcontrol.wait;
\tret;
}
";

    #[test]
    fn a_kernel_that_waits_notes_its_turn() {
        let clock = LaunchClock::new(&context()).unwrap();
        let text = clock.add_to(TEXT);
        let numbers = text
            .lines()
            .filter_map(|line| line.split_once("[%at+16], "));
        let numbers: Vec<&str> = numbers.map(|(_, number)| number).collect();
        assert_eq!(numbers, ["0;", "2;"]);
        let kept: String = text
            .split("{\n.reg .pred %notes")
            .enumerate()
            .map(|(i, part)| match i {
                0 => part,
                _ => part.split_once("}\n").unwrap().1,
            })
            .collect();
        assert_eq!(kept, TEXT);
        assert!(clock.turns().unwrap().is_empty());
    }
}
