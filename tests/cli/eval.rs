//! `run eval`: perplexity of a text.

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::{Run, arg, demo, small};

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::with_suffix(".txt").expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

/// By the small model, on some 2,000 bytes that are nearly as many tokens.
fn eval(flags: &[&str]) -> Run {
    let text: String = (0..300).map(|i| format!("{i}²={}", i * i)).collect();
    let text = file(&text);
    small("eval", &[&["-f", arg(text.path())], flags].concat())
}

fn nll(json: &Value, part: &str) -> f64 {
    json[part]["mean_nll"].as_f64().expect("a figure")
}

#[test]
fn both_parts_are_scored_under_each_policy() {
    let flags = ["--tokens", "400", "--prefill", "250", "--json"];
    let full = eval(&flags).json();
    assert_eq!(full["prefilled"]["tokens"], 250);
    assert_eq!(full["decoded"]["tokens"], 149);
    let kcache = ["--kv", "kcache", "--v-top-n", "32", "--v-dense-layers", "1"];
    let sparse = eval(&[&flags[..], &kcache].concat()).json();
    assert_eq!(sparse["prefilled"], full["prefilled"], "prefill is dense");
    assert_eq!(sparse["kv"]["mean_rows"], 100.0, "32 + window 64 + sinks 4");
    assert!(sparse["kv"]["hot_row_hit_rate"].as_f64() > Some(0.0));
    assert_ne!(nll(&sparse, "decoded"), nll(&full, "decoded"));
    let all = ["--kv", "kcache", "--v-top-n", "400"];
    let all = eval(&[&flags[..], &all].concat()).json();
    assert!((nll(&all, "decoded") / nll(&full, "decoded") - 1.0).abs() < 1e-5);
}

#[test]
fn prefilled_and_decoded_predictions_agree() {
    let total = |prefill: &str| {
        let json = eval(&["--tokens", "200", "--prefill", prefill, "--json"]).json();
        let sum = |part: &str| json[part]["tokens"].as_f64().map(|n| n * nll(&json, part));
        sum("prefilled").expect("a count") + sum("decoded").expect("a count")
    };
    let (prefilled, decoded) = (total("198"), total("1"));
    assert!(
        (prefilled / decoded - 1.0).abs() < 1e-5,
        "{prefilled} {decoded}"
    );
}

#[test]
fn a_part_without_predictions_has_no_figures() {
    let json = eval(&["--tokens", "8", "--prefill", "7", "--json"]).json();
    assert_eq!(json["decoded"]["tokens"], 0);
    assert_eq!(json["decoded"]["perplexity"], Value::Null);
}

#[test]
fn the_table_holds_the_figures_of_the_json() {
    let flags = ["--tokens", "64", "--prefill", "32", "--start", "100²"];
    let json = eval(&[&flags[..], &["--json"]].concat()).json();
    let table = eval(&flags).text();
    for part in ["prefilled", "decoded"] {
        let nll = format!("{:.5}", nll(&json, part));
        assert!(table.contains(&nll), "{nll} is not in\n{table}");
    }
}

#[test]
fn the_demo_model_predicts_a_sentence() {
    let text = "skipped: The sun rises in the east and sets in the west, every day of the year.";
    let file = file(text);
    let flags = [
        "--start",
        "The sun",
        "--tokens",
        "16",
        "--prefill",
        "8",
        "--json",
    ];
    let json = demo("eval", &[&["-f", arg(file.path())], &flags[..]].concat()).json();
    let nll = nll(&json, "decoded");
    assert!(nll > 0.1 && nll < 3.0, "{nll}");
}

#[test]
fn texts_that_cannot_be_read_so_are_refused() {
    for (flags, needle) in [
        (
            &["--start", "no such words"][..],
            ".txt: does not contain \"no such words\"",
        ),
        (
            &["--start", "290²", "--tokens", "1024"],
            "fewer than --tokens 1024",
        ),
        (&["--tokens", "1025"], "outside 1 to 1024"),
        (&["--tokens", "64", "--prefill", "64"], "prefill of 64"),
        (&["--tokens", "64", "--prefill", "0"], "prefill of 0"),
    ] {
        let run = eval(&[flags, &["--quiet"]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{flags:?}");
        assert!(run.stderr.contains(needle), "{flags:?}: {}", run.stderr);
    }
}
