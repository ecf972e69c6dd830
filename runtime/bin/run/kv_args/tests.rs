//! Flags become policies.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    kv: KvArgs,
}

fn policies(flags: &str) -> Result<Vec<KvPolicy>> {
    let flags = std::iter::once("run").chain(flags.split_whitespace());
    Flags::try_parse_from(flags)
        .expect("flags parse")
        .kv
        .policies()
}

fn policy(flags: &str) -> Result<KvPolicy> {
    policies(flags).map(|mut policies| policies.remove(0))
}

#[test]
fn each_kind_has_its_policy() {
    assert_eq!(policy("").unwrap(), KvPolicy::full());
    let either = [KvPolicy::full(), KvPolicy::kcache()];
    assert_eq!(policies("--kv auto").unwrap(), either);
    assert_eq!(policies("--kv full").unwrap().len(), 1);
    assert_eq!(policy("--kv full").unwrap(), KvPolicy::full());
    assert_eq!(
        policy("--kv full-offload").unwrap(),
        KvPolicy::full_offload()
    );
    assert_eq!(policy("--kv kcache").unwrap(), KvPolicy::kcache());
}

#[test]
fn each_v_flag_sets_its_field() {
    let kcache = KvPolicy::kcache;
    for (flags, expected) in [
        (
            "--v-top-n 7",
            KvPolicy {
                selection: Selection::TopN { n: 7 },
                ..kcache()
            },
        ),
        (
            "--v-top-p 0.9",
            KvPolicy {
                selection: Selection::TopP {
                    p: 0.9,
                    n_max: MAX_ROWS,
                },
                ..kcache()
            },
        ),
        (
            "--v-top-p 0.9 --v-max-rows 9",
            KvPolicy {
                selection: Selection::TopP { p: 0.9, n_max: 9 },
                ..kcache()
            },
        ),
        (
            "--v-window 1",
            KvPolicy {
                window: 1,
                ..kcache()
            },
        ),
        (
            "--v-sinks 0",
            KvPolicy {
                sinks: 0,
                ..kcache()
            },
        ),
        (
            "--v-hot-rows 5",
            KvPolicy {
                hot_rows: 5,
                ..kcache()
            },
        ),
        (
            "--v-dense-layers 3",
            KvPolicy {
                dense_layers: 3,
                ..kcache()
            },
        ),
        (
            "--v-weighting raw",
            KvPolicy {
                weighting: Weighting::Raw,
                ..kcache()
            },
        ),
        (
            "--v-weighting renormalised",
            KvPolicy {
                weighting: Weighting::Renormalised,
                ..kcache()
            },
        ),
        (
            "--v-weighting mean",
            KvPolicy {
                weighting: Weighting::MeanV,
                ..kcache()
            },
        ),
        (
            "--v-group-score max",
            KvPolicy {
                group_score: GroupScore::Max,
                ..kcache()
            },
        ),
        (
            "--v-group-score sum",
            KvPolicy {
                group_score: GroupScore::Sum,
                ..kcache()
            },
        ),
    ] {
        assert_eq!(
            policy(&format!("--kv kcache {flags}")).unwrap(),
            expected,
            "{flags}"
        );
        let flag = flags.split(' ').next().unwrap();
        for kv in ["auto", "full", "full-offload"] {
            let error = policy(&format!("--kv {kv} {flags}"))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(flag), "{error}");
        }
    }
}

#[test]
fn a_list_of_rows_is_a_sweep() {
    let flags = ["run", "--kv", "kcache", "--v-top-n", "8,32-64*2"];
    let kv = Flags::try_parse_from(flags).expect("flags parse").kv;
    let sweep = kv.sweep().unwrap().concat();
    let expected = [8, 32, 64].map(|n| Selection::TopN { n });
    let selections: Vec<_> = sweep.iter().map(|p| p.selection).collect();
    assert_eq!(selections, expected);
    let error = kv.policies().unwrap_err().to_string();
    assert!(error.contains("got 3"), "{error}");
    assert_eq!(policies("--kv kcache --v-top-p 0.9").unwrap().len(), 1);
}

#[test]
fn the_help_names_the_defaults_of_the_policy() {
    let default = KvPolicy::kcache();
    let Selection::TopN { n } = default.selection else {
        panic!("{default:?}")
    };
    let command = Flags::command();
    for (flag, value) in [
        ("v_top_n", n),
        ("v_max_rows", MAX_ROWS),
        ("v_window", default.window),
        ("v_sinks", default.sinks),
        ("v_hot_rows", default.hot_rows),
        ("v_dense_layers", default.dense_layers),
    ] {
        let mut args = command.get_arguments();
        let arg = args.find(|arg| arg.get_id() == flag).expect(flag);
        let help = arg.get_help().expect(flag).to_string();
        assert!(help.ends_with(&format!("[default: {value}]")), "{help}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for flags in [
        "--v-top-n 0",
        "--v-top-p 0",
        "--v-top-p NaN",
        "--v-top-p 0.9 --v-max-rows 0",
    ] {
        assert!(policy(&format!("--kv kcache {flags}")).is_err(), "{flags}");
    }
}
