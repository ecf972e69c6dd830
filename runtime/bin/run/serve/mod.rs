//! `run serve`: OpenAI's API over one model. docs/serving.md describes it.
//!
//! One thread, the [`worker`], owns the context and steps a batch of all running
//! requests. The [`api`] turns HTTP requests into prompts, hands them over through
//! the [`gate`], and turns what comes back into responses. Neither waits for the
//! other: the gate refuses what it has no place for, and a client that does not
//! read loses its place in the batch.

mod api;
mod closing;
mod gate;
mod listen;
mod metrics;
mod model;
mod record;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use kcache::Context;
use kcache::backend::Backend;
use kcache::engine::Batch;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli::OutputArgs;
use crate::failure::{Failure, Result};
use crate::kv_args::KvArgs;
use crate::model_args::{ContextArgs, ModelArgs, positive};
use crate::sampling_args::{self, SamplingArgs};
use crate::session::{self, Opened, Task};
use crate::ui::Ui;
use api::error::ApiError;
use closing::Closing;
use gate::Gate;
use listen::listen;
use metrics::Metrics;
use model::Served;
use record::Record;
use worker::Worker;

/// Threads for connections; what they do is little beside the model's work.
const IO_THREADS: usize = 2;
/// Threads that read prompts: templates and tokenizers.
const PROMPT_THREADS: usize = 4;
/// Connections beyond those of the requests that have a place.
const SPARE_CONNECTIONS: usize = 512;
/// Records that may wait to be shown; the others are not.
const UNSHOWN: usize = 1024;
/// How soon a signal is seen.
const SIGNAL_TIME: Duration = Duration::from_millis(50);
/// How long clients have to hear of the end.
const CLOSING_TIME: Duration = Duration::from_millis(600);

/// Flags of `run serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
A request that leaves a sampling field out gets what the flags say, and then what
the checkpoint says. Ctrl-C tells all clients and ends the server.")]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    kv: KvArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct ServerArgs {
    /// Address to listen on; 0.0.0.0 is every network of the machine
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        env = "KCACHE_HOST"
    )]
    host: String,
    /// Port to listen on; 0 takes a free one, and says which
    #[arg(long, value_name = "PORT", default_value_t = 8080, env = "KCACHE_PORT")]
    port: u16,
    /// What clients call the model [default: the name of its file or folder]
    #[arg(
        long,
        visible_alias = "alias",
        value_name = "NAME",
        env = "KCACHE_SERVED_MODEL_NAME"
    )]
    served_model_name: Option<String>,
    /// Key that clients must give (Authorization: Bearer KEY); better set by its variable, which other users of the machine do not see [default: none is needed]
    #[arg(long, value_name = "KEY", env = "KCACHE_API_KEY")]
    api_key: Option<String>,
    /// Requests computed at once, each with a context of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive, env = "KCACHE_PARALLEL")]
    parallel: usize,
    /// Requests that may wait beyond those; more are refused
    #[arg(long, value_name = "N", default_value_t = 64, env = "KCACHE_QUEUE")]
    queue: usize,
    /// Keep K and V of ended requests, up to --parallel contexts in all, for prompts that begin alike
    #[arg(long, env = "KCACHE_REUSE_PREFIX", value_parser = FalseyValueParser::new())]
    reuse_prefix: bool,
    /// Bytes of a request's body at most
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = positive, env = "KCACHE_MAX_BODY")]
    max_body: usize,
}

/// What the threads of a server share.
struct Shared {
    model: Arc<Served>,
    api_key: Option<String>,
    gate: Gate,
    metrics: Metrics,
    closing: Closing,
    /// Why nothing can be computed any more.
    fault: OnceLock<String>,
    records: SyncSender<Record>,
}

impl Shared {
    /// # Errors
    /// 503 once nothing can be computed any more.
    fn check_fault(&self) -> std::result::Result<(), ApiError> {
        let fault = self.fault.get();
        fault.map_or(Ok(()), |why| Err(ApiError::out_of_order(why)))
    }

    /// Counts a request that has ended, and shows it if the log keeps up.
    fn log(&self, record: Record) {
        self.metrics.note_request(&record);
        let _ = self.records.try_send(record);
    }
}

