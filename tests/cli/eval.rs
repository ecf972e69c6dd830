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

#[test]
fn a_sweep_compares_policies_on_one_text() {
    let flags = ["--tokens", "300", "--prefill", "200"];
    let list = ["--policies", "full,full-offload,topn:16,topp:0.5"];
    let json = eval(&[&flags[..], &list, &["--v-dense-layers", "1", "--json"]].concat()).json();
    let rows = json["policies"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["full", "full-offload", "topn:16", "topp:0.5"]);
    let alone = eval(&[&flags[..], &["--kv", "full", "--json"]].concat()).json();
    assert_eq!(rows[0]["decoded"], alone["decoded"], "as alone");
    assert_eq!(rows[0]["kl_divergence"], 0.0);
    assert_eq!(rows[1]["same_token"], 1.0, "the same as full");
    assert_eq!(rows[2]["kv"]["mean_rows"], 84.0, "16 + window 64 + sinks 4");
    for row in &rows[2..] {
        assert!(row["kl_divergence"].as_f64() > Some(0.0));
        let layers = row["layers"].as_array().expect("layers");
        assert_eq!(layers[0]["mean_mass"], Value::Null, "a dense layer");
        let mass = layers[1]["mean_mass"].as_f64().expect("counted");
        assert!(mass > 0.1 && mass < 1.0, "{mass}");
    }
}

#[test]
fn a_sweep_is_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("sweep.svg");
    let flags = [
        "--tokens",
        "120",
        "--prefill",
        "90",
        "--policies",
        "full,topn:4",
    ];
    let table = eval(&[&flags[..], &["--svg", arg(&svg)]].concat()).text();
    assert!(table.contains("| topn:4 |"), "{table}");
    let picture = std::fs::read_to_string(svg).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.contains("topn:4"));
}

#[test]
fn sweeps_that_mean_nothing_are_refused() {
    let refused = |flags: &[&str], part: &str| {
        let run = eval(flags);
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(part), "{}", run.stderr);
    };
    refused(&["--policies", "full,none"], "expected full");
    refused(&["--policies", "full", "--kv", "full"], "cannot be used");
    refused(&["--svg", "a.svg"], "--policies");
    let nowhere = ["--tokens", "40", "--prefill", "30", "--policies", "full"];
    refused(
        &[&nowhere[..], &["--svg", "/nowhere/a.svg"]].concat(),
        "/nowhere/a.svg",
    );
}

#[test]
fn the_demo_model_finds_a_needle_under_each_policy() {
    let text = file(&crate::common::pride_and_prejudice()[..4000]);
    let flags = ["--needles", "1", "--lengths", "300", "--depths", "0.2,0.7"];
    let list = ["--policies", "full,kcache", "--json"];
    let json = demo(
        "eval",
        &[&["-f", arg(text.path())], &flags[..], &list].concat(),
    )
    .json();
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["found"], serde_json::json!([1.0, 1.0]), "{row}");
    }
}

#[test]
fn needles_that_do_not_fit_are_refused() {
    for (flags, part) in [
        (["--needles", "2", "--lengths", "30"], "take"),
        (["--needles", "2", "--lengths", "900000"], "900000"),
        (["--needles", "9", "--lengths", "300"], "1..=6"),
        (["--needles", "1", "--depths", "1.5"], "0 to 1"),
    ] {
        let run = eval(&flags);
        assert_eq!(run.code, Some(2), "{flags:?}");
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
}
