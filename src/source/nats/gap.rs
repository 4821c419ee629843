use async_nats::jetstream::{consumer, stream};

/// Messages that a stream deleted before its durable delivered them. All replicas see the gap; the one
/// that gets the first message after it tells of it.
#[derive(Debug, Default)]
pub(super) struct Gap(Option<Lost>);

/// What was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// The first sequence that is missing.
    pub(super) from: u64,
    /// The first one after them.
    pub(super) to: u64,
}

impl Gap {
    /// Notes where a durable and its stream stand. With subjects that do not take all of the stream it
    /// can't be known whether any of the missing messages was for us.
    pub(super) fn look(&mut self, durable: &consumer::Info, stream: &stream::Info) {
        if takes_all(&durable.config, &stream.config) {
            self.note(durable.delivered.stream_sequence, stream.state.first_sequence);
        }
    }

    fn note(&mut self, delivered: u64, first: u64) {
        // What follows the gap went to another replica, which tells of it.
        self.0 = self.0.filter(|lost| delivered < lost.to);
        let from = self.0.map_or(delivered + 1, |lost| lost.from);
        if first > from {
            self.0 = Some(Lost { from, to: first });
        }
    }

    /// What was lost right before this message, which came for the first time.
    pub(super) fn close(&mut self, sequence: u64) -> Option<Lost> {
        self.0.take_if(|lost| sequence >= lost.to)
    }
}

/// Whether a durable takes every message of its stream.
fn takes_all(durable: &consumer::Config, stream: &stream::Config) -> bool {
    let several = durable.filter_subjects.iter();
    let filters: Vec<&String> =
        several.chain([&durable.filter_subject]).filter(|filter| !filter.is_empty()).collect();
    filters.is_empty()
        || filters.iter().any(|filter| *filter == ">")
        || (!stream.subjects.is_empty() && stream.subjects.iter().all(|subject| filters.contains(&subject)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_before_it_was_delivered_is_told_once() {
        let mut gap = Gap::default();
        gap.note(10, 1);
        assert_eq!(gap.close(11), None);
        gap.note(11, 21);
        gap.note(11, 31);
        assert_eq!(gap.close(15), None, "redelivered meanwhile");
        assert_eq!(gap.close(31), Some(Lost { from: 12, to: 31 }));
        assert_eq!(gap.close(32), None);
    }

    #[test]
    fn a_gap_that_another_replica_passed_is_told_there() {
        let mut gap = Gap::default();
        gap.note(0, 100);
        gap.note(100, 100);
        assert_eq!(gap.close(101), None);
    }

    #[test]
    fn only_a_durable_that_takes_all_can_miss_something_for_certain() {
        let stream =
            stream::Config { subjects: vec!["a.>".to_owned(), "b".to_owned()], ..Default::default() };
        let takes = |filters: &[&str]| {
            let filter_subjects = filters.iter().map(|filter| (*filter).to_owned()).collect();
            takes_all(&consumer::Config { filter_subjects, ..Default::default() }, &stream)
        };
        assert!(takes(&[]) && takes(&[">"]) && takes(&["b", "a.>"]));
        assert!(!takes(&["a.>"]) && !takes(&["a.b", "b"]));
    }
}
