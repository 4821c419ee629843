//! What is built in, as data in the configuration's own language: the program's defaults
//! (`program.yaml`), the dialects and the payloads (`presets.yaml`, DIALECTS.md).

use serde_json::value::RawValue;

use crate::wire::{CloudEventMode, JsonForm, Member, Shape, Tree, Value as MemberValue, WhenAbsent};

use super::fault::Findings;
use super::origin::Origin;
use super::read;
use super::tree::{Entry, Map, Node, Scalar, ScalarKind, Value};
use super::walk::{Item, Named, did_you_mean};

/// What is built in.
pub(super) struct Presets {
    program: Map,
    dialects: Map,
    payloads: Map,
    catalogues: Map,
}

/// A built-in payload.
pub(super) struct Payload {
    /// Its shape.
    pub shape: Shape,
    /// How its JSON is written.
    pub json: JsonForm,
    /// Its content type, if it is a fixed one.
    pub content_type: Option<String>,
    /// What templates of its receivers can name, beside what all can: each the first of some paths.
    pub roots: Vec<(String, Vec<String>)>,
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
            catalogues: read("catalogues.yaml", include_str!("catalogues.yaml")),
        }
    }

    /// The program's defaults for `top`, `source`, `target`, `exponential` or `signature`.
    pub(super) fn program(&self, section: &str) -> Map {
        self.program.get(section).cloned().map(Node::into_map).unwrap_or_default()
    }

    /// The event types of a system, by its name, each after its category.
    pub(super) fn catalogue(&self, item: &Item<'_>) -> Vec<(String, String)> {
        let Some(node) = Presets::named(&self.catalogues, item, "catalogue") else { return Vec::new() };
        let mut types = Vec::new();
        for category in Item::new(node, "", item.findings()).entries() {
            types.extend(category.item.elements().iter().map(|item| (category.name.to_owned(), item.text())));
        }
        types
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
        let plain = |shape| Payload { shape, json: JsonForm::Exact, content_type: None, roots: Vec::new() };
        if preset.is("raw") {
            return Some(plain(Shape::Raw));
        }
        if preset.is("data") {
            return Some(plain(Shape::Data));
        }
        if preset.is("cloudevents") {
            let shape = Shape::CloudEvent { mode: CloudEventMode::Binary, extensions: Vec::new() };
            return Some(plain(shape));
        }
        let mut keys = preset.keys();
        let json = keys.get("json").map_or(JsonForm::Exact, |item| json_form(&item));
        let content_type = keys.get("content_type").map(|item| item.text());
        let members = keys.get("members").map(|item| item.elements()).unwrap_or_default();
        let roots = keys.get("roots").map(|item| item.entries()).unwrap_or_default();
        let root = |root: &Named<'_>| {
            (root.name.to_owned(), root.item.elements().iter().map(|item| item.text()).collect())
        };
        keys.done();
        Some(Payload {
            shape: Shape::Members(members.iter().filter_map(member).collect()),
            roots: roots.iter().map(root).collect(),
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
    if matches!(named.item.node.value, Value::Map(_)) {
        return Some(constant(named.name, &named.item.keys().get("const")?));
    }
    let text = named.item.text();
    let (text, absent) = match text.strip_suffix('?') {
        Some(text) => (text, WhenAbsent::LeaveOut),
        None => (text.as_str(), WhenAbsent::Refuse),
    };
    let value = value(text).or_else(|| {
        named.item.fault("no member's value");
        None
    })?;
    Some(Member::Named { name: named.name.to_owned(), value, absent })
}

/// A member that is the same for every event.
fn constant(name: &str, value: &Item<'_>) -> Member {
    let value = MemberValue::Literal(json_text(value));
    Member::Named { name: name.to_owned(), value, absent: WhenAbsent::Refuse }
}

/// A member of `extra`: a constant, or a value whose texts are templates.
pub(super) fn extra_member(name: &str, value: &Item<'_>) -> Member {
    let name = name.to_owned();
    match tree(&value.node.value) {
        Tree::Literal(text) => {
            Member::Named { name, value: MemberValue::Literal(text), absent: WhenAbsent::Refuse }
        }
        tree => Member::Named { name, value: MemberValue::Tree(tree), absent: WhenAbsent::LeaveOut },
    }
}

fn tree(value: &Value) -> Tree {
    match value {
        value if !has_tag(value) => Tree::Literal(value_json(value)),
        Value::Scalar(scalar) => {
            Tree::Text { template: scalar.text.to_string(), literal: scalar.foreign.clone() }
        }
        Value::List(elements) => Tree::List(elements.iter().map(|element| tree(&element.value)).collect()),
        Value::Map(map) => {
            let member = |entry: &Entry| (entry.key.clone(), tree(&entry.node.value));
            Tree::Map(map.0.iter().map(member).collect())
        }
        Value::Null => Tree::Literal("null".to_owned()),
    }
}

fn has_tag(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Scalar(scalar) => scalar.kind == ScalarKind::Text && scalar.text.contains("{{"),
        Value::List(elements) => elements.iter().any(|element| has_tag(&element.value)),
        Value::Map(map) => map.0.iter().any(|entry| has_tag(&entry.node.value)),
    }
}

/// A value of the configuration as JSON.
pub(super) fn json_text(value: &Item<'_>) -> String {
    value_json(&value.node.value)
}

fn value_json(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

/// Writes a value of the configuration as JSON; members keep their order, numbers their digits.
fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Scalar(scalar) => out.push_str(&scalar_json(scalar)),
        Value::List(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_json(&element.value, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, entry) in map.0.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&quoted(&entry.key));
                out.push(':');
                write_json(&entry.node.value, out);
            }
            out.push('}');
        }
    }
}

/// Quoted text stays text; a number that JSON does not write so (`+1`, `.5`) is written its way.
fn scalar_json(scalar: &Scalar) -> String {
    let text = scalar.text.as_str();
    match scalar.kind {
        ScalarKind::Text => quoted(text),
        ScalarKind::Bool => text.to_ascii_lowercase(),
        ScalarKind::Number if serde_json::from_str::<&RawValue>(text).is_ok() => text.to_owned(),
        ScalarKind::Number => match (text.parse::<i128>(), text.parse::<f64>()) {
            (Ok(integer), _) => integer.to_string(),
            (_, Ok(float)) if float.is_finite() => float.to_string(),
            _ => quoted(text),
        },
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn value(text: &str) -> Option<MemberValue> {
    Some(match text {
        "event.id" => MemberValue::EventId,
        "event.type" => MemberValue::EventType,
        "event.time" => MemberValue::EventTime,
        "event.time_ms" => MemberValue::EventTimeMillis,
        "event.subject" => MemberValue::EventSubject,
        "event.source" => MemberValue::EventSource,
        "event.data" => MemberValue::EventData,
        "target.id" => MemberValue::TargetId,
        _ => return None,
    })
}
