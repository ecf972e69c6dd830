//! The sizes of kernel parameters, read from PTX.
//!
//! A driver takes a launch's arguments as bare pointers and reads as much as
//! the kernel declares. Knowing that lets a launch be checked, with drivers
//! that cannot tell, too.

use std::collections::HashMap;

/// What a kernel waits with for the launches ahead of it.
pub(super) const WAIT: &str = "griddepcontrol.wait";

/// What a launch must know of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The size of each parameter, in bytes.
    pub parameters: Vec<u32>,
    /// Whether it waits itself for the launches ahead of it.
    pub waits: bool,
}

/// The kernels of a module by name. One whose declaration is not understood is
/// left out.
pub(super) fn entries(ptx: &str) -> HashMap<String, Entry> {
    let code = without_comments(ptx);
    code.split(".entry").skip(1).filter_map(entry).collect()
}

/// Compilers write only comments that run to the end of the line.
fn without_comments(ptx: &str) -> String {
    ptx.lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The kernel whose declaration `text` starts with.
fn entry(text: &str) -> Option<(String, Entry)> {
    let head = &text[..text.find(['{', ';']).unwrap_or(text.len())];
    let name = head
        .split(|c: char| c == '(' || c.is_whitespace())
        .find(|word| !word.is_empty())?;
    let list = match head.split_once('(') {
        Some((_, rest)) => rest.split_once(')')?.0,
        None => "",
    };
    let declarations = list.split(',').filter(|text| !text.trim().is_empty());
    let sizes: Option<Vec<u32>> = declarations.map(size).collect();
    let entry = Entry {
        parameters: sizes?,
        waits: text.contains(WAIT),
    };
    Some((name.to_owned(), entry))
}

/// The size of `.param .align 8 .b8 name[24]` or `.param .u64 .ptr .global name`.
fn size(declaration: &str) -> Option<u32> {
    let element = declaration.split_whitespace().find_map(element_size)?;
    let Some((_, count)) = declaration.split_once('[') else {
        return Some(element);
    };
    let count: u32 = count.split_once(']')?.0.trim().parse().ok()?;
    element.checked_mul(count)
}

/// The size of a type such as `.u64`, `.bf16` or `.f16x2`.
fn element_size(word: &str) -> Option<u32> {
    let name = word.strip_prefix('.')?;
    let bits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let (bits, lanes) = bits.split_once('x').unwrap_or((bits, "1"));
    let bits: u32 = bits.parse().ok()?;
    let lanes: u32 = lanes.parse().ok()?;
    Some(bits.checked_mul(lanes)? / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_parameter_and_the_wait_are_seen() {
        let ptx = "
            .version 8.0
            .target sm_90a // .entry comment(
            .visible .entry all( // @all
                .param .u64 .ptr .global .align 16 all_param_0,
                .param .b32 all_param_1,
                .param .f64 all_param_2,
                .param .align 64 .b8 all_param_3[128],
                .param .bf16 all_param_4, .param .f16x2 all_param_5,
                .param .u8 all_param_6, .param .align 4 .u32 all_param_7[ 3 ]
            )
            .maxntid 128, 1, 1
            { .param .b32 temporary; griddepcontrol.wait; ret; }
            .entry none() { ret; }
            .entry bare { ret; }
            .visible .func helper(.param .b64 x) { ret; }
            .entry odd(.param .texref t) { ret; }";
        let entries = entries(ptx);
        assert_eq!(entries["all"].parameters, [8, 4, 8, 128, 2, 4, 1, 12]);
        assert!(entries["all"].waits);
        for name in ["none", "bare"] {
            assert!(entries[name].parameters.is_empty() && !entries[name].waits);
        }
        assert!(!entries.contains_key("odd"));
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn broken_text_is_left_out() {
        for ptx in [
            "",
            ".entry",
            ".entry x(",
            ".entry x(.param .b8 y[99999999999])",
            ".entry x(.param .b8 y[)",
            ".entry x(.param .b4294967295x9 y)",
        ] {
            assert!(entries(ptx).is_empty(), "{ptx}");
        }
    }
}
