use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How much of the process callers may hold: whoever reaches the port needs no token to connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections at once; further ones wait in the kernel's queue.
    pub(super) connections: usize,
    /// How long a connection may take for the head of a request, also while it is idle.
    pub(super) head: Duration,
}

/// For a person, a scraper and some probes.
pub(super) const BOUNDS: Bounds = Bounds { connections: 64, head: Duration::from_secs(10) };

/// The most that is read ahead of one connection; larger heads are refused.
const BUFFER: usize = 16 * 1024;

/// How long to wait when the system gives no connection, such as without a file descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves every connection until it is dropped.
pub(super) async fn serve(listener: TcpListener, router: Router, bounds: Bounds) {
    let permits = Arc::new(Semaphore::new(bounds.connections));
    // The semaphore is never closed, so there is always a next permit.
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let stream = accepted(&listener).await;
        let router = router.clone();
        tokio::spawn(async move {
            converse(stream, router, bounds.head).await;
            drop(permit);
        });
    }
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(cause) if is_of_the_caller(&cause) => {}
            Err(cause) => {
                tracing::warn!(%cause, "the admin surface can't take a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The caller went away before it was served.
fn is_of_the_caller(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

async fn converse(stream: TcpStream, router: Router, head: Duration) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(cause) = connection.await {
        tracing::trace!(%cause, "an admin connection ended");
    }
}
