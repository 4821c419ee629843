//! NATS as a source: a durable pull consumer on a JetStream stream, at least once; or, without a
//! stream, a queue group on core NATS, at most once.
//!
//! JetStream has neither partitions nor assignments: a message is ours until its `ack_wait` passes
//! without an acknowledgement or a sign of progress. `book` keeps which messages are ours and since
//! when the server has not heard of them; from that follows the lease of them all.
//!
//! One `worker` reads durables, whatever is in them; the two `reading`s are the `messages` of a source and
//! the retry `tiers`. Both keep a `session`, which outlives connections, and a `subscription`, which does
//! not.

mod acks;
mod book;
mod core;
mod durable;
mod gap;
mod last;
mod message;
mod messages;
mod ordered;
mod patience;
mod pull;
mod reading;
mod session;
mod subscription;
mod tenure;
mod tier_pace;
mod tiers;
mod unread;
mod worker;

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::outbox::Outbox;
use super::{Handle, SharedGrant};
use crate::broker::StartFault;
use crate::broker::nats::Reachability;
use crate::plan::{Consumer, Nats, NatsMode, Plan, Reads, Source};

pub(crate) use durable::Durable;
pub(in crate::source) use last::last_messages;
use messages::Messages;
use session::Session;
use tiers::Tiers;
use worker::Worker;

/// Reads one source, or the retry tiers on its servers, on a thread of its own, which has a connection of its own.
///
/// # Errors
/// There is no thread for it.
pub(in crate::source) fn start(
    plan: &Arc<Plan>,
    reader: Consumer,
    settings: &Source,
    nats: &Nats,
    grant: Arc<SharedGrant>,
    outbox: Outbox,
) -> Result<Handle, StartFault> {
    let source_name = &settings.name;
    let thread_fault = |reason| StartFault::Thread { source_name: source_name.clone(), reason };
    let reachability = Arc::new(Reachability::new(source_name, &nats.servers));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_fault)?;
    let (mail, inbox) = mpsc::unbounded_channel();
    let (plan, nats) = (plan.clone(), nats.clone());
    let Consumer { source, reads } = reader;
    thread::Builder::new()
        .name(format!("nats-{source_name}"))
        .spawn(move || match (reads, nats.mode.clone()) {
            (Reads::Tiers, _) => {
                let tiers = Tiers::new(&plan);
                let session = Session::new(plan, reader, nats, tiers::ACK_WAIT, grant, outbox);
                runtime.block_on(Worker::new(session, tiers, inbox, reachability).run());
            }
            (Reads::Shared | Reads::Ordered(_), NatsMode::JetStream(settings)) => {
                let messages = Messages::new(&plan, reader, &nats, &settings);
                let session = Session::new(plan, reader, nats, settings.ack_wait, grant, outbox);
                runtime.block_on(Worker::new(session, messages, inbox, reachability).run());
            }
            (Reads::Shared | Reads::Ordered(_), NatsMode::Core { queue }) => {
                let worker = core::Worker::new(plan, source, nats, queue, grant, outbox, inbox, reachability);
                runtime.block_on(worker.run());
            }
        })
        .map_err(thread_fault)?;
    Ok(Handle::new(move |message| drop(mail.send(message))))
}
