//! The end of a server, and its log.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;

/// A text that outlasts the test.
fn endless() -> Value {
    json!({"prompt": "Once upon a time", "max_tokens": 100_000, "ignore_eos": true})
}

#[test]
fn a_signal_ends_it_within_a_second_and_clients_are_told() {
    for signal in ["INT", "TERM"] {
        let server = Server::demo(&["-c", "4096"]);
        let mut stream = server.stream(&endless());
        stream.next().expect("a first token");
        let (code, time) = server.signal(signal);
        assert_eq!(code, Some(130));
        assert!(time < Duration::from_secs(1), "{time:?}");
        let last = stream.objects().pop().expect("an object");
        assert_eq!(last["error"]["code"], "closing", "{last}");
    }
}

#[test]
fn a_signal_ends_it_within_a_second_while_a_long_prompt_is_read() {
    let server = Server::demo(&["-c", "8192", "--chunk", "4096"]);
    let body = json!({"prompt": "All work and no play. ".repeat(1000), "stream": true});
    let _stream = server.stream(&body);
    server.wait_for("kcache_requests_held", 1.0);
    std::thread::sleep(Duration::from_millis(500));
    let (code, time) = server.signal("INT");
    assert_eq!(code, Some(130));
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn an_idle_server_ends_at_once() {
    let (code, time) = Server::small(&[]).signal("INT");
    assert_eq!(code, Some(130));
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn the_log_says_what_became_of_each_request() {
    let mut server = Server::small(&["--json"]);
    let stdout = server.child.stdout.take().expect("a pipe");
    let body = json!({"prompt": [1, 2, 3], "max_tokens": 5, "ignore_eos": true});
    let id = server.complete(&body)["id"].clone();
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let record: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(record["id"], id);
    assert_eq!(record["endpoint"], "completions");
    assert_eq!(
        (&record["outcome"], &record["why"]),
        (&json!("finished"), &json!("length"))
    );
    assert_eq!(
        (&record["prompt_tokens"], &record["new_tokens"]),
        (&json!(3), &json!(5))
    );
    assert!(
        record["time_to_first_token"].as_f64().expect("a time")
            <= record["seconds"].as_f64().expect("a time")
    );
}

#[test]
fn the_metrics_count_what_happened() {
    let server = Server::small(&[]);
    let body = json!({"prompt": [1, 2, 3], "max_tokens": 5, "ignore_eos": true});
    server.complete(&body);
    server.complete(&body);
    server.get("/nowhere");
    let answer = server.get("/metrics");
    assert!(
        answer.headers["content-type"].starts_with("text/plain"),
        "{:?}",
        answer.headers
    );
    for (name, value) in [
        ("kcache_requests_total{outcome=\"finished\"}", 2.0),
        ("kcache_prompt_tokens_total", 6.0),
        ("kcache_generation_tokens_total", 10.0),
        ("kcache_http_responses_total{status=\"404\"}", 1.0),
        ("kcache_time_to_first_token_seconds_count", 2.0),
        ("kcache_requests_held", 0.0),
    ] {
        assert_eq!(server.metric(name), value, "{name}");
    }
}
