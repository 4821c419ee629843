use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::letter_states::{self, LetterStates};
use crate::broker::kafka::{
    Admin, Connection, Listener, OwnTopic, allow, ask, headers, is_missing, pass_on, refusal, timestamp_ms,
};
use crate::broker::tier_record::HEADER;
use crate::domain::{Moment, Tier};
use crate::plan::{Kafka, Plan, Source};
use crate::store::archive::{Found, LetterFault, Span};
use crate::store::dead_letter_record::{DeadLetterRecord, LetterPosition, LetterState, RawLetter, Redrive};

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to confirm what was sent.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
/// A producer's poll takes this long even if results come earlier.
const LOOK: Duration = Duration::from_millis(10);

/// The dead letters in a Kafka topic.
pub(in crate::store) struct Archive<'a> {
    plan: &'a Plan,
    kafka: &'a Kafka,
    connection: Connection<'a>,
    only_source: Option<&'a str>,
    topic: Arc<str>,
    state_topic: String,
    /// Of each partition where it began and ended when this was opened.
    marks: Vec<Marks>,
    inspector: BaseConsumer<Listener>,
    producer: OnceCell<BaseProducer<Confirmations>>,
    /// How many records were sent so far.
    sent: Cell<usize>,
    /// States of letters that retention took: they are to be forgotten.
    expired: RefCell<Vec<LetterPosition>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    partition: i32,
    low: i64,
    high: i64,
}

/// What became of each record, by its number.
#[derive(Default)]
struct Confirmations(Mutex<Vec<(usize, Result<(), RDKafkaErrorCode>)>>);

impl Confirmations {
    fn take(&self) -> Vec<(usize, Result<(), RDKafkaErrorCode>)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Confirmations {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }
}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((*number, result));
    }
}

/// A record to send.
struct Outgoing<'a> {
    topic: &'a str,
    key: Option<String>,
    header: Option<(&'a str, String)>,
    value: Option<Bytes>,
}

