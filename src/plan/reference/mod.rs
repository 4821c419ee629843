//! Every key of the configuration, as data (`keys.yaml`): what the JSON Schema and the reference in
//! docs/ are made of. Tests hold it against what is really read.

mod markdown;
mod schema;
#[cfg(test)]
pub(super) mod tests;

use super::fault::Findings;
use super::presets::Presets;
use super::read;
use super::tree::{Map, Node, Value};
use super::walk::Item;

/// Keys of a target that `defaults` may not hold.
const OF_ONE_TARGET: [&str; 4] = ["url", "secrets", "auth", "tenant"];

/// Every key of the configuration.
pub struct Reference(Vec<Section>);

struct Section {
    title: String,
    keys: Vec<Key>,
}

struct Key {
    /// `*` stands for a name that the user chooses, `[]` for each element of a list.
    path: Vec<String>,
    kinds: Vec<Kind>,
    /// What holds without it, for people.
    default: Option<String>,
    text: String,
}

/// What a value may be; one of several.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Text,
    Name,
    Duration,
    Size,
    Rate,
    Flag,
    Integer(i64, i64),
    Number(f64, f64),
    Scalar,
    Any,
    Word(String),
    List(Vec<Kind>),
    Map(Vec<Kind>),
    /// A mapping with the keys below.
    Keys,
}

impl Reference {
    /// Reads it. What is wrong with it is a fault of the program, and found by its tests.
    pub fn read() -> Reference {
        let findings = Findings::default();
        let presets = Presets::read(&findings);
        let name = "keys.yaml".into();
        let root = read::read(&name, include_str!("keys.yaml"), &findings);
        let sections = root.as_ref().map(|root| Item::new(root, "", &findings).entries()).unwrap_or_default();
        let section = |section: &super::walk::Named<'_>| Section {
            title: section.name.to_owned(),
            keys: section.item.entries().iter().map(|named| key(named.name, &named.item, &presets)).collect(),
        };
        Reference(sections.iter().map(section).collect())
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().flat_map(|section| &section.keys)
    }

    /// The keys directly below a path.
    fn below(&self, path: &[String]) -> impl Iterator<Item = &Key> {
        self.keys().filter(move |key| key.path.len() == path.len() + 1 && key.path.starts_with(path))
    }
}

fn key(path: &str, item: &Item<'_>, presets: &Presets) -> Key {
    let mut keys = item.keys();
    let mut text = |name| keys.get(name).map(|item| item.text());
    let (kinds, own, text) = (text("type"), text("default"), text("text"));
    keys.done();
    let path = segments(path);
    Key {
        kinds: kinds.map(|text| parsed(&text)).unwrap_or_default(),
        default: own.or_else(|| default(&path, presets)),
        text: text.unwrap_or_default(),
        path,
    }
}

fn segments(path: &str) -> Vec<String> {
    path.replace("[]", ".[]").split('.').map(str::to_owned).collect()
}

fn parsed(text: &str) -> Vec<Kind> {
    if let Some(element) = text.strip_prefix("list of ") {
        return vec![Kind::List(parsed(element))];
    }
    if let Some(value) = text.strip_prefix("map of ") {
        return vec![Kind::Map(parsed(value))];
    }
    let (first, others) = text.split_once(" or ").map_or((text, None), |(first, rest)| (first, Some(rest)));
    let mut kinds: Vec<Kind> = kind(first).into_iter().collect();
    kinds.extend(others.map(parsed).unwrap_or_default());
    kinds
}

fn kind(text: &str) -> Option<Kind> {
    let range = |name| text.strip_prefix(name)?.trim().split_once("..");
    if let Some(word) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Some(Kind::Word(word.to_owned()));
    }
    if let Some((least, most)) = range("integer ") {
        return Some(Kind::Integer(least.parse().ok()?, most.parse().ok()?));
    }
    if let Some((least, most)) = range("number ") {
        return Some(Kind::Number(least.parse().ok()?, most.parse().ok()?));
    }
    let plain = [
        ("text", Kind::Text),
        ("name", Kind::Name),
        ("duration", Kind::Duration),
        ("size", Kind::Size),
        ("rate", Kind::Rate),
        ("flag", Kind::Flag),
        ("scalar", Kind::Scalar),
        ("any", Kind::Any),
        ("keys", Kind::Keys),
    ];
    plain.into_iter().find(|(name, _)| *name == text).map(|(_, kind)| kind)
}

/// What `program.yaml` says of a key.
fn default(path: &[String], presets: &Presets) -> Option<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let in_section = |section: &str, rest: &[&str]| find(&presets.program(section), rest);
    match path[..] {
        ["sources", "*", ref rest @ ..] => in_section("source", rest),
        ["targets", "*", "signature", ref rest @ ..] => in_section("signature", rest),
        ["targets", "*", "retry", ref rest @ ..] => {
            let whole: Vec<&str> = ["retry"].iter().chain(rest).copied().collect();
            in_section("target", &whole).or_else(|| in_section("exponential", rest))
        }
        ["targets", "*", ref rest @ ..] => in_section("target", rest),
        ref rest => in_section("top", rest),
    }
}

fn find(map: &Map, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let node = map.get(first)?;
    match rest {
        [] => written(node).map(|text| format!("`{text}`")),
        rest => find(node.as_map()?, rest),
    }
}

fn written(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.to_string()),
        Value::List(elements) => {
            let elements: Option<Vec<String>> = elements.iter().map(written).collect();
            Some(format!("[{}]", elements?.join(", ")))
        }
        // What is below it says its own.
        Value::Map(_) | Value::Null => None,
    }
}
