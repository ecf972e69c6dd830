//! The sizes of kernel parameters, read from PTX.
//!
//! A driver takes a launch's arguments as bare pointers and reads as much as
//! the kernel declares. Knowing that lets a launch be checked, with drivers
//! that cannot tell, too.

use std::collections::HashMap;

/// The parameters' sizes in bytes by kernel. A kernel whose declaration is not
/// understood is left out.
pub(super) fn parameter_sizes(ptx: &str) -> HashMap<String, Vec<u32>> {
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

/// Name and sizes of the kernel whose declaration `text` starts with.
fn entry(text: &str) -> Option<(String, Vec<u32>)> {
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
    Some((name.to_owned(), sizes?))
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
    fn every_form_of_parameter_is_sized() {
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
            { .param .b32 temporary; ret; }
            .entry none() { ret; }
            .entry bare { ret; }
            .visible .func helper(.param .b64 x) { ret; }
            .entry odd(.param .texref t) { ret; }";
        let sizes = parameter_sizes(ptx);
        assert_eq!(sizes["all"], [8, 4, 8, 128, 2, 4, 1, 12]);
        assert!(sizes["none"].is_empty() && sizes["bare"].is_empty());
        assert!(!sizes.contains_key("odd"));
        assert_eq!(sizes.len(), 3);
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
            assert!(parameter_sizes(ptx).is_empty(), "{ptx}");
        }
    }
}
