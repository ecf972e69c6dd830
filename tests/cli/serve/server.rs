//! A server in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Events, Request};
use crate::support::{demo_command, small_command, spawn};

/// Flags that every server of these tests has: any free port.
const FLAGS: [&str; 2] = ["--port", "0"];

/// A running server; it ends with this.
pub struct Server {
    pub child: Child,
    pub address: String,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// With the demo model.
    pub fn demo(flags: &[&str]) -> Self {
        Self::start(&mut demo_command("serve", &[&FLAGS, flags].concat()))
    }

    /// With the small checkpoint: random weights, no chat template.
    pub fn small(flags: &[&str]) -> Self {
        Self::start(&mut small_command("serve", &[&FLAGS, flags].concat()))
    }

    /// Whatever `command` starts.
    pub fn start(command: &mut Command) -> Self {
        let mut child = spawn(command);
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("text");
            stderr.lock().expect("no panic").push_str(&line);
            assert!(read > 0, "{}", stderr.lock().expect("no panic"));
            if let Some(url) = line.strip_prefix("serving:  http://") {
                break url.trim_end().to_owned();
            }
        };
        let kept = stderr.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("no panic");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self {
            child,
            address,
            stderr,
        }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.stderr.lock().expect("no panic").clone()
    }

    pub fn get(&self, path: &str) -> Answer {
        Request::get(path).send(&self.address)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        Request::post(path, &body.to_string()).send(&self.address)
    }

    /// The object of a completion that must succeed.
    pub fn complete(&self, body: &Value) -> Value {
        self.post("/v1/completions", body).ok()
    }

    /// A streamed completion.
    pub fn stream(&self, body: &Value) -> Events {
        let mut body = body.clone();
        body["stream"] = json!(true);
        Request::post("/v1/completions", &body.to_string()).stream(&self.address)
    }

    /// A figure of `/metrics`, by its name with labels; 0 if it is not there yet.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).unwrap_or(0.0)
    }

    /// Waits until a figure is `value`.
    pub fn wait_for(&self, name: &str, value: f64) {
        let started = Instant::now();
        while self.metric(name) != value {
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(20), "{name} is never {value}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bytes of memory that the process holds.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("Linux");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let line = line.expect("a line");
        let kib: u64 = line
            .trim_end_matches("kB")
            .trim()
            .parse()
            .expect("a number");
        kib << 10
    }

    /// Sends a signal, and returns the exit code and the time that the end took.
    pub fn signal(mut self, name: &str) -> (Option<i32>, Duration) {
        let id = self.child.id().to_string();
        let kill = format!("kill -{name} \"$0\"");
        let started = Instant::now();
        let sent = Command::new("sh").args(["-c", &kill, &id]).status();
        assert!(sent.expect("sh runs").success());
        let status = self.child.wait().expect("it ends");
        (status.code(), started.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
