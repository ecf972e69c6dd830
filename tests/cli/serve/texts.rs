//! What is written: the same as at the command line, whole and streamed.

use serde_json::{Value, json};

use super::client::Request;
use super::server::Server;
use crate::support::{FRANCE, demo, reference};

/// The text of a response that is not streamed.
fn text(object: &Value) -> &str {
    object["choices"][0]["text"].as_str().expect("a text")
}

/// The texts of chunks, one after the other.
fn joined(chunks: &[Value], of: impl Fn(&Value) -> &Value) -> String {
    let choices = chunks.iter().filter_map(|c| c["choices"].get(0));
    choices.filter_map(|c| of(c).as_str()).collect()
}

#[test]
fn a_greedy_completion_equals_run_generate_whole_and_streamed() {
    let server = Server::demo(&["-c", "256"]);
    let run = demo("generate", &["-p", FRANCE, "-n", "24", "--json"]).json();
    let body = json!({"prompt": FRANCE, "max_tokens": 24, "temperature": 0});
    let whole = server.complete(&body);
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(text(&whole), run["text"]);

    let by_ids = json!({"prompt": reference("plain", "prompt_ids"), "max_tokens": 24});
    assert_eq!(text(&server.complete(&by_ids)), run["text"]);

    let chunks = server.stream(&body).objects();
    assert_eq!(joined(&chunks, |c| &c["text"]), run["text"]);
    let last = chunks.last().expect("chunks");
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(last.get("usage").is_none(), "nobody asked");
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"]));
    assert_ne!(chunks[0]["id"], whole["id"]);
}

#[test]
fn a_chat_equals_run_chat_whole_and_streamed() {
    let server = Server::demo(&["-c", "256", "--alias", "smol"]);
    let ask = |more: Value| {
        let mut body = json!({"model": "smol", "messages": [
            {"role": "user", "content": "What is the capital of France?"},
        ]});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("too").clone());
        Request::post("/v1/chat/completions", &body.to_string())
    };
    let expected = reference("chat_capital", "out_ids");
    let end = expected.iter().position(|&id| id == 2).expect("an end");
    let whole = ask(json!({})).send(&server.address).ok();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["role"], "assistant");
    assert_eq!(message["content"], "The capital of France is Paris.");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let prompt = reference("chat_capital", "prompt_ids").len();
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": end, "total_tokens": prompt + end,
        "prompt_tokens_details": {"cached_tokens": 0},
    });
    assert_eq!(whole["usage"], usage);

    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = ask(more).stream(&server.address).objects();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(
        joined(&chunks, |c| &c["delta"]["content"]),
        message["content"].as_str().expect("text")
    );
    let (last, others) = chunks.split_last().expect("chunks");
    assert_eq!((&last["usage"], &last["choices"]), (&usage, &json!([])));
    assert!(
        others
            .iter()
            .all(|c| c["usage"].is_null() && c["model"] == "smol")
    );
    let parts = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "What is the capital "}, {"type": "text", "text": "of France?"},
    ]}]});
    let in_parts = ask(parts).send(&server.address).ok();
    assert_eq!(in_parts["choices"][0]["message"], *message);
}

#[test]
fn requests_of_different_lengths_share_the_batch_and_do_not_mix() {
    let server = Server::small(&["--parallel", "8"]);
    let bodies: Vec<Value> = (0..8)
        .map(|i| {
            let prompt: Vec<u32> = (0..3 + 17 * i).map(|t| (t * 31 + i) % 300).collect();
            json!({"prompt": prompt, "max_tokens": 20 + i, "temperature": 0, "ignore_eos": true})
        })
        .collect();
    let alone: Vec<Value> = bodies.iter().map(|body| server.complete(body)).collect();
    let server = &server;
    let together: Vec<Value> = std::thread::scope(|scope| {
        let ask = |body| scope.spawn(move || server.complete(body));
        let asked: Vec<_> = bodies.iter().map(ask).collect();
        asked
            .into_iter()
            .map(|t| t.join().expect("an answer"))
            .collect()
    });
    for (one, other) in alone.iter().zip(&together) {
        assert_eq!((text(one), &one["usage"]), (text(other), &other["usage"]));
    }
}

#[test]
fn sampling_follows_the_request_and_otherwise_the_flags() {
    let server = Server::small(&["--temperature", "0", "-n", "12", "--ignore-eos"]);
    let write = |more: Value| {
        let mut body = json!({"prompt": [5, 6, 7]});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("too").clone());
        let object = server.complete(&body);
        (
            text(&object).to_owned(),
            object["usage"]["completion_tokens"].clone(),
        )
    };
    let (greedy, tokens) = write(json!({}));
    assert_eq!(tokens, 12, "-n of the server");
    assert_eq!(write(json!({"temperature": 1.5, "top_k": 1})).0, greedy);
    assert_eq!(
        write(json!({"temperature": 1.5, "min_p": 1.0, "seed": null})).0,
        greedy
    );
    let drawn = |seed: i64| write(json!({"temperature": 2, "top_p": 1, "seed": seed, "top_k": -1}));
    assert_eq!(drawn(-3), drawn(-3));
    assert_ne!(drawn(-3), drawn(4));
    assert_ne!(write(json!({"repetition_penalty": 1.5})).0, greedy);
    let cut: String = greedy.chars().skip(3).take(2).collect();
    let stopped = write(json!({"stop": ["\u{0}never", cut]})).0;
    assert_eq!(Some(&*stopped), greedy.split(&cut).next());
    assert_eq!(write(json!({"max_tokens": 3})).1, 3);
}

#[test]
fn a_context_that_is_full_ends_a_text_by_length() {
    let server = Server::small(&["-c", "32"]);
    let prompt: Vec<u32> = (0..20).collect();
    let object = server.complete(&json!({"prompt": prompt, "max_tokens": 100, "ignore_eos": true}));
    assert_eq!(object["choices"][0]["finish_reason"], "length");
    assert_eq!(object["usage"]["completion_tokens"], 13);
}

#[test]
fn models_are_listed() {
    let server = Server::small(&["-c", "64"]);
    let list = server.get("/v1/models").ok();
    let card = &list["data"][0];
    assert_eq!(card["id"], "llama-gqa-llama3-rope");
    assert_eq!(card["max_model_len"], 64);
    assert_eq!(server.get("/v1/models/llama-gqa-llama3-rope").ok(), *card);
    assert_eq!(server.get("/v1/models/other").status, 404);
    let named = Server::small(&["--served-model-name", "org/model"]);
    assert_eq!(named.get("/v1/models/org/model").ok()["id"], "org/model");
    assert_eq!(named.get("/v1/models/org%2Fmodel").ok()["id"], "org/model");
    assert_eq!(server.get("/health").ok(), json!({"status": "ok"}));
}

#[test]
fn the_turns_of_a_conversation_are_computed_once_if_that_is_wanted() {
    let first: Vec<u32> = (3..40).collect();
    let second = [&first[..], &[7, 8, 9]].concat();
    let ask = |server: &Server, prompt: &[u32]| {
        let body = json!({
            "prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": true,
        });
        let object = server.complete(&body);
        let cached = object["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
        (text(&object).to_owned(), cached)
    };
    let (keeps, plain) = (Server::small(&["--reuse-prefix"]), Server::small(&[]));
    for (server, cached) in [(&keeps, 37), (&plain, 0)] {
        assert_eq!(ask(server, &first).1, Some(0));
        let (reply, reused) = ask(server, &second);
        assert_eq!(reused, Some(cached));
        assert_eq!(reply, ask(&plain, &second).0);
    }
}
