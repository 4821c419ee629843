use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::topics::{Look, TopicId, Topics};
use crate::broker::kafka::{OwnTopic, allow, pass_on};
use crate::broker::tier_record::{HEADER, TierRecord};
use crate::domain::{DeadLetter, Kind, Moment, Move};
use crate::engine::{StoreFault, WriteId};
use crate::plan::Plan;
use crate::store::record::Record;
use crate::store::standing::Standing;
use crate::store::{FromStore, Write};

/// While writes are under way, how often their results are looked for.
const POLL: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_millis(200);
/// A producer that gave up is not replaced sooner after the one before.
const REPLACED: Duration = Duration::from_secs(5);
/// So many events of the client are taken at a time.
const EVENTS: usize = 32;

/// The store's thread.
pub(super) struct Writer {
    plan: Arc<Plan>,
    source: String,
    producer_config: ClientConfig,
    producer: BaseProducer<WriterContext>,
    replace_at: Instant,
    results: Arc<Results>,
    topics: Topics,
    emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    /// Accepted by the producer, and without a result.
    open: BTreeMap<WriteId, TopicId>,
    standing: Standing,
}

/// What the call-backs bring.
#[derive(Debug, Default)]
struct Results {
    delivered: Mutex<Vec<(WriteId, Result<(), RDKafkaErrorCode>)>>,
    /// No broker is left.
    down: AtomicBool,
}

struct WriterContext(Arc<Results>);

impl ClientContext for WriterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.down.store(true, Ordering::Release);
        }
        tracing::debug!(target: "librdkafka", "{reason}");
    }
}

impl ProducerContext for WriterContext {
    type DeliveryOpaque = Box<WriteId>;

    fn delivery(&self, result: &DeliveryResult<'_>, write: Box<WriteId>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.0.delivered.lock().unwrap_or_else(PoisonError::into_inner).push((*write, result));
    }
}

