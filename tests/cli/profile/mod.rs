//! `run profile`: a table, JSON, and a timeline.

mod nvtx;

use serde_json::Value;

use crate::support::{arg, demo, run, small};

const TINY: [&str; 6] = ["-p", "40", "-n", "3", "--warm-ups", "1"];

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY, more].concat()
}

fn total<'a>(json: &'a Value, phase: &str, range: &str) -> &'a Value {
    let ranges = json["ranges"].as_array().expect("an array");
    let wanted = ranges
        .iter()
        .find(|total| total["phase"] == phase && total["range"] == range);
    wanted.unwrap_or_else(|| panic!("{phase}, {range}: {json}"))
}

#[test]
fn the_table_shows_each_phase_and_what_lies_inside() {
    let text = small("profile", &flags(&[])).text();
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.get(..26).unwrap_or(line).trim_end())
        .collect();
    let expected = [
        "range",
        "load",
        "prefill",
        "  layer",
        "    projections",
        "    push",
        "    attention",
        "    mlp",
        "  logits",
        "decode step",
        "  layer",
        "    projections",
        "    push",
        "    attention",
        "      score",
        "      gather",
        "    mlp",
        "  logits",
    ];
    assert_eq!(names, expected, "{text}");
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    assert_eq!(lines.filter(|line| line.ends_with("100.0%")).count(), 3);
}

#[test]
fn the_figures_are_of_the_part_after_the_warm_up() {
    let json = demo("profile", &flags(&["--json"])).json();
    let calls = |phase, range| total(&json, phase, range)["calls"].as_u64();
    assert_eq!(calls("load", "load"), Some(1));
    assert_eq!(calls("prefill", "prefill"), Some(1));
    assert_eq!(calls("decode step", "decode step"), Some(3));
    assert_eq!(calls("decode step", "layer"), Some(90));
    let seconds = |range| total(&json, "decode step", range)["seconds"].as_f64();
    let parts: f64 = ["projections", "push", "attention", "mlp"]
        .map(|range| seconds(range).expect("a figure"))
        .iter()
        .sum();
    assert!(Some(parts) <= seconds("layer"), "{json}");
    assert!(seconds("layer") < seconds("decode step"), "{json}");
    assert_eq!(json["policy"]["selection"], "full", "{json}");
}

#[test]
fn fewer_layers_are_computed_with() {
    let policy = ["--kv", "kcache", "--layers", "1", "--json"];
    let dense = small("profile", &flags(&policy));
    let note = "all 1 layers keep V beside K; --v-dense-layers 0 changes that";
    assert!(dense.stderr.contains(note), "{}", dense.stderr);
    assert_eq!(total(&dense.json(), "prefill", "layer")["calls"], 1);
    let far = small(
        "profile",
        &flags(&[&policy[..], &["--v-dense-layers", "0"]].concat()),
    );
    assert!(!far.stderr.contains("policy:"), "{}", far.stderr);
    assert_eq!(total(&far.json(), "decode step", "layer")["calls"], 3);
    let more = small("profile", &["--layers", "4"]);
    assert_eq!(more.code, Some(2));
    let error = "error: --layers 4: the model has 3 layers\n";
    assert!(more.stderr.ends_with(error), "{}", more.stderr);
}

#[test]
fn weights_may_be_made_up() {
    let geometry = ["profile", "--geometry", "smollm2-135m"];
    let flags = [&geometry[..], &flags(&["--layers", "2", "--json"])].concat();
    let json = run(&flags).json();
    assert_eq!(total(&json, "prefill", "layer")["calls"], 2);
}

#[test]
fn a_timeline_nests_ranges_as_they_ran() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    small("profile", &flags(&["--trace", arg(file.path())])).text();
    let text = std::fs::read_to_string(file.path()).expect("the timeline");
    let trace: Value = serde_json::from_str(&text).expect("valid JSON");
    let events = trace["traceEvents"].as_array().expect("an array");
    let named = |name: &str| -> Vec<&Value> {
        let named = events
            .iter()
            .filter(|e| e["ph"] == "X" && e["name"] == name);
        named.collect()
    };
    let ends = |event: &Value| {
        let at = |key: &str| event[key].as_f64().expect("microseconds");
        (at("ts"), at("ts") + at("dur"))
    };
    let (steps, layers) = (named("decode step"), named("layer"));
    assert_eq!((steps.len(), layers.len()), (3, 3 * 4));
    for (i, layer) in layers.iter().enumerate() {
        assert_eq!(layer["args"]["layer"], i % 3);
        let (start, end) = ends(layer);
        let phases = [named("prefill"), steps.clone()].concat();
        let around = phases.iter().filter(|phase| {
            let (first, last) = ends(phase);
            // Times are rounded to nanoseconds.
            first - 0.01 <= start && end <= last + 0.01
        });
        assert_eq!(around.count(), 1, "{layer}");
    }
}

#[test]
fn a_timeline_that_cannot_be_written_is_refused_before_the_work() {
    let run = small(
        "profile",
        &flags(&["--trace", "/no/such/folder/trace.json"]),
    );
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    let error = "error: --trace /no/such/folder/trace.json: ";
    assert!(run.stderr.contains(error), "{}", run.stderr);
}
