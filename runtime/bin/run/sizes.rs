//! Lists of sizes, as sweeps take them.

use std::str::FromStr;

/// The most sizes that one flag may list.
const MOST: usize = 1000;

/// Sizes in the order given: `512,1024`, or ranges, `128-512+128` (steps of 128)
/// and `128-1024*2` (doubling).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(pub Vec<usize>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sizes = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, rest)) => range(number(first)?, rest, &mut sizes)?,
                None => sizes.push(number(part)?),
            }
            if sizes.len() > MOST {
                return Err(format!("more than {MOST} sizes"));
            }
        }
        Ok(Self(sizes))
    }
}

/// Adds the sizes of a range from `first` on, of which `rest` is the other part.
fn range(first: usize, rest: &str, sizes: &mut Vec<usize>) -> Result<(), String> {
    let (sign, by) = match rest.find(['+', '*']) {
        Some(at) => (&rest[at..=at], number(&rest[at + 1..])?),
        None => ("+", 1),
    };
    let last = number(rest.split(['+', '*']).next().unwrap_or_default())?;
    let next = |size: usize| match sign {
        "*" => size.saturating_mul(by),
        _ => size.saturating_add(by),
    };
    let mut size = first;
    while size <= last && sizes.len() <= MOST {
        sizes.push(size);
        if next(size) <= size {
            return Err(format!(
                "a range from {first} in steps of {sign}{by} has no end"
            ));
        }
        size = next(size);
    }
    match size {
        _ if first > last => Err(format!("the range from {first} to {last} is empty")),
        _ => Ok(()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    let text = text.trim();
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Result<Vec<usize>, String> {
        text.parse().map(|Sizes(sizes)| sizes)
    }

    #[test]
    fn lists_and_ranges_keep_their_order() {
        assert_eq!(sizes("512, 128").unwrap(), [512, 128]);
        assert_eq!(sizes("0,128-512+128").unwrap(), [0, 128, 256, 384, 512]);
        assert_eq!(sizes("128-1000*2").unwrap(), [128, 256, 512]);
        assert_eq!(sizes("3-5").unwrap(), [3, 4, 5]);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "", "a", "1,", "-1", "5-3", "1-9+0", "0-9*2", "1-9*1", "1-9999", "1-9*x",
        ] {
            assert!(sizes(text).is_err(), "{text}");
        }
    }
}
