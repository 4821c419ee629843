//! From a target to an open transport: name, egress, connect, the proxy's tunnel, TLS.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::desk::Peer;
use super::endpoint::Endpoint;
use super::line::{Progress, Transport};
use super::names::Names;
use super::{reach, trust, tunnel};
use crate::domain::{Fault, Reply};
use crate::plan::{HttpVersion, Target};

/// So many addresses of a name are tried; all are judged.
const MOST_ADDRESSES: usize = 16;

/// So many bytes the kernel takes for a connection before they are read. Left to itself it grows this to
/// some MiB, which a receiver that answers without end then fills for nothing.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// What an attempt waits for; named when its deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Authorizing,
    Asking,
    Resolving,
    Connecting,
    Tunnelling,
    Securing,
    Exchanging,
}

/// Opens a connection to `target`, only to addresses that its egress allows, or to its proxy.
pub(super) async fn dial(
    names: &Names,
    target: &Target,
    peer: &Peer,
    step: &Cell<Step>,
) -> Result<Transport, Reply> {
    step.set(Step::Resolving);
    let endpoint = &peer.endpoint;
    let (addresses, port) = match &endpoint.proxy {
        None => (reach::allowed(names, &target.egress, &endpoint.host, endpoint.port).await?, endpoint.port),
        Some(proxy) => {
            let patience = target.connect_timeout;
            reach::beyond_proxy(names, &target.egress, &endpoint.host, endpoint.port, patience).await?;
            (reach::found(names, &proxy.host).await?, proxy.port)
        }
    };
    step.set(Step::Connecting);
    let stream = connect(peer, addresses, port, target.connect_timeout).await?;
    match tokio::time::timeout(target.connect_timeout, ready(endpoint, stream, target.http, step)).await {
        Ok(transport) => transport,
        Err(_) => Err(late(target.connect_timeout, step.get(), Progress::Waiting)),
    }
}

/// Makes a connection ready for requests: through the proxy, then TLS.
async fn ready(
    endpoint: &Endpoint,
    mut stream: TcpStream,
    version: HttpVersion,
    step: &Cell<Step>,
) -> Result<Transport, Reply> {
    if let Some(call) = endpoint.proxy.as_ref().and_then(|proxy| proxy.connect.as_ref()) {
        step.set(Step::Tunnelling);
        tunnel::open(&mut stream, call.expose_secret().as_bytes()).await?;
    }
    let Some(secure) = &endpoint.secure else { return Ok(Transport::Plain(stream)) };
    step.set(Step::Securing);
    let connector = TlsConnector::from(secure.config.clone());
    let secured = connector.connect(secure.name.clone(), stream).await;
    let secured = secured.map_err(|error| fault(Fault::Tls, trust::text_of(&error)))?;
    if version == HttpVersion::Two && secured.get_ref().1.alpn_protocol() != Some(trust::H2) {
        return Err(fault(Fault::Tls, trust::NO_HTTP2));
    }
    Ok(Transport::Tls(Box::new(secured)))
}

/// Tries one address after another, the one that worked last time first.
async fn connect(
    peer: &Peer,
    mut addresses: Vec<IpAddr>,
    port: u16,
    patience: Duration,
) -> Result<TcpStream, Reply> {
    let proven = peer.proven.get();
    addresses.sort_by_key(|address| Some(*address) != proven);
    let mut last = fault(Fault::Dns, "the host name has no address");
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        let address = SocketAddr::new(address, port);
        last = match tokio::time::timeout(patience, open(address)).await {
            Ok(Ok(stream)) => {
                peer.proven.set(Some(address.ip()));
                return Ok(stream);
            }
            Ok(Err(error)) => fault(Fault::Network, format!("could not connect: {}", error.kind())),
            Err(_) => late(patience, Step::Connecting, Progress::Waiting),
        };
    }
    peer.proven.set(None);
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is said when nothing more came within `timeout`.
pub(super) fn late(timeout: Duration, step: Step, progress: Progress) -> Reply {
    let missing = match (step, progress) {
        (Step::Authorizing, _) => {
            return fault(Fault::Auth, format!("the token endpoint gave no token within {timeout:?}"));
        }
        (Step::Asking, _) => "it was not known whether the receiver takes webhooks",
        (Step::Resolving, _) => "the host name was not resolved",
        (Step::Connecting, _) => "no connection was made",
        (Step::Tunnelling, _) => "the proxy did not answer",
        (Step::Securing, _) => "the TLS handshake was not complete",
        (Step::Exchanging, Progress::Waiting) => "no answer came",
        (Step::Exchanging, Progress::Body) => "the body of the answer was not complete",
    };
    fault(Fault::Timeout, format!("{missing} within {timeout:?}"))
}

/// A fault with its text for people.
pub(super) fn fault(fault: Fault, detail: impl Into<Box<str>>) -> Reply {
    Reply::Fault { fault, detail: detail.into() }
}

/// A fault's text for people.
pub(super) fn detail(reply: Reply) -> Box<str> {
    match reply {
        Reply::Fault { detail, .. } => detail,
        _ => Box::default(),
    }
}