impl<'a> Archive<'a> {
    pub(in crate::store) fn open(
        plan: &'a Plan,
        source: &'a Source,
        kafka: &'a Kafka,
        only_source: Option<&'a str>,
    ) -> Result<Archive<'a>, String> {
        let connection = Connection::new(plan, source, kafka);
        let mut archive = Archive {
            plan,
            kafka,
            only_source,
            topic: Arc::from(&*plan.dead_letters.topic),
            state_topic: plan.dead_letter_state_topic(),
            marks: Vec::new(),
            inspector: client(&reader_config(&connection))?,
            connection,
            producer: OnceCell::new(),
            sent: Cell::new(0),
            expired: RefCell::default(),
        };
        archive.marks = archive.marks_of(&archive.topic)?;
        Ok(archive)
    }

    pub(in crate::store) fn size(&self) -> u64 {
        self.marks.iter().map(|marks| u64::try_from(marks.high - marks.low).unwrap_or(0)).sum()
    }

    pub(in crate::store) fn read(
        &self,
        span: Span<'_>,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let marks: Vec<Marks> = match span {
            Span::All(_) => self.marks.clone(),
            Span::One(position) => {
                let here = self.marks.iter().filter(|_| *position.place == *self.topic);
                let number = position.number;
                here.filter(|marks| {
                    Some(marks.partition) == position.partition && (marks.low..marks.high).contains(&number)
                })
                .map(|marks| Marks { low: number, high: number + 1, ..*marks })
                .collect()
            }
        };
        let states = self.states()?;
        self.walk(&self.topic, &marks, &mut |record| {
            visit(match self.letter(record, &states) {
                Ok(letter) => Found::Letter(Box::new(letter)),
                Err(position) => Found::Foreign(position),
            })
        })
    }

    fn letter(
        &self,
        record: &BorrowedMessage<'_>,
        states: &LetterStates,
    ) -> Result<DeadLetterRecord, LetterPosition> {
        let place = (record.partition(), record.offset());
        let position =
            LetterPosition { place: self.topic.clone(), partition: Some(place.0), number: place.1 };
        let written_ms = timestamp_ms(record).unwrap_or_default();
        let raw = RawLetter {
            position: position.clone(),
            written_ms,
            key: record.key().map(Bytes::copy_from_slice),
            headers: headers(record),
            value: record.payload().map(Bytes::copy_from_slice),
        };
        let letter = DeadLetterRecord::decode(raw, self.only_source).ok_or(position)?;
        Ok(DeadLetterRecord { state: states.of(place, written_ms), ..letter })
    }

    fn states(&self) -> Result<LetterStates, String> {
        let mut states = LetterStates::default();
        self.walk(&self.state_topic, &self.marks_of(&self.state_topic)?, &mut |record| {
            states.take(&self.topic, record.key(), record.payload());
            ControlFlow::Continue(())
        })?;
        let low: Vec<_> = self.marks.iter().map(|marks| (marks.partition, marks.low)).collect();
        *self.expired.borrow_mut() = states.forget_below(&self.topic, &low);
        Ok(states)
    }

    /// Reads a topic between these marks, without a group.
    fn walk(
        &self,
        topic: &str,
        marks: &[Marks],
        visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let marks = marks.iter().filter(|marks| marks.low < marks.high);
        let mut open: BTreeMap<i32, i64> = marks.clone().map(|marks| (marks.partition, marks.high)).collect();
        if open.is_empty() {
            return Ok(());
        }
        let reader: BaseConsumer<Listener> = client(&reader_config(&self.connection))?;
        let mut assignment = TopicPartitionList::new();
        for marks in marks {
            let added = assignment.add_partition_offset(topic, marks.partition, Offset::Offset(marks.low));
            added.map_err(|error| error.to_string())?;
        }
        reader.assign(&assignment).map_err(|error| format!("the topic {topic} can't be read: {error}"))?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            match reader.poll(POLL) {
                Some(Ok(record)) => {
                    let Some(end) = open.get(&record.partition()).copied() else { continue };
                    if record.offset() < end && visit(&record).is_break() {
                        return Ok(());
                    }
                    if record.offset() + 1 >= end {
                        open.remove(&record.partition());
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                    heard = Instant::now();
                }
                Some(Err(_)) | None if heard.elapsed() >= PATIENCE => {
                    let why = reader.context().why().unwrap_or_else(|| "they are silent".to_owned());
                    return Err(format!("the brokers stopped answering for the topic {topic}: {why}"));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Where the partitions of a topic begin and end; nothing if it does not exist.
    fn marks_of(&self, topic: &str) -> Result<Vec<Marks>, String> {
        let silent = |why: String| {
            format!("no broker of {} answered within {} s: {why}", self.kafka.brokers, PATIENCE.as_secs())
        };
        let metadata = ask(&self.inspector, |inspector| inspector.fetch_metadata(Some(topic), PATIENCE));
        let metadata = metadata.map_err(silent)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(Vec::new());
        };
        match found.error() {
            None => {}
            Some(error) if is_missing(error) => return Ok(Vec::new()),
            Some(error) => {
                let code = RDKafkaErrorCode::from(error);
                let allow = allow(code, OwnTopic::RIGHTS);
                return Err(format!("the topic {topic} can't be read: {code}{allow}"));
            }
        }
        let marks = found.partitions().iter().map(|partition| {
            let partition = partition.id();
            let marks =
                |inspector: &BaseConsumer<Listener>| inspector.fetch_watermarks(topic, partition, PATIENCE);
            let (low, high) = ask(&self.inspector, marks).map_err(silent)?;
            Ok(Marks { partition, low, high })
        });
        marks.collect()
    }

    pub(in crate::store) fn redrive(&self, letters: &[Redrive]) -> Vec<Result<(), LetterFault>> {
        let tier = self.plan.tier_topic(Tier::NOW);
        let states = OwnTopic::dead_letter_states(self.plan);
        if let Err(fault) = self.ready_for(&[OwnTopic::tier(self.plan, Tier::NOW), states]) {
            return letters.iter().map(|_| Err(LetterFault::Unconfirmed(fault.clone()))).collect();
        }
        let records = letters.iter().map(|letter| Outgoing {
            topic: &tier,
            key: None,
            header: Some((HEADER, letter.record.encode())),
            value: letter.value.clone(),
        });
        let sent = self.send(records.collect());
        let confirmed = letters.iter().zip(&sent).filter(|(_, sent)| sent.is_ok());
        let confirmed = confirmed.map(|(letter, _)| (&letter.position, letter.written_ms));
        let mut noted = self.note(LetterState::Redriven, confirmed.collect()).into_iter();
        let result = |sent| match sent {
            Ok(()) => match noted.next() {
                Some(Err(code)) => Err(LetterFault::Unnoted(code.to_string())),
                _ => Ok(()),
            },
            Err(code) => Err(fault(code)),
        };
        sent.into_iter().map(result).collect()
    }

    pub(in crate::store) fn purge(&self, letters: &[(LetterPosition, i64)]) -> Vec<Result<(), LetterFault>> {
        if let Err(fault) = self.ready_for(&[OwnTopic::dead_letter_states(self.plan)]) {
            return letters.iter().map(|_| Err(LetterFault::Unconfirmed(fault.clone()))).collect();
        }
        let letters = letters.iter().map(|(position, written_ms)| (position, *written_ms));
        let noted = self.note(LetterState::Purged, letters.collect());
        noted.into_iter().map(|noted| noted.map_err(fault)).collect()
    }

    /// Writes down what was done about these letters, and forgets those that are gone.
    fn note(
        &self,
        state: LetterState,
        letters: Vec<(&LetterPosition, i64)>,
    ) -> Vec<Result<(), RDKafkaErrorCode>> {
        let now_ms = Moment::now().wall_ms;
        let count = letters.len();
        let record = |position: &LetterPosition, value: Option<String>| Outgoing {
            topic: &self.state_topic,
            key: Some(letter_states::key(position)),
            header: None,
            value: value.map(Bytes::from),
        };
        let mut records: Vec<Outgoing<'_>> = (letters.into_iter())
            .map(|(position, written_ms)| {
                record(position, Some(letter_states::value(state, now_ms, written_ms)))
            })
            .collect();
        records.extend(self.expired.borrow_mut().drain(..).map(|position| record(&position, None)));
        let mut noted = self.send(records);
        noted.truncate(count);
        noted
    }

    /// Sends all, and waits for what becomes of each.
    fn send(&self, records: Vec<Outgoing<'_>>) -> Vec<Result<(), RDKafkaErrorCode>> {
        let mut results = vec![None; records.len()];
        let Some(producer) = self.producer.get() else {
            return vec![Err(RDKafkaErrorCode::Fail); results.len()];
        };
        let first = self.sent.get();
        self.sent.set(first + records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(code) = enqueue(producer, first + index, record) {
                results[index] = Some(Err(code));
            }
        }
        let deadline = Instant::now() + CONFIRMED_WITHIN;
        while results.contains(&None) && Instant::now() < deadline {
            producer.poll(LOOK);
            for (number, result) in producer.context().take() {
                // What was sent before and is confirmed only now has been given up.
                let slot = number.checked_sub(first).and_then(|index| results.get_mut(index));
                if let Some(slot) = slot {
                    *slot = Some(result);
                }
            }
        }
        let given_up = Err(RDKafkaErrorCode::MessageTimedOut);
        let results = results.into_iter().map(|result| result.unwrap_or(given_up));
        // Of a producer that can't go on this says more than what became of each record.
        match producer.client().fatal_error() {
            Some((fatal, _)) => results.map(|result| result.map_err(|_| fatal)).collect(),
            None => results.collect(),
        }
    }

    /// Sees to it that there is a producer, and that what it writes to exists.
    fn ready_for(&self, topics: &[OwnTopic]) -> Result<(), String> {
        if self.producer.get().is_some() {
            return Ok(());
        }
        let config = self.connection.producer();
        for topic in topics {
            if !self.marks_of(&topic.name)?.is_empty() {
                continue;
            }
            let created = Admin::new(&config).and_then(|admin| admin.create(&[topic]));
            let created = created.and_then(|results| {
                results.into_iter().next().unwrap_or(Ok(())).map_err(KafkaError::AdminOp)
            });
            created.map_err(|error| {
                format!(
                    "the topic {} does not exist and can't be created ({error}); create it, for example with: {}",
                    topic.name,
                    topic.command(&self.kafka.brokers)
                )
            })?;
        }
        let producer = config
            .create_with_context(Confirmations::default())
            .map_err(|error| format!("no producer can be made: {}", refusal(&error)))?;
        let _ = self.producer.set(producer);
        Ok(())
    }
}

fn enqueue(
    producer: &BaseProducer<Confirmations>,
    number: usize,
    record: &Outgoing<'_>,
) -> Result<(), RDKafkaErrorCode> {
    let mut native = BaseRecord::<str, [u8], Box<usize>>::with_opaque_to(record.topic, Box::new(number));
    if let Some((key, value)) = &record.header {
        native = native.headers(OwnedHeaders::new().insert(Header { key, value: Some(value) }));
    }
    native.key = record.key.as_deref();
    native.payload = record.value.as_deref();
    loop {
        match producer.send(native) {
            Ok(()) => return Ok(()),
            Err((error, unsent)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    native = unsent;
                    producer.poll(LOOK);
                }
                code => return Err(code.unwrap_or(RDKafkaErrorCode::Fail)),
            },
        }
    }
}

fn fault(code: RDKafkaErrorCode) -> LetterFault {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::MessageBatchTooLarge => LetterFault::TooLarge,
        _ => LetterFault::Unconfirmed(format!("{code}{}", allow(code, OwnTopic::RIGHTS))),
    }
}

fn reader_config(connection: &Connection<'_>) -> ClientConfig {
    let mut config = connection.observer();
    config.set("enable.partition.eof", "true").set("queued.max.messages.kbytes", "16384");
    config
}

fn client(config: &ClientConfig) -> Result<BaseConsumer<Listener>, String> {
    config
        .create_with_context(Listener::default())
        .map_err(|error| format!("no client can be made: {}", refusal(&error)))
}
