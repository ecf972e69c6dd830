//! `run chat`: a conversation that keeps its sequence from turn to turn.

use std::io::stdin;

use clap::Args;
use kcache::backend::Backend;
use kcache::engine::{FinishReason, GenerateOptions};
use kcache::models::chat::{ChatTemplate, Message};
use kcache::{Context, Error, Sequence};

use crate::cli::OutputArgs;
use crate::console::is_interactive;
use crate::failure::{Failure, Result};
use crate::json::ReplyJson;
use crate::kv_args::KvArgs;
use crate::model_args::{ContextArgs, ModelArgs};
use crate::reply::Reply;
use crate::sampling_args::{self, SamplingArgs};
use crate::session::{self, Opened, Task};
use crate::summary;
use crate::ui::Ui;

/// Flags of `run chat`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line of standard input is one turn. /clear forgets the conversation, /exit or
the end of input ends it. Ctrl-C ends a reply, or the program while it waits.")]
pub struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// What the model is told before the first turn
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Conversation",
        env = "KCACHE_SYSTEM"
    )]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Talks until the input ends.
///
/// # Errors
/// [`Failure`]. On a terminal, an interrupted reply and a full context are said
/// and the conversation goes on.
pub fn run(args: &ChatArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let policies = args.kv.policies()?;
    let task = Talk { args, ui };
    session::open(&args.model, args.context.ctx_size, policies, task)
}

struct Talk<'a> {
    args: &'a ChatArgs,
    ui: Ui,
}

impl Task for Talk<'_> {
    fn run<B: Backend>(self, opened: Opened<B>) -> Result<()> {
        let Self { args, ui } = self;
        let template = opened.checkpoint.chat_template.clone().ok_or_else(|| {
            let path = args.model.model.display();
            Failure::Input(format!(
                "{path}: the checkpoint has no chat template; try run generate"
            ))
        })?;
        template.check()?;
        let recommended = &opened.checkpoint.generation;
        let options = args.sampling.options(recommended)?;
        sampling_args::announce(&options.sampling, recommended, &ui.console);
        let context = opened.load(&ui)?;
        let mut chat = Chat {
            sequence: context.sequence()?,
            context,
            template,
            options,
            system: args.system.clone(),
            messages: Vec::new(),
            ui,
        };
        chat.clear();
        chat.talk()
    }
}

struct Chat<B: Backend> {
    context: Context<B>,
    sequence: Sequence<B>,
    template: ChatTemplate,
    options: GenerateOptions,
    system: Option<String>,
    messages: Vec<Message>,
    ui: Ui,
}

impl<B: Backend> Chat<B> {
    fn talk(&mut self) -> Result<()> {
        while let Some(line) = self.next_line()? {
            match line.trim() {
                "" => {}
                "/exit" => break,
                "/clear" => self.clear(),
                _ => self.turn(line)?,
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.messages = self
            .system
            .iter()
            .map(|text| message("system", text.clone()))
            .collect();
    }

    /// The next line without its end; `None` after the last.
    fn next_line(&self) -> Result<Option<String>> {
        self.ui.interrupt.cancel.reset();
        self.ui.console.prompt("> ");
        let mut line = String::new();
        let read = self
            .ui
            .interrupt
            .while_waiting(|| stdin().read_line(&mut line));
        let read = read.map_err(|e| Failure::Input(format!("standard input: {e}")))?;
        if read == 0 {
            self.ui.console.prompt("\n");
            return Ok(None);
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(Some(line))
    }

    /// One turn. A turn that failed before its reply began is forgotten.
    fn turn(&mut self, line: String) -> Result<()> {
        self.messages.push(message("user", line));
        match self.reply() {
            Ok(reply) => {
                let cancelled = reply.finish_reason == FinishReason::Cancelled;
                self.messages.push(message("assistant", reply.text));
                self.options.sampling.seed = self.options.sampling.seed.wrapping_add(1);
                match cancelled && !is_interactive() {
                    true => Err(Failure::Interrupted),
                    false => Ok(()),
                }
            }
            Err(Failure::Runtime(error)) if is_interactive() && is_passing(&error) => {
                self.messages.pop();
                self.ui.console.note(format!("[{error}]"));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn reply(&mut self) -> Result<Reply> {
        let text = self.template.render(&self.messages, true)?;
        let prompt = self.context.model().tokenizer().encode(&text, false)?;
        let kept = self.sequence.keep_prefix(&prompt);
        let options = GenerateOptions {
            continues_text: false,
            ..self.options.clone()
        };
        let (context, sequence) = (&mut self.context, &mut self.sequence);
        let reply = Reply::stream(context, sequence, &prompt[kept..], options, &mut self.ui)?;
        let json = ReplyJson::new(&reply, &self.options.sampling, &self.context);
        self.ui.output.json(&json)?;
        self.ui.console.note(summary::short(&reply));
        Ok(reply)
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
    }
}

/// Whether a user who sees `error` can go on talking.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Cancelled | Error::ContextFull { .. })
}
