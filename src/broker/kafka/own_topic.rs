use crate::domain::Tier;
use crate::plan::Plan;

/// What a record's headers may take beside the event.
const HEADER_ROOM: usize = 64 * 1024;
/// Dead letters are kept for 14 days, unless the topic is the user's own.
const LETTERS_RETENTION_MS: &str = "1209600000";

/// A topic that we write (PRODUCT.md §5): made with these settings if it is missing, and never read by
/// a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTopic {
    /// Its name.
    pub name: String,
    /// What it holds, for people.
    pub holds: String,
    /// The settings that it is made with.
    pub settings: Vec<(&'static str, String)>,
}

impl OwnTopic {
    /// What we have to be allowed to do with such a topic.
    pub(crate) const RIGHTS: &str = "READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS and DELETE";

    /// The one for dead letters.
    pub fn dead_letters(plan: &Plan) -> OwnTopic {
        OwnTopic {
            name: plan.dead_letters.topic.clone(),
            holds: "dead letters".to_owned(),
            settings: vec![("retention.ms", LETTERS_RETENTION_MS.to_owned()), largest(plan)],
        }
    }

    /// The one that says which dead letters were redriven or purged. The last word on each is kept.
    pub fn dead_letter_states(plan: &Plan) -> OwnTopic {
        OwnTopic {
            name: plan.dead_letter_state_topic(),
            holds: "what was done about dead letters".to_owned(),
            settings: vec![("cleanup.policy", "compact".to_owned())],
        }
    }

    /// The one of a retry tier. Nothing in it ever expires: what is done is deleted by us.
    pub fn tier(plan: &Plan, tier: Tier) -> OwnTopic {
        OwnTopic {
            name: plan.tier_topic(tier),
            holds: format!("retries that wait {tier}"),
            settings: vec![
                ("retention.ms", "-1".to_owned()),
                ("retention.bytes", "-1".to_owned()),
                ("cleanup.policy", "delete".to_owned()),
                largest(plan),
            ],
        }
    }

    /// The names of all topics that are ours with this plan.
    pub fn names(plan: &Plan) -> Vec<String> {
        let others = [plan.dead_letters.topic.clone(), plan.dead_letter_state_topic()];
        others.into_iter().chain(Tier::all().map(|tier| plan.tier_topic(tier))).collect()
    }

    /// The command that makes it.
    pub fn command(&self, brokers: &str) -> String {
        let settings: String =
            self.settings.iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
        format!("kafka-topics.sh --bootstrap-server {brokers} --create --topic {}{settings}", self.name)
    }
}

fn largest(plan: &Plan) -> (&'static str, String) {
    ("max.message.bytes", plan.limits.max_event.saturating_add(HEADER_ROOM).to_string())
}
