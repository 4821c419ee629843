//! The HTTP surface for operators (PRODUCT.md §3): `/metrics`, `/healthz`, `/readyz` and `/api`, on a
//! thread of its own so that a stalled delivery loop can still be seen.

mod api;
mod connections;
mod guard;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::domain::Moment;
use crate::observe::{Health, Metrics, TargetBoard};
use crate::{plan, reload};
use connections::{BOUNDS, Bounds};
pub use guard::Admission;

/// Why the surface can't be served. Ends the process with exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The address can't be listened on.
    #[error(
        "admin.listen: can't listen on {address}: {cause}; stop the program that uses the port, or set another `admin.listen`"
    )]
    Listen {
        /// What was configured.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// The system gives no thread or event queue.
    #[error("admin: can't start serving: {0}")]
    Thread(io::Error),
}

/// A served surface. Dropping it, or [`stop`](Admin::stop), ends it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    admission: Admission,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Of `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Of the probes.
    pub health: Arc<Health>,
    /// Of `/api/v1/targets`.
    pub targets: Arc<TargetBoard>,
    /// Of `/api/v1/reload`; `None` where there is nothing to be read again.
    pub reloads: Option<reload::Requests>,
}

impl Admin {
    /// Listens as it is configured (port 0: any free one) and serves until it is stopped.
    ///
    /// # Errors
    /// The port is taken, or the system gives no thread.
    pub fn start(settings: &plan::Admin, observed: Observed) -> Result<Admin, StartFault> {
        Admin::start_within(BOUNDS, settings, observed)
    }

    fn start_within(bounds: Bounds, settings: &plan::Admin, observed: Observed) -> Result<Admin, StartFault> {
        let address = settings.listen;
        let listen = |cause| StartFault::Listen { address, cause };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartFault::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let admission = Admission::new(settings);
        let router = router(observed, admission.clone());
        let serve = move || runtime.block_on(serve(listener, router, bounds, stopped));
        let thread =
            std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(StartFault::Thread)?;
        Ok(Admin { address, admission, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is served, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is let in.
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }

    /// Ends serving and waits for the thread. Connections that are open are cut: no answer takes
    /// longer than the moment it is made in.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Without a receiver, the thread has ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(cause) => return tracing::error!(%cause, "the admin surface ended"),
    };
    // What is open is cut with the runtime: an idle connection would hold up a graceful end.
    tokio::select! {
        () = connections::serve(listener, router, bounds) => {}
        _ = stopped => {}
    }
}

fn router(observed: Observed, admission: Admission) -> Router {
    api::router()
        .fallback(unknown)
        .layer(axum::middleware::from_fn_with_state(admission, guard::admit))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(observed)
}

async fn metrics(State(observed): State<Observed>) -> Response {
    match observed.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n")).into_response(),
    }
}

async fn healthz(State(observed): State<Observed>) -> Response {
    match observed.health.alive(Moment::now()) {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn readyz(State(observed): State<Observed>) -> Response {
    match observed.health.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reasons) => {
            let lines: String = reasons.iter().map(|reason| format!("{reason}\n")).collect();
            (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
        }
    }
}

async fn unknown(uri: Uri) -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        &format!(
            "there is nothing at {}; there are /metrics, /healthz, /readyz, /api/v1/targets and /api/v1/reload",
            uri.path()
        ),
    )
}

/// An error as JSON.
fn refuse(status: StatusCode, error: &str) -> Response {
    json(status, &serde_json::json!({ "error": error }))
}

fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_string(answer) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n")).into_response(),
    }
}
