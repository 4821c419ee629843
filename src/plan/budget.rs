use crate::domain::{ConsumerId, SourceId};

use super::consumers::{Consumer, Reads};
use super::process::Window;
use super::sources::Broker;
use super::top::Plan;

/// How `limits.memory` is shared out: half of it to the windows of the consumers, and a quarter each to
/// what the clients of Kafka read ahead and to what they have not written yet.
///
/// The consumers share by weight: that of a source's shared group counts most, because all of its
/// targets live on it. Nobody gets more than the setting that it is measured by, and nobody less than
/// one event of `limits.max_event` needs.
#[derive(Debug, Clone, Copy)]
pub struct Budget<'a> {
    plan: &'a Plan,
}

/// What a consumer of [`Reads::Shared`] weighs; its window may be as large as `limits.window`, that of
/// another one so much smaller as it weighs less.
const FULL_WEIGHT: u64 = 8;
/// Most of what a client of Kafka reads ahead, in bytes.
const MOST_READ_AHEAD: u64 = 4 << 20;
/// With less a client of Kafka stands still more than it reads, in bytes.
const LEAST_READ_AHEAD: u64 = 256 << 10;
/// Most of what a producer keeps until it is confirmed, in bytes.
const MOST_UNWRITTEN: u64 = 64 << 20;
/// With less a producer could not fill its batches, in bytes.
const LEAST_UNWRITTEN: u64 = 1 << 20;

fn weight(reads: Reads) -> u64 {
    match reads {
        Reads::Shared => FULL_WEIGHT,
        Reads::Tiers => FULL_WEIGHT / 4,
        Reads::Ordered(_) => FULL_WEIGHT / 8,
    }
}

