use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::context::ObserverContext;
use super::first_start;
use super::partition::{PartitionName, list};
use super::rebalance::STANDING_GRACE;
use crate::broker::kafka::Reachability;
use crate::domain::SourceId;
use crate::plan::{Kafka, Plan, Source, Topic};

/// Blocking calls may take so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const LOOK_SOON: Duration = Duration::from_secs(5);

/// What the worker asks.
#[derive(Debug)]
pub(super) enum Ask {
    /// Where the group stands in these partitions, and what they hold.
    Standing(u64, Vec<PartitionName>),
    /// Where these partitions end.
    Ends(Vec<PartitionName>),
}

/// What the probe tells.
#[derive(Debug)]
pub(super) enum News {
    /// The cluster is known and the group has a place to start: it may be joined.
    Open {
        /// The id that the cluster gives itself.
        cluster: String,
    },
    /// Which topics are there.
    Topics(Topics),
    /// Answers [`Ask::Standing`]; empty if the brokers did not answer in all that time.
    Standing(u64, Vec<Standing>),
    /// Answers [`Ask::Ends`]; empty if the brokers did not answer.
    Ends(Vec<(PartitionName, i64)>),
}

/// Which of a source's topics are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topics {
    /// Topics that exist, by name or by pattern.
    pub(super) found: Vec<(Arc<str>, i32)>,
    /// One sentence for each named topic that can't be read, with the remedy.
    pub(super) faults: Vec<String>,
}

/// Where the group stands in one partition; `None` where the broker has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) name: PartitionName,
    pub(super) committed: Option<i64>,
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
}

/// Makes the blocking calls, which have no place on the poll thread, with a client of its own.
pub(super) struct Probe {
    pub(super) client: BaseConsumer<ObserverContext>,
    pub(super) plan: Arc<Plan>,
    pub(super) source: SourceId,
    pub(super) reachability: Arc<Reachability>,
    told: Vec<String>,
}

impl Probe {
    pub(super) fn new(
        client: BaseConsumer<ObserverContext>,
        plan: Arc<Plan>,
        source: SourceId,
        reachability: Arc<Reachability>,
    ) -> Probe {
        Probe { client, plan, source, reachability, told: Vec::new() }
    }

