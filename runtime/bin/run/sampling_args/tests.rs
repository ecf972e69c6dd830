//! Flags and checkpoints become sampling parameters.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    sampling: SamplingArgs,
}

fn options(flags: &str, defaults: &GenerationConfig) -> Result<GenerateOptions> {
    let flags = std::iter::once("run").chain(flags.split_whitespace());
    let flags = Flags::try_parse_from(flags).expect("flags parse");
    flags.sampling.options(defaults)
}

fn params(flags: &str, defaults: &GenerationConfig) -> SamplingParams {
    options(&format!("--seed 5 {flags}"), defaults)
        .unwrap()
        .sampling
}

fn drawing() -> SamplingParams {
    SamplingParams {
        temperature: 1.0,
        seed: 5,
        ..SamplingParams::greedy()
    }
}

#[test]
fn each_flag_sets_its_field_and_turns_drawing_on() {
    for (flags, expected) in [
        (
            "--temperature 0.5",
            SamplingParams {
                temperature: 0.5,
                ..drawing()
            },
        ),
        (
            "--temp 0.5",
            SamplingParams {
                temperature: 0.5,
                ..drawing()
            },
        ),
        (
            "--top-k 3",
            SamplingParams {
                top_k: 3,
                ..drawing()
            },
        ),
        (
            "--top-p 0.9",
            SamplingParams {
                top_p: 0.9,
                ..drawing()
            },
        ),
        (
            "--min-p 0.1",
            SamplingParams {
                min_p: 0.1,
                ..drawing()
            },
        ),
        (
            "--temp 0 --top-k 3",
            SamplingParams {
                temperature: 0.0,
                top_k: 3,
                ..drawing()
            },
        ),
    ] {
        assert_eq!(
            params(flags, &GenerationConfig::default()),
            expected,
            "{flags}"
        );
    }
}

#[test]
fn a_silent_checkpoint_means_greedy() {
    let silent = GenerationConfig::default();
    let greedy = SamplingParams {
        seed: 5,
        ..SamplingParams::greedy()
    };
    assert_eq!(params("", &silent), greedy);
    let penalised = SamplingParams {
        repetition_penalty: 1.5,
        ..greedy
    };
    assert_eq!(params("--repetition-penalty 1.5", &silent), penalised);
}

#[test]
fn the_checkpoint_fills_in_what_flags_leave_out() {
    let mut defaults = GenerationConfig {
        temperature: Some(0.7),
        top_k: Some(20),
        ..GenerationConfig::default()
    };
    assert_eq!(params("", &defaults).temperature, 0.0);
    let expected = SamplingParams {
        temperature: 0.7,
        top_k: 4,
        ..drawing()
    };
    assert_eq!(params("--top-k 4", &defaults), expected);
    defaults.do_sample = Some(true);
    let expected = SamplingParams {
        temperature: 0.7,
        top_k: 20,
        ..drawing()
    };
    assert_eq!(params("", &defaults), expected);
    assert_eq!(params("--temperature 0", &defaults).temperature, 0.0);
    assert_eq!(describe(&expected), "temperature 0.7, top-k 20, seed 5");
    let said = recommended(&defaults).unwrap();
    assert_eq!(said, "sampling, temperature 0.7, top-k 20");
    assert_eq!(recommended(&GenerationConfig::default()), None);
}

#[test]
fn seeds_differ_unless_given() {
    let seed = || {
        options("--temp 1", &GenerationConfig::default())
            .unwrap()
            .sampling
            .seed
    };
    let first = seed();
    assert!((0..9).any(|_| seed() != first));
}

#[test]
fn ends_of_text() {
    let defaults = GenerationConfig {
        eos_token_ids: vec![2, 7],
        ..GenerationConfig::default()
    };
    let given = options("-n 9 --stop a --stop b", &defaults).unwrap();
    assert_eq!(given.max_new_tokens, Some(9));
    assert_eq!(given.stop, ["a", "b"]);
    assert_eq!(given.stop_ids, [2, 7]);
    assert!(
        options("--ignore-eos", &defaults)
            .unwrap()
            .stop_ids
            .is_empty()
    );
}

#[test]
fn values_out_of_range_name_their_source() {
    let silent = GenerationConfig::default();
    for flags in [
        "--temp -1",
        "--temp NaN",
        "--top-p 1.5",
        "--min-p -1",
        "--repetition-penalty 0",
    ] {
        let error = options(flags, &silent).unwrap_err().to_string();
        assert!(!error.contains("checkpoint"), "{error}");
    }
    let defaults = GenerationConfig {
        top_p: Some(7.0),
        ..silent
    };
    let error = options("--temp 1", &defaults).unwrap_err().to_string();
    assert!(
        error.contains("checkpoint") && error.contains('7'),
        "{error}"
    );
}
