use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::context::ObserverContext;
use super::partition::{PartitionName, list};
use super::rebalance::STANDING_GRACE;
use super::topics::Topics;
use super::{first_start, ordered};
use crate::broker::kafka::{Admin, Connection, Reachability, hear_out};
use crate::plan::{Consumer as Reader, Kafka, Plan, Reads, Source};

/// Blocking calls may take so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(15);
const LOOK_SOON: Duration = Duration::from_secs(5);
/// What its client says of the brokers is heard so often.
const HEAR_EVERY: Duration = Duration::from_secs(1);
/// The topics of the tiers may take so long to be made; then those that are there are read.
const ALL_TIERS_WITHIN: Duration = Duration::from_secs(10);

/// What the worker asks.
#[derive(Debug)]
pub(super) enum Ask {
    /// Where the group stands in these partitions, and what they hold.
    Standing(u64, Vec<PartitionName>),
    /// Where these partitions end.
    Ends(Vec<PartitionName>),
    /// Delete what lies below these offsets, which are committed.
    Delete(Vec<(PartitionName, i64)>),
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
    /// What lies below these offsets is deleted.
    Deleted(Vec<(PartitionName, i64)>),
}

/// Why the group can't be joined yet.
enum Shut {
    /// The brokers do not answer, or refuse.
    Kafka(KafkaError),
    /// Not all is there, or something has to be mended first; it is told already.
    NotYet,
}

impl From<KafkaError> for Shut {
    fn from(error: KafkaError) -> Shut {
        Shut::Kafka(error)
    }
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
    pub(super) reader: Reader,
    pub(super) reachability: Arc<Reachability>,
    pub(super) told: Vec<String>,
    /// What the last look found.
    pub(super) last: Topics,
    since: Instant,
    /// There was no partition yet at which the groups of ordered targets could start.
    unseeded: bool,
    /// Deletes what is done in the tiers; made when it is needed first.
    admin: Option<Admin>,
    /// The broker does not let us delete: it is not asked again.
    keeps_all: bool,
}

impl Probe {
    pub(super) fn new(
        client: BaseConsumer<ObserverContext>,
        plan: Arc<Plan>,
        reader: Reader,
        reachability: Arc<Reachability>,
    ) -> Probe {
        Probe {
            client,
            plan,
            reader,
            reachability,
            told: Vec::new(),
            last: Topics::default(),
            since: Instant::now(),
            unseeded: false,
            admin: None,
            keeps_all: false,
        }
    }

    /// Runs until the worker has gone: first what must be known before the group is joined, then
    /// answers, and a look at the topics now and then.
    pub(super) fn run(mut self, asks: &Receiver<Ask>, tell: &dyn Fn(News)) {
        let Some(cluster) = self.open(asks, tell) else { return };
        tell(News::Open { cluster });
        let mut next_look = Instant::now() + LOOK_EVERY;
        loop {
            let patience = next_look.saturating_duration_since(Instant::now()).min(HEAR_EVERY);
            match asks.recv_timeout(patience) {
                Ok(Ask::Standing(number, partitions)) => {
                    tell(News::Standing(number, self.patient_standing(&partitions)));
                }
                Ok(Ask::Ends(partitions)) => {
                    tell(News::Ends(self.offsets(&partitions, Offset::End).unwrap_or_default()));
                }
                Ok(Ask::Delete(offsets)) => self.delete(offsets, tell),
                Err(RecvTimeoutError::Timeout) if Instant::now() < next_look => {}
                Err(RecvTimeoutError::Timeout) => {
                    let whole = self.look(tell);
                    next_look = Instant::now() + if whole { LOOK_EVERY } else { LOOK_SOON };
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            hear_out(&self.client);
        }
    }

    /// The brokers answered. What the client said before that is older.
    pub(super) fn answered(&self) {
        hear_out(&self.client);
        self.reachability.contact();
    }

    /// Tries until the cluster is known and the group has a place to start.
    fn open(&mut self, asks: &Receiver<Ask>, tell: &dyn Fn(News)) -> Option<String> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_open(tell) {
                Ok(cluster) => return Some(cluster),
                Err(Shut::Kafka(error)) => self.note_failure(&error),
                Err(Shut::NotYet) => {}
            }
            hear_out(&self.client);
            match asks.recv_timeout(pause) {
                Err(RecvTimeoutError::Disconnected) => return None,
                Ok(_) | Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    fn try_open(&mut self, tell: &dyn Fn(News)) -> Result<String, Shut> {
        let mut topics = self.topics()?;
        if self.reader.reads == Reads::Tiers
            && !topics.faults.is_empty()
            && self.since.elapsed() < ALL_TIERS_WITHIN
        {
            tell(News::Topics(topics));
            return Err(Shut::NotYet);
        }
        if self.reader.reads == Reads::Shared {
            let leftovers = ordered::leftovers(self, &topics)?;
            if !leftovers.is_empty() {
                for fault in leftovers.iter().filter(|fault| !self.told.contains(fault)) {
                    tracing::error!(source = self.kafka_name(), "{fault}");
                }
                self.told.clone_from(&leftovers);
                topics.faults.extend(leftovers);
                tell(News::Topics(topics));
                return Err(Shut::NotYet);
            }
        }
        self.tell_topics(&topics);
        tell(News::Topics(topics.clone()));
        // Event ids are made with it, so nothing is read before it is known.
        let Some(cluster) = self.client.client().fetch_cluster_id(PATIENCE) else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut).into());
        };
        match self.reader.reads {
            Reads::Shared => {
                first_start::apply(self, &self.client, &topics)?;
                // Before the shared group goes on, or the place where it was would be lost.
                for target in self.plan.ordered_targets(self.reader.source) {
                    ordered::seed(self, &topics, target)?;
                }
                self.unseeded = topics.found.is_empty();
            }
            Reads::Ordered(target) => ordered::seed(self, &topics, target)?,
            // A new group begins at the beginning: whatever waits there is ours.
            Reads::Tiers => {}
        }
        Ok(cluster)
    }

