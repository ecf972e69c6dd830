//! What is refused in a template before it is compiled.
//!
//! - Long tags: the parser, the constant folder and the renderer recurse over an
//!   expression, and some of their work grows with the square of its length.
//! - Namespaces that could contain themselves. A namespace is Jinja's one value
//!   that can be changed, so the only one that can come to hold itself; comparing
//!   or printing it would then never end. Templates use namespaces as records:
//!   `set ns = namespace(...)`, `ns.field`, `set ns.field = ...`. With these uses
//!   alone, no field can hold a namespace.

use std::collections::HashSet;

use minijinja::machinery::{Token, tokenize};

use super::{environment, failed};
use crate::{Error, Result};

/// The most tokens between `{{` and `}}` or `{%` and `%}`; real templates have
/// a few dozen.
const MAX_TAG_TOKENS: usize = 2000;

/// A token as the checks see it, and its line.
type Word<'a> = (&'a str, u16);

/// Refuses templates that the engine could not run safely.
pub(super) fn check(source: &str) -> Result<()> {
    let mut words = Vec::new();
    let mut in_tag = 0;
    for token in tokenize(source, false, environment::syntax()?) {
        let (token, span) = token.map_err(failed)?;
        let (word, line) = (word(&token), span.start_line);
        in_tag = if is_tag_start(&token) { 0 } else { in_tag + 1 };
        if in_tag > MAX_TAG_TOKENS {
            let message = format!("line {line}: a tag of more than {MAX_TAG_TOKENS} tokens");
            return Err(Error::Template(message));
        }
        words.push((word, line));
    }
    check_namespaces(&words)
}

fn is_tag_start(token: &Token<'_>) -> bool {
    matches!(token, Token::VariableStart | Token::BlockStart)
}

fn check_namespaces(words: &[Word<'_>]) -> Result<()> {
    let at = |i: usize| words.get(i).map_or("", |(word, _)| *word);
    let before = |i: usize, n: usize| at(i.wrapping_sub(n));
    let uses = |names: &HashSet<&str>| {
        let found = (0..words.len()).filter(|&i| names.contains(at(i)) && before(i, 1) != ".");
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

fn misused((name, line): Word<'_>) -> Error {
    Error::Template(format!(
        "line {line}: {name} is used as a value; only set ns = namespace(...) and ns.field are supported"
    ))
}
