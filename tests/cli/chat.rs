//! `run chat`: turns through a pipe.

use serde_json::Value;

use crate::support::{Run, demo, demo_command, ids, reference, small_command, with_input};

const QUESTION: &str = "What is the capital of France?";
/// The demo model's own system message.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// With the demo model.
fn chat(flags: &[&str], lines: &[&str]) -> Run {
    with_input(&mut demo_command("chat", flags), &lines.join("\n"))
}

/// With a small random model.
fn babble(flags: &[&str], lines: &[&str]) -> Run {
    let flags = [&["--temp", "0", "--ignore-eos", "-n", "8"], flags].concat();
    with_input(&mut small_command("chat", &flags), &lines.join("\n"))
}

fn tokens(json: &Value, key: &str) -> u64 {
    json["stats"][key].as_u64().expect("a count")
}

#[test]
fn the_first_reply_equals_the_reference() {
    let replies = chat(&["--json"], &[QUESTION]).json_lines();
    let expected = reference("chat_capital", "out_ids");
    let end = expected.iter().position(|&id| id == 2).expect("an end");
    assert_eq!(ids(&replies[0]["tokens"]), expected[..end]);
    let prompt = reference("chat_capital", "prompt_ids").len() as u64;
    assert_eq!(tokens(&replies[0], "prompt_tokens"), prompt);
    assert_eq!(tokens(&replies[0], "reused_tokens"), 0);
}

#[test]
fn a_second_turn_computes_only_what_is_new_and_remembers_the_first() {
    let second = "And of Germany?";
    let replies = chat(&["--json", "-n", "12"], &[QUESTION, second]).json_lines();
    let [first, next] = &replies[..] else {
        panic!("two replies")
    };
    let held = tokens(first, "prompt_tokens") + tokens(first, "new_tokens");
    assert_eq!(tokens(next, "reused_tokens"), held);

    let reply = first["text"].as_str().expect("text");
    let whole = format!(
        "<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n\
         <|im_start|>assistant\n{reply}<|im_end|>\n<|im_start|>user\n{second}<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    let afresh = demo("generate", &["-p", &whole, "-n", "12", "--json"]).json();
    assert_eq!(next["tokens"], afresh["tokens"]);
    assert_eq!(
        tokens(next, "prompt_tokens") + held,
        tokens(&afresh, "prompt_tokens")
    );
}

#[test]
fn a_cleared_conversation_begins_anew() {
    let lines = [QUESTION, "/clear", "", QUESTION];
    let replies = babble(&["--json"], &lines).json_lines();
    assert_eq!(replies.len(), 2, "empty lines are no turns");
    assert_eq!(replies[0]["tokens"], replies[1]["tokens"]);
    assert_eq!(
        tokens(&replies[1], "prompt_tokens"),
        1,
        "the same prompt is held but for one token"
    );
}

#[test]
fn exit_ends_the_conversation() {
    let run = babble(&["-n", "2"], &[QUESTION, "/exit", QUESTION]);
    assert_eq!(
        run.stderr.matches("prompt tokens").count(),
        1,
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("> "), "no marker where nobody types");
}

#[test]
fn a_system_message_leads_the_conversation() {
    let count = |flags: &[&str]| {
        let flags = [&["--json"], flags].concat();
        tokens(&babble(&flags, &[QUESTION]).json(), "prompt_tokens")
    };
    let (without, brief) = (count(&[]), count(&["--system", "Be brief."]));
    assert!(brief > without + 5);
    assert!(count(&["--system", SYSTEM]) > brief);
}

#[test]
fn a_conversation_beyond_the_context_is_refused() {
    let run = babble(&["-c", "16", "-q"], &[QUESTION]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("context of 16 tokens"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
}
