//! `run generate`: text, statistics, and the flags that change them.

use serde_json::Value;

use crate::support::{FRANCE, Run, arg, demo, ids, reference, small, small_command, with_input};

/// By the demo model.
fn france(args: &[&str]) -> Run {
    demo("generate", &[&["-p", FRANCE], args].concat())
}

/// Greedily, by a small random model that goes on until it is stopped.
fn noise(args: &[&str]) -> Run {
    small(
        "generate",
        &[&["--temp", "0", "--ignore-eos"], args].concat(),
    )
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
fn an_end_of_text_token_ends_the_text() {
    let json = france(&["-n", "40", "--json"]).json();
    let expected = reference("plain", "out_ids");
    let end = expected.iter().position(|&id| id == 2).expect("an end");
    assert_eq!(ids(&json["tokens"]), expected[..end]);
    assert_eq!(json["finish_reason"], "end_of_text");
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let flags = [
        "-n",
        "20",
        "--stop",
        "never seen",
        "--stop",
        "answer is",
        "--json",
    ];
    let json = france(&flags).json();
    assert_eq!(json["text"], " Paris.\n\nThe ");
    assert_eq!(json["finish_reason"], "stop_string");
}

#[test]
fn the_streamed_text_is_the_text_of_the_json() {
    let json = france(&["-n", "12", "--json"]).json();
    let streamed = france(&["-n", "12"]);
    for said in [
        "sampling: greedy\n",
        "device:   cpu, ",
        "plan:     weights",
        "memory:   weights",
    ] {
        assert!(streamed.stderr.contains(said), "{}", streamed.stderr);
    }
    let hash = json["stats"]["logits_hash"].as_str().expect("a hash");
    assert!(
        streamed.stderr.contains(hash),
        "equal runs have equal hashes"
    );
    let text = json["text"].as_str().expect("text");
    assert_eq!(streamed.text(), format!("{text}\n"));
}

#[test]
fn the_checkpoint_chooses_what_flags_leave_out() {
    let json = small(
        "generate",
        &["-p", "a", "-n", "1", "--top-k", "3", "--json"],
    )
    .json();
    let sampling = &json["sampling"];
    assert_eq!(sampling["temperature"], 0.7);
    assert_eq!(sampling["top_k"], 3);
    assert_eq!(sampling["top_p"], 0.8);
    assert_eq!(sampling["repetition_penalty"], 1.05);
    let said = small(
        "generate",
        &["-p", "a", "-n", "1", "--temp", "0.5", "--seed", "9"],
    )
    .stderr;
    let first = said.lines().next().expect("a line");
    let used = "sampling: temperature 0.5, top-k 20, top-p 0.8, repetition penalty 1.05, seed 9 ";
    assert!(first.starts_with(used), "{first}");
    assert!(
        first.contains("(checkpoint: sampling, temperature 0.7,"),
        "{first}"
    );
}

#[test]
fn a_seed_decides_the_text() {
    let text = |seed| {
        let flags = [
            "-p", FRANCE, "-n", "40", "--temp", "1", "--seed", seed, "--json",
        ];
        let json = small("generate", &flags).json();
        (json["tokens"].clone(), json["stats"]["logits_hash"].clone())
    };
    let first = text("1");
    assert_eq!(first, text("1"));
    assert_ne!(first, text("2"));
}

#[test]
fn an_unset_seed_is_printed_and_can_be_used_again() {
    let flags = ["-p", FRANCE, "-n", "40", "--temp", "1"];
    let run = small("generate", &flags);
    let (_, rest) = run.stderr.split_once("seed ").expect("a printed seed");
    let seed: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let again = small("generate", &[&flags[..], &["--seed", &seed]].concat());
    assert_eq!(run.text(), again.text());
}

#[test]
fn a_prompt_may_come_from_a_flag_a_file_or_a_pipe() {
    let by_flag = noise(&["-p", FRANCE, "-n", "9"]).text();
    let line = format!("{FRANCE}\n");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &line).expect("written");
    assert_eq!(noise(&["-n", "9", "-f", arg(file.path())]).text(), by_flag);
    let flags = ["-n", "9", "--temp", "0", "--ignore-eos"];
    assert_eq!(
        with_input(&mut small_command("generate", &flags), &line).text(),
        by_flag
    );
}

#[test]
fn a_prompt_may_begin_with_a_hyphen() {
    let json = noise(&["-p", "- one", "-n", "2", "--json"]).json();
    assert_eq!(json["stats"]["new_tokens"], 2);
}

#[test]
fn a_full_context_ends_the_text() {
    let json = noise(&["-p", "aaaaa", "-c", "8", "--json"]).json();
    let prompt = json["stats"]["prompt_tokens"].as_u64().expect("a count");
    // The last token drawn is never computed, so it needs no room.
    assert_eq!(json["stats"]["new_tokens"], 8 - prompt + 1);
    assert_eq!(json["finish_reason"], "context_full");
}

#[test]
fn no_new_tokens_may_be_asked_for() {
    let json = noise(&["-p", FRANCE, "-n", "0", "--json"]).json();
    assert_eq!(
        (&json["text"], &json["finish_reason"]),
        (&"".into(), &"length".into())
    );
    assert_eq!(json["stats"]["decode_tokens_per_second"], Value::Null);
}

#[test]
fn variables_stand_for_flags_and_flags_win() {
    let count = |command: &mut std::process::Command| {
        let run = Run::from(command.output().expect("the binary starts"));
        run.json()["stats"]["new_tokens"].clone()
    };
    let mut command = small_command("generate", &["-p", FRANCE, "--ignore-eos"]);
    command
        .env("KCACHE_MAX_NEW_TOKENS", "3")
        .env("KCACHE_JSON", "1");
    assert_eq!(count(&mut command), 3);
    assert_eq!(count(command.args(["-n", "2"])), 2);
}

#[test]
fn of_a_flag_given_twice_the_last_counts() {
    let json = noise(&["-p", FRANCE, "-n", "3", "-n", "2", "--json"]).json();
    assert_eq!(json["stats"]["new_tokens"], 2);
}

#[test]
fn quiet_leaves_only_the_text() {
    let run = noise(&["-p", FRANCE, "-n", "5", "--quiet"]);
    assert_eq!(run.stderr, "");
    assert!(run.text().len() > 1);
}

#[test]
fn threads_and_chunks_change_nothing_but_rounding() {
    let expected = france(&["-n", "6"]).text();
    assert_eq!(
        france(&["-n", "6", "-t", "1", "--chunk", "2"]).text(),
        expected
    );
}

#[test]
fn copied_weights_give_what_mapped_ones_give() {
    let mapped = noise(&["-p", "the quay", "-n", "12", "--json"]).json();
    let copied = noise(&["-p", "the quay", "-n", "12", "--json", "--no-mmap"]).json();
    assert_eq!(
        mapped["stats"]["logits_hash"],
        copied["stats"]["logits_hash"]
    );
    for (json, is_mapped) in [(mapped, true), (copied, false)] {
        assert_eq!(json["memory_plan"]["weights_mapped"], is_mapped);
    }
}
