//! Launch bounds: from the comments that `#[kernel]` leaves to directives.

use std::borrow::Cow;

use crate::Error;

/// What `#[kernel]` leaves in the body of an entry, before the two numbers.
const MARKER: &str = "// launch_bounds ";

/// Writes `.maxntid` and `.minnctapersm` after the parameters of each entry whose body carries a
/// marker, and takes the markers out.
///
/// # Errors
/// [`Error::Ptx`] for a marker outside an entry or without two numbers, and for an entry without a
/// marker.
pub fn write_launch_bounds(ptx: &str) -> Result<String, Error> {
    let mut lines: Vec<String> = Vec::new();
    // The index in `lines` of the brace that opens the entry in hand.
    let mut entry = Entry::None;
    for (index, line) in ptx.lines().enumerate() {
        let line = aligned_tensor_map(line);
        let line = line.as_ref();
        let fail = |reason| Error::Ptx {
            line: index + 1,
            reason,
        };
        if line.contains(".entry ") {
            entry = Entry::Declared;
        } else if line == "{" && entry == Entry::Declared {
            entry = Entry::Open(lines.len());
        } else if line == "}" {
            if matches!(entry, Entry::Open(_)) {
                return Err(fail("an entry ends without launch bounds"));
            }
            entry = Entry::None;
        } else if let Some(bounds) = line.trim().strip_prefix(MARKER) {
            let Entry::Open(brace) = entry else {
                return Err(fail("launch bounds outside an entry, or twice in one"));
            };
            let directives = directives(bounds).ok_or_else(|| fail("two numbers expected"))?;
            lines.insert(brace, directives);
            entry = Entry::Bounded;
            continue;
        }
        lines.push(line.to_owned());
    }
    Ok(lines.join("\n") + "\n")
}

/// Gives a parameter that is a tensor map the alignment that the device wants and the compiler
/// cannot express: no other parameter has 128 bytes.
fn aligned_tensor_map(line: &str) -> Cow<'_, str> {
    let is_map = line.trim_start().starts_with(".param .align 16") && line.contains("[128]");
    match is_map {
        true => Cow::Owned(line.replacen(".align 16", ".align 64", 1)),
        false => Cow::Borrowed(line),
    }
}

/// How much of an entry has gone by.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    None,
    Declared,
    Open(usize),
    Bounded,
}

fn directives(bounds: &str) -> Option<String> {
    let (threads, blocks) = bounds.trim().split_once(' ')?;
    let (threads, blocks): (u32, u32) = (threads.parse().ok()?, blocks.parse().ok()?);
    Some(format!(".maxntid {threads}, 1, 1\n.minnctapersm {blocks}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_follow_the_parameters() {
        let ptx = ".visible .entry k(\n\t.param .u64 p\n)\n{\n\t.reg .pred %p;\n\
                   \t// launch_bounds 256 2\n\tret;\n}\n";
        let expected = ".visible .entry k(\n\t.param .u64 p\n)\n.maxntid 256, 1, 1\n\
                        .minnctapersm 2\n{\n\t.reg .pred %p;\n\tret;\n}\n";
        assert_eq!(write_launch_bounds(ptx).unwrap(), expected);
    }

    #[test]
    fn tensor_maps_are_aligned_to_64_bytes() {
        let ptx = ".visible .entry k(\n\t.param .align 16 .b8 p[128],\n\t.param .align 16 .b8 q[64]\n)\n\
                   {\n\t// launch_bounds 1 1\n}\n";
        let written = write_launch_bounds(ptx).unwrap();
        assert!(written.contains(".param .align 64 .b8 p[128]"), "{written}");
        assert!(written.contains(".param .align 16 .b8 q[64]"), "{written}");
    }

    #[test]
    fn an_entry_needs_exactly_one_marker() {
        let bare = ".visible .entry k()\n{\n\tret;\n}\n";
        assert!(
            write_launch_bounds(bare)
                .unwrap_err()
                .to_string()
                .contains("line 4")
        );
        let twice = ".entry k()\n{\n// launch_bounds 1 1\n// launch_bounds 1 1\n}\n";
        assert!(write_launch_bounds(twice).is_err());
        let outside = ".func f()\n{\n// launch_bounds 1 1\n}\n";
        assert!(write_launch_bounds(outside).is_err());
        let wrong = ".entry k()\n{\n// launch_bounds many\n}\n";
        assert!(write_launch_bounds(wrong).is_err());
    }
}
