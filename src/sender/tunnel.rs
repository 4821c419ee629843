//! A way through an HTTP proxy to a receiver (RFC 9110 §9.3.6).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::dial::fault;
use crate::domain::{Fault, Reply};

/// The largest head of a proxy's answer, in bytes.
const HEAD_LIMIT: usize = 8 * 1024;

/// Asks the proxy at the other end by `call`, a finished `CONNECT` request.
pub(super) async fn open(stream: &mut TcpStream, call: &[u8]) -> Result<(), Reply> {
    let broke = |_| fault(Fault::Network, "the connection to the proxy broke before it answered");
    stream.write_all(call).await.map_err(broke)?;
    let mut head = Vec::with_capacity(256);
    // One by one: what follows the head is the receiver's, and is not ours to read yet.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_LIMIT {
            return Err(fault(Fault::Network, "the head of the proxy's answer is too large"));
        }
        head.push(stream.read_u8().await.map_err(broke)?);
    }
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(407) => {
            Err(fault(Fault::Auth, "the proxy does not accept the user and password of `proxy` (407)"))
        }
        Some(status) => Err(fault(Fault::Network, format!("the proxy refuses the connection ({status})"))),
        None => Err(fault(Fault::Network, "the proxy does not speak HTTP/1")),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(head).ok()?;
    let (version, rest) = head.split_once(' ')?;
    version.starts_with("HTTP/1.").then_some(())?;
    rest.get(..3)?.parse().ok()
}
