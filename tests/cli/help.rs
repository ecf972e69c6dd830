//! Help texts, which change only knowingly: `UPDATE_HELP=1 cargo test --test cli`
//! writes tests/data/help/ anew.

use crate::common::repository;
use crate::support::run;

#[test]
fn help_texts_are_as_committed() {
    for (name, args) in [
        ("run", &["--help"][..]),
        ("run-generate", &["generate", "--help"]),
        ("run-chat", &["chat", "--help"]),
        ("run-eval", &["eval", "--help"]),
        ("run-profile", &["profile", "--help"]),
        ("run-bench", &["bench", "--help"]),
        ("run-inspect", &["inspect", "--help"]),
        ("run-completions", &["completions", "--help"]),
        ("run-man", &["man", "--help"]),
        ("run-serve", &["serve", "--help"]),
    ] {
        let help = run(args).text();
        let path = repository(&format!("tests/data/help/{name}.txt"));
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(&path, &help).expect("the snapshot can be written");
        }
        let committed = std::fs::read_to_string(&path).expect("a snapshot");
        assert_eq!(
            help, committed,
            "help of {name} changed: review it, then set UPDATE_HELP=1"
        );
    }
}

#[test]
fn the_version_is_the_package_version() {
    assert_eq!(
        run(&["--version"]).text(),
        format!("run {}\n", env!("CARGO_PKG_VERSION"))
    );
}