    /// Topics appeared after the groups were joined.
    fn seed_late(&mut self, topics: &Topics) -> KafkaResult<()> {
        if self.unseeded && !topics.found.is_empty() {
            for target in self.plan.ordered_targets(self.reader.source) {
                ordered::seed_at_beginning(self, topics, target)?;
            }
            self.unseeded = false;
        }
        Ok(())
    }

    /// Deletes what is done in the tiers. It is only for tidiness: what fails is tried again with the
    /// next offsets.
    fn delete(&mut self, offsets: Vec<(PartitionName, i64)>, tell: &dyn Fn(News)) {
        use RDKafkaErrorCode as Code;
        if self.keeps_all {
            return;
        }
        let below = list(offsets.iter().map(|(name, offset)| (name, Offset::Offset(*offset))));
        let deleted = self.admin().and_then(|admin| admin.delete_below(&below));
        match deleted {
            Ok(()) => tell(News::Deleted(offsets)),
            Err(error) => match error.rdkafka_error_code() {
                Some(
                    Code::OperationTimedOut
                    | Code::RequestTimedOut
                    | Code::BrokerTransportFailure
                    | Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable,
                ) => tracing::debug!("what is done in the retry tiers is not deleted yet: {error}"),
                _ => {
                    self.keeps_all = true;
                    tracing::warn!(
                        source = self.kafka_name(),
                        "the broker does not delete what is done in the retry tiers ({error}), so their topics grow; \
                         allow this user DELETE on them",
                    );
                }
            },
        }
    }

    fn admin(&mut self) -> KafkaResult<&Admin> {
        let admin = match (self.admin.take(), self.connection()) {
            (Some(admin), _) => admin,
            (None, Some(connection)) => Admin::new(&connection.observer())?,
            (None, None) => return Err(KafkaError::Canceled),
        };
        Ok(self.admin.insert(admin))
    }

    /// Looks which topics are there. `false`: not all is well, so look again soon.
    fn look(&mut self, tell: &dyn Fn(News)) -> bool {
        match self.topics() {
            Ok(topics) => {
                if let Err(error) = self.seed_late(&topics) {
                    self.note_failure(&error);
                }
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
            // While a coordinator or a leader is chosen, as for a topic that was just made; the next try
            // finds it. Told as a refusal it would stand until something is read, which may be never.
            Some(
                Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable,
            ) => {}
            Some(_) => self.reachability.error(error, &reason),
        }
    }

    pub(super) fn kafka_name(&self) -> &str {
        self.plan.sources.get(usize::from(self.reader.source.0)).map_or("", |source| &source.name)
    }

    pub(super) fn kafka(&self) -> Option<&Kafka> {
        self.plan.sources.get(usize::from(self.reader.source.0)).and_then(Source::kafka)
    }

    pub(super) fn brokers(&self) -> String {
        self.kafka().map_or_else(String::new, |kafka| kafka.brokers.clone())
    }

    /// How the brokers are reached, as this consumer.
    pub(super) fn connection(&self) -> Option<Connection<'_>> {
        let source = self.plan.sources.get(usize::from(self.reader.source.0))?;
        Some(Connection::new(&self.plan, source, source.kafka()?).reading(self.reader.reads))
    }

    /// A client that looks in the name of another group of this source.
    ///
    /// # Errors
    /// It can't be created.
    pub(super) fn observer(&self, reads: Reads) -> KafkaResult<BaseConsumer<ObserverContext>> {
        let connection = self.connection().ok_or(KafkaError::Canceled)?.reading(reads);
        connection.observer().create_with_context(ObserverContext::new(self.reachability.clone()))
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
            hear_out(&self.client);
            if Instant::now() + pause >= until {
                return Vec::new();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn standing(&self, partitions: &[PartitionName]) -> KafkaResult<Vec<Standing>> {
        let committed = committed(&self.client, partitions)?;
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

    /// Answers of the partitions' leaders for one kind of offset. (For a time, the offset is the
    /// time in milliseconds.)
    pub(super) fn offsets(
        &self,
        partitions: &[PartitionName],
        which: Offset,
    ) -> KafkaResult<Vec<(PartitionName, i64)>> {
        let asked = list(partitions.iter().map(|name| (name, which)));
        let answered = self.client.offsets_for_times(asked, PATIENCE)?;
        self.answered();
        Ok(known(&answered))
    }
}

/// The committed offsets of a client's group, where it has some.
///
/// # Errors
/// The brokers do not answer, or refuse.
pub(super) fn committed(
    client: &BaseConsumer<ObserverContext>,
    partitions: &[PartitionName],
) -> KafkaResult<Vec<(PartitionName, i64)>> {
    let asked = list(partitions.iter().map(|name| (name, Offset::Invalid)));
    let answered = client.committed_offsets(asked, PATIENCE);
    hear_out(client);
    // While the group is refused, a call for it only lasts too long.
    let answered = answered.map_err(|error| client.context().refusal().unwrap_or(error))?;
    client.context().admitted();
    // A partition without an answer must not look like one without a commit.
    answered.elements().iter().try_for_each(|element| element.error())?;
    Ok(known(&answered))
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
