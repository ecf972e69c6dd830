//! `run generate --kv …`: policies on a prompt that is longer than what they keep.

use serde_json::Value;

use crate::support::{Run, arg, demo};

/// Some 700 tokens.
fn long_prompt() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let line = |i: u32| {
        format!(
            "{i} times {i} is {}. The sea is wide and the day is long.\n",
            i * i
        )
    };
    let text: String = (10..40).map(line).collect();
    std::fs::write(file.path(), text).expect("written");
    file
}

fn generate(flags: &[&str]) -> Run {
    let prompt = long_prompt();
    let common = [
        "-f",
        arg(prompt.path()),
        "-n",
        "12",
        "--ignore-eos",
        "--json",
    ];
    demo("generate", &[&common, flags].concat())
}

fn figure(json: &Value, key: &str) -> f64 {
    json["stats"]["kv"][key].as_f64().expect("a figure")
}

#[test]
fn top_n_reads_few_rows_and_finds_many_of_them_hot() {
    let json = generate(&["--kv", "kcache", "--v-top-n", "32", "--v-window", "16"]).json();
    assert!(json["stats"]["prompt_tokens"].as_u64() > Some(500));
    assert_eq!(json["policy"]["selection"]["top_n"]["n"], 32);
    assert_eq!(figure(&json, "mean_rows"), 52.0, "32 + window 16 + sinks 4");
    assert_eq!(figure(&json, "p99_rows"), 52.0);
    let hits = figure(&json, "hot_row_hit_rate");
    assert!(hits > 0.2 && hits < 1.0, "{hits}");
    // 28 layers are not dense, of 3 KV heads each, in 11 steps.
    assert_eq!(figure(&json, "sets"), 28.0 * 3.0 * 11.0);
    assert_eq!(figure(&json, "rows_needed"), 32.0 * figure(&json, "sets"));
    let fetched = figure(&json, "rows_fetched");
    assert_eq!(
        fetched + figure(&json, "rows_hit"),
        figure(&json, "rows_needed")
    );
    assert_eq!(figure(&json, "bytes_fetched"), fetched * 64.0 * 4.0);
    assert!(json["stats"]["memory"]["hot_rows"].as_u64() > Some(0));
}

#[test]
fn top_p_stays_within_its_bound() {
    let flags = ["--kv", "kcache", "--v-top-p", "0.9", "--v-max-rows", "40"];
    let json = generate(&flags).json();
    assert!(figure(&json, "mean_rows") < 108.0 && figure(&json, "p99_rows") <= 108.0);
}

#[test]
fn policies_that_use_every_row_give_the_same_text() {
    let full = generate(&[]).json();
    let offload = generate(&["--kv", "full-offload"]).json();
    let all = generate(&["--kv", "kcache", "--v-top-n", "4096"]).json();
    assert_eq!(offload["tokens"], full["tokens"]);
    assert_eq!(all["tokens"], full["tokens"]);
    assert!(offload["stats"]["fetched_bytes_per_step"].as_f64() > Some(0.0));
    assert_eq!(full["stats"]["fetched_bytes_per_step"], 0.0);
}

#[test]
fn the_statistics_name_the_rows() {
    let prompt = long_prompt();
    let run = demo(
        "generate",
        &["-f", arg(prompt.path()), "-n", "4", "--kv", "kcache"],
    );
    assert!(
        run.stderr.contains("V rows:   N 196.0 mean, 196 P99"),
        "{}",
        run.stderr
    );
    assert_eq!(run.code, Some(0));
}
