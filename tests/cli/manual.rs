//! Completions and manual pages, made from the flags themselves.

use crate::support::run;

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]).text();
        for word in ["generate", "inspect", "profile", "v-top-n"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(&["completions", "dos"]).code, Some(2));
}

#[test]
fn every_command_has_a_page() {
    let page = run(&["man"]).text();
    assert!(page.contains(".TH run 1"), "{page}");
    let bench = run(&["man", "bench"]).text();
    assert!(bench.contains("repetitions"), "{bench}");
    let folder = tempfile::tempdir().expect("a directory");
    run(&["man", "--out-dir", folder.path().to_str().expect("a path")]).text();
    for name in ["run.1", "run-generate.1", "run-serve.1", "run-man.1"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
}
