use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::topic;
use crate::broker::kafka::pass_on;
use crate::domain::{DeadLetter, Moment};
use crate::engine::{StoreFault, WriteId};
use crate::plan::Plan;
use crate::store::record::Record;
use crate::store::standing::Standing;
use crate::store::{FromStore, Write};

/// What a dead letter's headers may take beside the event.
const HEADER_ROOM: usize = 64 * 1024;
/// While writes are under way, how long one look for their results takes.
const POLL: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(200);
/// How long to wait before looking again whether a store that is down is up.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// A write that failed is made again within this time, with its own time-out; if none was, nothing
/// is left to be written.
const REPEATED_WITHIN: Duration = Duration::from_secs(30);

/// The store's thread.
pub(super) struct Writer {
    plan: Arc<Plan>,
    source: String,
    producer_config: ClientConfig,
    producer: BaseProducer<WriterContext>,
    results: Arc<Results>,
    /// Asks for the topic.
    inspector: BaseConsumer<InspectorContext>,
    emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    /// Accepted by the producer, and without a result.
    open: BTreeSet<WriteId>,
    /// The topic is there, as far as we know.
    ensured: bool,
    look_at: Instant,
    /// When a write failed, as long as none was confirmed since.
    failed: Option<Instant>,
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
struct InspectorContext;

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

impl ClientContext for InspectorContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
    }
}

impl ConsumerContext for InspectorContext {}

