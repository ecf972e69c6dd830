//! `run bench`: rows of measurements.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::support::{Run, demo_command, run, small, spawn};

const TINY: [&str; 6] = ["-p", "16", "-n", "4", "-r", "2"];

fn demo(flags: &[&str]) -> Run {
    let flags = [&TINY, flags].concat();
    let output = demo_command("bench", &flags).output();
    output.expect("the binary starts").into()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"))
}

#[test]
fn rows_are_named_and_filled_as_llama_bench_does() {
    let run = demo(&["-d", "0,32"]);
    if cfg!(debug_assertions) {
        assert!(run.stderr.starts_with("warning:"), "{}", run.stderr);
    }
    assert!(run.stderr.contains("roof:     memory"), "{}", run.stderr);
    let text = run.text();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(lines.len(), 2 + 4, "{text}");
    assert_eq!(lines[0][6..8], ["test", "t/s"], "{text}");
    let tests: Vec<&str> = lines[2..].iter().map(|row| row[6]).collect();
    assert_eq!(tests, ["pp16", "tg4", "pp16 @ d32", "tg4 @ d32"]);
    let widths = lines.iter().map(Vec::len);
    assert!(widths.clone().all(|n| n == lines[0].len()), "{text}");
    let is_rate = |cell: &str| {
        let (mean, deviation) = cell.split_once(" ± ").expect("mean and deviation");
        mean.parse::<f64>().expect("a mean") > 0.0 && deviation.parse::<f64>().is_ok()
    };
    assert!(lines[2..].iter().all(|row| is_rate(row[7])), "{text}");
    // TTFT of prompts, TPOT of generations.
    for (i, row) in lines[2..].iter().enumerate() {
        let (there, absent) = if i % 2 == 0 { (8, 9) } else { (9, 8) };
        assert!(is_rate(row[there]) && row[absent] == "-", "{text}");
    }
}

#[test]
fn the_figures_belong_together() {
    let flags = ["-d", "100", "--batch", "2", "--kv", "kcache", "-o", "json"];
    let run = demo(&[&flags[..], &["--v-top-n", "8,16"]].concat());
    let rows: Vec<Value> = serde_json::from_str(&run.text()).expect("a JSON array");
    assert_eq!(rows.len(), 4);
    let labels: Vec<&Value> = rows.iter().map(|row| &row["kv"]).collect();
    assert_eq!(labels, ["topn:8", "topn:8", "topn:16", "topn:16"]);
    for row in &rows {
        assert_eq!(row["batch"], 2);
        assert_eq!(row["parameters"], 134_515_008);
        let samples = row["samples_seconds"].as_array().expect("samples");
        let tokens = 2.0 * (number(row, "n_prompt") + number(row, "n_gen"));
        let rates: Vec<f64> = samples
            .iter()
            .map(|s| tokens / s.as_f64().expect("seconds"))
            .collect();
        assert_eq!(rates.len(), 2);
        let mean = (rates[0] + rates[1]) / 2.0;
        assert!((number(row, "tokens_per_second") / mean - 1.0).abs() < 1e-9);
        let deviation = (rates[0] - rates[1]).abs() / 2f64.sqrt();
        assert!((number(row, "tokens_per_second_sd") - deviation).abs() < 1e-6 * mean);
    }
    let generated = &rows[1];
    assert_eq!(number(generated, "mean_rows"), 8.0 + 64.0 + 4.0);
    let hits = number(generated, "hot_row_hit_rate");
    assert!((0.0..=1.0).contains(&hits), "{generated}");
    // 28 layers, 3 heads, 8 rows of 64 floats, two sequences.
    let needed = f64::from(28 * 3 * 8 * 64 * 4 * 2);
    let fetched = number(generated, "fetched_bytes_per_step");
    assert!(
        (fetched / needed - (1.0 - hits)).abs() < 1e-6,
        "{generated}"
    );
    let near = number(generated, "near_bytes_per_step");
    // Weights once a step, and K of 101 positions and more of both sequences.
    let keys = f64::from(2 * 101 * 30 * 3 * 64 * 4);
    assert!(
        near > number(generated, "weight_bytes") + keys,
        "{generated}"
    );
    let seconds = number(generated, "tpot_ms") / 1e3;
    let share = (near + fetched) / seconds / number(generated, "near_bytes_per_second");
    let told = number(generated, "near_roof_share");
    assert!((told / share - 1.0).abs() < 1e-9, "{told} {share}");
}

#[test]
fn csv_and_jsonl_hold_the_same_fields() {
    let lines = demo(&["-o", "jsonl"]).json_lines();
    let csv = demo(&["-o", "csv"]).text();
    let csv: Vec<Vec<&str>> = csv.lines().map(|line| split(line)).collect();
    assert_eq!((lines.len(), csv.len()), (2, 3));
    assert!(csv.iter().all(|fields| fields.len() == csv[0].len()));
    let row = lines[1].as_object().expect("an object");
    let plain = row.iter().filter(|(_, v)| !v.is_array() && !v.is_object());
    let keys: Vec<&str> = plain.map(|(key, _)| key.as_str()).collect();
    assert_eq!(csv[0], keys);
    let test = keys
        .iter()
        .position(|key| *key == "test")
        .expect("a column");
    assert_eq!((csv[1][test], csv[2][test]), ("pp16", "tg4"));
}

/// Fields of a line without quoted quotes.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
}

#[test]
fn a_geometry_needs_no_model() {
    let flags = ["bench", "--geometry", "smollm2-135m", "-o", "jsonl"];
    let rows = run(&[&flags[..], &TINY, &["-q"]].concat()).json_lines();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["model"], "smollm2-135m");
    assert_eq!(rows[0]["parameters"], 134_515_008);
    assert!(number(&rows[1], "near_bytes_per_step") > 2.0 * 134e6);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (flags, code, needle) in [
        (&["-p", "0", "-n", "0"][..], 2, "--n-prompt and --n-gen"),
        (&["--batch", "1,0"], 2, "--batch"),
        (&["-d", "1024", "-n", "1"], 2, "outside 1 to 1024"),
        (&["-p", "5-3"], 2, "--n-prompt"),
        (&["-r", "0"], 2, "--repetitions"),
        (&["--geometry", "llama2-7b"], 2, "--geometry"),
        (&["--v-top-n", "8"], 2, "--v-top-n has no effect"),
        (&["-b", "99999999", "-p", "0"], 1, "out of memory"),
    ] {
        let run = small("bench", &[flags, &["--quiet"]].concat());
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(code), ""),
            "{flags:?}"
        );
        assert!(run.stderr.contains(needle), "{flags:?}: {}", run.stderr);
    }
    let run = run(&["bench"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--geometry"), "{}", run.stderr);
    let lists = small(
        "generate",
        &["-p", "a", "--kv", "kcache", "--v-top-n", "8,16"],
    );
    assert_eq!(lists.code, Some(2));
    assert!(
        lists.stderr.contains("takes one number"),
        "{}",
        lists.stderr
    );
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let flags = ["-p", "1-200", "-n", "0", "-r", "1", "-q"];
    let mut child = spawn(&mut demo_command("bench", &flags));
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        lines.next().expect("a line").expect("text");
    }
    drop(lines);
    let run: Run = child.wait_with_output().expect("an end").into();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}
