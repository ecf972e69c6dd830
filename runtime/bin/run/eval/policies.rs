//! The policies of a sweep, as a user writes them.

use std::fmt;

use kcache::cache::{KvPolicy, Selection};

use crate::failure::{Failure, Result};

/// A policy and what the user called it.
#[derive(Clone, Debug)]
pub struct Named {
    /// As it was given.
    pub name: String,
    /// What it stands for.
    pub policy: KvPolicy,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The policies of a list such as `full,topn:64,topp:0.95`, whose other
/// settings are those of `kcache`.
///
/// # Errors
/// [`Failure::Input`] naming the entry that stands for nothing; what
/// [`KvPolicy::validate`] refuses.
pub fn parse(list: &str, kcache: &KvPolicy) -> Result<Vec<Named>> {
    list.split(',')
        .map(|name| one(name.trim(), kcache))
        .collect()
}

fn one(name: &str, kcache: &KvPolicy) -> Result<Named> {
    let unknown = || {
        Failure::Input(format!(
            "--policies {name:?}: expected full, full-offload, kcache, topn:N or topp:P"
        ))
    };
    let selecting = |selection| KvPolicy {
        selection,
        ..kcache.clone()
    };
    let policy = match (name, name.split_once(':')) {
        ("full", _) => KvPolicy::full(),
        ("full-offload", _) => KvPolicy::full_offload(),
        ("kcache", _) => kcache.clone(),
        (_, Some(("topn", n))) => {
            let n = n.parse().map_err(|_| unknown())?;
            KvPolicy {
                // The share of the default: four sets stay hot.
                hot_rows: 4 * n,
                ..selecting(Selection::TopN { n })
            }
        }
        (_, Some(("topp", p))) => {
            let p = p.parse().map_err(|_| unknown())?;
            let n_max = match kcache.selection {
                Selection::TopP { n_max, .. } => n_max,
                _ => crate::kv_args::MAX_ROWS,
            };
            selecting(Selection::TopP { p, n_max })
        }
        _ => return Err(unknown()),
    };
    policy.validate()?;
    Ok(Named {
        name: name.to_owned(),
        policy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_its_order() {
        let list = parse("full, topn:32,topp:0.9,kcache", &KvPolicy::kcache()).unwrap();
        let names: Vec<String> = list.iter().map(Named::to_string).collect();
        assert_eq!(names, ["full", "topn:32", "topp:0.9", "kcache"]);
        let selections: Vec<Selection> = list.iter().map(|n| n.policy.selection).collect();
        assert_eq!(
            selections,
            [
                Selection::Full,
                Selection::TopN { n: 32 },
                Selection::TopP { p: 0.9, n_max: 512 },
                Selection::TopN { n: 128 },
            ]
        );
        assert_eq!(list[1].policy.hot_rows, 128);
    }

    #[test]
    fn what_stands_for_nothing_is_named() {
        for list in [
            "",
            "topn",
            "topn:",
            "topn:-1",
            "topp:x",
            "full,none",
            "TOPN:3",
        ] {
            let error = parse(list, &KvPolicy::kcache()).unwrap_err().to_string();
            assert!(error.contains("expected full"), "{list}: {error}");
        }
        assert!(parse("topn:0", &KvPolicy::kcache()).is_err());
        assert!(parse("topp:1.5", &KvPolicy::kcache()).is_err());
    }
}
