//! The Jinja environment that Hugging Face renders chat templates in.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind};

use super::{failed, json, methods};

/// The one template's name, as errors show it.
pub(super) const NAME: &str = "chat template";

/// Work that a template may do: one unit is an instruction or 64 bytes of data.
/// A thousand messages take about a tenth of it.
const FUEL: u64 = 500_000;

/// Compiles `source` under [`NAME`].
pub(super) fn compile(source: &str) -> crate::Result<Environment<'_>> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_template(NAME, source).map_err(failed)?;
    Ok(environment)
}

/// Tags take the newline after them and the blanks before them away.
pub(super) fn syntax() -> crate::Result<SyntaxConfig> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(failed)
}

/// How a template refuses messages, for example of a role it does not know.
fn raise_exception(message: &str) -> Result<String, Error> {
    let message = format!("the template refuses these messages: {message}");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The local time in a format of C's `strftime`.
fn strftime_now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
}
