//! The own durables of ordered targets (DESIGN.md §4.5), as the shared durable sees them: it may not go
//! past what they have not got, in both directions.

use std::collections::HashMap;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::Stream;
use futures_util::TryStreamExt;

use super::durable::{Begin, Durable, Trouble};
use crate::domain::{SourceId, SubjectPattern, TargetId};
use crate::plan::{JetStream, OPEN_IN_ORDER, Plan};

/// The own durables beside a shared one.
#[derive(Debug)]
pub(super) struct Beside {
    /// Of targets that are ordered.
    ordered: Vec<Durable>,
    /// By the names of durables that targets which are not ordered may have left behind: the target.
    unordered: HashMap<String, String>,
}

impl Beside {
    pub(super) fn new(
        plan: &Plan,
        source: SourceId,
        settings: &JetStream,
        subjects: &[SubjectPattern],
    ) -> Beside {
        let own = |target: TargetId| {
            let name = plan.targets.get(target.0 as usize).map_or("", |target| &target.name);
            (Durable::ordered(settings, subjects, name), name)
        };
        let unordered = plan.shared_targets(source).map(own);
        Beside {
            ordered: plan.ordered_targets(source).map(own).map(|(durable, _)| durable).collect(),
            unordered: unordered
                .map(|(durable, name)| (durable.name().to_owned(), name.to_owned()))
                .collect(),
        }
    }

    /// Before the shared durable is read: makes the own durables that are missing, for it passes what is
    /// theirs; and sees to those that are left behind.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) async fn settle(
        &self,
        stream: &Stream,
        shared: &Durable,
        begin: &Begin,
    ) -> Result<(), Trouble> {
        for own in &self.ordered {
            if own.found(stream).await?.is_none() {
                own.make(stream.clone(), begin).await?;
            }
        }
        if self.unordered.is_empty() {
            return Ok(());
        }
        let Some(shared) = shared.found(stream).await? else { return Ok(()) };
        let found: Vec<consumer::Info> = (stream.consumers().try_collect().await)
            .map_err(|error| Trouble::NoAnswer(format!("the durables of the stream: {error}")))?;
        for info in found {
            if let Some(target) = self.unordered.get(&info.name).filter(|_| is_ours(&info.config)) {
                leave(stream, target, &info, shared.delivered.stream_sequence).await?;
            }
        }
        Ok(())
    }
}

/// Whether a durable is one that we made for an ordered target.
fn is_ours(config: &consumer::Config) -> bool {
    config.max_ack_pending == i64::from(OPEN_IN_ORDER)
        && config.description.as_deref() == Some("made by hookferry")
}

/// Deletes the durable of a target that is not ordered any more, if the shared one is not ahead of it.
async fn leave(stream: &Stream, target: &str, own: &consumer::Info, shared_read: u64) -> Result<(), Trouble> {
    let (name, durable) = (&stream.cached_info().config.name, &own.name);
    let command = format!("nats consumer rm {name} {durable} --force");
    if let Some(lag) = lag(own, shared_read) {
        return Err(Trouble::Refused(format!(
            "the target {target} is not ordered any more, and {lag} messages wait in its durable {durable}, which \
             nobody would deliver to it: set its `ordering: strict` again until they are delivered, or give them up \
             with: {command}"
        )));
    }
    stream.delete_consumer(durable).await.map_err(|error| {
        Trouble::Refused(format!(
            "the target {target} is not ordered any more, and its durable {durable} can't be deleted ({error}); \
             delete it with: {command}"
        ))
    })?;
    tracing::info!("the target {target} is not ordered any more; its durable {durable} is deleted");
    Ok(())
}

/// How many messages wait in an own durable, if the shared one may have passed any of them: it acknowledges
/// out of order, so all that it was ever given counts, and not only what lies below its floor.
fn lag(own: &consumer::Info, shared_read: u64) -> Option<u64> {
    let waiting = own.num_pending + own.num_ack_pending as u64;
    (waiting > 0 && own.ack_floor.stream_sequence < shared_read).then_some(waiting)
}
