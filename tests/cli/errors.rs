//! Bad usage and bad input: one line that names what is wrong, exit code 2,
//! nothing on standard output.

use std::fs::{self, File};
use std::io::Read;

use crate::common::demo_model;
use crate::support::{
    FRANCE, Run, arg, demo, demo_command, run, small, small_checkpoint, small_command, spawn,
};

fn refused(run: &Run, needles: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    for needle in needles {
        assert!(
            run.stderr.contains(needle),
            "{needle:?} is not in {}",
            run.stderr
        );
    }
}

fn refused_in_one_line(run: &Run, needles: &[&str]) {
    refused(run, needles);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

fn open(model: &str) -> Run {
    run(&["generate", "-m", model, "-p", FRANCE])
}

#[test]
fn models_that_cannot_be_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    refused_in_one_line(&open(arg(&path("missing"))), &["missing"]);
    refused_in_one_line(&open(arg(dir.path())), &["config.json"]);

    let mut start = Vec::new();
    let model = File::open(demo_model()).expect("the demo model");
    model.take(1 << 20).read_to_end(&mut start).expect("read");
    for (name, len) in [
        ("empty.gguf", 0),
        ("header.gguf", 20),
        ("short.gguf", start.len()),
    ] {
        fs::write(path(name), &start[..len]).expect("written");
        refused_in_one_line(&open(arg(&path(name))), &[name]);
    }
    let noise = "neither one nor the other";
    fs::write(path("noise.bin"), noise).expect("written");
    refused_in_one_line(&open(arg(&path("noise.bin"))), &["noise.bin"]);
}

#[test]
fn an_unknown_architecture_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("config.json"), r#"{"model_type": "mamba"}"#).expect("written");
    refused_in_one_line(&open(arg(dir.path())), &["config.json", "mamba"]);
}

/// A copy of the small checkpoint with one file replaced.
fn altered(file: &str, content: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(small_checkpoint()).expect("the small checkpoint") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    fs::write(dir.path().join(file), content).expect("written");
    dir
}

#[test]
fn a_chat_needs_a_template() {
    let model = altered("tokenizer_config.json", r#"{"eos_token": "<|im_end|>"}"#);
    let run = run(&["chat", "-m", arg(model.path())]);
    refused_in_one_line(&run, &[arg(model.path()), "no chat template"]);
}

#[test]
fn recommendations_out_of_range_are_the_checkpoints_fault() {
    let content = r#"{"do_sample": true, "eos_token_id": 2, "top_p": 7.5}"#;
    let model = altered("generation_config.json", content);
    refused_in_one_line(&open(arg(model.path())), &["generation", "7.5"]);
}

#[test]
fn a_name_with_line_ends_stays_one_line() {
    refused_in_one_line(
        &open("no\nsuch\u{1b}[2Jmodel"),
        &["no\\nsuch\\u{1b}[2Jmodel"],
    );
}

#[test]
fn prompts_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = dir.path().join("bytes.txt");
    fs::write(&bytes, b"ab\xff").expect("written");
    let generate = |flags: &[&str]| small("generate", flags);
    refused_in_one_line(
        &generate(&["-f", arg(&bytes)]),
        &["bytes.txt", "UTF-8 at byte 2"],
    );
    refused_in_one_line(&generate(&["-f", "/no/such/file"]), &["/no/such/file"]);
    refused_in_one_line(&generate(&[]), &["no tokens"]);
    refused(&generate(&["-f", "a", "-p", "b"]), &["cannot be used with"]);
}

#[test]
fn contexts_out_of_range() {
    let generate = |c: &str| demo("generate", &["-p", FRANCE, "-c", c]);
    refused_in_one_line(&generate("4"), &["5 new tokens", "context of 4 tokens"]);
    refused_in_one_line(&generate("0"), &["context of 0 tokens", "8192"]);
    refused_in_one_line(&generate("8193"), &["context of 8193 tokens", "8192"]);
}

#[test]
fn sampling_out_of_range() {
    for (flag, value) in [
        ("--temperature", "-1"),
        ("--temp", "NaN"),
        ("--top-p", "2"),
        ("--top-p", "0"),
        ("--min-p", "-0.5"),
        ("--repetition-penalty", "0"),
    ] {
        let run = small("generate", &["-p", FRANCE, flag, value]);
        refused_in_one_line(&run, &["must be", value]);
    }
}

#[test]
fn policies_out_of_range() {
    for (flags, needle) in [
        (&["--kv", "kcache", "--v-top-n", "0"][..], "at least 1 row"),
        (&["--kv", "kcache", "--v-top-p", "0"], "mass"),
        (
            &["--kv", "full", "--v-top-n", "64"],
            "--v-top-n has no effect without --kv kcache",
        ),
        (
            &["--v-hot-rows", "64"],
            "--v-hot-rows has no effect without --kv kcache",
        ),
    ] {
        let run = small("generate", &[&["-p", FRANCE], flags].concat());
        refused_in_one_line(&run, &[needle]);
    }
}

#[test]
fn flags_that_do_not_parse() {
    for flags in [
        &["-n", "many"][..],
        &["--no-such-flag"],
        &["--kv", "some"],
        &["--threads", "-1"],
        &["--threads", "0"],
        &["--chunk", "0"],
        &["--kv", "kcache", "--v-top-n", "1", "--v-top-p", "0.5"],
    ] {
        refused(&small("generate", &[&["-p", FRANCE], flags].concat()), &[]);
    }
    refused(&run(&["generate", "-p", FRANCE]), &["--model"]);
    let nothing = run(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let mut command = small_command("generate", &["-p", FRANCE, "-n", "2", "-q"]);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let run = Run::from(command.stdout(full).output().expect("the binary starts"));
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("error: standard output: "),
        "{}",
        run.stderr
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let flags = ["-p", FRANCE, "-n", "400", "--ignore-eos"];
    let mut child = spawn(&mut demo_command("generate", &flags));
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a first byte");
    drop(stdout);
    let run = Run::from(child.wait_with_output().expect("the binary ends"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        !run.stderr.contains("error") && !run.stderr.contains("finish:"),
        "{}",
        run.stderr
    );
}
