//! From a target to an open connection: name, egress, connect, TLS.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use super::desk::{Desk, Peer};
use super::egress;
use super::line::{Line, Transport};
use crate::domain::{Fault, Reply};
use crate::plan::Target;

/// So long for one address while there is another one to try.
const ONE_ADDRESS: Duration = Duration::from_secs(3);

/// So many addresses of a name are tried; all are judged.
const MOST_ADDRESSES: usize = 16;

/// What an attempt waits for; named when its deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolving,
    Connecting,
    Securing,
    Exchanging,
}

/// Opens a connection to `target`, only to addresses that its egress allows: those that were
/// judged are those that are connected to, without a second look-up between.
pub(super) async fn dial(
    desk: &Desk,
    target: &Target,
    peer: &Peer,
    step: &Cell<Step>,
) -> Result<Line, Reply> {
    step.set(Step::Resolving);
    let addresses = allowed_addresses(desk, target, peer).await?;
    step.set(Step::Connecting);
    let stream = connect(peer, addresses).await?;
    let transport = match &peer.endpoint.tls_name {
        None => Transport::Plain(stream),
        Some(name) => {
            step.set(Step::Securing);
            let connector = TlsConnector::from(desk.tls.clone());
            let secured = connector.connect(name.clone(), stream).await;
            let secured = secured.map_err(|error| fault(Fault::Tls, super::trust::text_of(&error)))?;
            Transport::Tls(Box::new(secured))
        }
    };
    Line::over(transport).await.map_err(|_| fault(Fault::Network, "the connection broke at once"))
}

async fn allowed_addresses(desk: &Desk, target: &Target, peer: &Peer) -> Result<Vec<IpAddr>, Reply> {
    let endpoint = &peer.endpoint;
    let judge = |addresses: &[IpAddr]| {
        egress::judge(&target.egress, &endpoint.host, endpoint.port, addresses)
            .map_err(|refusal| fault(Fault::Blocked, refusal.to_string()))
    };
    let addresses = match &endpoint.host {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        Host::Domain(name) => {
            judge(&[])?;
            desk.names.lookup(name).await.map_err(|error| fault(Fault::Dns, error.to_string()))?
        }
    };
    judge(&addresses)?;
    Ok(addresses)
}

/// Tries one address after another, the one that worked last time first.
async fn connect(peer: &Peer, mut addresses: Vec<IpAddr>) -> Result<TcpStream, Reply> {
    let proven = peer.proven.get();
    addresses.sort_by_key(|address| Some(*address) != proven);
    let mut last = fault(Fault::Dns, "the host name has no address");
    let mut addresses = addresses.into_iter().take(MOST_ADDRESSES).peekable();
    while let Some(address) = addresses.next() {
        let address = SocketAddr::new(address, peer.endpoint.port);
        // The last one has all the time that is left of the attempt's.
        let patience = addresses.peek().map_or(Duration::MAX, |_| ONE_ADDRESS);
        last = match tokio::time::timeout(patience, open(address)).await {
            Ok(Ok(stream)) => {
                peer.proven.set(Some(address.ip()));
                return Ok(stream);
            }
            Ok(Err(error)) => fault(Fault::Network, format!("could not connect: {}", error.kind())),
            Err(_) => fault(Fault::Timeout, format!("could not connect within {} s", ONE_ADDRESS.as_secs())),
        };
    }
    peer.proven.set(None);
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A fault with its text for people.
pub(super) fn fault(fault: Fault, detail: impl Into<Box<str>>) -> Reply {
    Reply::Fault { fault, detail: detail.into() }
}
