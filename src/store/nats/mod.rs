//! Dead letters and retry tiers on JetStream (PRODUCT.md §5), each in a stream of their own.

mod archive;
mod census;
pub(crate) mod letter_stream;
mod publication;
mod writer;

pub(super) use archive::Archive;
pub(super) use census::start_census;

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use crate::broker::StartFault;
use crate::broker::nats::Reachability;
use crate::plan::{Nats, Plan, Source};
use crate::store::{FromStore, Handle};
use writer::Writer;

/// Starts a publisher of dead letters and moves on a thread of its own, on the servers of this source. A
/// write
/// counts only once its stream has acknowledged it.
///
/// # Errors
/// There is no thread for it.
pub(in crate::store) fn start(
    plan: &Arc<Plan>,
    source: &Source,
    nats: &Nats,
    emit: impl Fn(Vec<FromStore>) + Send + 'static,
) -> Result<Handle, StartFault> {
    let source_name = source.name.clone();
    let thread_fault = |reason| StartFault::Thread { source_name: source_name.clone(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_fault)?;
    let (mail, inbox) = mpsc::unbounded_channel();
    let reachability = Arc::new(Reachability::new(&source.name, &nats.servers));
    let writer = Writer::new(plan.clone(), source.name.clone(), nats.clone(), reachability, Box::new(emit));
    thread::Builder::new()
        .name(format!("nats-dlq-{source_name}"))
        .spawn(move || runtime.block_on(writer.run(inbox)))
        .map_err(thread_fault)?;
    Ok(Handle::new(move |id, write| drop(mail.send((id, write)))))
}
