//! What the program asks of the machine it starts on.

use std::process::Command;

fn output(tool: &str, args: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_run");
    let output = Command::new(tool).args(args).arg(program).output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn no_cuda_library_is_needed_to_start() {
    let libraries = output("ldd", &[]);
    assert!(libraries.contains("libc.so"), "{libraries}");
    assert!(!libraries.to_lowercase().contains("cuda"), "{libraries}");
}

/// A host that links the driver itself must not find ours.
#[test]
fn no_symbol_of_the_driver_is_exported() {
    for line in output("nm", &["-D", "--defined-only"]).lines() {
        let symbol = line.split_whitespace().last().unwrap_or_default();
        let after = symbol.strip_prefix("cu").and_then(|s| s.chars().next());
        assert!(!after.is_some_and(char::is_uppercase), "{symbol}");
    }
}
