//! The table of kernels that follows from measured times.

use std::collections::BTreeMap;

use kcache::backend::cuda::{PrefillKernel, ProductKernel, ProductRule, Tuning};
use serde_json::{Value, json};

/// How much slower than the best a kernel may be before a product gets a rule of its own.
const TOLERANCE: f64 = 1.02;

/// Microseconds of the kernels that were timed.
type Times<K> = BTreeMap<K, f64>;

/// `tuning` with the choices for `image` that the lines of `ops --json` lead to. What they do not
/// measure stays.
pub fn updated(mut tuning: Tuning, image: &str, lines: &str) -> kcache::Result<Tuning> {
    let mut choices = tuning.of(image)?.clone();
    let (mut products, mut prompts) = (BTreeMap::new(), [0.0; 2]);
    for line in lines.lines() {
        let Some((id, name, us)) = entry(line) else {
            continue;
        };
        if let (Some(size), Some(kernel)) = (product(&id), kernel(&name)) {
            let times: &mut Times<ProductKernel> = products.entry(size).or_default();
            times.insert(kernel, us);
        } else if id.starts_with("attention ") {
            prompts[usize::from(name.contains("wgmma"))] += us;
        }
    }
    if !products.is_empty() {
        choices.product = rules(&products);
    }
    let [warps, warpgroups] = prompts;
    if warps > 0.0 {
        choices.prefill_attention = match warpgroups > 0.0 && warpgroups < warps {
            true => PrefillKernel::Warpgroups,
            false => PrefillKernel::Warps,
        };
    }
    tuning.0.insert(image.to_owned(), choices);
    Ok(tuning)
}

fn entry(line: &str) -> Option<(String, String, f64)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| Some(value[key].as_str()?.to_owned());
    Some((text("id")?, text("kernel")?, value["us"].as_f64()?))
}

/// Rows, columns and depth of a product.
fn product(id: &str) -> Option<[usize; 3]> {
    let sizes = id.strip_prefix("product ")?.split('x');
    let sizes: Vec<usize> = sizes.filter_map(|size| size.parse().ok()).collect();
    sizes.try_into().ok()
}

/// The choice that a kernel's name, such as `gemm_skinny_8_bf16`, belongs to.
fn kernel(name: &str) -> Option<ProductKernel> {
    let name = name.strip_suffix("_bf16")?;
    Some(match name {
        "gemm_small" => ProductKernel::GemmSmall,
        "gemm_large" => ProductKernel::GemmLarge,
        "gemm_boxed" => ProductKernel::GemmBoxed,
        "gemm_kept" => ProductKernel::GemmKept,
        "gemm_streamed" => ProductKernel::GemmStreamed,
        "gemm_wgmma_128" => ProductKernel::GemmWgmma128,
        "gemm_wgmma_256" => ProductKernel::GemmWgmma256,
        _ if name.starts_with("gemv_") => ProductKernel::Gemv,
        _ if name.starts_with("gemm_skinny_") => ProductKernel::GemmSkinny,
        _ => return None,
    })
}

/// For each number of rows the kernel that is closest to the best over all sizes, after rules for
/// the sizes that another suits better. The largest number stands for more rows too.
fn rules(products: &BTreeMap<[usize; 3], Times<ProductKernel>>) -> Vec<ProductRule> {
    let rows = |(size, _): (&[usize; 3], &Times<ProductKernel>)| size[0];
    let largest = products.iter().map(rows).max();
    let mut numbers: Vec<usize> = products.iter().map(rows).collect();
    numbers.dedup();
    let mut rules = Vec::new();
    for m in numbers {
        let limit = (Some(m) != largest).then_some(m);
        let sizes: Vec<_> = products.iter().filter(|(size, _)| size[0] == m).collect();
        let Some(usual) = usual(&sizes) else {
            continue;
        };
        for (&[_, n, k], times) in sizes {
            let best = times.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
            if let Some((&kernel, us)) = best
                && times[&usual] > TOLERANCE * us
            {
                rules.push(ProductRule {
                    rows: limit,
                    columns: Some(n),
                    depth: Some(k),
                    kernel,
                });
            }
        }
        rules.push(ProductRule {
            rows: limit,
            columns: None,
            depth: None,
            kernel: usual,
        });
    }
    rules
}

/// Of the kernels that take all sizes the one whose times are least, each relative to the best.
fn usual(sizes: &[(&[usize; 3], &Times<ProductKernel>)]) -> Option<ProductKernel> {
    let (_, first) = sizes.first()?;
    let cost = |kernel: &ProductKernel| -> Option<f64> {
        let part = |times: &Times<ProductKernel>| {
            let best = times.values().copied().fold(f64::INFINITY, f64::min);
            Some(times.get(kernel)? / best)
        };
        sizes.iter().map(|(_, times)| part(times)).sum()
    };
    let costs = first
        .keys()
        .filter_map(|kernel| Some((*kernel, cost(kernel)?)));
    let least = costs.min_by(|(_, a), (_, b)| a.total_cmp(b));
    least.map(|(kernel, _)| kernel)
}

/// The table as text, a rule to a line.
pub fn to_text(tuning: &Tuning) -> String {
    let image = |(name, choices): (&String, &kcache::backend::cuda::Choices)| {
        let rules: Vec<String> = choices.product.iter().map(|r| line(json!(r))).collect();
        format!(
            "  \"{name}\": {{\n    \"product\": [\n      {}\n    ],\n    \
             \"prefill_attention\": {},\n    \"kcache_attention\": {},\n    \"fused_products\": {}\n  }}",
            rules.join(",\n      "),
            json!(choices.prefill_attention),
            json!(choices.kcache_attention),
            json!(choices.fused_products),
        )
    };
    let images: Vec<String> = tuning.0.iter().map(image).collect();
    format!("{{\n{}\n}}\n", images.join(",\n"))
}

/// An object in one line, with spaces.
fn line(value: Value) -> String {
    let entries = value.as_object().into_iter().flatten();
    let entries: Vec<String> = entries
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    format!("{{{}}}", entries.join(", "))
}
