//! `dead_letters`: where they are.

use super::nats::object_name;
use super::sources::named_source;
use super::units;
use super::walk::{Item, Keys};
use crate::domain::{SourceId, SubjectPattern};

/// `dead_letters`: where they are, on whichever broker keeps them.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// On Kafka the topic; default `<name>.dlq`.
    pub topic: String,
    /// On NATS the stream; default `<name>-dlq`.
    pub stream: String,
    /// On NATS what subjects begin with; default `<name>.dlq`. A delivery's dead letter is written to
    /// `<subject>.<target>`, an event's own to `<subject>._event`.
    pub subject: String,
}

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
