//! Many clients at once, some of which change their mind.

use std::io::Read;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Request;
use super::server::Server;

const CLIENTS: u64 = 64;
const SEED: u64 = 20_260_101;
/// Memory that the allocator may keep between rounds of the same work.
const SLACK: u64 = 16 << 20;

/// A number that depends on `seed` and nothing else (SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    Refused,
    Left,
}

fn body(random: u64) -> Value {
    json!({
        "prompt": "The sea was calm, and ".repeat(1 + random as usize % 2),
        "max_tokens": 1 + random % 4,
        "ignore_eos": true,
        "stream": random & 64 != 0,
    })
}

/// One client: a third leave after a while.
fn client(address: &str, random: u64) -> End {
    let body = body(random);
    let request = Request::post("/v1/completions", &body.to_string());
    if random.is_multiple_of(3) {
        let mut stream = request.open(address);
        let patience = Duration::from_millis(1 + random % 500);
        stream.set_read_timeout(Some(patience)).expect("set");
        // Whatever came by then, or nothing.
        let _ = stream.read(&mut [0; 64]);
        return End::Left;
    }
    let answer = request.send(address);
    if answer.status == 429 {
        answer.error();
        return End::Refused;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    if body["stream"] == true {
        assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
        assert!(!answer.body.contains("\"error\""), "{}", answer.body);
    } else {
        assert_eq!(
            answer.json()["usage"]["completion_tokens"],
            body["max_tokens"]
        );
    }
    End::Answered
}

fn round(server: &Server, seed: u64) -> Vec<End> {
    thread::scope(|scope| {
        let start = |i| scope.spawn(move || client(&server.address, mixed(seed + i)));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let end = |client: thread::ScopedJoinHandle<'_, End>| client.join().expect("an end");
        clients.into_iter().map(end).collect()
    })
}

#[test]
fn of_many_clients_each_is_answered_or_refused_and_memory_returns() {
    println!("seed {SEED}");
    let server = Server::demo(&["-c", "256", "--parallel", "16", "--queue", "32"]);
    let mut levels = Vec::new();
    for i in 0..2 {
        let ends = round(&server, SEED + i * CLIENTS);
        let count = |end| ends.iter().filter(|e| **e == end).count();
        println!(
            "{} answered, {} refused, {} left",
            count(End::Answered),
            count(End::Refused),
            count(End::Left)
        );
        assert!(count(End::Answered) > 0 && count(End::Left) > 0);
        server.wait_for("kcache_requests_held", 0.0);
        server.wait_for("kcache_kv_cache_bytes{part=\"keys\"}", 0.0);
        levels.push(server.resident());
    }
    println!("resident after each round: {levels:?}");
    assert!(levels[1] <= levels[0] + SLACK, "{levels:?}");
    assert_eq!(server.get("/health").status, 200);
}
