//! Connections: how many there are, how long they may idle, and their end.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use super::Shared;

/// How long a client may take over a request's head, or say nothing between two.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a client may take nothing of what is written to it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Pause after the system had no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on at most `connections` connections until the server closes, and
/// then until all requests are answered.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    connections: usize,
    shared: Arc<Shared>,
) {
    let free = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            match free.clone().acquire_owned().await {
                Ok(permit) => (listener.accept().await, permit),
                // Nobody closes the semaphore.
                Err(_) => pending().await,
            }
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = shared.closing.wait() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, for instance: others will be closed.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let served = graceful.watch(connection(stream, router.clone()));
        tokio::spawn(async move {
            // What goes wrong on a connection is its client's to see.
            let _ = served.await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

type Io = TokioIo<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>;

fn connection(
    stream: TcpStream,
    router: Router,
) -> http1::Connection<Io, TowerToHyperService<Router>> {
    // Each token is a packet of its own; where that fails they come in larger ones.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        )
}