    /// Runs until the worker has gone: first what must be known before the group is joined, then
    /// answers, and a look at the topics now and then.
    pub(super) fn run(mut self, asks: &Receiver<Ask>, tell: &dyn Fn(News)) {
        let Some(cluster) = self.open(asks, tell) else { return };
        tell(News::Open { cluster });
        let mut next_look = Instant::now() + LOOK_EVERY;
        loop {
            match asks.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(Ask::Standing(number, partitions)) => {
                    tell(News::Standing(number, self.patient_standing(&partitions)));
                }
                Ok(Ask::Ends(partitions)) => {
                    tell(News::Ends(self.offsets(&partitions, Offset::End).unwrap_or_default()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let whole = self.look(tell);
                    next_look = Instant::now() + if whole { LOOK_EVERY } else { LOOK_SOON };
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.serve();
        }
    }

    /// Tries until the cluster is known and the group has a place to start.
    fn open(&mut self, asks: &Receiver<Ask>, tell: &dyn Fn(News)) -> Option<String> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_open(tell) {
                Ok(cluster) => return Some(cluster),
                Err(error) => self.note_failure(&error),
            }
            self.serve();
            match asks.recv_timeout(pause) {
                Err(RecvTimeoutError::Disconnected) => return None,
                Ok(_) | Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    fn try_open(&mut self, tell: &dyn Fn(News)) -> KafkaResult<String> {
        let topics = self.topics()?;
        self.tell_topics(&topics);
        tell(News::Topics(topics.clone()));
        // Event ids are made with it, so nothing is read before it is known.
        let Some(cluster) = self.client.client().fetch_cluster_id(PATIENCE) else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        };
        first_start::apply(self, &topics)?;
        Ok(cluster)
    }

    /// Looks which topics are there. `false`: not all is well, so look again soon.
    fn look(&mut self, tell: &dyn Fn(News)) -> bool {
        match self.topics() {
            Ok(topics) => {
                self.tell_topics(&topics);
                let whole = topics.faults.is_empty();
                tell(News::Topics(topics));
                whole
            }
            Err(error) => {
                self.note_failure(&error);
                false
            }
        }
    }

    fn note_failure(&self, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        let reason = error.to_string();
        match error.rdkafka_error_code() {
            Some(
                Code::OperationTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::RequestTimedOut,
            )
            | None => self.reachability.no_answer(&reason),
            // While a coordinator is chosen; the next try finds it.
            Some(Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress) => {}
            Some(_) => self.reachability.error(error, &reason),
        }
    }

    /// One warning for each topic that can't be read, until it can be.
    fn tell_topics(&mut self, topics: &Topics) {
        for fault in topics.faults.iter().filter(|fault| !self.told.contains(fault)) {
            tracing::warn!(source = self.kafka_name(), "{fault}");
        }
        self.told.clone_from(&topics.faults);
    }

    /// Lets librdkafka hand over its log lines and errors.
    fn serve(&self) {
        while self.client.poll(Duration::ZERO).is_some() {}
    }

    fn kafka_name(&self) -> &str {
        self.plan.sources.get(usize::from(self.source.0)).map_or("", |source| &source.name)
    }

    pub(super) fn kafka(&self) -> Option<&Kafka> {
        self.plan.sources.get(usize::from(self.source.0)).and_then(Source::kafka)
    }

    fn topics(&self) -> KafkaResult<Topics> {
        let mut topics = Topics::default();
        let Some(kafka) = self.kafka() else { return Ok(topics) };
        for topic in &kafka.topics {
            match topic {
                Topic::Name(name) => {
                    let metadata = self.client.fetch_metadata(Some(name), PATIENCE)?;
                    match metadata.topics().first() {
                        Some(found) if found.error().is_none() => topics.add(found),
                        found => topics.faults.push(self.topic_fault(name, found, &kafka.brokers)),
                    }
                }
                Topic::Regex(pattern) => {
                    // The plan has compiled it before.
                    let Ok(pattern) = regex::Regex::new(pattern) else { continue };
                    let metadata = self.client.fetch_metadata(None, PATIENCE)?;
                    let ours = &self.plan.dead_letters.topic;
                    let matching =
                        |topic: &&MetadataTopic| pattern.is_match(topic.name()) && topic.name() != ours;
                    metadata.topics().iter().filter(matching).for_each(|topic| topics.add(topic));
                }
            }
        }
        self.reachability.contact();
        Ok(topics)
    }

    fn topic_fault(&self, name: &str, found: Option<&MetadataTopic>, brokers: &str) -> String {
        match found.and_then(MetadataTopic::error) {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => format!(
                "the broker does not allow this user to read the topic {name}; allow it READ and DESCRIBE"
            ),
            Some(error) if !is_missing(error) => {
                format!("the topic {name} can't be read now: {}", RDKafkaErrorCode::from(error))
            }
            _ => format!(
                "the topic {name} does not exist; it is read from its beginning once it does. Create it, for \
                 example with: kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions 12"
            ),
        }
    }

    /// Asks until there is an answer. What nobody waits for any more is empty.
    fn patient_standing(&self, partitions: &[PartitionName]) -> Vec<Standing> {
        let until = Instant::now() + STANDING_GRACE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.standing(partitions) {
                Ok(standing) => return standing,
                Err(error) => self.note_failure(&error),
            }
            self.serve();
            if Instant::now() + pause >= until {
                return Vec::new();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn standing(&self, partitions: &[PartitionName]) -> KafkaResult<Vec<Standing>> {
        let committed = self.committed(partitions)?;
        let low = self.offsets(partitions, Offset::Beginning)?;
        let high = self.offsets(partitions, Offset::End)?;
        let of = |offsets: &[(PartitionName, i64)], name: &PartitionName| {
            offsets.iter().find(|(own, _)| own == name).map(|(_, offset)| *offset)
        };
        let standing = |name: &PartitionName| Standing {
            name: name.clone(),
            committed: of(&committed, name),
            low: of(&low, name),
            high: of(&high, name),
        };
        Ok(partitions.iter().map(standing).collect())
    }

    /// The group's committed offsets, where it has some.
    pub(super) fn committed(&self, partitions: &[PartitionName]) -> KafkaResult<Vec<(PartitionName, i64)>> {
        let asked = list(partitions.iter().map(|name| (name, Offset::Invalid)));
        let answered = self.client.committed_offsets(asked, PATIENCE)?;
        // A partition without an answer must not look like one without a commit.
        answered.elements().iter().try_for_each(|element| element.error())?;
        Ok(known(&answered))
    }

    /// Answers of the partitions' leaders for one kind of offset. (For a time, the offset is the
    /// time in milliseconds.)
    pub(super) fn offsets(
        &self,
        partitions: &[PartitionName],
        which: Offset,
    ) -> KafkaResult<Vec<(PartitionName, i64)>> {
        let asked = list(partitions.iter().map(|name| (name, which)));
        let answered = self.client.offsets_for_times(asked, PATIENCE)?;
        self.reachability.contact();
        Ok(known(&answered))
    }
}

impl Topics {
    fn add(&mut self, topic: &MetadataTopic) {
        let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        if !self.found.iter().any(|(name, _)| **name == *topic.name()) {
            self.found.push((topic.name().into(), partitions));
        }
    }

    pub(super) fn partitions(&self) -> Vec<PartitionName> {
        let all = |(topic, count): &(Arc<str>, i32)| {
            let topic = topic.clone();
            (0..*count).map(move |number| PartitionName { topic: topic.clone(), number })
        };
        self.found.iter().flat_map(all).collect()
    }
}

fn is_missing(error: RDKafkaRespErr) -> bool {
    use RDKafkaRespErr as Error;
    matches!(
        error,
        Error::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Error::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Error::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
    )
}

fn known(list: &TopicPartitionList) -> Vec<(PartitionName, i64)> {
    let offset = |offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    let elements = list.elements();
    let sound = elements.iter().filter(|element| element.error().is_ok());
    sound.filter_map(|element| Some((PartitionName::of(element), offset(element.offset())?))).collect()
}