impl Writer {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: String,
        producer_config: ClientConfig,
        mut observer_config: ClientConfig,
        emit: Box<dyn Fn(Vec<FromStore>) + Send>,
    ) -> Result<Writer, KafkaError> {
        let results = Arc::new(Results::default());
        let producer = producer_config.create_with_context(WriterContext(results.clone()))?;
        observer_config.remove("group.id");
        Ok(Writer {
            plan,
            standing: Standing::new(source.clone()),
            source,
            producer_config,
            producer,
            results,
            inspector: observer_config.create_with_context(InspectorContext)?,
            emit,
            open: BTreeSet::new(),
            ensured: false,
            look_at: Instant::now(),
            failed: None,
        })
    }

    /// Runs until nobody is left to tell it anything.
    pub(super) fn run(mut self, inbox: &Receiver<(WriteId, Write)>) {
        loop {
            self.look();
            let patience = if self.open.is_empty() { IDLE } else { Duration::ZERO };
            if self.read_mail(inbox, patience).is_break() {
                return;
            }
            self.collect(POLL);
        }
    }

    /// Takes all writes that wait; waits for the first up to `patience`.
    fn read_mail(&mut self, inbox: &Receiver<(WriteId, Write)>, patience: Duration) -> ControlFlow<()> {
        let mut patience = patience;
        loop {
            match inbox.recv_timeout(patience) {
                Ok((id, Write::Letter(letter))) => self.write(id, &letter),
                // TODO(5)
                Ok((id, Write::Move(_))) => self.answer(id, Err(StoreFault::Unavailable("not yet".into()))),
                Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            }
            patience = Duration::ZERO;
        }
    }

    fn topic(&self) -> &str {
        &self.plan.dead_letters.topic
    }

    fn write(&mut self, write: WriteId, letter: &DeadLetter) {
        // Somebody else has the event by now, after a freeze for example (DESIGN.md §4.7): the
        // engine is told so soon, and asks again only if not.
        if !letter.event.lease.holds(Moment::now()) {
            let reason = "the partition is not held any more";
            return self.answer(write, Err(StoreFault::Unavailable(reason.into())));
        }
        if !self.ensured {
            let reason = self.standing.fault().unwrap_or("the topic is not known yet");
            return self.answer(write, Err(StoreFault::Unavailable(reason.into())));
        }
        let record = Record::new(&self.plan, letter);
        let mut native =
            BaseRecord::<[u8], [u8], Box<WriteId>>::with_opaque_to(self.topic(), Box::new(write))
                .headers(native_headers(&record));
        native.key = record.key.as_deref();
        native.payload = record.value.as_deref();
        match self.producer.send(native) {
            Ok(()) => {
                self.open.insert(write);
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let fault = self.fault(code);
                self.answer(write, Err(fault));
            }
        }
    }

    /// Hands over what the broker confirmed or refused since the last time.
    fn collect(&mut self, patience: Duration) {
        self.producer.poll(patience);
        let delivered =
            std::mem::take(&mut *self.results.delivered.lock().unwrap_or_else(PoisonError::into_inner));
        let mut answers = Vec::with_capacity(delivered.len());
        let mut confirmed = false;
        for (write, result) in delivered {
            if !self.open.remove(&write) {
                continue;
            }
            confirmed |= result.is_ok();
            let result = result.map_err(|code| self.fault(code));
            answers.push(FromStore::Stored(write, result));
        }
        if !answers.is_empty() {
            (self.emit)(answers);
        }
        if confirmed {
            self.failed = None;
            self.results.down.store(false, Ordering::Release);
            self.tell_up(Ok(()));
        }
        self.replace_if_fatal();
    }

    fn answer(&self, write: WriteId, result: Result<(), StoreFault>) {
        (self.emit)(vec![FromStore::Stored(write, result)]);
    }

    /// What a failed write means. All but a refusal for its size means that the store is down.
    fn fault(&mut self, code: RDKafkaErrorCode) -> StoreFault {
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageBatchTooLarge => return StoreFault::TooLarge,
            // Our own queue is full: the brokers are slow, not gone.
            RDKafkaErrorCode::QueueFull => {}
            _ => {
                self.ensured = false;
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.failed = Some(Instant::now());
                self.tell_up(Err(format!("the dead-letter topic {} can't be written: {code}", self.topic())));
            }
        }
        StoreFault::Unavailable(code.to_string().into())
    }

    /// While the store is not known to be up: looks, now and then, whether it is.
    fn look(&mut self) {
        let forgotten = self.failed.is_some_and(|failed| failed.elapsed() >= REPEATED_WITHIN);
        if forgotten && self.open.is_empty() {
            self.failed = None;
            self.ensured = false;
            self.look_at = Instant::now();
        }
        if self.results.down.load(Ordering::Acquire) && self.ensured {
            self.ensured = false;
            self.look_at = Instant::now();
        }
        if self.ensured || Instant::now() < self.look_at {
            return;
        }
        self.serve_inspector();
        let largest = self.plan.limits.max_event.saturating_add(HEADER_ROOM);
        match topic::ensure(&self.inspector, &self.producer_config, self.topic(), largest) {
            Ok(()) => {
                self.ensured = true;
                self.results.down.store(false, Ordering::Release);
                // A topic that is there may still refuse writes: the one that failed is made again,
                // and says whether it gets through.
                if self.failed.is_none() {
                    self.tell_up(Ok(()));
                }
            }
            Err(reason) => {
                self.look_at = Instant::now() + LOOK_AGAIN;
                self.tell_up(Err(reason));
            }
        }
    }

    /// Lets librdkafka hand over its log lines and errors.
    fn serve_inspector(&self) {
        while self.inspector.poll(Duration::ZERO).is_some() {}
    }

    fn tell_up(&mut self, up: Result<(), String>) {
        if let Some(news) = self.standing.tell(up) {
            (self.emit)(vec![news]);
        }
    }

    /// An idempotent producer that lost its place can't go on (librdkafka's fatal errors).
    fn replace_if_fatal(&mut self) {
        let Some((code, reason)) = self.producer.client().fatal_error() else { return };
        tracing::error!(
            source = self.source,
            "the dead-letter producer gave up ({code}: {reason}); it is replaced"
        );
        let results = Arc::new(Results::default());
        match self.producer_config.create_with_context(WriterContext(results.clone())) {
            Ok(producer) => {
                self.producer = producer;
                self.results = results;
                let lost = std::mem::take(&mut self.open).into_iter();
                let fault = StoreFault::Unavailable(reason.into());
                (self.emit)(lost.map(|write| FromStore::Stored(write, Err(fault.clone()))).collect());
            }
            Err(error) => tracing::error!(source = self.source, "no new producer: {error}"),
        }
    }
}

fn native_headers(record: &Record) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    (record.headers.iter())
        .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(&value[..]) }))
}
