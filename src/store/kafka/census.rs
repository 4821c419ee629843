use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::letter_states::LetterStates;
use crate::broker::StartFault;
use crate::broker::kafka::{Connection, Listener, headers, refusal, timestamp_ms};
use crate::plan::{Kafka, Plan, Source};
use crate::store::LetterState;
use crate::store::census::{Counts, Pending, Wanted};
use crate::store::dead_letter_record::target_of;

const POLL: Duration = Duration::from_millis(200);
/// How many records are taken before anything else is looked at.
const TOGETHER: usize = 1000;
/// How often is told what has changed.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often is looked at what retention took, and whether there is a topic of states by now.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts the dead letters of the partitions that this replica has in the group `<name>-dlq`.
pub(in crate::store) fn start_census(
    plan: &Arc<Plan>,
    source: &Source,
    kafka: &Kafka,
    wanted: Wanted,
    emit: impl Fn(Pending) + Send + 'static,
) -> Result<(), StartFault> {
    let connection = Connection::new(plan, source, kafka);
    let fault = |error| StartFault::Client { source_name: source.name.clone(), reason: refusal(&error) };
    let mut member = connection.member();
    // What sources never read is read here.
    member.remove("topic.blacklist");
    // Nothing is ever committed: whoever gets a partition counts it from its beginning.
    member.set("group.id", format!("{}-dlq", plan.name));
    let mut observer = connection.observer();
    for config in [&mut member, &mut observer] {
        config.set("queued.max.messages.kbytes", "1024").set("topic.metadata.refresh.interval.ms", "5000");
    }
    let letters = create(&member).map_err(fault)?;
    let states = create(&observer).map_err(fault)?;
    letters.subscribe(&[&plan.dead_letters.topic]).map_err(fault)?;
    let counter = Counter {
        letters,
        states,
        state_topic: plan.dead_letter_state_topic(),
        follows_states: false,
        book: Book::new(plan),
    };
    thread::Builder::new()
        .name(format!("kafka-census-{}", source.name))
        .spawn(move || counter.run(&wanted, &emit))
        .map_err(|reason| StartFault::Thread { source_name: source.name.clone(), reason })?;
    Ok(())
}

fn create(config: &ClientConfig) -> rdkafka::error::KafkaResult<BaseConsumer<Listener>> {
    config.create_with_context(Listener::default())
}

struct Counter {
    letters: BaseConsumer<Listener>,
    states: BaseConsumer<Listener>,
    state_topic: String,
    follows_states: bool,
    book: Book,
}

impl Counter {
    fn run(mut self, wanted: &Wanted, emit: &dyn Fn(Pending)) {
        let mut told = None;
        let mut tell_at = Instant::now();
        let mut look_at = Instant::now();
        while wanted.holds() {
            self.take_letters();
            let assigned = self.letters.assignment().map(|list| partitions(&list)).unwrap_or_default();
            if self.book.own(&assigned) {
                self.follows_states = false;
                look_at = Instant::now();
            }
            self.take_states();
            let now = Instant::now();
            if now >= look_at {
                look_at = now + LOOK_EVERY;
                self.look(&assigned);
            }
            if now >= tell_at && told.as_ref() != Some(&self.book.counts) {
                tell_at = now + TELL_EVERY;
                emit(self.book.counts.pending(1));
                told = Some(self.book.counts.clone());
            }
        }
    }

    fn take_letters(&mut self) {
        let mut patience = POLL;
        for _ in 0..TOGETHER {
            let Some(polled) = self.letters.poll(patience) else { return };
            patience = Duration::ZERO;
            // What is wrong with the connection passes; the store says so too.
            let Ok(record) = polled else { continue };
            if let Some(target) = target_of(&headers(&record)) {
                let place = (record.partition(), record.offset());
                self.book.letter(place, timestamp_ms(&record).unwrap_or_default(), target.as_deref());
            }
        }
    }

    fn take_states(&mut self) {
        for _ in 0..TOGETHER {
            let Some(polled) = self.states.poll(Duration::ZERO) else { return };
            let Ok(record) = polled else { continue };
            self.book.state(record.key(), record.payload());
        }
    }

    /// What retention took is not pending; and states are followed, from their beginning, once they have a
    /// topic.
    fn look(&mut self, assigned: &[i32]) {
        for partition in assigned {
            let topic = self.book.topic.clone();
            if let Ok((low, _)) = self.states.fetch_watermarks(&topic, *partition, PATIENCE) {
                self.book.forget_below(*partition, low);
            }
        }
        if self.follows_states {
            return;
        }
        let Ok(metadata) = self.states.fetch_metadata(Some(&self.state_topic), PATIENCE) else { return };
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            // The list takes any offset of this kind.
            let _ = all.add_partition_offset(&self.state_topic, partition.id(), Offset::Beginning);
        }
        let _ = self.states.unassign();
        self.follows_states = all.count() > 0 && self.states.assign(&all).is_ok();
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

/// The dead letters of the partitions that we have, without their contents.
struct Book {
    topic: Arc<str>,
    partitions: BTreeMap<i32, VecDeque<Letter>>,
    states: LetterStates,
    counts: Counts,
}

#[derive(Debug)]
struct Letter {
    offset: i64,
    written_ms: i64,
    /// Of [`Counts`].
    slot: u32,
    state: LetterState,
}

impl Book {
    fn new(plan: &Plan) -> Book {
        Book {
            topic: Arc::from(&*plan.dead_letters.topic),
            partitions: BTreeMap::new(),
            states: LetterStates::default(),
            counts: Counts::new(plan),
        }
    }

