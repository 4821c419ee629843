use std::sync::Arc;
use std::time::{Duration, Instant};

use super::topics::Topics;

/// Topics that were there and are not any more. A broker that has just started may not know of a topic yet,
/// so one is gone only when it is missing twice.
#[derive(Debug, Default)]
pub(super) struct Vanished(Vec<(Arc<str>, Instant)>);

/// By then all partitions of a topic that is gone have been given up, and what is lost with them is told.
const REMEMBERED: Duration = Duration::from_secs(300);

impl Vanished {
    /// Compares a look with the one before; the answer is what is gone, for some minutes or until it is back.
    pub(super) fn look(&mut self, before: &Topics, now: &Topics) -> Vec<Arc<str>> {
        self.0.retain(|(topic, since)| !now.may_have(topic) && since.elapsed() < REMEMBERED);
        let gone: Vec<_> = self.0.iter().map(|(topic, _)| topic.clone()).collect();
        // While it is deleted a topic may be there and not be readable.
        let missing = before.known().filter(|topic| !now.may_have(topic) && !gone.contains(topic));
        self.0.extend(missing.map(|topic| (topic.clone(), Instant::now())));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(found: &[&str], unclear: &[&str]) -> Topics {
        let found = found.iter().map(|topic| ((*topic).into(), 1)).collect();
        let unclear = unclear.iter().map(|topic| (*topic).into()).collect();
        Topics { found, unclear, ..Topics::default() }
    }

    #[test]
    fn a_topic_is_gone_when_it_is_missing_twice() {
        let mut vanished = Vanished::default();
        let (all, one) = (topics(&["a", "b"], &[]), topics(&["a"], &[]));
        assert!(vanished.look(&Topics::default(), &all).is_empty());
        assert!(vanished.look(&all, &one).is_empty());
        assert_eq!(vanished.look(&one, &one), ["b".into()]);
        assert_eq!(vanished.look(&one, &one), ["b".into()], "it still is");
        assert!(vanished.look(&one, &all).is_empty());
    }

    #[test]
    fn one_that_comes_back_or_can_t_be_read_now_is_not_gone() {
        let mut vanished = Vanished::default();
        let (all, one) = (topics(&["a", "b"], &[]), topics(&["a"], &[]));
        vanished.look(&all, &one);
        assert!(vanished.look(&one, &all).is_empty());
        let unclear = topics(&["a"], &["b"]);
        vanished.look(&all, &unclear);
        assert!(vanished.look(&unclear, &unclear).is_empty());
        assert!(vanished.look(&unclear, &one).is_empty(), "missing once");
        assert_eq!(vanished.look(&one, &one), ["b".into()]);
    }
}
