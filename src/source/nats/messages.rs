use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::stream::{self, Stream};
use futures_util::future::BoxFuture;

use super::book::Arrival;
use super::durable::{Attachment, Begin, Durable, Trouble};
use super::gap::{Gap, Lost};
use super::message::{Delivered, message};
use super::ordered::Beside;
use super::pull::{Allowed, Pull, Room};
use super::reading::{Came, Durables, End, Reading, Words};
use super::session::Session;
use super::unread::Unread;
use crate::domain::{Moment, Receipt};
use crate::engine::Input;
use crate::plan::{Consumer, JetStream, Nats, Plan, Reads};
use crate::source::hand::{Found, Hand};
use crate::source::{Intake, Loss, Namespace, Report};

/// After a pull that the server refused.
const PULL_AGAIN: Duration = Duration::from_millis(250);

/// The messages of a source, through one durable on its stream: the one of all targets without order, or an
/// ordered target's own.
pub(super) struct Messages {
    durable: Arc<Durable>,
    /// Of the shared durable only.
    beside: Option<Arc<Beside>>,
    /// `None` until a stream was found.
    intake: Option<Intake>,
    allowed: Allowed,
    pull: Option<Pull>,
    pull_at: Instant,
    /// Whether a message came since the server was asked last.
    moved: bool,
    /// The next message did not fit into so many bytes.
    too_few_bytes: Option<u64>,
    /// Everything up to here was acknowledged by all replicas.
    floor: u64,
    gap: Gap,
    unread: Unread,
    redelivered: u64,
}

impl Messages {
    pub(super) fn new(plan: &Plan, reader: Consumer, nats: &Nats, settings: &JetStream) -> Messages {
        let (durable, beside) = match reader.reads {
            Reads::Ordered(target) => {
                let target = plan.targets.get(target.0 as usize).map_or("", |target| &target.name);
                (Durable::ordered(settings, &nats.subjects, target), None)
            }
            Reads::Shared | Reads::Tiers => {
                let beside = Beside::new(plan, reader.source, settings, &nats.subjects);
                (Durable::new(settings, &nats.subjects), Some(Arc::new(beside)))
            }
        };
        Messages {
            durable: Arc::new(durable),
            beside,
            intake: None,
            allowed: Allowed::default(),
            pull: None,
            pull_at: Instant::now(),
            moved: false,
            too_few_bytes: None,
            floor: 0,
            gap: Gap::default(),
            unread: Unread::default(),
            redelivered: 0,
        }
    }

    /// Where a durable begins that has to be made.
    fn beginning(&self, session: &Session) -> Begin {
        // What other replicas have open lies above the floor.
        let sequence = match session.plan.replicas {
            1 => session.book.position(self.floor),
            _ => self.floor + 1,
        };
        match &session.created {
            Some(created) => Begin::Resumed { created: created.clone(), sequence },
            None if session.was_missing => Begin::Beginning,
            None => Begin::Configured,
        }
    }

    /// What there is room for.
    fn next_pull(&self, session: &Session) -> Option<(Pull, pull::BatchConfig)> {
        let room = Room {
            granted: session.allowance.left(),
            window: session.window(),
            open: session.book.open() as u64,
            too_few_bytes: self.too_few_bytes,
        };
        room.pull(self.allowed, session.patience, Moment::now().mono_us)
    }

    fn report_gap(&mut self, session: &Session, delivered: Delivered, topic: &Arc<str>) {
        let lost = if delivered.times == 1 { self.gap.close(delivered.sequence) } else { None };
        let Some(Lost { from, to }) = lost else { return };
        let messages = to - from;
        tracing::error!(
            source = session.name(),
            "the stream {topic} deleted {messages} messages from sequence {from} on before they were read; make its \
             limits wider than the longest outage",
        );
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let (loss, topic) = (Loss::Retention, topic.clone());
        session.outbox.report(Report::Lost { loss, topic, partition: 0, from, messages });
    }

