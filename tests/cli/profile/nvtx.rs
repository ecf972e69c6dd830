//! What a profiler hears.

use std::path::Path;
use std::process::Command;

use crate::common::repository;
use crate::support::{Run, small_command};

/// Compiles a listener to a library in `folder`.
fn listener(folder: &Path) -> std::path::PathBuf {
    let library = folder.join("listener.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let done = Command::new(compiler)
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&library)
        .arg(repository("tests/cli/profile/listener.c"))
        .status();
    assert!(done.expect("a C compiler").success());
    library
}

#[test]
fn a_profiler_hears_every_range_in_our_domain() {
    let folder = tempfile::tempdir().expect("a folder");
    let heard = folder.path().join("heard");
    // One thread, since lines of several would mix.
    let flags = [
        "-p",
        "20",
        "-n",
        "2",
        "--warm-ups",
        "0",
        "-t",
        "1",
        "--kv",
        "kcache",
        "--v-dense-layers",
        "0",
        "--v-top-n",
        "4",
        "--v-window",
        "2",
    ];
    let output = small_command("profile", &flags)
        .env("NVTX_INJECTION64_PATH", listener(folder.path()))
        .env("NVTX_HEARD", &heard)
        .output();
    let run: Run = output.expect("the binary starts").into();
    assert!(
        run.stderr.contains("nvtx:     a profiler listens"),
        "{}",
        run.stderr
    );
    run.text();
    let heard = std::fs::read_to_string(heard).expect("the listener's file");
    let mut open: Vec<(&str, &str)> = Vec::new();
    let mut inside = std::collections::BTreeMap::new();
    for line in heard.lines() {
        let [event, domain, name, payload] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}")
        };
        assert_eq!(domain, "kcache");
        match event {
            "push" => {
                let around = open.last().map(|(name, _)| *name).unwrap_or_default();
                *inside.entry(format!("{around}/{name}")).or_insert(0) += 1;
                open.push((name, payload));
            }
            _ => assert!(open.pop().is_some(), "ended twice"),
        }
        // Whatever lies in a layer bears its number.
        let layer = open.iter().find(|(name, _)| *name == "layer");
        if let Some((_, number)) = layer {
            assert!(["0", "1", "2"].contains(number), "{line}");
            assert!(open.iter().skip(1).all(|(_, n)| n == number), "{line}");
        }
    }
    assert!(open.is_empty(), "{open:?} never ended");
    let inside: Vec<(&str, i32)> = inside.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    println!("{inside:?}");
    let count = |path: &str| inside.iter().find(|(p, _)| *p == path).map(|(_, n)| *n);
    for (path, times) in [
        ("/load", 1),
        ("/prefill", 1),
        ("/decode step", 2),
        ("prefill/layer", 3),
        ("decode step/layer", 6),
        ("decode step/logits", 2),
        ("layer/projections", 9),
        ("layer/push", 9),
        ("layer/attention", 9),
        // Two KV heads in each of six layers of a step.
        ("attention/score", 12),
        ("attention/select", 12),
        ("attention/gather", 12),
        ("layer/mlp", 9),
    ] {
        assert_eq!(count(path), Some(times), "{path}: {heard}");
    }
}
