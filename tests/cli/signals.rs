//! Ctrl-C, as a signal.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{FRANCE, Run, arg, demo_command, small_command, spawn};

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    // The shell's own `kill`: a minimal system has no such program.
    let sent = Command::new("sh")
        .args(["-c", "kill -INT \"$0\"", &id])
        .status();
    assert!(sent.expect("sh runs").success());
}

fn finish(child: Child) -> Run {
    child.wait_with_output().expect("the binary ends").into()
}

#[test]
fn while_generating_the_statistics_still_come() {
    let flags = ["-p", FRANCE, "--ignore-eos"];
    let mut child = spawn(&mut demo_command("generate", &flags));
    child
        .stdout
        .as_mut()
        .expect("a pipe")
        .read_exact(&mut [0])
        .expect("a first byte");
    interrupt(&child);
    let run = finish(child);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stderr.contains("finish:   cancelled"), "{}", run.stderr);
}

#[test]
fn while_a_long_prompt_is_read_nothing_is_written() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "All work and no play. ".repeat(1200)).expect("written");
    let flags = ["-f", arg(file.path()), "-n", "1", "--chunk", "16"];
    let mut child = spawn(&mut demo_command("generate", &flags));
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("plan:") {
        line.clear();
        assert!(
            stderr.read_line(&mut line).expect("text") > 0,
            "ended before it loaded"
        );
    }
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    interrupt(&child);
    let run = finish(child);
    assert_eq!((run.code, run.stdout.as_str()), (Some(130), ""));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn while_waiting_for_a_turn_the_program_ends() {
    let mut chat = small_command("chat", &["-n", "1"]);
    let mut child = spawn(chat.stdin(Stdio::piped()));
    child
        .stdin
        .as_mut()
        .expect("a pipe")
        .write_all(b"Hello\n")
        .expect("written");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut String::new()).expect("a reply");
    // The pipe stays open, so that the program waits for its second line.
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let stdin = child.stdin.take();
    assert_eq!(finish(child).code, Some(130));
    drop(stdin);
}

#[test]
fn while_measuring_the_program_ends_at_once() {
    // One chunk that takes long, so that the end cannot come between two.
    let flags = ["-p", "6000", "--chunk", "6000", "-n", "0"];
    let mut child = spawn(&mut demo_command("bench", &flags));
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("roof:") {
        line.clear();
        assert!(
            stderr.read_line(&mut line).expect("text") > 0,
            "ended before it measured"
        );
    }
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    interrupt(&child);
    let run = finish(child);
    println!("ended after {:?}", asked.elapsed());
    assert_eq!((run.code, run.stdout.as_str()), (Some(130), ""));
}