    /// What waited in a stream that is gone.
    fn report_deleted(&self, session: &Session) {
        let messages = self.unread.messages;
        if messages == 0 {
            return;
        }
        let stream = self.durable.stream_name();
        tracing::error!(
            source = session.name(),
            "the stream {stream} was deleted with {messages} messages that had not been read; publish them again, and \
             let a stream be read to its end before it is deleted",
        );
        // All replicas know the same number; each counts its part, so that the sum is not far off.
        let messages = messages.div_ceil(u64::from(session.plan.replicas.max(1)));
        let from = i64::try_from(self.unread.after + 1).unwrap_or(i64::MAX);
        let (loss, topic) = (Loss::Deleted, stream.into());
        session.outbox.report(Report::Lost { loss, topic, partition: 0, from, messages });
    }
}

impl Reading for Messages {
    const WORDS: Words = Words {
        unknown: "the durable is not known yet",
        read: "what was read",
        anew: "the stream was deleted and made anew; it is read from its beginning, and what is open of the old one is \
               still delivered",
        deleted: "the durable was deleted; it is made anew where it was",
    };

    type Standing = Box<(consumer::Info, stream::Info)>;

    fn find(
        &self,
        session: &Session,
        _: &Client,
        context: &Context,
    ) -> BoxFuture<'static, Result<Durables, Trouble>> {
        let (begin, context) = (self.beginning(session), context.clone());
        let (durable, beside) = (self.durable.clone(), self.beside.clone());
        Box::pin(async move {
            if let Some(beside) = beside {
                let stream = durable.stream(&context).await?;
                beside.settle(&stream, &durable, &begin).await?;
            }
            let Attachment { consumer, stream, created } = durable.attach(&context, &begin).await?;
            Ok(Durables { stream, created, consumers: vec![consumer] })
        })
    }

    fn begin(&mut self, session: &Session, found: &Durables) {
        let Session { plan, source, .. } = session;
        let Some(settings) = plan.sources.get(usize::from(source.0)) else { return };
        let namespace = Namespace::JetStream { created: found.created.clone() };
        self.intake = Some(Intake::new(plan, settings, *source, namespace));
        (self.pull, self.moved) = (None, false);
        for consumer in &found.consumers {
            let info = consumer.cached_info();
            self.floor = self.floor.max(info.ack_floor.stream_sequence);
            self.gap.look(info, found.stream.cached_info());
            self.unread = unread(info);
            let limit = |limit: i64| u64::try_from(limit).unwrap_or_default();
            self.allowed = Allowed {
                batch: limit(info.config.max_batch),
                bytes: limit(info.config.max_bytes),
                expires: info.config.max_expires,
            };
        }
    }

    fn adopt(&mut self, plan: &Arc<Plan>) {
        self.intake.iter_mut().for_each(|intake| intake.adopt(plan));
    }

    fn leave_stream(&mut self, session: &Session) {
        self.report_deleted(session);
        (self.gap, self.floor, self.unread) = (Gap::default(), 0, Unread::default());
    }

    fn is_pulling(&self, _: usize) -> bool {
        self.pull.is_some()
    }

    fn pull(&mut self, session: &Session, _: usize, now: Instant) -> Option<pull::BatchConfig> {
        let (pull, config) = self.next_pull(session).filter(|_| now >= self.pull_at)?;
        self.pull = Some(pull);
        Some(config)
    }

    fn ended(&mut self, _: usize, end: End, now: Instant) {
        let ended = self.pull.take();
        match end {
            End::Over => {}
            End::TooLarge => self.too_few_bytes = ended.and_then(Pull::too_few_bytes),
            End::Refused => self.pull_at = now + PULL_AGAIN,
        }
    }

    fn is_short(&self, session: &Session, now: Instant) -> bool {
        self.pull.is_none() && now >= self.pull_at && self.next_pull(session).is_none()
    }

    fn take(&mut self, session: &mut Session, came: &Came<'_>, batch: &mut Vec<Input>) {
        let Came { native, reply, delivered, topic, .. } = came;
        self.moved = true;
        self.too_few_bytes = None;
        self.pull = self.pull.and_then(Pull::next);
        self.redelivered += u64::from(delivered.times > 1);
        self.unread.note(Unread { after: delivered.sequence, messages: delivered.pending });
        let now = Moment::now();
        match session.book.received(delivered.sequence, reply, delivered.stored_ms, now.mono_us) {
            Arrival::Settled(ending) => return session.acks.settled((*reply).clone(), ending),
            Arrival::Joins => return,
            Arrival::New => {}
        }
        let Some(intake) = &mut self.intake else { return };
        let native = message(native, topic.clone(), Some(*delivered), now.wall_ms);
        let generation = session.tenure.generation();
        let event = intake.read(native, generation, session.tenure.lease());
        let receipt =
            Receipt { consumer: session.outbox.consumer(), generation, position: event.origin.position };
        self.report_gap(session, *delivered, topic);
        session.offer(Hand { found: Found::Event(event), receipt }, batch);
    }

    fn taken(&mut self, session: &Session) {
        if self.redelivered > 0 {
            session.outbox.report(Report::Redelivered(std::mem::take(&mut self.redelivered)));
        }
    }

    fn ask(&self, _: &Session, stream: Arc<Stream>) -> BoxFuture<'static, Result<Self::Standing, Trouble>> {
        let durable = self.durable.clone();
        Box::pin(async move {
            let info = durable.found(&stream).await?;
            let info = info.ok_or_else(|| Trouble::Refused("the durable is gone".to_owned()))?;
            let state = stream.get_info().await.map_err(|error| Trouble::NoAnswer(error.to_string()))?;
            Ok(Box::new((info, state)))
        })
    }

    fn stands(
        &mut self,
        session: &Session,
        standing: Self::Standing,
        at_us: u64,
        topic: Option<Arc<str>>,
    ) -> Result<(), Trouble> {
        let (info, state) = *standing;
        // Somebody may have edited it: with another `ack_wait` nothing of what is open may be ours.
        self.durable.judge(&info.config)?;
        self.gap.look(&info, &state);
        self.unread.note(unread(&info));
        self.floor = self.floor.max(info.ack_floor.stream_sequence);
        let Some(topic) = topic else { return Ok(()) };
        let moved = std::mem::take(&mut self.moved);
        self.pull = self
            .pull
            .filter(|pull| pull.sent_us >= at_us || !is_forgotten(info.num_pending, info.num_waiting, moved));
        // All replicas see the same number; each tells its part, so that the sum is right.
        let part = info.num_pending / u64::from(session.plan.replicas.max(1));
        let messages = Some(part + session.book.open() as u64);
        session.outbox.report(Report::Lag { topic, partition: 0, messages });
        Ok(())
    }

    fn report_oldest(&self, session: &Session, topic: Arc<str>) {
        let stored_ms = session.book.oldest_stored_ms();
        session.outbox.report(Report::OldestUnsettled { topic, partition: 0, stored_ms });
    }
}

fn unread(durable: &consumer::Info) -> Unread {
    Unread { after: durable.delivered.stream_sequence, messages: durable.num_pending }
}

/// Whether the server does not know of our pull: messages wait, no pull does, and nothing came.
fn is_forgotten(pending: u64, pulls: usize, moved: bool) -> bool {
    pending > 0 && pulls == 0 && !moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_forgotten_if_messages_wait_and_none_came() {
        assert!(is_forgotten(1, 0, false));
        assert!(!is_forgotten(0, 0, false), "there is nothing to come");
        assert!(!is_forgotten(1, 1, false), "it waits at the server, or another replica's does");
        assert!(!is_forgotten(1, 0, true), "it was filled just now");
    }
}
