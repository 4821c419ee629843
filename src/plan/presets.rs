//! What is built in, as data in the configuration's own language: the program's defaults
//! (`program.yaml`), the dialects and the payloads (`presets.yaml`, DIALECTS.md).

use crate::wire::{JsonForm, Member, Shape, Value as MemberValue};

use super::fault::Findings;
use super::origin::Origin;
use super::read;
use super::tree::{Map, Node, ScalarKind, Value};
use super::walk::{Item, did_you_mean};

/// Names that a later version brings.
const LATER: [&str; 3] = ["cloudevents", "cloudevents-binary", "cloudevents-structured"];

/// What is built in.
pub(super) struct Presets {
    program: Map,
    dialects: Map,
    payloads: Map,
}

/// A built-in payload.
pub(super) struct Payload {
    /// Its shape.
    pub shape: Shape,
    /// How its JSON is written.
    pub json: JsonForm,
    /// Its content type, if it is a fixed one.
    pub content_type: Option<String>,
}

impl Presets {
    /// Reads them.
    pub(super) fn read(findings: &Findings) -> Presets {
        let read = |name: &str, text| {
            let mut node = read::read(&name.into(), text, findings);
            if let Some(node) = &mut node {
                node.reattribute(&|_| Origin::Program);
            }
            node.map(Node::into_map).unwrap_or_default()
        };
        let mut presets = read("presets.yaml", include_str!("presets.yaml"));
        let mut below = |key| presets.remove(key).map(|entry| entry.node.into_map()).unwrap_or_default();
        Presets {
            program: read("program.yaml", include_str!("program.yaml")),
            dialects: below("dialects"),
            payloads: below("payloads"),
        }
    }

    /// The program's defaults for `top`, `source`, `target` or `signature`.
    pub(super) fn program(&self, section: &str) -> Map {
        self.program.get(section).cloned().map(Node::into_map).unwrap_or_default()
    }

    /// The dialect that a target names: its name and its keys.
    pub(super) fn dialect(&self, item: &Item<'_>) -> Option<(String, Map)> {
        let node = Presets::named(&self.dialects, item, "dialect")?;
        let name = item.text();
        let mut node = node.clone();
        let origin = Origin::Dialect(name.as_str().into());
        node.reattribute(&|_| origin.clone());
        Some((name, node.into_map()))
    }

    /// The signature of a dialect, for a target that names none but has secrets.
    pub(super) fn signature_of(&self, dialect: &str) -> Option<Node> {
        let mut signature = self.dialects.get(dialect)?.as_map()?.get("signature")?.clone();
        signature.reattribute(&|_| Origin::Dialect(dialect.into()));
        Some(signature)
    }

    /// The payload that a target names.
    pub(super) fn payload(&self, item: &Item<'_>) -> Option<Payload> {
        let node = Presets::named(&self.payloads, item, "payload")?;
        // What is wrong in there is a fault of the program, and found by its tests.
        let preset = Item::new(node, "", item.findings());
        if preset.is("raw") {
            return Some(Payload { shape: Shape::Raw, json: JsonForm::Exact, content_type: None });
        }
        let mut keys = preset.keys();
        let json = keys.get("json").map_or(JsonForm::Exact, |item| json_form(&item));
        let content_type = keys.get("content_type").map(|item| item.text());
        let members = keys.get("members").map(|item| item.elements()).unwrap_or_default();
        keys.done();
        Some(Payload {
            shape: Shape::Members(members.iter().filter_map(member).collect()),
            json,
            content_type,
        })
    }

    fn named<'p>(presets: &'p Map, item: &Item<'_>, what: &str) -> Option<&'p Node> {
        let quoted = item.quoted();
        item.parse(None, |name| {
            let known = || presets.0.iter().map(|entry| entry.key.as_str());
            match presets.get(name) {
                Some(node) => Ok(Some(node)),
                None if LATER.contains(&name) => Err(format!("{what} {quoted} is not supported yet")),
                None => {
                    let all: Vec<&str> = known().collect();
                    let hint = did_you_mean(name, known());
                    Err(format!("there is no {what} {quoted}{hint}; there are: {}", all.join(" ")))
                }
            }
        })
    }
}

/// Reads `json` of a payload.
pub(super) fn json_form(item: &Item<'_>) -> JsonForm {
    item.choice(&[("exact", JsonForm::Exact), ("js", JsonForm::Js), ("sorted", JsonForm::Sorted)])
}

fn member(item: &Item<'_>) -> Option<Member> {
    if item.is("rest_of_data") {
        return Some(Member::RestOfData);
    }
    let named = item.entries().into_iter().next()?;
    let value = match &named.item.node.value {
        Value::Map(_) => {
            let constant = named.item.keys().get("const")?;
            let text = constant.text();
            let is_text = constant.kind() == Some(ScalarKind::Text);
            MemberValue::Literal(if is_text { serde_json::Value::from(text).to_string() } else { text })
        }
        _ => named
            .item
            .parse(None, |text| value(text).map(Some).ok_or_else(|| "no member's value".to_owned()))?,
    };
    Some(Member::Named { name: named.name.to_owned(), value })
}

fn value(text: &str) -> Option<MemberValue> {
    Some(match text {
        "event.id" => MemberValue::EventId,
        "event.type" => MemberValue::EventType,
        "event.time" => MemberValue::EventTime,
        "event.time_ms" => MemberValue::EventTimeMillis,
        "event.subject" => MemberValue::EventSubject,
        "event.data" => MemberValue::EventData,
        "target.id" => MemberValue::TargetId,
        _ => return None,
    })
}