/// Serves until a signal comes.
///
/// # Errors
/// [`Failure`]; [`Failure::Interrupted`] after a signal.
pub fn run(args: &ServeArgs) -> Result<()> {
    let ui = Ui::new(&args.output)?;
    let policies = args.kv.policies()?;
    let ServerArgs { host, port, .. } = &args.server;
    // Before the model is loaded, which may take long.
    let listener = TcpListener::bind((host.as_str(), *port))
        .map_err(|e| Failure::Input(format!("--host {host} --port {port}: {e}")))?;
    let task = Serve { args, ui, listener };
    session::open(&args.model, args.context.ctx_size, policies, task)
}

struct Serve<'a> {
    args: &'a ServeArgs,
    ui: Ui,
    listener: TcpListener,
}

impl Task for Serve<'_> {
    fn sequences(&self) -> usize {
        self.args.server.parallel
    }

    fn run<B: Backend>(mut self, opened: Opened<B>) -> Result<()> {
        let (ui, server) = (&mut self.ui, &self.args.server);
        let recommended = &opened.checkpoint.generation;
        let defaults = self.args.sampling.options(recommended)?;
        sampling_args::announce(&defaults.sampling, recommended, &ui.console);
        let template = opened.checkpoint.chat_template.clone();
        if let Some(Err(error)) = template.map(|template| template.check()) {
            ui.console.note(format!("chat:     not possible: {error}"));
        }
        let context = opened.load(ui)?;

        let (gate, inbox) = Gate::new(server.parallel.saturating_add(server.queue));
        let (records, ended) = mpsc::sync_channel(UNSHOWN);
        let shared = Arc::new(Shared {
            model: Arc::new(self.args.served(&context)),
            api_key: server.api_key.clone(),
            gate,
            metrics: Metrics::new()?,
            closing: Closing::default(),
            fault: OnceLock::new(),
            records,
        });
        let batch = Batch::new(context).reusing(match server.reuse_prefix {
            true => server.parallel,
            false => 0,
        });
        worker::spawn(Worker::new(batch, server.parallel, inbox, shared.clone()))?;
        let open = Open::new(self.listener, server, shared)?;
        ui.console
            .note(format!("serving:  http://{}", open.address));
        let shown = show(&ended, ui);
        open.close();
        shown
    }
}

impl ServeArgs {
    fn served<B: Backend>(&self, context: &Context<B>) -> Served {
        let name = self.server.served_model_name.clone();
        let name = name.unwrap_or_else(|| model::default_name(&self.model.model));
        Served::new(context, name, self.sampling.clone())
    }
}

/// Shows requests as they end, until a signal comes.
fn show(ended: &Receiver<Record>, ui: &mut Ui) -> Result<()> {
    loop {
        if ui.interrupt.cancel.is_cancelled() {
            return Err(Failure::Interrupted);
        }
        if let Ok(record) = ended.recv_timeout(SIGNAL_TIME) {
            ui.output.json(&record)?;
            ui.console.note(record.line());
        }
    }
}

/// A server that answers.
struct Open {
    runtime: Runtime,
    connections: JoinHandle<()>,
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Open {
    fn new(listener: TcpListener, args: &ServerArgs, shared: Arc<Shared>) -> Result<Self> {
        let failed = |e| Failure::System(format!("the server cannot start: {e}"));
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .max_blocking_threads(PROMPT_THREADS)
            .thread_name("kcache-http")
            .enable_all()
            .build()
            .map_err(failed)?;
        let entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        drop(entered);
        let router = api::router(shared.clone(), args.max_body);
        let places = args.parallel.saturating_add(args.queue);
        let connections = places.saturating_add(SPARE_CONNECTIONS);
        let listening = listen(listener, router, connections, shared.clone());
        Ok(Self {
            connections: runtime.spawn(listening),
            runtime,
            shared,
            address,
        })
    }

    /// Tells all clients of the end, and leaves those that do not listen.
    fn close(self) {
        self.shared.closing.set();
        self.shared.gate.close();
        let told = async { timeout(CLOSING_TIME, self.connections).await };
        // Clients that take longer find their connections closed.
        let _ = self.runtime.block_on(told);
        self.runtime.shutdown_background();
    }
}

#[cfg(test)]
mod tests;
