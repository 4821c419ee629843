//! Whether targets can be reached, without sending them anything.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, LocalOptions};

use super::desk::Peer;
use super::dial::{self, Step, detail, fault, late};
use super::line::{Progress, Stream, Traffic, Transport};
use super::names::{Names, Resolver};
use super::{Contacts, StartFault};
use crate::domain::{Reply, TargetId};
use crate::plan::{Plan, Target};

/// So many targets are tried at once.
const AT_ONCE: usize = 64;

/// How long a receiver is listened to after the TLS handshake: with TLS 1.3 it refuses our certificate
/// only then.
const SECOND_THOUGHT: Duration = Duration::from_millis(500);

/// What came of trying one target.
#[derive(Debug, PartialEq, Eq)]
pub struct Probed {
    /// Which one.
    pub target: TargetId,
    /// Whether a connection can be opened: name, egress, proxy, TLS. The reason holds no secret and no URL.
    pub connection: Result<(), Box<str>>,
    /// Whether a token can be had, if it needs one.
    pub token: Option<Result<(), Box<str>>>,
}

/// Tries all targets that are enabled, as attempts would: opens a connection and closes it again, and
/// fetches a token. No request goes to a target. Blocks until all is known.
///
/// # Errors
/// With these targets no sender would start.
pub fn probe(plan: &Plan, resolver: &Resolver) -> Result<Vec<Probed>, StartFault> {
    probe_by(Contacts::new(plan, None, 1)?, resolver)
}

pub(super) fn probe_by(contacts: Contacts, resolver: &Resolver) -> Result<Vec<Probed>, StartFault> {
    let targets = (0..).map(TargetId).zip(contacts.of_threads.into_iter().next().unwrap_or_default());
    let names = Rc::new(Names::new(resolver));
    let probe = |(id, contact)| {
        let names = names.clone();
        async move {
            let peer = Peer::new(contact);
            Probed {
                target: id,
                connection: connect(&names, &peer.target, &peer).await,
                token: token(&names, &peer.target, &peer).await,
            }
        }
    };
    let enabled = targets.filter_map(|(id, contact)| Some((id, contact?)));
    let enabled = enabled.filter(|(_, contact)| contact.target.enabled);
    let runtime =
        Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
    Ok(runtime.block_on(stream::iter(enabled.map(probe)).buffered(AT_ONCE).collect()))
}

/// Opens a connection and closes it again.
async fn connect(names: &Names, target: &Target, peer: &Peer) -> Result<(), Box<str>> {
    let step = Cell::new(Step::Resolving);
    let work = async {
        match dial::dial(names, target, peer, &step).await? {
            Transport::Plain(_) => Ok(()),
            secured @ Transport::Tls(_) => not_refused(secured).await,
        }
    };
    match tokio::time::timeout(target.timeout, work).await {
        Ok(opened) => opened.map_err(detail),
        Err(_) => Err(detail(late(target.timeout, step.get(), Progress::Waiting))),
    }
}

async fn not_refused(transport: Transport) -> Result<(), Reply> {
    let traffic = Rc::new(Traffic::default());
    let mut stream = Stream { transport, traffic: traffic.clone() };
    match tokio::time::timeout(SECOND_THOUGHT, stream.read_u8()).await {
        // HTTP/2 begins with the receiver's word; in HTTP/1.1 it waits for ours.
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(_)) => {
            let broken = traffic.broken(0, || "the receiver closed the connection at once".to_owned());
            Err(fault(broken.fault, broken.text))
        }
    }
}

async fn token(names: &Rc<Names>, target: &Target, peer: &Peer) -> Option<Result<(), Box<str>>> {
    let fetch = peer.rights.tokens.as_ref()?.token(names);
    Some(match tokio::time::timeout(target.timeout, fetch).await {
        Ok(token) => token.map(drop).map_err(detail),
        Err(_) => Err(detail(late(target.timeout, Step::Authorizing, Progress::Waiting))),
    })
}
