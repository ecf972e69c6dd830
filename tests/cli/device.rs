//! `--device`: where the model computes, and what is said about it.

use crate::support::{FRANCE, Run, small, small_command};

fn generate(device: &str) -> Run {
    small(
        "generate",
        &["-p", FRANCE, "-n", "2", "--temp", "0", "--device", device],
    )
}

#[test]
fn the_cpu_is_used_when_asked_for() {
    let run = generate("cpu");
    assert!(run.stderr.contains("device:   cpu, "), "{}", run.stderr);
    assert!(!run.stderr.contains("driver"), "{}", run.stderr);
    assert_eq!(run.code, Some(0));
}

/// Its heads of 24 elements suit no GPU kernel, and most machines have no GPU:
/// either is a reason to say.
#[test]
fn auto_falls_back_to_the_cpu_and_says_why() {
    let run = generate("auto");
    let line = run.stderr.lines().find(|line| line.starts_with("device:"));
    let line = line.expect("a line on the device");
    assert!(line.starts_with("device:   cpu, "), "{line}");
    assert!(
        line.contains("CUDA") || line.contains("heads of 24"),
        "{line}"
    );
    assert_eq!(run.text(), generate("cpu").text());
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    for (device, needle) in [
        ("cuda:7000", "--device cuda:7000"),
        ("gpu", "cuda:N"),
        ("cuda:-1", "cuda:N"),
    ] {
        let run = generate(device);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
        assert!(run.stderr.contains(needle), "{}", run.stderr);
    }
}

#[test]
fn the_variable_chooses_as_the_flag_does() {
    let mut command = small_command("generate", &["-p", FRANCE, "-n", "1"]);
    let output = command.env("KCACHE_DEVICE", "cuda:7000").output();
    let run = Run::from(output.expect("the binary starts"));
    assert_eq!(run.code, Some(2), "{run:?}");
}
