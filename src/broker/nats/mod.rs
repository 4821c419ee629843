//! Reaching NATS servers: the options of every client of ours, whether the servers answer, and what a
//! message holds.

mod message;
mod options;
mod reachability;
mod tier_stream;

pub(crate) use message::{Delivered, headers};
pub(crate) use options::{CORE_WAITING, options};
pub(crate) use reachability::Reachability;
pub(crate) use tier_stream::TierStream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind};

use crate::plan::Nats;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A client, and whether it has given up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    closed: Arc<AtomicBool>,
}

impl Link {
    /// Whether the client does not reconnect any more, so that another one has to be made: with what the
    /// credentials file holds by then.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Connects, for as long as it takes. From then on the client reconnects by itself, until the servers
/// have not let it in for some time: then [`Link::is_closed`] says so.
pub(crate) async fn connect(client_name: &str, nats: &Nats, reachability: &Arc<Reachability>) -> Link {
    let mut pause = FIRST_PAUSE;
    loop {
        match try_connect(client_name, nats, reachability).await {
            Ok(link) => return link,
            Err(reason) => reachability.no_answer(&reason),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects once.
///
/// # Errors
/// Why not, with the remedy, and without any secret.
pub(crate) async fn try_connect(
    client_name: &str,
    nats: &Nats,
    reachability: &Arc<Reachability>,
) -> Result<Link, String> {
    let (options, servers) = options(client_name, nats)?;
    let closed = Arc::new(AtomicBool::new(false));
    let (told, own) = (reachability.clone(), closed.clone());
    let options = options.event_callback(move |event| {
        // What a client says that was given up concerns nobody: another one has its place.
        if !own.load(Ordering::Acquire) && told.event(&event).is_break() {
            own.store(true, Ordering::Release);
        }
        std::future::ready(())
    });
    let connected = options.connect(servers).await;
    connected.map(|client| Link { client, closed }).map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            format!("{error}; check `creds`, `nkey`, `user` and `password`, or `token`")
        }
        _ if is_tls(&error) => format!("{error}; check `tls` and that the server speaks TLS"),
        _ => error.to_string(),
    })
}

/// Whether TLS is in the way: a certificate that is not trusted comes as a fault of the connection.
fn is_tls(error: &ConnectError) -> bool {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let is_rustls =
        source.and_then(|source| source.get_ref()).is_some_and(|fault| fault.is::<rustls::Error>());
    error.kind() == ConnectErrorKind::Tls || is_rustls
}

/// `NAME-SOURCE`: how our clients call themselves.
pub(crate) fn client_name(plan_name: &str, source_name: &str) -> String {
    format!("{plan_name}-{source_name}")
}
