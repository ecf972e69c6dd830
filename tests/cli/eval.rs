//! `run eval`: perplexity of a text.

use crate::common::repository;
use crate::support::{Run, arg, demo};

/// Any committed text of a few thousand tokens will do.
fn text() -> std::path::PathBuf {
    repository("docs/cli.md")
}

fn eval(flags: &[&str]) -> Run {
    demo("eval", &[&["-f", arg(&text())], flags].concat())
}

#[test]
fn both_parts_are_scored_under_each_policy() {
    let flags = ["--tokens", "400", "--prefill", "250", "--json"];
    let full = eval(&flags).json();
    assert_eq!(full["prefilled"]["tokens"], 250);
    assert_eq!(full["decoded"]["tokens"], 149);
    let kcache = ["--kv", "kcache", "--v-top-n", "32"];
    let sparse = eval(&[&flags[..], &kcache].concat()).json();
    assert_eq!(sparse["prefilled"], full["prefilled"], "prefill is dense");
    assert_eq!(sparse["kv"]["mean_rows"], 100.0, "32 + window 64 + sinks 4");
    assert!(sparse["kv"]["hot_row_hit_rate"].as_f64() > Some(0.0));
    let nll = |json: &serde_json::Value| json["decoded"]["mean_nll"].as_f64().expect("a figure");
    let (full, sparse) = (nll(&full), nll(&sparse));
    assert!(full > 1.0 && full < 6.0, "{full}");
    assert!(
        full != sparse && (full - sparse).abs() < 0.5,
        "{full} {sparse}"
    );
}

#[test]
fn the_prefilled_and_the_decoded_path_agree() {
    let score = |prefill: &str, part: &str| {
        let json = eval(&["--tokens", "200", "--prefill", prefill, "--json"]).json();
        let [nll, tokens] = ["mean_nll", "tokens"].map(|k| json[part][k].as_f64());
        (nll.expect("a figure"), tokens.expect("a count"))
    };
    let (prefilled, n) = score("199", "prefilled");
    let (decoded, m) = score("1", "decoded");
    assert_eq!((n, m), (199.0, 198.0));
    // One prediction more or less moves a mean over 200 by a few percent.
    assert!((prefilled - decoded).abs() < 0.1, "{prefilled} {decoded}");
}

#[test]
fn the_table_holds_the_figures_of_the_json() {
    let flags = ["--tokens", "64", "--prefill", "32", "--start", "## "];
    let json = eval(&[&flags[..], &["--json"]].concat()).json();
    let table = eval(&flags).text();
    for part in ["prefilled", "decoded"] {
        let nll = json[part]["mean_nll"].as_f64().expect("a figure");
        assert!(table.contains(&format!("{nll:.5}")), "{table}");
    }
}

#[test]
fn texts_that_cannot_be_read_so_are_refused() {
    for (flags, needle) in [
        (&["--start", "no such words"][..], "does not contain"),
        (&["--tokens", "8000"], "fewer than --tokens 8000"),
        (&["--tokens", "8193"], "outside 1 to 8192"),
        (&["--tokens", "64", "--prefill", "64"], "prefill of 64"),
        (&["--tokens", "64", "--prefill", "0"], "prefill of 0"),
    ] {
        let run = eval(&[flags, &["--quiet"]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{flags:?}");
        assert!(run.stderr.contains(needle), "{flags:?}: {}", run.stderr);
    }
}
