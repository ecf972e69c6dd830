//! Which kernel takes which work.
//!
//! Several kernels compute the same. The table says which of them is used on what image of the
//! kernels, by what was measured on a device: `benches/ops --tuning` writes it from its times, and
//! the one in `tuning.json` is compiled in. A kernel that has not been timed is not in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The table, by the name of the image's target: `sm_80`, `sm_90a`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tuning(pub BTreeMap<String, Choices>);

/// The kernels of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Of these the first that fits; `gemm_large` where none does.
    pub product: Vec<ProductRule>,
    /// The kernels of a prompt's attention.
    pub prefill_attention: PrefillKernel,
    /// The kernels that select rows of V.
    pub kcache_attention: ScanChoice,
    /// The kernels of a few rows that compute more than a product.
    pub fused_products: ScanKernel,
}

/// Products `[rows, columns]`, summed over `depth`, and the kernel that computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductRule {
    /// Of at most so many rows; of any number if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Of this number of columns alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
    /// Of this depth alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// What computes it.
    pub kernel: ProductKernel,
}

/// Kernels for matrix products. Of several for different numbers of rows the one that suits the
/// product is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named after their files and tiles")]
pub enum ProductKernel {
    Gemv,
    GemmSkinny,
    GemmStreamed,
    GemmKept,
    GemmBoxed,
    GemmSmall,
    GemmLarge,
    #[serde(rename = "gemm_wgmma_128")]
    GemmWgmma128,
    #[serde(rename = "gemm_wgmma_256")]
    GemmWgmma256,
}

/// Kernels for the attention of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefillKernel {
    /// Products by warps, on every device.
    Warps,
    /// Products by warpgroups, on Hopper, for the sizes of heads that they take.
    Warpgroups,
}

/// How a kernel gets at what it reads once: keys, or weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanKernel {
    /// Into registers, on every device.
    Registers,
    /// Copied to shared memory ahead, on Hopper.
    Copies,
}

/// Kernels that scan keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanChoice {
    /// Always [`ScanKernel::Registers`].
    Registers,
    /// Always [`ScanKernel::Copies`].
    Copies,
    /// Registers while most of the rows of V that are selected are fetched, copies else.
    ByMisses,
}

impl ProductRule {
    /// Whether a product `[rows, columns]` over `depth` is one of the rule's.
    pub fn fits(&self, [rows, columns, depth]: [usize; 3]) -> bool {
        self.rows.is_none_or(|most| rows <= most)
            && self.columns.is_none_or(|exact| columns == exact)
            && self.depth.is_none_or(|exact| depth == exact)
    }
}

impl Tuning {
    /// The table that is compiled in.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn embedded() -> Result<Self> {
        Self::parse(include_str!("tuning.json"), "the embedded table")
    }

    /// Reads a table from JSON; `source` is named in errors.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what is no such table.
    pub fn parse(json: &str, source: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|e| Error::InvalidArgument(format!("{source}: no table of kernels: {e}")))
    }

    /// What the table says of an image.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it says nothing.
    pub fn of(&self, image: &str) -> Result<&Choices> {
        self.0.get(image).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            Error::InvalidArgument(format!(
                "the table of kernels has no image {image}, but {}",
                known.join(", ")
            ))
        })
    }
}

#[cfg(test)]
impl Tuning {
    /// Every kernel that the embedded table may come to name, where the image has it.
    pub fn newest() -> Self {
        let json = r#"{
            "sm_80": {
                "product": [{"kernel": "gemm_skinny"}],
                "prefill_attention": "warps",
                "kcache_attention": "registers",
                "fused_products": "registers"
            },
            "sm_90a": {
                "product": [
                    {"rows": 8, "kernel": "gemm_streamed"},
                    {"rows": 16, "columns": 24, "kernel": "gemm_kept"},
                    {"rows": 16, "kernel": "gemm_boxed"},
                    {"rows": 64, "kernel": "gemm_skinny"},
                    {"rows": 128, "kernel": "gemm_wgmma_128"},
                    {"kernel": "gemm_wgmma_256"}
                ],
                "prefill_attention": "warpgroups",
                "kcache_attention": "by_misses",
                "fused_products": "copies"
            }
        }"#;
        Self::parse(json, "the table of tests").unwrap_or_else(|e| panic!("{e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_knows_both_images() {
        let tuning = Tuning::embedded().unwrap();
        for image in ["sm_80", "sm_90a"] {
            let choices = tuning.of(image).unwrap();
            let rule = |size| choices.product.iter().find(|rule| rule.fits(size));
            assert!(rule([1, 4096, 4096]).is_some() && rule([8192, 8, 8]).is_some());
        }
        let choices = tuning.of("sm_80").unwrap();
        assert_eq!(choices.prefill_attention, PrefillKernel::Warps);
        assert_eq!(choices.kcache_attention, ScanChoice::Registers);
        let error = tuning.of("sm_75").unwrap_err().to_string();
        assert!(error.contains("sm_75, but sm_80, sm_90a"), "{error}");
    }

    #[test]
    fn rules_fit_by_rows_columns_and_depth() {
        let rule = |json: &str| serde_json::from_str::<ProductRule>(json).unwrap();
        let some = rule(r#"{"rows": 8, "columns": 64, "kernel": "gemm_skinny"}"#);
        assert!(some.fits([8, 64, 100]) && some.fits([1, 64, 1]));
        assert!(!some.fits([9, 64, 100]) && !some.fits([8, 65, 100]));
        let depth = rule(r#"{"depth": 32, "kernel": "gemv"}"#);
        assert!(depth.fits([1000, 1, 32]) && !depth.fits([1, 1, 31]));
    }

    #[test]
    fn what_is_no_table_is_told() {
        for json in [
            "",
            "{\"sm_80\": 1}",
            "{\"sm_80\": {\"product\": [{\"kernel\": \"x\"}]}}",
        ] {
            let error = Tuning::parse(json, "a.json").unwrap_err().to_string();
            assert!(
                error.starts_with("a.json: no table of kernels: "),
                "{error}"
            );
        }
    }
}
