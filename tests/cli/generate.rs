//! `run generate`: text, statistics, and the flags that change them.

use serde_json::Value;

use crate::support::{FRANCE, Run, arg, demo, demo_command, demo_with_input, ids, reference};

fn generate(args: &[&str]) -> Run {
    demo("generate", args)
}

fn france(args: &[&str]) -> Run {
    generate(&[&["-p", FRANCE], args].concat())
}

#[test]
fn greedy_tokens_equal_the_reference() {
    let json = france(&["-n", "40", "--ignore-eos", "--json"]).json();
    assert_eq!(ids(&json["tokens"]), reference("plain", "out_ids"));
    assert_eq!(json["finish_reason"], "length");
    let stats = &json["stats"];
    assert_eq!(stats["prompt_tokens"], 5);
    assert_eq!(stats["new_tokens"], 40);
    assert_eq!(stats["decode_steps"], 39);
    assert_eq!(json["policy"]["selection"], "full");
    assert_eq!(json["sampling"]["temperature"], 0.0);
    assert_eq!(json["architecture"], "llama");
    assert!(json["memory_plan"]["weights"].as_u64() > Some(90_000_000));
}

#[test]
fn the_streamed_text_is_the_text_of_the_json() {
    let json = france(&["-n", "12", "--json"]).json();
    let streamed = france(&["-n", "12"]);
    assert!(
        streamed.stderr.contains("sampling: greedy"),
        "{}",
        streamed.stderr
    );
    assert!(
        streamed.stderr.contains("memory:   weights"),
        "{}",
        streamed.stderr
    );
    let hash = json["stats"]["logits_hash"]
        .as_str()
        .expect("a hash")
        .to_owned();
    assert!(
        streamed.stderr.contains(&hash),
        "equal runs have equal hashes"
    );
    assert_eq!(
        streamed.text(),
        format!("{}\n", json["text"].as_str().expect("text"))
    );
}

#[test]
fn the_end_of_text_ends_the_text_unless_ignored() {
    let json = france(&["-n", "40", "--json"]).json();
    let expected = reference("plain", "out_ids");
    let end = expected.iter().position(|&id| id == 2).expect("an end");
    assert_eq!(ids(&json["tokens"]), expected[..end]);
    assert_eq!(json["finish_reason"], "end_of_text");
}

#[test]
fn a_seed_decides_the_text() {
    let text = |seed| {
        let json = france(&["-n", "16", "--temp", "1.5", "--seed", seed, "--json"]).json();
        (json["text"].clone(), json["stats"]["logits_hash"].clone())
    };
    let first = text("1");
    assert_eq!(first, text("1"));
    assert_ne!(first, text("2"));
}

#[test]
fn an_unset_seed_is_printed_and_can_be_used_again() {
    let run = france(&["-n", "8", "--temp", "1"]);
    let (_, rest) = run.stderr.split_once("seed ").expect("a printed seed");
    let seed: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let again = france(&["-n", "8", "--temp", "1", "--seed", &seed]);
    assert_eq!(run.text(), again.text());
}

#[test]
fn a_prompt_may_come_from_a_flag_a_file_or_a_pipe() {
    let by_flag = france(&["-n", "6"]).text();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{FRANCE}\n")).expect("written");
    assert_eq!(
        generate(&["-n", "6", "-f", arg(file.path())]).text(),
        by_flag
    );
    let by_pipe = demo_with_input("generate", &["-n", "6"], &format!("{FRANCE}\n"));
    assert_eq!(by_pipe.text(), by_flag);
}

#[test]
fn a_prompt_may_begin_with_a_hyphen() {
    let json = generate(&["-p", "- one\n- two\n-", "-n", "2", "--json"]).json();
    assert_eq!(json["stats"]["new_tokens"], 2);
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let whole = france(&["-n", "20", "--json"]).json();
    let whole = whole["text"].as_str().expect("text");
    let stop = "\n\n";
    let at = whole
        .find(stop)
        .expect("the reference text has a blank line");
    let json = france(&["-n", "20", "--stop", "never seen", "--stop", stop, "--json"]).json();
    assert_eq!(json["text"], whole[..at]);
    assert_eq!(json["finish_reason"], "stop_string");
}

#[test]
fn a_full_context_ends_the_text() {
    let json = france(&["-c", "8", "--ignore-eos", "--json"]).json();
    assert_eq!(json["finish_reason"], "context_full");
    assert_eq!(
        json["stats"]["new_tokens"], 4,
        "5 + 3 fill the context, one more is drawn"
    );
}

#[test]
fn variables_stand_for_flags_and_flags_win() {
    let count = |command: &mut std::process::Command| -> Value {
        let run = Run::from(command.output().expect("the binary starts"));
        run.json()["stats"]["new_tokens"].clone()
    };
    let mut by_variable = demo_command("generate", &["-p", FRANCE]);
    by_variable
        .env("KCACHE_MAX_NEW_TOKENS", "3")
        .env("KCACHE_JSON", "1");
    assert_eq!(count(&mut by_variable), 3);
    assert_eq!(count(by_variable.args(["-n", "2"])), 2);
}

#[test]
fn quiet_leaves_only_the_text() {
    let run = france(&["-n", "2", "--quiet"]);
    assert_eq!(run.stderr, "");
    assert!(!run.text().is_empty());
}

#[test]
fn threads_and_chunks_change_nothing_but_rounding() {
    let expected = france(&["-n", "8"]).text();
    assert_eq!(
        france(&["-n", "8", "-t", "1", "--chunk", "2"]).text(),
        expected
    );
}
