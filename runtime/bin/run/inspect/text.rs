//! The report for people.

use indicatif::BinaryBytes;

use super::Report;
use super::config::{ConfigReport, ScalingReport};
use super::model::{ModelReport, TextsReport};
use super::plan::PlanReport;
use super::table::table;
use super::tensors::{DtypeReport, TensorReport};
use super::texts::{TemplateReport, TokenReport};

/// Everything, in lines.
pub fn full(report: &Report) -> String {
    let mut text = model(&report.model);
    if let Some(tensors) = &report.model.tensors {
        text += "\n";
        text += &tensor_table(tensors);
    }
    if let Some(plan) = &report.plan {
        text += "\n";
        text += &plan_table(plan);
    }
    text
}

fn model(report: &ModelReport) -> String {
    let config = &report.config;
    let mut lines = vec![
        ("model", report.model.clone()),
        ("format", format(report).to_owned()),
        ("architecture", report.architecture.to_owned()),
        ("layers", config.num_hidden_layers.to_string()),
        (
            "widths",
            format!(
                "hidden {}, MLP {}",
                config.hidden_size, config.intermediate_size
            ),
        ),
        ("heads", heads(config)),
        ("vocabulary", format!("{} tokens", config.vocab_size)),
        (
            "context",
            format!("{} tokens", config.max_position_embeddings),
        ),
        ("norm", format!("RMS, epsilon {:e}", config.rms_norm_eps)),
        ("rope", rope(config)),
        ("biases", biases(config)),
        ("output head", output_head(config).to_owned()),
        (
            "K and V",
            format!("{} elements a token", report.kv_elements_per_token),
        ),
        ("weights", weights(report.parameters, report.weight_bytes)),
    ];
    lines.extend(report.dtypes.iter().map(|d| ("", dtype(d))));
    if let Some(texts) = &report.texts {
        lines.extend(texts_lines(texts));
    }
    lines
        .iter()
        .map(|(name, value)| labelled(name, value))
        .collect()
}

/// A line of the report. What comes from a file stays on its line.
fn labelled(name: &str, value: &str) -> String {
    let colon = if name.is_empty() { "" } else { ":" };
    format!(
        "{:<13} {}\n",
        format!("{name}{colon}"),
        crate::failure::one_line(value)
    )
}

fn format(report: &ModelReport) -> &'static str {
    match report.format {
        Some("gguf") => "GGUF",
        Some(_) => "Hugging Face directory",
        None => "none: a geometry",
    }
}

fn heads(config: &ConfigReport) -> String {
    let (queries, keys) = (config.num_attention_heads, config.num_key_value_heads);
    let head_dim = config.head_dim;
    format!("{queries} query heads, {keys} KV heads, {head_dim} elements each")
}

fn rope(config: &ConfigReport) -> String {
    let scaling = match &config.rope_scaling {
        ScalingReport::None => "not scaled".to_owned(),
        ScalingReport::Linear { factor } => format!("scaled linearly by {factor}"),
        ScalingReport::Llama3 { factor, .. } => format!("scaled by {factor} as in Llama 3.1"),
        ScalingReport::Divisors { divisors } => format!("{} divisors", divisors.len()),
    };
    let style = config.rope_style.replace('_', "-");
    format!("theta {}, {style} pairs, {scaling}", config.rope_theta)
}

fn biases(config: &ConfigReport) -> String {
    let named = [
        ("Q, K and V", config.qkv_bias),
        ("attention output", config.attention_output_bias),
        ("MLP", config.mlp_bias),
    ];
    let there: Vec<&str> = named
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| *name)
        .collect();
    match there.is_empty() {
        true => "none".into(),
        false => there.join(", "),
    }
}

fn output_head(config: &ConfigReport) -> &'static str {
    match config.tie_word_embeddings {
        true => "the embedding",
        false => "a matrix of its own",
    }
}

fn weights(parameters: u64, bytes: u64) -> String {
    let millions = parameters as f64 / 1e6;
    format!("{millions:.1} million parameters, {}", BinaryBytes(bytes))
}

