//! `dead_letters`: where they are, and that no source reads them.

use super::nats::object_name;
use super::sources::named_source;
use super::types::{Broker, DeadLetters, NatsMode, Source, Topic};
use super::units;
use super::walk::{Item, Keys};
use crate::domain::{SourceId, SubjectPattern};

/// Reads `dead_letters`, and whose broker keeps those of all sources, if that is set.
pub(super) fn dead_letters(keys: &mut Keys<'_>, sources: &[String]) -> (DeadLetters, Option<SourceId>) {
    let mut letters = DeadLetters { topic: String::new(), stream: String::new(), subject: String::new() };
    let Some(item) = keys.get("dead_letters") else { return (letters, None) };
    let mut keys = item.keys();
    let text = |item: Option<Item<'_>>, parse: fn(&str) -> Result<String, String>| {
        item.map_or_else(String::new, |item| item.parse(String::new(), parse))
    };
    letters.topic = text(keys.get("topic"), units::topic);
    letters.stream = text(keys.get("stream"), object_name);
    letters.subject = text(keys.get("subject"), |text| match text.parse::<SubjectPattern>() {
        Ok(subject) if subject.is_literal() => Ok(text.to_owned()),
        _ => Err("the subject of dead letters has names between dots, and no `*` or `>`".to_owned()),
    });
    let on = keys.get("on").and_then(|item| named_source(&item, sources));
    keys.done();
    (letters, on)
}

/// Refuses a source that reads the dead letters of any of all sources: it would never end.
pub(super) fn refuse_reading(source: &Source, item: &Item<'_>, letters: &DeadLetters, all: &[Source]) {
    let fault = |keys: [&str; 2]| {
        let path = format!("{}.{}.{}", item.path, keys[0], keys[1]);
        Item::new(item.node.nearest(keys), path, item.findings())
            .fault("the dead letters are written here; a source that reads them would never end");
    };
    match &source.broker {
        Broker::Kafka(kafka) if !letters.topic.is_empty() => {
            let own = Topic::Name(letters.topic.clone());
            if kafka.topics.contains(&own) {
                fault(["kafka", "topics"]);
            }
        }
        Broker::Nats(nats) if !letters.subject.is_empty() => {
            let ours = format!("{}.>", letters.subject).parse::<SubjectPattern>();
            let overlaps = ours.is_ok_and(|ours| nats.subjects.iter().any(|subject| subject.overlaps(&ours)));
            let there = match &nats.mode {
                NatsMode::JetStream(js) => js.stream == letters.stream,
                NatsMode::Core { .. } => any_on_nats(all),
            };
            if overlaps && there {
                fault(["nats", "subjects"]);
            }
        }
        Broker::Kafka(_) | Broker::Nats(_) => {}
    }
}

/// Whether the dead letters of any source are on NATS. On which servers, their addresses don't tell.
fn any_on_nats(sources: &[Source]) -> bool {
    let keeper = |source: &Source| sources.get(usize::from(source.store.0));
    sources.iter().filter_map(keeper).any(|keeper| keeper.nats().is_some())
}
