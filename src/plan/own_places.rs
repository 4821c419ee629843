//! The topics, streams and subjects that hookferry owns (PRODUCT.md §5): no source reads them, and no
//! two of them are one.

use crate::domain::{SourceId, SubjectPattern, TargetId, Tier};

use super::kafka::Topic;
use super::nats::NatsMode;
use super::sources::{Broker, Source};
use super::top::Plan;
use super::tree::Node;
use super::walk::Item;

impl Plan {
    /// The Kafka group that reads the retry tiers: one for all sources of this name.
    pub fn tier_group(&self) -> String {
        format!("{}.retry", self.name)
    }

    /// The Kafka group of an ordered target, beside the shared one of a source.
    pub fn ordered_group(&self, shared: &str, target: TargetId) -> String {
        let name = self.targets.get(target.0 as usize).map_or("", |target| &target.name);
        format!("{shared}.{name}")
    }

    /// The Kafka topic of a retry tier.
    pub fn tier_topic(&self, tier: Tier) -> String {
        format!("{}.retry.{tier}", self.name)
    }

    /// The Kafka topic that says which dead letters were redriven or purged.
    pub fn dead_letter_state_topic(&self) -> String {
        format!("{}.dlq-state", self.name)
    }

    /// The JetStream subject of a retry tier.
    pub fn tier_subject(&self, tier: Tier) -> String {
        self.tier_topic(tier)
    }

    /// The JetStream stream of all retry tiers.
    pub fn tier_stream(&self) -> String {
        format!("{}-retry", self.name)
    }
}

/// A place of ours on a broker.
struct Own {
    kind: &'static str,
    /// On Kafka.
    topics: Vec<String>,
    /// On NATS: the stream, and what its subjects begin with.
    nats: Option<(String, String)>,
}

fn own_places(plan: &Plan) -> [Own; 3] {
    let letters = &plan.dead_letters;
    [
        Own {
            kind: "the dead letters are",
            topics: vec![letters.topic.clone()],
            nats: Some((letters.stream.clone(), letters.subject.clone())),
        },
        Own {
            kind: "deliveries that wait are",
            topics: Tier::all().map(|tier| plan.tier_topic(tier)).collect(),
            nats: Some((plan.tier_stream(), format!("{}.retry", plan.name))),
        },
        Own {
            kind: "what became of dead letters is",
            topics: vec![plan.dead_letter_state_topic()],
            nats: None,
        },
    ]
}

/// Refuses a source that reads what hookferry writes, since it would never end, and dead letters
/// that lie where something else of ours is.
pub(super) fn judge(plan: &Plan, root: &Item<'_>) {
    let fault = |keys: &[&str], message: String| {
        let node: &Node = root.node.nearest(keys.iter().copied());
        Item::new(node, keys.join("."), root.findings()).fault(message);
    };
    let places = own_places(plan);
    for source in &plan.sources {
        let Some(own) = places.iter().find(|own| is_read(source, own, &plan.sources)) else { continue };
        let keys = match &source.broker {
            Broker::Kafka(_) => ["kafka", "topics"],
            Broker::Nats(_) => ["nats", "subjects"],
        };
        let message = format!("{} written here; a source that reads them would never end", own.kind);
        fault(&["sources", &source.name, keys[0], keys[1]], message);
    }
    for (id, source) in (0..).map(SourceId).zip(&plan.sources) {
        if let Some(user) = shared_group(source).and_then(|group| other_user(plan, id, group)) {
            let message = format!("{user} read as a group of this name too; choose another");
            fault(&["sources", &source.name, "kafka", "group"], message);
        }
    }
    let [letters, others @ ..] = &places;
    for other in others {
        let written = || format!("{} written here; choose another name", other.kind);
        if letters.topics.iter().any(|topic| other.topics.contains(topic)) {
            fault(&["dead_letters", "topic"], written());
        }
        let (Some((stream, subject)), Some((other_stream, other_subject))) = (&letters.nats, &other.nats)
        else {
            continue;
        };
        if stream == other_stream {
            fault(&["dead_letters", "stream"], written());
        }
        if let (Some(below), Some(other_below)) = (below(subject), below(other_subject))
            && below.overlaps(&other_below)
        {
            fault(&["dead_letters", "subject"], written());
        }
    }
}

fn shared_group(source: &Source) -> Option<&str> {
    match &source.broker {
        Broker::Kafka(kafka) => Some(&kafka.group),
        Broker::Nats(_) => None,
    }
}

/// What else of ours is read as a group of a source, which would then get a part only.
fn other_user(plan: &Plan, source: SourceId, group: &str) -> Option<String> {
    let mut own = plan.ordered_targets(source).map(|target| plan.ordered_group(group, target));
    if group == plan.tier_group() || own.any(|own| own == plan.tier_group()) {
        return Some("the retry tiers are".to_owned());
    }
    let others = (0..).map(SourceId).zip(&plan.sources);
    others.filter_map(|(id, source)| Some((id, source, shared_group(source)?))).find_map(
        |(id, source, shared)| {
            let target =
                plan.ordered_targets(id).find(|target| plan.ordered_group(shared, *target) == group)?;
            let target = &plan.targets.get(target.0 as usize)?.name;
            Some(format!("the events of {} for its ordered target {target} are", source.name))
        },
    )
}

/// Whether a source reads a place of ours; on NATS from where it is kept, or as it is published.
fn is_read(source: &Source, own: &Own, all: &[Source]) -> bool {
    let nats = match &source.broker {
        Broker::Kafka(kafka) => {
            return own.topics.iter().any(|topic| kafka.topics.contains(&Topic::Name(topic.clone())));
        }
        Broker::Nats(nats) => nats,
    };
    let Some((stream, subject)) = &own.nats else { return false };
    let overlaps = below(subject).is_some_and(|ours| nats.subjects.iter().any(|read| read.overlaps(&ours)));
    let there = match &nats.mode {
        NatsMode::JetStream(js) => js.stream == *stream,
        NatsMode::Core { .. } => any_kept_on_nats(all),
    };
    overlaps && there
}

fn below(subject: &str) -> Option<SubjectPattern> {
    format!("{subject}.>").parse().ok()
}

/// Whether what any source's store keeps is on NATS. On which servers, their addresses don't tell.
fn any_kept_on_nats(all: &[Source]) -> bool {
    let keeper = |source: &Source| all.get(usize::from(source.store.0));
    all.iter().filter_map(keeper).any(|keeper| keeper.nats().is_some())
}
