//! `diff`: what changes from one configuration to another, and where events of a source would go by each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::arguments::{Comparison, Format};
use super::publish::chosen_source;
use super::{Exit, answer, bad_configuration, complain};
use crate::domain::{Generation, Lease, SourceId};
use crate::engine::routing::{Matches, Routing};
use crate::plan::{self, Change, Examined, Layers, Plan, Subject};
use crate::source::{Intake, LastMessage, Namespace, last_messages};

/// More events that go elsewhere are only counted.
const MOST_TOLD: usize = 20;

/// Says what differs.
pub(super) fn diff(asked: &Comparison, layers: impl Fn(&std::path::Path) -> Layers, format: Format) -> Exit {
    let examined = |path| plan::examine(&layers(path));
    let (old, new) = match (examined(&asked.old), examined(&asked.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(faults), _) | (_, Err(faults)) => return bad_configuration(&faults),
    };
    let events = match &asked.source {
        None => None,
        Some(source) => match compared(&old.plan, &new.plan, source, asked.last as usize) {
            Ok(events) => Some(events),
            Err(Unread::Choice(fault)) => {
                complain(&fault);
                return Exit::BadInput;
            }
            Err(Unread::Broker(fault)) => {
                complain(&format!("sources.{source}: {fault}"));
                return Exit::Failed;
            }
        },
    };
    let mut difference = Difference::new(old, new);
    difference.events = events;
    answer(&match format {
        Format::Text => difference.text(),
        Format::Json => format!("{}\n", serde_json::json!(difference)),
    })
}

/// What differs between two configurations.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Difference {
    sources: Parts,
    targets: Parts,
    routes: Parts,
    /// What belongs to none of them.
    other: Vec<Change>,
    /// What a running process can't go over to by a reload.
    needs_restart: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
}

/// What differs among sources, targets or routes; by their names.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Parts {
    added: Vec<String>,
    removed: Vec<String>,
    changed: BTreeMap<String, Vec<Change>>,
}

/// Where events of a source go.
#[derive(Debug, PartialEq, Serialize)]
struct Events {
    source: String,
    read: usize,
    /// The first of those that go elsewhere.
    shown: Vec<Moved>,
    /// How many do.
    moved: usize,
}

