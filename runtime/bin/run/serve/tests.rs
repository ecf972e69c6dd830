//! What sockets cannot show: a client whose way is full, a body that does not come, and a device that
//! is lost.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, header};
use clap::Parser;
use hyper::body::Frame;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use kcache::backend::cpu::Cpu;
use kcache::engine::{ContextOptions, GenerateOptions, SamplingParams};
use kcache::{Error, Model};
use tokio::sync::mpsc as tokio_mpsc;

use super::api::Endpoint;
use super::gate::Update;
use super::record::Outcome;
use super::*;

#[derive(Parser)]
struct NoFlags {
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// A server of the small checkpoint that computes `parallel` texts, its engine
/// not yet started.
fn server(parallel: usize) -> (Worker<Cpu>, Arc<Shared>, Receiver<Record>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("tests/data/checkpoints/llama-gqa-llama3-rope");
    let model = Model::load(&path, Cpu::new(Some(1)).unwrap(), &mut |_, _| Ok(())).unwrap();
    let context = Context::new(Arc::new(model), &ContextOptions::default()).unwrap();
    let sampling = NoFlags::parse_from(["test"]).sampling;
    let (gate, inbox) = Gate::new(parallel);
    let (records, ended) = mpsc::sync_channel(UNSHOWN);
    let shared = Arc::new(Shared {
        model: Arc::new(Served::new(&context, "small".into(), sampling)),
        api_key: None,
        gate,
        metrics: Metrics::new().unwrap(),
        closing: Closing::default(),
        fault: OnceLock::new(),
        records,
    });
    let worker = Worker::new(Batch::new(context), parallel, inbox, shared.clone());
    (worker, shared, ended)
}

/// A request for `tokens` tokens whose client holds `unread` updates.
fn request(shared: &Shared, tokens: usize, unread: usize) -> tokio_mpsc::Receiver<Update> {
    let (client, updates) = tokio_mpsc::channel(unread);
    let submitted = shared.gate.submit(gate::Request {
        id: format!("{unread}"),
        endpoint: Endpoint::Completions,
        arrived: Instant::now(),
        prompt: vec![1, 2, 3],
        options: GenerateOptions {
            sampling: SamplingParams::greedy(),
            max_new_tokens: Some(tokens),
            stop: Vec::new(),
            stop_ids: Vec::new(),
            continues_text: true,
        },
        client,
        place: shared.gate.enter().unwrap(),
    });
    submitted.unwrap();
    updates
}

#[test]
fn a_client_whose_way_is_full_is_dropped_and_the_others_go_on() {
    let (worker, shared, ended) = server(2);
    let lazy = request(&shared, 500, 3);
    let mut keen = request(&shared, 100, 200);
    let engine = std::thread::spawn(|| worker.run());
    let first = ended.recv().unwrap();
    assert_eq!((first.id.as_str(), first.outcome.name()), ("3", "slow"));
    assert!(first.new_tokens < 50, "dropped early: {}", first.new_tokens);
    let second = ended.recv().unwrap();
    assert_eq!(second.outcome.name(), "finished");
    let mut last = None;
    while let Some(update) = keen.blocking_recv() {
        last = Some(update);
    }
    assert!(matches!(last, Some(Update::Finished(end)) if end.new_tokens == 100));
    drop(lazy);
    shared.closing.set();
    shared.gate.close();
    engine.join().unwrap();
    assert_eq!(shared.gate.taken(), 0, "both places are free");
    assert!(shared.check_fault().is_ok(), "an end that was asked for");
}

/// Longer than any limit.
const HOUR: Duration = Duration::from_secs(3600);

/// What the router answers. Time goes on by itself where only time is waited for.
fn answer(shared: &Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let service = TowerToHyperService::new(api::router(shared.clone(), 1 << 20));
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let answered = async { timeout(HOUR, service.call(request)).await };
    runtime.unwrap().block_on(answered).unwrap().unwrap()
}

/// A body of which nothing comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[test]
fn a_body_that_does_not_come_is_waited_for_no_longer_than_said() {
    let (_worker, shared, _ended) = server(1);
    let request = Request::post("/v1/completions")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::new(Never));
    assert_eq!(answer(&shared, request.unwrap()).status(), 408);
    assert_eq!(shared.gate.taken(), 0, "no place is taken by it");
}

fn health(shared: &Arc<Shared>) -> u16 {
    let request = Request::get("/health").body(Body::empty()).unwrap();
    answer(shared, request).status().as_u16()
}

#[test]
fn once_the_device_is_lost_health_fails_and_requests_are_refused() {
    let (worker, shared, _ended) = server(2);
    assert_eq!(health(&shared), 200);
    shared.fault.set("cuda:0 was lost".into()).unwrap();
    assert_eq!(health(&shared), 503);
    let request = Request::post("/v1/completions")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(Bytes::from_static(b"{\"prompt\": \"a\"}")));
    let refused = answer(&shared, request.unwrap());
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert!(!refused.body().is_end_stream());
    // The engine's thread ends by itself.
    worker.run();
}

#[test]
fn an_engine_that_ends_unasked_is_a_fault() {
    let (worker, shared, _ended) = server(1);
    worker::spawn(worker).unwrap();
    shared.gate.close();
    while shared.fault.get().is_none() {
        std::thread::yield_now();
    }
    assert_eq!(health(&shared), 503);
}

#[test]
fn outcomes_have_the_documented_names() {
    let failed = Outcome::failed(&Error::Cancelled);
    let names = [
        Outcome::Finished("stop"),
        Outcome::Gone,
        Outcome::Slow,
        failed,
    ];
    let json = names.map(|outcome| serde_json::to_value(outcome).unwrap()["outcome"].clone());
    assert_eq!(json, ["finished", "gone", "slow", "failed"]);
}
