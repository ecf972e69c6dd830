//! Keeps namespaces from containing themselves.
//!
//! A namespace is Jinja's one value that can be changed, so the only one that
//! can come to hold itself; comparing or printing it would then never end.
//! Templates use namespaces as records: `set ns = namespace(...)`, `ns.field`,
//! `set ns.field = ...`. With these uses alone, no field can hold a namespace.

use std::collections::HashSet;

use minijinja::machinery::{Token, tokenize};

use super::{environment, failed};
use crate::{Error, Result};

/// Refuses templates that use a namespace otherwise than as a record.
pub(super) fn check(source: &str) -> Result<()> {
    let tokens = tokenize(source, false, environment::syntax()?);
    let words = tokens.map(|token| token.map(|(token, span)| (word(&token), span.start_line)));
    let words: Vec<(&str, u16)> = words.collect::<Result<_, _>>().map_err(failed)?;
    let at = |i: usize| words.get(i).map_or("", |(word, _)| *word);
    let before = |i: usize, n: usize| at(i.wrapping_sub(n));
    let uses = |name: &HashSet<&str>| {
        let found = (0..words.len()).filter(|&i| name.contains(at(i)) && before(i, 1) != ".");
        found.collect::<Vec<_>>()
    };
    let mut names = HashSet::new();
    for i in uses(&HashSet::from(["namespace"])) {
        if before(i, 3) != "set" || before(i, 1) != "=" || at(i + 1) != "(" {
            return Err(misused(words[i]));
        }
        names.insert(before(i, 2));
    }
    for i in uses(&names) {
        let is_record = matches!(at(i + 1), "." | "[");
        let is_made = before(i, 1) == "set" && at(i + 1) == "=" && at(i + 2) == "namespace";
        if !is_record && !is_made {
            return Err(misused(words[i]));
        }
    }
    Ok(())
}

/// An identifier, or a sign that matters here; nothing for other tokens.
fn word<'a>(token: &Token<'a>) -> &'a str {
    match token {
        Token::Ident(name) => name,
        Token::Dot => ".",
        Token::Assign => "=",
        Token::ParenOpen => "(",
        Token::BracketOpen => "[",
        _ => "",
    }
}

fn misused((name, line): (&str, u16)) -> Error {
    Error::Template(format!(
        "line {line}: {name} is used as a value; only set ns = namespace(...) and ns.field are supported"
    ))
}