    /// Keeps to these partitions; says whether one of them is new.
    fn own(&mut self, assigned: &[i32]) -> bool {
        for (_, letters) in self.partitions.extract_if(.., |partition, _| !assigned.contains(partition)) {
            for letter in letters.iter().filter(|letter| letter.state == LetterState::Pending) {
                self.counts.remove_one(letter.slot as usize);
            }
        }
        let before = self.partitions.len();
        for partition in assigned {
            self.partitions.entry(*partition).or_default();
        }
        self.partitions.len() > before
    }

    fn letter(&mut self, place: (i32, i64), written_ms: i64, target: Option<&str>) {
        let (partition, offset) = place;
        let letters = self.partitions.entry(partition).or_default();
        // A partition that went and came back is read from its beginning again.
        if letters.back().is_some_and(|last| last.offset >= offset) {
            return;
        }
        let slot = self.counts.slot(target);
        let state = self.states.of(place, written_ms);
        if state == LetterState::Pending {
            self.counts.add(slot, 1);
        }
        letters.push_back(Letter { offset, written_ms, slot: slot as u32, state });
    }

    fn state(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(place) = self.states.take(&self.topic, key, value) else { return };
        let Some(letters) = self.partitions.get_mut(&place.0) else { return };
        let Ok(index) = letters.binary_search_by_key(&place.1, |letter| letter.offset) else { return };
        let Some(letter) = letters.get_mut(index) else { return };
        let was = std::mem::replace(&mut letter.state, self.states.of(place, letter.written_ms));
        match (was, letter.state) {
            (LetterState::Pending, LetterState::Redriven | LetterState::Purged) => {
                self.counts.remove_one(letter.slot as usize);
            }
            (LetterState::Redriven | LetterState::Purged, LetterState::Pending) => {
                self.counts.add(letter.slot as usize, 1);
            }
            _ => {}
        }
    }

    fn forget_below(&mut self, partition: i32, low: i64) {
        let Some(letters) = self.partitions.get_mut(&partition) else { return };
        let gone = letters.partition_point(|letter| letter.offset < low);
        for letter in letters.drain(..gone) {
            if letter.state == LetterState::Pending {
                self.counts.remove_one(letter.slot as usize);
            }
        }
        self.states.forget_below(&self.topic, &[(partition, low)]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter_states::value;
    use super::*;
    use crate::domain::TargetId;
    use crate::observe::testing;

    /// Of the targets `crm` and `shop`, and of events.
    fn counts(book: &Book) -> [f64; 3] {
        let pending = book.counts.pending(1);
        assert_eq!((pending[0].0, pending[2].0), (Some(TargetId(0)), None));
        [pending[0].1, pending[1].1, pending[2].1]
    }

    fn book() -> Book {
        let mut book = Book::new(&testing::plan());
        assert!(book.own(&[0, 1]));
        for (place, target) in
            [((0, 4), Some("crm")), ((0, 5), Some("shop")), ((1, 0), None), ((1, 1), Some("gone"))]
        {
            book.letter(place, 7, target);
        }
        book
    }

    fn state(book: &mut Book, place: &str, written_ms: i64) {
        let key = format!("{}/{place}", book.topic);
        book.state(Some(key.as_bytes()), Some(value(LetterState::Purged, 9, written_ms).as_bytes()));
    }

    #[test]
    fn what_is_done_with_is_not_pending_in_whatever_order_it_is_read() {
        let mut book = book();
        assert_eq!(counts(&book), [1.0, 1.0, 2.0]);
        state(&mut book, "0/4", 7);
        state(&mut book, "0/4", 7);
        state(&mut book, "0/5", 6);
        assert_eq!(counts(&book), [0.0, 1.0, 2.0], "a state of an earlier letter at 0/5 says nothing");
        state(&mut book, "0/6", 7);
        book.letter((0, 6), 7, Some("shop"));
        book.letter((0, 6), 7, Some("shop"));
        assert_eq!(counts(&book), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn retention_and_other_owners_take_letters_away() {
        let mut book = book();
        book.forget_below(0, 5);
        assert_eq!(counts(&book), [0.0, 1.0, 2.0]);
        assert!(!book.own(&[0]));
        assert_eq!(counts(&book), [0.0, 1.0, 0.0]);
        assert!(book.own(&[0, 1]), "it comes back empty, and is read again");
        book.letter((1, 0), 7, None);
        assert_eq!(counts(&book), [0.0, 1.0, 1.0]);
    }
}
