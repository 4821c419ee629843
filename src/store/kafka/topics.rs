use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::broker::kafka::{Admin, Listener, OwnTopic, allow, ask, is_missing};
use crate::domain::Tier;
use crate::plan::Plan;
use crate::store::Write;

const PATIENCE: Duration = Duration::from_secs(8);
/// How long to wait before looking again whether a topic that can't be written can be.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// A broker that did not let us create a topic is asked again after so long.
const CREATE_AGAIN: Duration = Duration::from_secs(30);
/// A write that failed is made again within this time, with its own time-out; if none was, nothing
/// is left to be written.
const REPEATED_WITHIN: Duration = Duration::from_secs(30);

/// The topics that the store writes, and whether each can be written: one that can't keeps no other
/// from it.
pub(super) struct Topics {
    config: ClientConfig,
    /// Asks for topics. A consumer, because a producer's question could create one with the broker's
    /// own settings.
    inspector: BaseConsumer<Listener>,
    all: Vec<Written>,
    look_at: Instant,
    create_at: Instant,
}

/// Names one of the [`Topics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicId(usize);

#[derive(Debug)]
struct Written {
    topic: OwnTopic,
    /// It is there, as far as we know.
    there: bool,
    /// Why it can't be written, with the remedy, as last told. A topic that is there may still refuse
    /// writes, so this stays after a failed write until one is confirmed.
    fault: Option<String>,
    /// When a write failed, as long as none was confirmed since.
    failed: Option<Instant>,
}

/// What came of a look at the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is not time, or nothing has to be looked at.
    Early,
    /// What is known of them is new.
    Done,
}

/// Why a topic is not there, or can't be looked at.
enum Absence {
    /// Nobody answers.
    NoAnswer(String),
    /// It does not exist.
    Missing,
    /// It can't be used.
    Refused(String),
}

impl Topics {
    /// # Errors
    /// A client can't be made of its configuration. `producer` also creates topics.
    pub(super) fn new(
        plan: &Plan,
        producer: ClientConfig,
        mut observer: ClientConfig,
    ) -> Result<Topics, KafkaError> {
        observer.remove("group.id");
        let tiers = Tier::all().map(|tier| OwnTopic::tier(plan, tier));
        let all = [OwnTopic::dead_letters(plan)].into_iter().chain(tiers);
        let now = Instant::now();
        Ok(Topics {
            inspector: observer.create_with_context(Listener::default())?,
            config: producer,
            all: all.map(|topic| Written { topic, there: false, fault: None, failed: None }).collect(),
            look_at: now,
            create_at: now,
        })
    }

    /// Where this is written.
    pub(super) fn of(&self, write: &Write) -> TopicId {
        match write {
            Write::Letter(_) => TopicId(0),
            Write::Move(moved) => TopicId(1 + moved.waiting.tier.index()),
        }
    }

    pub(super) fn name(&self, id: TopicId) -> &str {
        self.all.get(id.0).map_or("", |written| &written.topic.name)
    }

    /// Why nothing can be written there now; `None` if it may be tried.
    pub(super) fn refusal(&self, id: TopicId) -> Option<&str> {
        let written = self.all.get(id.0).filter(|written| !written.there)?;
        Some(written.fault.as_deref().unwrap_or("the topic is not known yet"))
    }

    /// Whether all can be written, with the reason and a remedy.
    pub(super) fn up(&self) -> Result<(), String> {
        let mut faults = self.all.iter().filter_map(|written| written.fault.as_deref());
        let Some(first) = faults.next() else { return Ok(()) };
        match faults.filter(|fault| *fault != first).count() {
            0 => Err(first.to_owned()),
            more => Err(format!("{first} (and {more} more topics; `hookferry check --connect` names them)")),
        }
    }

    /// Notes that a write failed.
    pub(super) fn failed(&mut self, id: TopicId, code: RDKafkaErrorCode) {
        let Some(written) = self.all.get_mut(id.0) else { return };
        let OwnTopic { name, holds, .. } = &written.topic;
        let allow = allow(code, OwnTopic::RIGHTS);
        written.fault = Some(format!("the topic {name} for {holds} can't be written: {code}{allow}"));
        written.there = false;
        let now = Instant::now();
        written.failed = Some(now);
        if self.look_at <= now {
            self.look_at = now + LOOK_AGAIN;
        }
    }

