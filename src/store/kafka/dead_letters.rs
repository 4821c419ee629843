use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::writer::Writer;
use crate::broker::kafka::{Connection, StartFault, refusal};
use crate::domain::{DeadLetter, SourceId};
use crate::engine::WriteId;
use crate::plan::Plan;
use crate::store::FromStore;

/// The dead letters of one source: an idempotent producer on a thread of its own. A write counts
/// only once every in-sync replica has it.
#[derive(Debug)]
pub struct DeadLetters {
    mail: Sender<(WriteId, DeadLetter)>,
}

impl DeadLetters {
    /// Starts the store of `source`. Its topic is created if it is missing; brokers that do not
    /// answer are tried for ever, and meanwhile writes fail as unavailable. `emit` is called on the
    /// store's thread and must not block for long.
    ///
    /// # Errors
    /// The client can't be created, or there is no thread for it.
    pub fn start(
        plan: Arc<Plan>,
        source: SourceId,
        emit: impl Fn(Vec<FromStore>) + Send + 'static,
    ) -> Result<DeadLetters, StartFault> {
        let Some(settings) = plan.sources.get(usize::from(source.0)) else {
            return Err(StartFault::NoSource(source.0));
        };
        let source_name = settings.name.clone();
        let connection = Connection::new(&plan, settings);
        let (producer, observer) = (connection.producer(), connection.observer());
        let writer =
            Writer::new(plan, source_name.clone(), producer, observer, Box::new(emit)).map_err(|error| {
                StartFault::Client { source_name: source_name.clone(), reason: refusal(&error) }
            })?;
        let (mail, inbox) = mpsc::channel();
        thread::Builder::new()
            .name(format!("kafka-dlq-{source_name}"))
            .spawn(move || writer.run(&inbox))
            .map_err(|reason| StartFault::Thread { source_name, reason })?;
        Ok(DeadLetters { mail })
    }

    /// Writes a dead letter; answered with [`FromStore::Stored`]. Whoever needs the answer waits for
    /// it, so there is nothing to flush at the end.
    pub fn write(&self, write: WriteId, letter: DeadLetter) {
        drop(self.mail.send((write, letter)));
    }
}
