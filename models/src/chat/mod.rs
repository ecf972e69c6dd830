//! Chat templates: how a conversation becomes a prompt.
//!
//! A template is a Jinja program from a stranger's file. It sees the messages
//! and nothing else, and it runs under limits on its size, its work, its output
//! and its stack.

mod checks;
mod environment;
mod json;
mod methods;

use std::sync::Arc;

use minijinja::{Environment, ErrorKind, Value, context};

use crate::{Error, Result};

/// The longest template, in bytes. Some statements cost the compiler a frame of
/// the stack each.
const MAX_SOURCE_BYTES: usize = 64 << 10;

/// Stack of the thread that compiles and renders: values can be nested as deep as
/// the fuel goes, and printing or dropping them recurses. Only what is used is ever
/// touched.
const STACK_BYTES: usize = 256 << 20;

/// The longest prompt, in bytes.
const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    fn to_value(&self) -> Value {
        Value::from_pairs([("role", &*self.role), ("content", &*self.content)])
    }
}

/// A Jinja template from a checkpoint. Clones share one copy.
#[derive(Clone, Debug)]
pub struct ChatTemplate(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    source: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// A template that sees `bos_token` and `eos_token` under these names.
    ///
    /// The source is looked at when it is used: a checkpoint whose template
    /// cannot be run here can still complete text.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Self {
        Self(Arc::new(Parts {
            source: source.to_owned(),
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        }))
    }

    /// Compiles the template without running it.
    ///
    /// # Errors
    /// [`Error::Template`] with the line of a syntax error, if the source is
    /// above 64 KiB, has a tag of thousands of tokens, or uses a namespace as a value.
    pub fn check(&self) -> Result<()> {
        on_large_stack(|| self.compile().map(|_| ()))
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The prompt for `messages`; with `add_generation_prompt` it ends where the
    /// assistant's reply starts. Special tokens are written out in it.
    ///
    /// # Errors
    /// As [`ChatTemplate::check`], and if the template refuses the messages or
    /// passes a limit.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        on_large_stack(|| self.render_here(messages, add_generation_prompt))
    }

    fn compile(&self) -> Result<Environment<'_>> {
        let source = self.source();
        let n = source.len();
        if n > MAX_SOURCE_BYTES {
            let message = format!("{n} bytes, above the limit of {MAX_SOURCE_BYTES}");
            return Err(Error::Template(message));
        }
        checks::check(source)?;
        environment::compile(source)
    }

    fn render_here(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let environment = self.compile()?;
        let Parts {
            bos_token,
            eos_token,
            ..
        } = &*self.0;
        let template = environment
            .get_template(environment::NAME)
            .map_err(failed)?;
        let variables = context! {
            messages => messages.iter().map(Message::to_value).collect::<Vec<_>>(),
            add_generation_prompt,
            bos_token,
            eos_token,
            tools => Value::from(()),
            documents => Value::from(()),
        };
        let mut prompt = Limited::new(MAX_OUTPUT_BYTES);
        template
            .render_captured_to(variables, &mut prompt)
            .map_err(failed)?;
        String::from_utf8(prompt.bytes).map_err(|e| Error::Template(e.to_string()))
    }
}

/// Runs `work` where deep recursion cannot overflow the stack.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Error::Template(format!("no thread to run on: {e}")))?;
        let panicked = |_| Error::Template("the template engine panicked".to_owned());
        thread.join().map_err(panicked)?
    })
}

/// What the template engine says is wrong.
fn failed(error: minijinja::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::OutOfFuel => format!("stopped after too much work: {error}"),
        ErrorKind::WriteFailure => format!("more than {MAX_OUTPUT_BYTES} bytes of output: {error}"),
        _ => error.to_string(),
    };
    Error::Template(message)
}

/// Bytes up to a limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl Limited {
    fn new(limit: usize) -> Self {
        let bytes = Vec::new();
        Self { bytes, limit }
    }
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
