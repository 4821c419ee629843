use super::summary::{Counts, TargetCounts};

/// The targets of the demo's configuration, in order of their names.
pub(super) const TARGETS: [&str; 4] = ["analytics", "crm", "fulfilment", "ledger"];

/// Event types in turn. An empty one is a message without a value, `?` one that is not JSON.
const TYPES: [&str; 20] = [
    "order.created",
    "payment.succeeded",
    "user.created",
    "order.created",
    "order.shipped",
    "payment.succeeded",
    "debug.ping",
    "order.created",
    "user.login",
    "payment.failed",
    "order.created",
    "order.cancelled",
    "",
    "user.updated",
    "payment.succeeded",
    "order.created",
    "?",
    "payment.refunded",
    "user.deleted",
    "order.shipped",
];

/// One message that the demo publishes. All of it follows from its number, so that the demo can
/// say without the pipeline's help what has to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample(pub(super) usize);

/// What the receiver does with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// 200.
    Accept,
    /// 200 after a while.
    Slow,
    /// 503 at the first attempt, then 200.
    Busy,
    /// 400.
    Refuse,
    /// 503, always.
    Down,
}

impl Sample {
    /// What an id says that [`id`](Sample::id) made.
    pub(super) fn from_id(id: &str) -> Option<Sample> {
        id.strip_prefix("demo-")?.parse().ok().map(Sample)
    }

    pub(super) fn id(self) -> String {
        format!("demo-{}", self.0)
    }

    pub(super) fn event_type(self) -> &'static str {
        TYPES[self.0 % TYPES.len()]
    }

    fn amount(self) -> usize {
        self.0 * 37 % 250
    }

    /// The message's value; `None` is a tombstone.
    pub(super) fn value(self) -> Option<String> {
        match self.event_type() {
            "" => None,
            "?" => Some(format!("{{\"event_id\": \"{}\", \"type\": ", self.id())),
            event_type => Some(
                serde_json::json!({
                    "event_id": self.id(),
                    "type": event_type,
                    "amount": self.amount(),
                    "data": { "customer": format!("c-{}", self.0 % 17), "amount": self.amount() },
                })
                .to_string(),
            ),
        }
    }

    /// The targets that have to get it: what the routes of demo.yaml mean, said once more.
    fn targets(self) -> Vec<&'static str> {
        let mut targets = Vec::new();
        match self.event_type().split('.').next() {
            Some("order") => targets.push("fulfilment"),
            Some("payment") => targets.push("ledger"),
            Some("user") if self.event_type() != "user.login" => targets.push("crm"),
            _ => return targets,
        }
        if self.amount() >= 100 && !targets.contains(&"crm") {
            targets.extend(["analytics", "crm"]);
        }
        targets
    }

    /// What the receiver does with it at a target.
    pub(super) fn behaviour(self, target: &str) -> Behaviour {
        match target {
            "fulfilment" if self.0 % 7 == 3 => Behaviour::Slow,
            "fulfilment" if self.0 % 11 == 4 => Behaviour::Busy,
            "ledger" if self.0 % 3 == 1 => Behaviour::Busy,
            "crm" if self.0 % 5 == 2 => Behaviour::Refuse,
            "analytics" if self.0 % 6 == 5 => Behaviour::Down,
            _ => Behaviour::Accept,
        }
    }
}

/// What has to become of the first `published` samples.
pub(super) fn expected(published: usize) -> Counts {
    let mut counts = Counts::default();
    for target in TARGETS {
        counts.targets.insert(target.to_owned(), TargetCounts::default());
    }
    for sample in (0..published).map(Sample) {
        let targets = sample.targets();
        match sample.event_type() {
            "" => counts.tombstones += 1,
            "?" => counts.poisoned += 1,
            _ if targets.is_empty() => counts.unrouted += 1,
            _ => counts.routed += 1,
        }
        for target in targets {
            let ended = counts.targets.entry(target.to_owned()).or_default();
            match sample.behaviour(target) {
                Behaviour::Accept | Behaviour::Slow | Behaviour::Busy => ended.delivered += 1,
                Behaviour::Refuse => ended.dead_lettered += 1,
                Behaviour::Down => ended.discarded += 1,
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_samples_show_everything() {
        let counts = expected(200);
        assert_eq!(counts.routed + counts.unrouted + counts.tombstones + counts.poisoned, 200);
        assert_eq!((counts.unrouted, counts.tombstones, counts.poisoned), (20, 10, 10));
        assert!(counts.targets["crm"].dead_lettered > 0);
        assert!(counts.targets["analytics"].discarded > 0);
        assert!(counts.targets.values().all(|target| target.delivered > 0));
    }

    #[test]
    fn every_behaviour_occurs_at_an_event_that_arrives() {
        let seen: Vec<Behaviour> = (0..200)
            .map(Sample)
            .flat_map(|sample| sample.targets().into_iter().map(move |target| sample.behaviour(target)))
            .collect();
        for behaviour in
            [Behaviour::Accept, Behaviour::Slow, Behaviour::Busy, Behaviour::Refuse, Behaviour::Down]
        {
            assert!(seen.contains(&behaviour), "{behaviour:?}");
        }
    }

    #[test]
    fn values_are_what_their_type_says() {
        let parsed = |sample: Sample| {
            sample.value().map(|value| serde_json::from_str::<serde_json::Value>(&value).is_ok())
        };
        assert_eq!(parsed(Sample(0)), Some(true));
        assert_eq!(parsed(Sample(12)), None);
        assert_eq!(parsed(Sample(16)), Some(false));
        assert_eq!(Sample::from_id(&Sample(41).id()), Some(Sample(41)));
    }
}
