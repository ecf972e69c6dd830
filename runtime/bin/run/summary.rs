//! The statistics of a reply, for people.

use indicatif::{BinaryBytes, DecimalBytes};
use kcache::engine::{FinishReason, SamplingParams};

use crate::reply::Reply;

/// All figures of `reply`, drawn by `sampling` from a model whose weights take
/// `weights` bytes.
pub fn full(reply: &Reply, sampling: &SamplingParams, weights: u64) -> String {
    let mut lines = vec![
        prompt_line(reply),
        decode_line(reply),
        memory_line(reply, weights),
    ];
    lines.extend(traffic_line(reply));
    lines.extend(rows_line(reply));
    lines.push(format!(
        "logits:   hash {}{}",
        reply.logits_hash(),
        seed(sampling)
    ));
    lines.push(format!("finish:   {}", reason(reply.finish_reason)));
    lines.join("\n")
}

/// The figures of `reply` that matter in a conversation.
pub fn short(reply: &Reply) -> String {
    let stats = &reply.stats;
    let rate = stats.decode_rate().map(|r| format!(", {r:.1} tokens/s"));
    format!(
        "[{} prompt tokens, {} reused; {} new{}; {}]",
        stats.prompt_tokens,
        reply.reused_tokens,
        stats.new_tokens,
        rate.unwrap_or_default(),
        reason(reply.finish_reason)
    )
}

fn prompt_line(reply: &Reply) -> String {
    let stats = &reply.stats;
    format!(
        "prompt:   {} tokens in {:.3} s{}; first token after {:.3} s",
        stats.prompt_tokens,
        stats.prefill_seconds,
        rate(stats.prefill_rate()),
        stats.time_to_first_token
    )
}

fn decode_line(reply: &Reply) -> String {
    let stats = &reply.stats;
    let each = stats
        .ms_per_token()
        .map(|ms| format!(", {ms:.2} ms per token"));
    format!(
        "decode:   {} tokens in {:.3} s{}{}",
        stats.new_tokens,
        stats.decode_seconds,
        rate(stats.decode_rate()),
        each.unwrap_or_default()
    )
}

fn memory_line(reply: &Reply, weights: u64) -> String {
    let [keys, values, hot_rows] = reply.stats.kv_bytes.map(|bytes| BinaryBytes(bytes as u64));
    let weights = BinaryBytes(weights);
    format!("memory:   weights {weights}, K {keys}, V {values}, hot rows {hot_rows}")
}

fn traffic_line(reply: &Reply) -> Option<String> {
    let near = DecimalBytes(reply.stats.near_bytes_per_step()? as u64);
    let fetched = DecimalBytes(reply.stats.fetched_bytes_per_step()? as u64);
    let speed = reply.gigabytes_per_second()?;
    Some(format!(
        "traffic:  {near} near and {fetched} fetched per step, {speed:.2} GB/s"
    ))
}

/// Only for policies that leave rows of V out or fetch them.
fn rows_line(reply: &Reply) -> Option<String> {
    let kv = &reply.stats.kv;
    let (mean, p99) = (kv.mean_set()?, kv.p99_set()?);
    let hits = kv
        .hit_rate()
        .map(|rate| format!("; {:.1}% of those fetched were hot", 100.0 * rate));
    Some(format!(
        "V rows:   N {mean:.1} mean, {p99} P99{}",
        hits.unwrap_or_default()
    ))
}

fn rate(tokens_per_second: Option<f64>) -> String {
    tokens_per_second
        .map(|r| format!(", {r:.1} tokens/s"))
        .unwrap_or_default()
}

fn seed(sampling: &SamplingParams) -> String {
    match sampling.temperature {
        0.0 => String::new(),
        _ => format!(", seed {}", sampling.seed),
    }
}

fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::EndOfText => "end of text",
        FinishReason::StopString => "stop string",
        FinishReason::Length => "length",
        FinishReason::ContextFull => "context full",
        FinishReason::Cancelled => "cancelled",
    }
}