    /// Notes that the broker confirmed a write.
    pub(super) fn confirmed(&mut self, id: TopicId) {
        let Some(written) = self.all.get_mut(id.0) else { return };
        (written.failed, written.fault) = (None, None);
    }

    /// No broker is left: whether topics are there is not known any more.
    pub(super) fn doubt(&mut self) {
        if self.all.iter().any(|written| written.there) {
            self.all.iter_mut().for_each(|written| written.there = false);
            self.look_at = Instant::now();
        }
    }

    /// Nothing waits to be written again: what failed earlier says nothing any more.
    pub(super) fn forget_failures(&mut self) {
        for written in &mut self.all {
            if written.failed.is_some_and(|failed| failed.elapsed() >= REPEATED_WITHIN) {
                (written.failed, written.there) = (None, false);
                self.look_at = Instant::now();
            }
        }
    }

    /// Looks, now and then, whether what is not known to be there is; creates what is missing, where
    /// that is allowed.
    pub(super) fn look(&mut self) -> Look {
        if self.all.iter().all(|written| written.there) || Instant::now() < self.look_at {
            return Look::Early;
        }
        // Metadata first: it says whether there is a broker at all, and an embedded one answers nothing
        // else.
        let mut missing: Vec<usize> = Vec::new();
        for index in 0..self.all.len() {
            if self.all[index].there {
                continue;
            }
            match self.find(&self.all[index].topic) {
                Ok(()) => self.all[index].found(),
                Err(Absence::Missing) => missing.push(index),
                Err(Absence::Refused(reason)) => self.all[index].fault = Some(reason),
                Err(Absence::NoAnswer(reason)) => {
                    let unknown = self.all.iter_mut().filter(|written| !written.there);
                    unknown.for_each(|written| written.fault = Some(reason.clone()));
                    self.look_at = Instant::now() + LOOK_AGAIN;
                    return Look::Done;
                }
            }
        }
        if !missing.is_empty() {
            self.create(&missing);
        }
        self.look_at = Instant::now() + LOOK_AGAIN;
        Look::Done
    }

    fn find(&self, topic: &OwnTopic) -> Result<(), Absence> {
        let metadata =
            ask(&self.inspector, |inspector| inspector.fetch_metadata(Some(&topic.name), PATIENCE));
        let metadata =
            metadata.map_err(|why| Absence::NoAnswer(format!("the brokers do not answer: {why}")))?;
        match metadata.topics().iter().find(|found| found.name() == topic.name).map(|found| found.error()) {
            Some(None) => Ok(()),
            None => Err(Absence::Missing),
            Some(Some(error)) if is_missing(error) => Err(Absence::Missing),
            Some(Some(error)) => {
                let code = RDKafkaErrorCode::from(error);
                let OwnTopic { name, holds, .. } = topic;
                let allow = allow(code, OwnTopic::RIGHTS);
                Err(Absence::Refused(format!("the topic {name} for {holds} can't be used: {code}{allow}")))
            }
        }
    }

    fn create(&mut self, missing: &[usize]) {
        let topics: Vec<&OwnTopic> = missing.iter().map(|index| &self.all[*index].topic).collect();
        if Instant::now() < self.create_at && missing.iter().all(|index| self.all[*index].fault.is_some()) {
            return;
        }
        let answered = Admin::new(&self.config).and_then(|admin| admin.create(&topics));
        let results = answered.unwrap_or_else(|error| {
            vec![Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)); missing.len()]
        });
        let brokers = self.config.get("bootstrap.servers").unwrap_or_default();
        for (index, result) in missing.iter().zip(results) {
            let written = &mut self.all[*index];
            let OwnTopic { name, holds, .. } = &written.topic;
            match result {
                Ok(()) => {
                    tracing::info!("created the topic {name} for {holds}");
                    written.found();
                }
                Err(code) => {
                    self.create_at = Instant::now() + CREATE_AGAIN;
                    written.fault = Some(format!(
                        "the topic {name} for {holds} does not exist and can't be created ({code}); create it, for \
                         example with: {}",
                        written.topic.command(brokers)
                    ));
                }
            }
        }
    }
}

impl Written {
    /// Whether a topic that refused a write takes it now is told by the next one.
    fn found(&mut self) {
        self.there = true;
        if self.failed.is_none() {
            self.fault = None;
        }
    }
}
