//! `run generate --kv …`: policies on a prompt that is longer than what they keep.

use serde_json::Value;

use crate::support::{Run, arg, demo, small};

/// Some 600 bytes, each a token of the small model, or some 250 tokens of the demo model.
fn prompt() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text: String = (10..70).map(|i| format!("{i}²={}. ", i * i)).collect();
    std::fs::write(file.path(), text).expect("written");
    file
}

fn generate(flags: &[&str]) -> Value {
    let prompt = prompt();
    let file = arg(prompt.path());
    let common = [
        "-f",
        file,
        "-n",
        "12",
        "--temp",
        "0",
        "--ignore-eos",
        "--json",
    ];
    small("generate", &[&common, flags].concat()).json()
}

fn figure(json: &Value, key: &str) -> f64 {
    json["stats"]["kv"][key].as_f64().expect("a figure")
}

#[test]
fn top_n_reads_few_rows_and_finds_some_of_them_hot() {
    let flags = [
        "--v-top-n",
        "32",
        "--v-window",
        "16",
        "--v-dense-layers",
        "1",
    ];
    let json = generate(&[&["--kv", "kcache"][..], &flags].concat());
    assert!(json["stats"]["prompt_tokens"].as_u64() > Some(400));
    assert_eq!(json["policy"]["selection"]["top_n"]["n"], 32);
    assert_eq!(figure(&json, "mean_rows"), 52.0, "32 + window 16 + sinks 4");
    assert_eq!(figure(&json, "p99_rows"), 52.0);
    // 2 layers are not dense, of 2 KV heads each, in 11 steps.
    assert_eq!(figure(&json, "sets"), 44.0);
    assert_eq!(figure(&json, "rows_needed"), 44.0 * 32.0);
    let (hit, fetched) = (figure(&json, "rows_hit"), figure(&json, "rows_fetched"));
    assert!(hit > 0.0 && fetched > 0.0, "{hit} {fetched}");
    assert_eq!(hit + fetched, 44.0 * 32.0);
    assert_eq!(figure(&json, "hot_row_hit_rate"), hit / (44.0 * 32.0));
    assert_eq!(figure(&json, "bytes_fetched"), fetched * 24.0 * 4.0);
    assert!(json["stats"]["memory"]["hot_rows"].as_u64() > Some(0));
}

#[test]
fn top_p_stays_within_its_bound() {
    let flags = ["--kv", "kcache", "--v-top-p", "0.9", "--v-max-rows", "40"];
    let rows = figure(&generate(&flags), "p99_rows");
    assert!(
        rows > 68.0 && rows <= 108.0,
        "window 64, sinks 4, and at most 40: {rows}"
    );
}

#[test]
fn policies_that_use_every_row_give_the_same_text() {
    let full = generate(&[]);
    let offload = generate(&["--kv", "full-offload"]);
    let all = generate(&["--kv", "kcache", "--v-top-n", "4096"]);
    assert_eq!(offload["tokens"], full["tokens"]);
    assert_eq!(all["tokens"], full["tokens"]);
    assert!(offload["stats"]["fetched_bytes_per_step"].as_f64() > Some(0.0));
    assert_eq!(full["stats"]["fetched_bytes_per_step"], 0.0);
}

#[test]
fn the_demo_model_runs_under_the_default_policy() {
    let prompt = prompt();
    let run: Run = demo(
        "generate",
        &["-f", arg(prompt.path()), "-n", "4", "--kv", "kcache"],
    );
    let rows = "V rows:   N 196.0 mean, 196 P99; ";
    assert!(run.stderr.contains(rows), "{}", run.stderr);
    assert!(run.text().len() > 1);
}
