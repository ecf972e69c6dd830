//! `run inspect`: what is in a model, and what of it fits.

use crate::support::{demo, run};

fn planned(flags: &[&str]) -> serde_json::Value {
    let flags = [&["--plan", "--json", "-q"], flags].concat();
    demo("inspect", &flags).json()
}

#[test]
fn a_model_is_described() {
    let text = demo("inspect", &[]).text();
    for line in [
        "vocabulary:   49152 tokens",
        "context:      8192 tokens",
        "Q4_1: 210 tensors",
        "end of text:  <|im_end|> (2)",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let tensors = demo("inspect", &["--tensors"]).text();
    assert!(tensors.lines().count() > text.lines().count() + 270);
}

#[test]
fn a_geometry_needs_no_files() {
    let text = run(&["inspect", "--geometry", "llama2-7b"]).text();
    assert!(text.contains("32000 tokens"), "{text}");
}

#[test]
fn a_plan_is_made_for_a_machine_that_is_not_there() {
    let machine = ["--device-memory", "80GiB", "--host-memory", "256GiB"];
    let text = demo("inspect", &[&["--plan"], &machine[..]].concat()).text();
    assert!(text.contains("80.00 GiB"), "{text}");
    let largest = |kv: &str| {
        let plan = planned(&[&machine[..], &["--kv", kv]].concat());
        let text = plan.to_string();
        let (_, rest) = text
            .split_once("\"largest_batch\":")
            .unwrap_or_else(|| panic!("no largest batch in {text}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("a number")
    };
    // V of most layers is on the host.
    assert!(largest("kcache") > largest("full"));
}

#[test]
fn what_is_no_model_is_refused() {
    let refused = run(&["inspect", "-m", "/nowhere/model.gguf"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    let size = demo("inspect", &["--plan", "--device-memory", "many"]);
    assert_eq!((size.code, size.stdout.as_str()), (Some(2), ""));
}
