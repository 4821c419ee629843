use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use super::writer::Writer;
use crate::broker::StartFault;
use crate::broker::kafka::{Connection, refusal};
use crate::plan::{Kafka, Plan, Source};
use crate::store::{FromStore, Handle};

/// Starts an idempotent producer of dead letters and tier records on a thread of its own, on the
/// brokers of this source. A write counts only once every in-sync replica has it.
///
/// # Errors
/// The client can't be created, or there is no thread for it.
pub(in crate::store) fn start(
    plan: &Arc<Plan>,
    source: &Source,
    kafka: &Kafka,
    emit: impl Fn(Vec<FromStore>) + Send + 'static,
) -> Result<Handle, StartFault> {
    let source_name = source.name.clone();
    let connection = Connection::new(plan, source, kafka);
    let (producer, observer) = (connection.producer(), connection.observer());
    let writer = Writer::new(plan.clone(), source_name.clone(), producer, observer, Box::new(emit))
        .map_err(|error| StartFault::Client { source_name: source_name.clone(), reason: refusal(&error) })?;
    let (mail, inbox) = mpsc::channel();
    thread::Builder::new()
        .name(format!("kafka-store-{source_name}"))
        .spawn(move || writer.run(&inbox))
        .map_err(|reason| StartFault::Thread { source_name, reason })?;
    Ok(Handle::new(move |id, write| drop(mail.send((id, write)))))
}
