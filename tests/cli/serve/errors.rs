//! What is refused, and in which words.

use serde_json::json;

use super::client::Request;
use super::server::Server;
use crate::support::{arg, command, small, small_checkpoint};

#[test]
fn bodies_that_cannot_be_used_are_refused_with_the_reason() {
    let server = Server::small(&["-c", "64"]);
    let long: Vec<u32> = vec![1; 65];
    let deep = format!("{{\"prompt\": {}", "[".repeat(100_000));
    for (body, status, reason) in [
        ("", 400, "EOF"),
        ("{\"prompt\": \"a\"", 400, "EOF"),
        ("\u{0}\u{1}", 400, "expected value"),
        ("[]", 400, "expected a map"),
        ("{}", 400, "prompt: is missing"),
        (r#"{"prompt": null}"#, 400, "prompt: is missing"),
        (r#"{"prompt": {"a": 1}}"#, 400, "token ids"),
        (
            r#"{"prompt": ["a", "b"]}"#,
            400,
            "one prompt a request, got 2",
        ),
        (r#"{"prompt": []}"#, 400, "no tokens"),
        (r#"{"prompt": [4294967295]}"#, 400, "outside the vocabulary"),
        (r#"{"prompt": [-1]}"#, 400, "token ids"),
        (r#"{"prompt": "a", "max_tokens": 0}"#, 400, "at least 1"),
        (r#"{"prompt": "a", "max_tokens": -1}"#, 400, "max_tokens"),
        (r#"{"prompt": "a", "temperature": -1}"#, 400, "temperature"),
        (
            r#"{"prompt": "a", "temperature": 1e999}"#,
            400,
            "out of range",
        ),
        (
            r#"{"prompt": "a", "temperature": "hot"}"#,
            400,
            "temperature: ",
        ),
        (r#"{"prompt": "a", "top_p": 0}"#, 400, "top-p"),
        (r#"{"prompt": "a", "top_k": -2}"#, 400, "top_k"),
        (r#"{"prompt": "a", "min_p": 2}"#, 400, "min-p"),
        (r#"{"prompt": "a", "stop": 1}"#, 400, "array of strings"),
        (r#"{"prompt": "a", "n": 2}"#, 400, "n: more than one choice"),
        (r#"{"prompt": "a", "logprobs": 1}"#, 400, "logprobs"),
        (r#"{"prompt": "a", "logprobs": 0}"#, 400, "logprobs"),
        (r#"{"prompt": "a", "echo": true}"#, 400, "echo"),
        (r#"{"prompt": "a", "suffix": "b"}"#, 400, "suffix"),
        (r#"{"prompt": "a", "best_of": 3}"#, 400, "best_of"),
        (
            r#"{"prompt": "a", "logit_bias": {"1": 5}}"#,
            400,
            "logit_bias",
        ),
        (
            r#"{"prompt": "a", "presence_penalty": 1}"#,
            400,
            "presence_penalty",
        ),
        (r#"{"prompt": "a", "model": "gpt-4"}"#, 404, "gpt-4"),
        (
            &json!({"prompt": long}).to_string(),
            400,
            "context of 64 tokens",
        ),
        (&deep, 400, "recursion limit"),
    ] {
        let answer = Request::post("/v1/completions", body).send(&server.address);
        let what = &body[..body.len().min(60)];
        let message = answer.error();
        assert_eq!(answer.status, status, "{what}: {message}");
        assert!(message.contains(reason), "{what}: {message}");
    }
    let idle = json!({
        "prompt": "a", "n": 1, "logprobs": null, "logit_bias": {}, "presence_penalty": 0,
        "best_of": 1, "echo": false, "user": "me", "unheard_of": [1], "stop": null,
    });
    server.complete(&idle);
}

#[test]
fn chats_that_cannot_be_had_are_refused_with_the_reason() {
    let server = Server::demo(&["-c", "64"]);
    let user = r#""messages": [{"role": "user", "content": "Hi"}]"#;
    for (body, reason) in [
        (r#"{"messages": []}"#.to_owned(), "at least one"),
        (r#"{"messages": "Hi"}"#.to_owned(), "messages"),
        (r#"{"messages": [{"content": "Hi"}]}"#.to_owned(), "role"),
        (
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#.to_owned(),
            "image_url",
        ),
        (
            format!(r#"{{{user}, "tools": [{{"type": "function"}}]}}"#),
            "tools",
        ),
        (format!(r#"{{{user}, "logprobs": true}}"#), "logprobs"),
        (
            format!(r#"{{{user}, "response_format": {{"type": "json_object"}}}}"#),
            "response_format",
        ),
        (
            json!({"messages": [{"role": "user", "content": "word ".repeat(100)}]}).to_string(),
            "context of 64 tokens",
        ),
    ] {
        let answer = Request::post("/v1/chat/completions", &body).send(&server.address);
        let message = answer.error();
        assert_eq!(answer.status, 400, "{body}: {message}");
        assert!(message.contains(reason), "{body}: {message}");
    }
    let body = json!({"messages": [{"role": "user", "content": "word ".repeat(100)}]});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
}

#[test]
fn other_places_methods_and_types_are_refused_in_the_same_shape() {
    let server = Server::small(&["--max-body", "1000"]);
    let chat = "/v1/chat/completions";
    let big = json!({"prompt": "a".repeat(1000)}).to_string();
    let plain = [("Content-Type", "text/plain")];
    for (request, status) in [
        (Request::get("/v1/other"), 404),
        (Request::get("/v1/completions"), 405),
        (Request::post("/health", "{}"), 405),
        (Request::with("POST", chat, &[], "{}"), 415),
        (Request::with("POST", chat, &plain, "{}"), 415),
        (Request::post("/v1/completions", &big), 413),
    ] {
        let answer = request.send(&server.address);
        assert_eq!(answer.status, status, "{}", answer.body);
        answer.error();
    }
}

#[test]
fn a_model_without_a_chat_template_completes_and_does_not_chat() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(small_checkpoint()).expect("a checkpoint") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("copied");
    }
    let path = folder.path().join("tokenizer_config.json");
    let text = std::fs::read_to_string(&path).expect("text");
    std::fs::write(&path, text.replace("chat_template", "no_template")).expect("written");
    let server = Server::start(&mut command(&[
        "serve",
        "--port",
        "0",
        "-m",
        arg(folder.path()),
    ]));
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let answer = server.post("/v1/chat/completions", &chat);
    assert!(
        answer.error().contains("no chat template"),
        "{}",
        answer.body
    );
    server.complete(&json!({"prompt": "a"}));
}

#[test]
fn where_a_key_is_needed_none_other_opens() {
    let server = Server::small(&["--api-key", "open sesame"]);
    let status = |headers: &[(&str, &str)], path| {
        let answer = Request::with("GET", path, headers, "").send(&server.address);
        if answer.status != 200 {
            answer.error();
        }
        answer.status
    };
    for wrong in [
        "Bearer open sesam",
        "Bearer open sesamf",
        "Bearer ",
        "open sesame",
        "",
    ] {
        assert_eq!(
            status(&[("Authorization", wrong)], "/v1/models"),
            401,
            "{wrong}"
        );
    }
    assert_eq!(status(&[], "/v1/models"), 401);
    assert_eq!(
        server
            .post("/v1/completions", &json!({"prompt": "a"}))
            .status,
        401
    );
    assert_eq!(
        status(&[("Authorization", "Bearer open sesame")], "/v1/models"),
        200
    );
    assert_eq!(status(&[], "/health"), 200);
    assert!(!server.said().contains("sesame"), "keys are not shown");
}

#[test]
fn flags_that_cannot_be_used_end_the_program() {
    let server = Server::small(&[]);
    let port = server.address.rsplit(':').next().expect("a port");
    let taken = small("serve", &["--port", port]);
    assert_eq!(taken.code, Some(2));
    assert!(
        taken.stderr.contains(&format!("--port {port}")),
        "{}",
        taken.stderr
    );
    for flags in [
        &["--parallel", "0"][..],
        &["--port", "65536"],
        &["--host", "not a host"],
        &["--max-body", "0"],
        &["--temperature", "-1", "--port", "0"],
    ] {
        assert_eq!(small("serve", flags).code, Some(2), "{flags:?}");
    }
}