fn dtype(report: &DtypeReport) -> String {
    let DtypeReport {
        dtype,
        tensors,
        parameters,
        bytes,
    } = report;
    format!(
        "{dtype}: {tensors} tensors, {}",
        weights(*parameters, *bytes)
    )
}

fn texts_lines(texts: &TextsReport) -> Vec<(&'static str, String)> {
    let tokenizer = &texts.tokenizer;
    let generation = &texts.generation;
    let mut about = format!(
        "{} tokens, {} of them special",
        tokenizer.vocab_size, tokenizer.special_tokens
    );
    if !tokenizer.around_text.is_empty() {
        about += &format!("; puts {} around a text", tokens(&tokenizer.around_text));
    }
    vec![
        ("tokenizer", about),
        ("end of text", tokens(&generation.eos_tokens)),
        ("chat", template(texts.chat_template.as_ref())),
        (
            "sampling",
            texts.sampling.clone().unwrap_or("not recommended".into()),
        ),
    ]
}

fn tokens(tokens: &[TokenReport]) -> String {
    let named = tokens.iter().map(|token| {
        let text = token.token.as_deref().unwrap_or("no token");
        format!("{text} ({})", token.id)
    });
    let named: Vec<String> = named.collect();
    match named.is_empty() {
        true => "none".into(),
        false => named.join(", "),
    }
}

fn template(template: Option<&TemplateReport>) -> String {
    match template {
        None => "no template".into(),
        Some(TemplateReport {
            error: Some(error), ..
        }) => format!("a template that fails: {error}"),
        Some(TemplateReport { example, .. }) => example.clone().unwrap_or_default(),
    }
}

fn tensor_table(tensors: &[TensorReport]) -> String {
    let rows: Vec<_> = tensors
        .iter()
        .map(|tensor| {
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            [
                crate::failure::one_line(&tensor.name),
                tensor.dtype.to_owned(),
                shape.join(" × "),
                tensor.bytes.to_string(),
            ]
        })
        .collect();
    table(["tensor", "type", "shape", "bytes"], &rows)
}

fn plan_table(report: &PlanReport) -> String {
    let remark = report.remark.as_ref().map(|remark| format!(" ({remark})"));
    let mut text = labelled(
        "device",
        &format!("{}{}", report.machine, remark.unwrap_or_default()),
    );
    if let Some(policy) = report.policies.first() {
        let plan = &policy.plan;
        text += &labelled(
            "available",
            &available([plan.available, plan.host_available]),
        );
        let (n_ctx, sequences) = (plan.n_ctx, plan.sequences);
        text += &labelled("planned for", &format!("{n_ctx} tokens, batch {sequences}"));
    }
    let size = |bytes: u64| BinaryBytes(bytes).to_string();
    let most = |n: Option<usize>| n.map_or("none".to_owned(), |n| n.to_string());
    let rows: Vec<_> = report
        .policies
        .iter()
        .map(|policy| {
            let plan = &policy.plan;
            let mapped = if plan.weights_mapped { " mapped" } else { "" };
            [
                policy.kv.clone(),
                format!("{}{mapped}", size(plan.weights)),
                size(plan.keys),
                size(plan.values),
                size(plan.hot_rows),
                size(plan.workspace),
                size(policy.resident),
                size(plan.host_values),
                if policy.fits { "yes" } else { "no" }.into(),
                most(policy.longest_context),
                most(policy.largest_batch),
            ]
        })
        .collect();
    let head = [
        "kv",
        "weights",
        "K",
        "V",
        "hot rows",
        "workspace",
        "together",
        "V on host",
        "fits",
        "longest context",
        "largest batch",
    ];
    text + &table(head, &rows)
}

fn available([near, host]: [Option<u64>; 2]) -> String {
    let near = near.map_or("unknown".into(), |bytes| BinaryBytes(bytes).to_string());
    let host = host.map(|bytes| format!(", on the host {}", BinaryBytes(bytes)));
    near + &host.unwrap_or_default()
}
