//! The index of a checkpoint in several files.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::pairs::Pairs;
use crate::hf::{quoted, read_text};
use crate::{Error, Result};

/// Reads which file holds each tensor: file names, each with its tensors in order.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let invalid = |what: String| Error::invalid(path, what);
    let text = read_text(path)?;
    let Pairs(index) = serde_json::from_str(&text).map_err(|e| invalid(e.to_string()))?;
    let map = index.iter().find(|(key, _)| key == "weight_map");
    let (_, map) = map.ok_or_else(|| invalid("weight_map is missing".to_owned()))?;
    let Pairs(pairs) =
        serde_json::from_str(map.get()).map_err(|e| invalid(format!("weight_map: {e}")))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in pairs {
        let of = |what: String| invalid(format!("weight_map[{}]{what}", quoted(&tensor)));
        let file: String = serde_json::from_str(file.get()).map_err(|e| of(format!(": {e}")))?;
        if !is_file_name(&file) {
            let file = quoted(&file);
            return Err(of(format!(
                " is {file}, expected the name of a file beside the index"
            )));
        }
        files.entry(file).or_default().push(tensor);
    }
    match files.is_empty() {
        false => Ok(files),
        true => Err(invalid("weight_map is empty".to_owned())),
    }
}

/// Whether `name` cannot lead out of the checkpoint's directory.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!(parts.next(), Some(Component::Normal(part)) if part == name);
    plain && parts.next().is_none() && !name.contains(['\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_stay_in_the_directory() {
        assert!(is_file_name("model-00001-of-00002.safetensors"));
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a/",
            "./a",
            "a\\b",
            "a\0b",
        ] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }
}