/// An event that does not go to the same targets.
#[derive(Debug, PartialEq, Serialize)]
struct Moved {
    origin: String,
    id: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Difference {
    pub(super) fn new(old: Examined, new: Examined) -> Difference {
        let (before, after) = (plan::subjects(&old.settings), plan::subjects(&new.settings));
        let mut difference = Difference::default();
        for change in plan::changes(&old.settings, &new.settings) {
            let subject = Subject::of(&change.path);
            let (was, is) = (before.contains(&subject), after.contains(&subject));
            let (parts, name) = match subject {
                Subject::Source(name) => (&mut difference.sources, name.to_owned()),
                Subject::Target(name) => (&mut difference.targets, name.to_owned()),
                Subject::Route(name) => (&mut difference.routes, name.to_owned()),
                Subject::Top => {
                    difference.other.push(change);
                    continue;
                }
            };
            let list = match (was, is) {
                (false, _) => &mut parts.added,
                (true, false) => &mut parts.removed,
                (true, true) => {
                    parts.changed.entry(name).or_default().push(change);
                    continue;
                }
            };
            if !list.contains(&name) {
                list.push(name);
            }
        }
        let Examined { plan, settings, .. } = old;
        difference.needs_restart =
            plan::succeed(&plan, &settings, new).err().map(|keys| keys.0).unwrap_or_default();
        difference
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (title, parts) in
            [("sources", &self.sources), ("targets", &self.targets), ("routes", &self.routes)]
        {
            parts.write(title, &mut text);
        }
        if !self.other.is_empty() {
            text.push_str("other settings\n");
            self.other.iter().for_each(|change| written(change, &change.path, "  ", &mut text));
        }
        if text.is_empty() {
            text.push_str("no setting differs\n");
        }
        if !self.needs_restart.is_empty() {
            // Writing to a String can't fail, here and below.
            let _ = writeln!(
                text,
                "a reload would refuse this, it needs a restart: {}",
                self.needs_restart.join(", ")
            );
        }
        if let Some(events) = &self.events {
            events.write(&mut text);
        }
        text
    }
}

impl Parts {
    fn write(&self, title: &str, text: &mut String) {
        let Parts { added, removed, changed } = self;
        if added.is_empty() && removed.is_empty() && changed.is_empty() {
            return;
        }
        let _ = writeln!(text, "{title}");
        for (sign, names) in [('+', added), ('-', removed)] {
            for name in names {
                let _ = writeln!(text, "  {sign} {name}");
            }
        }
        for (name, changes) in changed {
            let _ = writeln!(text, "  ~ {name}");
            let prefix = format!("{title}.{name}.");
            for change in changes {
                let key = change.path.strip_prefix(&prefix).unwrap_or(&change.path);
                written(change, key, "      ", text);
            }
        }
    }
}

fn written(change: &Change, key: &str, indent: &str, text: &mut String) {
    let _ = match (&change.old, &change.new) {
        (Some(old), Some(new)) if old == new => {
            writeln!(text, "{indent}{key}: another value, which is not shown ({new})")
        }
        (Some(old), Some(new)) => writeln!(text, "{indent}{key}: {old} -> {new}"),
        (None, Some(new)) => writeln!(text, "{indent}{key}: {new} (new)"),
        (Some(old), None) => writeln!(text, "{indent}{key}: {old} (gone)"),
        (None, None) => Ok(()),
    };
}

impl Events {
    fn write(&self, text: &mut String) {
        let Events { source, read, shown, moved } = self;
        let _ = writeln!(text, "of the last {read} events of {source}, {moved} go elsewhere");
        for event in shown {
            let event_type = event.event_type.as_deref().unwrap_or("(no type)");
            let _ = write!(text, "  {} {event_type} {}:", event.origin, event.id);
            for (sign, names) in [('+', &event.added), ('-', &event.removed)] {
                for name in names {
                    let _ = write!(text, " {sign}{name}");
                }
            }
            text.push('\n');
        }
        if *moved > shown.len() {
            let _ = writeln!(text, "  and {} more", moved - shown.len());
        }
    }
}

/// Why no events could be looked at.
enum Unread {
    Choice(String),
    Broker(String),
}

/// Looks where the last events of a source of the old configuration go by each.
fn compared(old: &Plan, new: &Plan, name: &str, count: usize) -> Result<Events, Unread> {
    let source = chosen_source(old, Some(name)).map_err(Unread::Choice)?;
    let messages = last_messages(old, source, count).map_err(Unread::Broker)?;
    Ok(events_of(old, new, name, &messages))
}

fn events_of(old: &Plan, new: &Plan, name: &str, messages: &[LastMessage]) -> Events {
    let (mut before, mut after) = (Reader::new(old, name), Reader::new(new, name));
    let mut events = Events { source: name.to_owned(), read: messages.len(), shown: Vec::new(), moved: 0 };
    for message in messages {
        let (was, is) = (before.goes(message), after.goes(message));
        if was.targets == is.targets {
            continue;
        }
        events.moved += 1;
        if events.shown.len() < MOST_TOLD {
            let only_in =
                |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect();
            events.shown.push(Moved {
                origin: was.origin,
                id: was.id,
                event_type: is.event_type.or(was.event_type),
                added: only_in(&is.targets, &was.targets),
                removed: only_in(&was.targets, &is.targets),
            });
        }
    }
    events
}

/// Reads and routes by one plan.
struct Reader<'a> {
    plan: &'a Plan,
    /// `None` if the plan has no such source: then nothing goes anywhere.
    intake: Option<Intake>,
    routing: Routing,
    matches: Matches,
}