impl<'a> Budget<'a> {
    /// The budget of a plan.
    pub fn of(plan: &'a Plan) -> Budget<'a> {
        Budget { plan }
    }

    /// How much of one consumer may be open.
    pub fn window(&self, consumer: ConsumerId) -> Window {
        let limits = &self.plan.limits;
        let Some(Consumer { source, reads }) = self.plan.consumers.get(usize::from(consumer.0)).copied()
        else {
            return limits.window;
        };
        let most = |all: u64| portion(all, weight(reads), FULL_WEIGHT);
        let share = portion(limits.memory / 2, weight(reads), self.all_weights());
        Window {
            bytes: most(limits.window.bytes).min(share).max(limits.max_event as u64),
            events: most(limits.window.events).min(self.server_gives(source, reads)).max(1),
        }
    }

    /// How many messages a server gives this process until one is acknowledged. A window of more would
    /// never be full, and what is measured by it would never be too much.
    fn server_gives(&self, source: SourceId, reads: Reads) -> u64 {
        let broker = self.plan.sources.get(usize::from(source.0)).map(|source| &source.broker);
        let all = match broker {
            Some(Broker::Nats(nats)) => nats.max_ack_pending(reads),
            Some(Broker::Kafka(_)) | None => None,
        };
        all.map_or(u64::MAX, |all| u64::from(all / self.plan.replicas.max(1)))
    }

    /// What a consumer's client of Kafka may read ahead, in bytes.
    pub fn read_ahead(&self, reads: Reads) -> u64 {
        let share = portion(self.plan.limits.memory / 4, weight(reads), self.all_weights());
        portion(MOST_READ_AHEAD, weight(reads), FULL_WEIGHT).min(share).max(LEAST_READ_AHEAD)
    }

    /// What the producer of one source's store may keep until it is confirmed, in bytes.
    pub fn unwritten(&self) -> u64 {
        let stores = self.plan.sources.len().max(1) as u64;
        (self.plan.limits.memory / 4 / stores).clamp(LEAST_UNWRITTEN, MOST_UNWRITTEN)
    }

    /// What all parts together may take: more than `limits.memory` where so many share it that the least
    /// of each is more, in bytes.
    pub fn needed(&self) -> u64 {
        let part = |(id, consumer): (u16, &Consumer)| {
            self.window(ConsumerId(id)).bytes + self.read_ahead(consumer.reads)
        };
        let consumers: u64 = (0..).zip(&self.plan.consumers).map(part).sum();
        consumers + self.unwritten() * self.plan.sources.len() as u64
    }

    fn all_weights(&self) -> u64 {
        self.plan.consumers.iter().map(|consumer| weight(consumer.reads)).sum::<u64>().max(1)
    }
}

fn portion(all: u64, part: u64, of: u64) -> u64 {
    (u128::from(all) * u128::from(part) / u128::from(of)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Layers, load_text};

    const MIB: u64 = 1 << 20;

    /// So many sources on Kafka, of which each feeds one shared and so many ordered targets.
    fn plan(memory: &str, sources: usize, ordered: usize) -> Plan {
        let sources: String = (0..sources)
            .map(|n| format!("  s{n}: {{ kafka: {{ brokers: 'b:1', topics: [t] }} }}\n"))
            .collect();
        let targets: String = (0..ordered)
            .map(|n| format!("  o{n}: {{ url: 'https://x.example/', ordering: strict }}\n"))
            .collect();
        let names: Vec<String> = (0..ordered).map(|n| format!("o{n}")).chain(["crm".to_owned()]).collect();
        let text = format!(
            "limits: {{ memory: {memory} }}\nsources:\n{sources}targets:\n  crm: {{ url: 'https://x.example/' }}\n\
             {targets}routes: [{{ to: [{}] }}]\n",
            names.join(", ")
        );
        load_text("h.yaml", &text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn windows(plan: &Plan) -> Vec<Window> {
        (0..plan.consumers.len()).map(|index| Budget::of(plan).window(ConsumerId(index as u16))).collect()
    }

    #[test]
    fn one_source_gets_all_that_it_is_set_to_within_the_default_budget() {
        let plan = plan("256MiB", 1, 0);

        let window = |bytes, events| Window { bytes, events };
        assert_eq!(windows(&plan), [window(64 * MIB, 50_000), window(16 * MIB, 12_500)]);
        let budget = Budget::of(&plan);
        assert_eq!((budget.read_ahead(Reads::Shared), budget.read_ahead(Reads::Tiers)), (4 * MIB, MIB));
        assert_eq!(budget.unwritten(), 64 * MIB);
    }

    #[test]
    fn the_parts_never_exceed_the_whole() {
        let few = [(1, 0), (1, 4), (2, 0)];
        let many = [(1, 8), (4, 4), (5, 0)];
        for (memory, counts) in [(64, &few), (128, &many), (256, &many), (1024, &many)] {
            for (sources, ordered) in *counts {
                let plan = plan(&format!("{memory}MiB"), sources, ordered);
                assert!(
                    Budget::of(&plan).needed() <= memory * MIB,
                    "{memory} MiB, {sources} sources, {ordered} ordered"
                );
            }
        }
    }

    #[test]
    fn a_window_holds_the_largest_event_however_many_share() {
        let crowded = plan("64MiB", 20, 10);
        assert!(windows(&crowded).iter().all(|window| window.bytes >= MIB && window.events >= 1));
        let said = "h.yaml:1:19: limits.memory: 240 consumers need 322 MiB, for each holds";
        assert!(crowded.notices[0].starts_with(said), "{:?}", crowded.notices);
        assert!(plan("2GiB", 20, 10).notices.is_empty());
    }

    #[test]
    fn a_window_is_no_larger_than_what_a_jetstream_server_gives_a_replica() {
        let text = "replicas: 4\nsources: { s: { nats: { servers: 'nats://s:4222', stream: S, subjects: [a],\n  max_ack_pending: 600 } } }\n\
                    targets:\n  crm: { url: 'https://x.example/' }\n  led: { url: 'https://x.example/', ordering: strict }\n\
                    routes: [{ to: [crm, led] }]\n";
        let plan = load_text("h.yaml", text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}"));
        let events: Vec<u64> = windows(&plan).iter().map(|window| window.events).collect();
        assert_eq!(events, [150, 1, 5_000], "shared, ordered, tiers");
    }

    #[test]
    fn more_memory_makes_no_window_larger_than_it_is_set_to() {
        let plan = plan("16GiB", 2, 1);
        assert!(windows(&plan).iter().all(|window| window.bytes <= 64 * MIB));
    }
}