impl Writer {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: String,
        producer_config: ClientConfig,
        observer_config: ClientConfig,
        emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    ) -> Result<Writer, KafkaError> {
        let results = Arc::new(Results::default());
        let producer = producer_config.create_with_context(WriterContext(results.clone()))?;
        Ok(Writer {
            topics: Topics::new(&plan, producer_config.clone(), observer_config)?,
            plan,
            standing: Standing::new(source.clone()),
            source,
            producer_config,
            producer,
            replace_at: Instant::now(),
            results,
            emit,
            open: BTreeMap::new(),
        })
    }

    /// Runs until nobody is left to tell it anything.
    pub(super) fn run(mut self, inbox: &Receiver<(WriteId, Write)>) {
        loop {
            self.look();
            let patience = if self.open.is_empty() { IDLE } else { POLL };
            if self.read_mail(inbox, patience).is_break() {
                return;
            }
            self.collect();
        }
    }

    /// Takes all writes that wait; waits for the first up to `patience`.
    fn read_mail(&mut self, inbox: &Receiver<(WriteId, Write)>, patience: Duration) -> ControlFlow<()> {
        let mut patience = patience;
        loop {
            match inbox.recv_timeout(patience) {
                Ok((id, write)) => self.write(id, &write),
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
            patience = Duration::ZERO;
        }
    }

    fn write(&mut self, id: WriteId, write: &Write) {
        // Somebody else has the event by now, after a freeze for example (DESIGN.md §4.7): the
        // engine is told so soon, and asks again only if not.
        if !write.event().lease.holds(Moment::now()) {
            let reason = "the partition is not held any more";
            return self.answer(id, Err(StoreFault::Unavailable(reason.into())));
        }
        let topic = self.topics.of(write);
        if let Some(reason) = self.topics.refusal(topic) {
            return self.answer(id, Err(StoreFault::Unavailable(reason.into())));
        }
        let sent = match write {
            Write::Letter(letter) => self.send_letter(id, topic, letter),
            Write::Move(moved) => self.send_move(id, topic, moved),
        };
        match sent {
            Ok(()) => {
                self.open.insert(id, topic);
            }
            Err(error) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let fault = self.fault(topic, code);
                self.answer(id, Err(fault));
            }
        }
    }

    fn send_letter(&self, id: WriteId, topic: TopicId, letter: &DeadLetter) -> KafkaResult<()> {
        let record = Record::new(&self.plan, letter);
        self.send(id, topic, record.key.as_deref(), record.value.as_deref(), native_headers(&record.headers))
    }

    /// The message's key spreads the records over the partitions as it spread the messages; to be read
    /// again it stands in the header, as all of the message but its value does.
    fn send_move(&self, id: WriteId, topic: TopicId, moved: &Move) -> KafkaResult<()> {
        let event = &moved.event;
        let source = self.plan.sources.get(usize::from(event.source.0)).map_or("", |source| &source.name);
        let header = (HEADER, TierRecord::new(source, moved).encode());
        let value = (event.kind != Kind::Tombstone).then_some(&*event.body);
        self.send(id, topic, event.origin.key.as_deref(), value, native_headers(&[header]))
    }

    fn send(
        &self,
        id: WriteId,
        topic: TopicId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> KafkaResult<()> {
        let name = self.topics.name(topic);
        let mut native = BaseRecord::<[u8], [u8], Box<WriteId>>::with_opaque_to(name, Box::new(id));
        (native.key, native.payload) = (key, value);
        self.producer.send(native.headers(headers)).map_err(|(error, _)| error)
    }

    /// Hands over what the broker confirmed or refused since the last time.
    fn collect(&mut self) {
        let mut delivered = Vec::new();
        // A poll takes one event, of which not each is a result: the client's log lines come the same way. One with
        // a patience would spin for its last millisecond, and not end early.
        loop {
            (0..EVENTS).for_each(|_| self.producer.poll(Duration::ZERO));
            let more =
                std::mem::take(&mut *self.results.delivered.lock().unwrap_or_else(PoisonError::into_inner));
            if more.is_empty() {
                break;
            }
            delivered.extend(more);
        }
        let mut answers = Vec::with_capacity(delivered.len());
        let mut confirmed = false;
        for (write, result) in delivered {
            let Some(topic) = self.open.remove(&write) else { continue };
            if result.is_ok() {
                confirmed = true;
                self.topics.confirmed(topic);
            }
            let result = result.map_err(|code| self.fault(topic, code));
            answers.push(FromStore::Stored(write, result));
        }
        if !answers.is_empty() {
            (self.emit)(answers);
        }
        if confirmed {
            self.tell_up();
        }
        self.replace_if_fatal();
    }

    fn answer(&self, write: WriteId, result: Result<(), StoreFault>) {
        (self.emit)(vec![FromStore::Stored(write, result)]);
    }

    /// What a failed write means. All but a refusal for its size means that its topic can't be
    /// written.
    fn fault(&mut self, topic: TopicId, code: RDKafkaErrorCode) -> StoreFault {
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageBatchTooLarge => return StoreFault::TooLarge,
            // Our own queue is full: the brokers are slow, not gone.
            RDKafkaErrorCode::QueueFull => {}
            _ => {
                self.topics.failed(topic, code);
                self.tell_up();
            }
        }
        StoreFault::Unavailable(code.to_string().into())
    }

    /// While not all topics are known to be there: looks, now and then, whether they are.
    fn look(&mut self) {
        if self.open.is_empty() {
            self.topics.forget_failures();
        }
        if self.results.down.swap(false, Ordering::AcqRel) {
            self.topics.doubt();
        }
        if self.topics.look() == Look::Done {
            self.tell_up();
        }
    }

    fn tell_up(&mut self) {
        if let Some(news) = self.standing.tell(self.topics.up()) {
            (self.emit)(vec![news]);
        }
    }

    /// An idempotent producer that lost its place can't go on (librdkafka's fatal errors).
    fn replace_if_fatal(&mut self) {
        let now = Instant::now();
        if now < self.replace_at {
            return;
        }
        let Some((code, reason)) = self.producer.client().fatal_error() else { return };
        self.replace_at = now + REPLACED;
        tracing::error!(
            source = self.source,
            "the producer of dead letters and retries gave up ({code}: {reason}); it is replaced. It writes {}{}",
            self.plan.dead_letters.topic,
            allow(code, OwnTopic::RIGHTS),
        );
        let results = Arc::new(Results::default());
        match self.producer_config.create_with_context(WriterContext(results.clone())) {
            Ok(producer) => {
                self.producer = producer;
                self.results = results;
                let lost = std::mem::take(&mut self.open).into_keys();
                let fault = StoreFault::Unavailable(reason.into());
                (self.emit)(lost.map(|write| FromStore::Stored(write, Err(fault.clone()))).collect());
            }
            Err(error) => tracing::error!(source = self.source, "no new producer: {error}"),
        }
    }
}

fn native_headers<K: AsRef<str>, V: AsRef<[u8]>>(headers: &[(K, V)]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(empty, |all, (key, value)| {
        all.insert(Header { key: key.as_ref(), value: Some(value.as_ref()) })
    })
}
