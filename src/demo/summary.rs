use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// What became of events, by one way of counting.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub(super) struct Counts {
    pub(super) routed: u64,
    pub(super) unrouted: u64,
    pub(super) tombstones: u64,
    pub(super) poisoned: u64,
    /// By the target's name.
    pub(super) targets: BTreeMap<String, TargetCounts>,
}

/// How deliveries to one target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(super) struct TargetCounts {
    pub(super) delivered: u64,
    pub(super) dead_lettered: u64,
    pub(super) discarded: u64,
}

impl TargetCounts {
    pub(super) fn ended(self) -> u64 {
        self.delivered + self.dead_lettered + self.discarded
    }
}

impl Counts {
    pub(super) fn events(&self) -> u64 {
        self.routed + self.unrouted + self.tombstones + self.poisoned
    }
}

/// What the receiver saw of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(super) struct Seen {
    /// Different events that it answered with 200.
    pub(super) accepted: u64,
    /// All requests.
    pub(super) requests: u64,
    /// Requests whose signature was wrong.
    pub(super) unverified: u64,
}

/// Three independent counts of one run, side by side.
#[derive(Debug, serde::Serialize)]
pub(super) struct Summary {
    /// Messages that the demo handed to its producer.
    pub(super) published: u64,
    /// What the demo decided when it made the events.
    pub(super) expected: Counts,
    /// What the pipeline's metrics say.
    pub(super) measured: Counts,
    /// What the receiver saw, by target.
    pub(super) seen: BTreeMap<String, Seen>,
}

impl Summary {
    /// Where the three counts differ, or a sum does not add up; one sentence each.
    pub(super) fn mismatches(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |what: &str, expected: u64, measured: u64| {
            if expected != measured {
                found.push(format!("{what}: {expected} expected, {measured} counted"));
            }
        };
        let (expected, measured) = (&self.expected, &self.measured);
        same("published = routed + unrouted + tombstones + poisoned", self.published, measured.events());
        same("routed", expected.routed, measured.routed);
        same("unrouted", expected.unrouted, measured.unrouted);
        same("tombstones", expected.tombstones, measured.tombstones);
        same("poisoned", expected.poisoned, measured.poisoned);
        for (name, expected) in &expected.targets {
            let measured = measured.targets.get(name).copied().unwrap_or_default();
            let seen = self.seen.get(name).copied().unwrap_or_default();
            same(&format!("{name}: delivered"), expected.delivered, measured.delivered);
            same(&format!("{name}: dead-lettered"), expected.dead_lettered, measured.dead_lettered);
            same(&format!("{name}: discarded"), expected.discarded, measured.discarded);
            same(&format!("{name}: accepted by the receiver"), expected.delivered, seen.accepted);
            same(&format!("{name}: requests with a wrong signature"), 0, seen.unverified);
        }
        found
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = format!(
            "{:<12} {:>9} = {:>9} + {:>13} + {:>9} + {:>15}\n",
            "target", "published", "delivered", "dead-lettered", "discarded", "not routed here"
        );
        for (name, target) in &self.measured.targets {
            let elsewhere = self.published.saturating_sub(target.ended());
            writeln!(
                table,
                "{name:<12} {:>9} = {:>9} + {:>13} + {:>9} + {elsewhere:>15}",
                self.published, target.delivered, target.dead_lettered, target.discarded
            )?;
        }
        let measured = &self.measured;
        writeln!(
            table,
            "\n{} published = {} routed + {} unrouted + {} tombstones + {} poisoned",
            self.published, measured.routed, measured.unrouted, measured.tombstones, measured.poisoned
        )?;
        let requests: u64 = self.seen.values().map(|seen| seen.requests).sum();
        let accepted: u64 = self.seen.values().map(|seen| seen.accepted).sum();
        writeln!(table, "the receiver got {requests} requests and accepted {accepted} events")?;
        f.write_str(&table)?;
        match &*self.mismatches() {
            [] => f.write_str("it adds up: what was published, the metrics and the receiver agree\n"),
            found => found.iter().try_for_each(|mismatch| writeln!(f, "IT DOES NOT ADD UP: {mismatch}")),
        }
    }
}

