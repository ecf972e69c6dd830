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

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::routing::get;
    use tokio::runtime;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// More than the system keeps for a client that does not read.
    const LARGE: usize = 64 << 20;

    /// Serves a client that writes `request` and then does nothing, and says how long that took and
    /// whether the connection ended well. Time goes on by itself when nothing else happens.
    fn idle(request: &'static [u8]) -> (Duration, bool) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (client, (server, _)) = (client.unwrap(), server.unwrap());
            client.writable().await.unwrap();
            assert_eq!(client.try_write(request).unwrap(), request.len());
            let large = Bytes::from(vec![b'x'; LARGE]);
            let router = Router::new().route("/", get(|| async { large }));
            let start = Instant::now();
            let ended = timeout(10 * HEAD_TIME, connection(server, router)).await;
            (start.elapsed(), matches!(ended, Ok(Ok(()))))
        })
    }

    fn took(time: Duration, limit: Duration) -> bool {
        time >= limit && time < 2 * limit
    }

    #[test]
    fn a_head_that_does_not_end_closes_the_connection() {
        for request in [b"".as_slice(), b"GET / HTTP/1.1\r\nHost: a"] {
            let (time, _) = idle(request);
            assert!(took(time, HEAD_TIME), "{time:?}");
        }
    }

    #[test]
    fn a_client_that_takes_nothing_loses_the_connection() {
        let (time, ended_well) = idle(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(took(time, WRITE_TIME), "{time:?}");
        assert!(!ended_well);
    }
}