/// Where an event goes.
struct Way {
    origin: String,
    id: String,
    event_type: Option<String>,
    targets: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan, name: &str) -> Reader<'a> {
        let place = plan.sources.iter().position(|source| source.name == name);
        let intake = place.map(|place| {
            Intake::new(
                plan,
                &plan.sources[place],
                SourceId(place as u16),
                Namespace::Kafka { cluster: "".into() },
            )
        });
        Reader { plan, intake, routing: Routing::new(plan), matches: Matches::default() }
    }

    fn goes(&mut self, message: &LastMessage) -> Way {
        let Some(intake) = &self.intake else {
            return Way {
                origin: String::new(),
                id: String::new(),
                event_type: None,
                targets: BTreeSet::new(),
            };
        };
        let event = intake.read(message.message(), Generation(0), Arc::new(Lease::unlimited()));
        self.routing.route(self.plan, &event, &mut self.matches);
        let targets = self.matches.deliveries.iter();
        let name = |(target, ..): &(crate::domain::TargetId, _, _)| {
            self.plan.targets.get(target.0 as usize).map(|target| target.name.to_string())
        };
        Way {
            origin: event.origin.to_string(),
            id: event.id.to_string(),
            event_type: event.event_type.as_deref().map(str::to_owned),
            targets: targets.filter_map(name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OLD: &str = "sources: { s: { kafka: { brokers: 'b:9092', topics: [t] } } }
targets:
  crm: { url: 'https://crm.example.com/', auth: { bearer: one-secret-of-ours }, timeout: 5s }
  shop: { url: 'https://shop.example.com/' }
routes: [{ name: all, types: ['a.*'], to: [crm, shop] }]
";

    fn examined(text: &str) -> Examined {
        plan::examine_text("h.yaml", text, &Layers::default()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn between(old: &str, new: &str) -> Difference {
        Difference::new(examined(old), examined(new))
    }

    #[test]
    fn what_is_the_same_differs_in_nothing() {
        assert_eq!(between(OLD, OLD).text(), "no setting differs\n");
    }

    #[test]
    fn each_difference_is_told_and_no_secret() {
        let new = OLD
            .replace(
                "  shop: { url: 'https://shop.example.com/' }",
                "  bank: { url: 'https://bank.example.com/' }",
            )
            .replace("to: [crm, shop]", "to: [crm, bank]")
            .replace("one-secret-of-ours", "another-secret-of-ours")
            .replace("timeout: 5s", "rate: { limit: 10/s }");
        let difference = between(OLD, &new);
        let text = difference.text();
        for line in [
            "  + bank\n",
            "  - shop\n",
            "  ~ crm\n",
            "      auth.bearer: another value, which is not shown (***)\n",
            "      timeout: 5s -> 10s\n",
            "      rate.limit: 10/s (new)\n",
            "      to: [crm, shop] -> [crm, bank]\n",
        ] {
            assert!(text.contains(line), "{line:?} in:\n{text}");
        }
        assert!(!text.contains("of-ours") && !serde_json::json!(difference).to_string().contains("of-ours"));
        assert!(difference.needs_restart.is_empty(), "{text}");
    }

    #[test]
    fn what_a_reload_refuses_is_said() {
        let text = between(OLD, &OLD.replace("topics: [t]", "topics: [u]")).text();
        assert!(text.contains("needs a restart: sources.s.kafka.topics\n"), "{text}");
    }

    #[test]
    fn events_that_go_elsewhere_are_shown() {
        let new = OLD.replace("types: ['a.*']", "types: ['a.*', '!a.c']");
        let message = |position: i64, event_type: &str| LastMessage {
            topic: "t".into(),
            partition: 0,
            position,
            timestamp_ms: Some(0),
            subject: None,
            key: None,
            value: Some(Bytes::from(format!(r#"{{"type":"{event_type}","event_id":"e{position}"}}"#))),
            headers: Box::default(),
        };
        let messages = [message(0, "a.b"), message(1, "a.c"), message(2, "x")];
        let events = events_of(&examined(OLD).plan, &examined(&new).plan, "s", &messages);
        assert_eq!((events.read, events.moved), (3, 1));
        let mut text = String::new();
        events.write(&mut text);
        assert!(text.contains("t/0/1 a.c e1: -crm -shop\n"), "{text}");
    }
}