/// Reads the pipeline's counts from its metrics in Prometheus text.
pub(super) fn measured(metrics: &str, targets: &[&str]) -> Counts {
    let events = |result: &str| sample(metrics, "hookferry_events_total", &[("result", result)]);
    let deliveries = |target: &str, outcome: &str| {
        sample(metrics, "hookferry_deliveries_total", &[("target", target), ("outcome", outcome)])
    };
    let target = |name: &&str| {
        let counts = TargetCounts {
            delivered: deliveries(name, "delivered"),
            dead_lettered: deliveries(name, "dead_lettered"),
            discarded: deliveries(name, "discarded"),
        };
        ((*name).to_owned(), counts)
    };
    Counts {
        routed: events("routed"),
        unrouted: events("unrouted"),
        tombstones: events("tombstone"),
        poisoned: events("poisoned"),
        targets: targets.iter().map(target).collect(),
    }
}

/// The sum of a family's samples with these labels.
fn sample(metrics: &str, family: &str, labels: &[(&str, &str)]) -> u64 {
    let has = |series: &str| {
        let name = series.split('{').next();
        name == Some(family)
            && labels.iter().all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
    };
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        if has(series) { value.parse::<f64>().ok() } else { None }
    };
    metrics.lines().filter_map(value).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(delivered: u64) -> Counts {
        let target = TargetCounts { delivered, dead_lettered: 1, discarded: 0 };
        let targets = BTreeMap::from([("crm".to_owned(), target)]);
        Counts { routed: 4, unrouted: 1, tombstones: 1, poisoned: 1, targets }
    }

    fn summary() -> Summary {
        let seen = Seen { accepted: 3, requests: 5, unverified: 0 };
        Summary {
            published: 7,
            expected: counts(3),
            measured: counts(3),
            seen: BTreeMap::from([("crm".to_owned(), seen)]),
        }
    }

    #[test]
    fn equal_counts_add_up() {
        let summary = summary();
        assert_eq!(summary.mismatches(), Vec::<String>::new());
        let text = summary.to_string();
        assert!(text.contains("7 published = 4 routed + 1 unrouted + 1 tombstones + 1 poisoned"), "{text}");
        assert!(
            text.ends_with("it adds up: what was published, the metrics and the receiver agree\n"),
            "{text}"
        );
        let row = text.lines().find(|line| line.starts_with("crm")).expect("a row");
        let numbers: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(numbers, [7, 3, 1, 0, 3]);
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let mut lost = summary();
        lost.measured.targets.insert("crm".to_owned(), TargetCounts::default());
        assert_eq!(
            lost.mismatches(),
            ["crm: delivered: 3 expected, 0 counted", "crm: dead-lettered: 1 expected, 0 counted"]
        );
        let mut unread = summary();
        unread.published = 8;
        assert_eq!(unread.mismatches().len(), 1);
        let mut unseen = summary();
        unseen.seen.insert("crm".to_owned(), Seen { accepted: 2, requests: 2, unverified: 1 });
        assert_eq!(
            unseen.mismatches(),
            [
                "crm: accepted by the receiver: 3 expected, 2 counted",
                "crm: requests with a wrong signature: 0 expected, 1 counted"
            ]
        );
        assert!(unseen.to_string().contains("IT DOES NOT ADD UP: crm: accepted"));
    }

    #[test]
    fn counts_are_read_from_metrics() {
        let metrics = "# TYPE hookferry_events_total counter\n\
            hookferry_events_total{result=\"routed\",source=\"a\"} 3\n\
            hookferry_events_total{result=\"routed\",source=\"b\"} 2\n\
            hookferry_events_total_other{result=\"routed\"} 100\n\
            hookferry_deliveries_total{outcome=\"delivered\",target=\"crm\"} 4\n\
            hookferry_deliveries_total{outcome=\"delivered\",target=\"crm2\"} 9\n";
        let counts = measured(metrics, &["crm"]);
        assert_eq!(counts.routed, 5);
        assert_eq!(counts.targets["crm"].delivered, 4);
    }
}
