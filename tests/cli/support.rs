//! Running the binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::common::{demo_model, repository};

/// A prompt whose reference output is known.
pub const FRANCE: &str = "The capital of France is";

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Standard output of a run that must have succeeded.
    pub fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The JSON objects of a run that must have succeeded, one a line.
    pub fn json_lines(self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("valid JSON");
        self.text().lines().map(parse).collect()
    }

    /// The only JSON object of a run that must have succeeded.
    pub fn json(self) -> Value {
        let mut objects = self.json_lines();
        assert_eq!(objects.len(), 1, "one JSON object");
        objects.remove(0)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("valid UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The binary on the CPU, whatever the environment of the tests holds; no input.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_run"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KCACHE_") {
            command.env_remove(name);
        }
    }
    command
        .env("KCACHE_DEVICE", "cpu")
        .env_remove("COLUMNS")
        .args(args)
        .stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Run {
    command(args).output().expect("the binary starts").into()
}

/// Runs a subcommand with the demo model to its end.
pub fn demo(subcommand: &str, args: &[&str]) -> Run {
    demo_command(subcommand, args)
        .output()
        .expect("the binary starts")
        .into()
}

/// Runs a subcommand with the small checkpoint to its end.
pub fn small(subcommand: &str, args: &[&str]) -> Run {
    small_command(subcommand, args)
        .output()
        .expect("the binary starts")
        .into()
}

/// Runs a command to its end, with `input` on standard input.
pub fn with_input(command: &mut Command, input: &str) -> Run {
    let mut child = spawn(command.stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A run that refuses its flags does not read its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the binary ends").into()
}

/// A subcommand with the demo model.
pub fn demo_command(subcommand: &str, args: &[&str]) -> Command {
    let mut command = command(&[subcommand, "-m"]);
    command.arg(demo_model()).args(args);
    command
}

/// A committed checkpoint: 3 layers, 2 KV heads of 24, a context of 1024, and
/// sampling defaults of its own.
pub fn small_checkpoint() -> PathBuf {
    repository("tests/data/checkpoints/llama-gqa-llama3-rope")
}

/// A subcommand with the small checkpoint.
pub fn small_command(subcommand: &str, args: &[&str]) -> Command {
    let mut command = command(&[subcommand, "-m"]);
    command.arg(small_checkpoint()).args(args);
    command
}

/// Starts a command with its output in pipes.
pub fn spawn(command: &mut Command) -> Child {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("the binary starts")
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The reference outputs of the demo model: `prompts.NAME.{prompt_ids, out_ids}`.
pub fn reference(name: &str, key: &str) -> Vec<u32> {
    let path = repository("tests/data/smollm2.json");
    let file = std::fs::read_to_string(path).expect("the reference file");
    let file: Value = serde_json::from_str(&file).expect("valid JSON");
    ids(&file["prompts"][name][key])
}

/// An array of token ids.
pub fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("an array of ids")
}
