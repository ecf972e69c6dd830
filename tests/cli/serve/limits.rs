//! Clients that are slow, gone, or too many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Request;
use super::server::Server;

/// A text that goes on for as long as the context lasts.
fn endless() -> Value {
    json!({"prompt": [1, 2, 3], "max_tokens": 100_000, "ignore_eos": true})
}

fn short() -> Value {
    json!({"prompt": [1, 2, 3], "max_tokens": 4, "ignore_eos": true})
}

#[test]
fn what_has_no_place_is_refused_with_a_time_to_come_back() {
    let server = Server::demo(&["-c", "4096", "--parallel", "1", "--queue", "1"]);
    let mut running = server.stream(&endless());
    running.next().expect("a first token");
    let waiting = Request::post("/v1/completions", &short().to_string()).open(&server.address);
    server.wait_for("kcache_requests_held", 2.0);
    let refused = server.post("/v1/completions", &short());
    assert_eq!(refused.status, 429);
    assert!(refused.error().contains("2 requests"), "{}", refused.body);
    assert_eq!(refused.headers["retry-after"], "1");
    drop(running);
    // The place is free again and the queue goes on.
    server.wait_for("kcache_requests_held", 0.0);
    drop(waiting);
    assert_eq!(server.post("/v1/completions", &short()).status, 200);
    let said = server.said();
    assert!(
        said.contains("; gone") && said.contains("finished: length"),
        "{said}"
    );
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_place() {
    let server = Server::demo(&["-c", "4096", "--parallel", "1"]);
    let mut running = server.stream(&endless());
    running.next().expect("a first token");
    let waiting = Request::post("/v1/completions", &short().to_string()).open(&server.address);
    server.wait_for("kcache_requests_held", 2.0);
    drop(waiting);
    server.wait_for("kcache_requests_held", 1.0);
    running.next().expect("it goes on");
}

#[test]
fn a_client_that_does_not_read_stalls_nobody() {
    let server = Server::small(&["--parallel", "2"]);
    let mut body = endless();
    body["stream"] = json!(true);
    let lazy = Request::post("/v1/completions", &body.to_string());
    let lazy: Vec<TcpStream> = (0..2).map(|_| lazy.open(&server.address)).collect();
    for _ in 0..4 {
        server.complete(&short());
    }
    server.wait_for("kcache_requests_held", 0.0);
    drop(lazy);
}

#[test]
fn a_client_that_never_ends_its_request_stalls_nobody() {
    let server = Server::small(&[]);
    let half: Vec<TcpStream> = ["", "POST /v1/comp", "POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"]
        .iter()
        .map(|text| {
            let mut stream = TcpStream::connect(&server.address).expect("a server");
            stream.write_all(text.as_bytes()).expect("sent");
            stream
        })
        .collect();
    server.complete(&short());
    assert_eq!(
        server.metric("kcache_requests_held"),
        0.0,
        "a body in part has no place"
    );
    drop(half);
}

#[test]
fn what_is_no_http_is_refused_and_the_server_lives_on() {
    let server = Server::small(&[]);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\n\n\n\xff\xfe",
        &[0; 70_000],
    ] {
        let mut stream = TcpStream::connect(&server.address).expect("a server");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("set");
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{answer:?}"
        );
    }
    server.complete(&short());
}

#[test]
fn a_connection_serves_several_requests() {
    let server = Server::small(&[]);
    let body = short().to_string();
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(&server.address).expect("a server");
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        while !answer.ends_with("}}") {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).expect("an answer");
            answer += std::str::from_utf8(&buffer[..n]).expect("UTF-8");
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
