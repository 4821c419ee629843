use std::str;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::string::unescape;
use crate::domain::Path;

/// The values that one pass over a body looks for: a trie of [`Path`]s.
#[derive(Debug, Clone)]
pub struct Selection {
    root: Node,
    paths: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// The paths that end here.
    ends: Vec<usize>,
    /// The paths that end below: what a later duplicate of this member forgets.
    below: Vec<usize>,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Child {
    name: Box<str>,
    /// The name as an array index, if it is one.
    index: Option<usize>,
    node: Node,
}

impl Selection {
    /// Compiles paths; [`read`] answers in their order. Paths may repeat and contain each other.
    pub fn new(paths: &[Path]) -> Selection {
        let mut root = Node::default();
        for (number, path) in paths.iter().enumerate() {
            root.insert(&path.0, number);
        }
        Selection { root, paths: paths.len() }
    }

    /// Whether any path leads into the document.
    pub fn looks_below(&self) -> bool {
        !self.root.children.is_empty()
    }
}

impl Node {
    fn insert(&mut self, segments: &[Box<str>], path: usize) {
        let Some((first, rest)) = segments.split_first() else {
            self.ends.push(path);
            return;
        };
        self.below.push(path);
        if let Some(child) = self.children.iter_mut().find(|child| child.name == *first) {
            return child.node.insert(rest, path);
        }
        let mut node = Node::default();
        node.insert(rest, path);
        self.children.push(Child { name: first.clone(), index: array_index(first), node });
    }

    /// The child for a member's key, given as JSON text with its quotes.
    fn named(&self, key: &str) -> Option<&Node> {
        let inner = key.get(1..key.len().saturating_sub(1))?.as_bytes();
        let find = |name: &[u8]| self.children.iter().find(|child| child.name.as_bytes() == name);
        let child = if inner.contains(&b'\\') { find(&unescape(key)) } else { find(inner) };
        child.map(|child| &child.node)
    }

    fn at(&self, index: usize) -> Option<&Node> {
        self.children.iter().find(|child| child.index == Some(index)).map(|child| &child.node)
    }
}

/// Decimal without leading zeros, so that one element has one name.
pub(super) fn array_index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with(['0', '+']);
    segment.parse().ok().filter(|_| plain)
}

/// Why a body is no JSON document: what and where, without any of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotJson(pub Box<str>);

/// Validates the whole of `body` (UTF-8, one JSON value, nothing but white space around it) and
/// sets `found[i]` to the JSON text at the i-th path of `selection`, `None` where there is none.
///
/// Of duplicate members the last one counts, with everything below it. A segment names a member
/// of an object, or an element of an array as a decimal index. Lone surrogates are valid; nesting
/// has no limit, because nothing here recurses deeper than the longest path.
///
/// # Errors
/// The body is no JSON document. `found` is all `None` then.
pub fn read<'a>(
    body: &'a [u8],
    selection: &Selection,
    found: &mut Vec<Option<&'a str>>,
) -> Result<(), NotJson> {
    found.clear();
    found.resize(selection.paths, None);
    let text = str::from_utf8(body).map_err(|error| not_text(body, error.valid_up_to()))?;
    let document = text.trim_matches([' ', '\t', '\n', '\r']);
    visit(text, document, &selection.root, found).map_err(|error| {
        found.fill(None);
        not_json(text, &error)
    })
}

/// Whether these bytes are one JSON document, as [`read`] has it.
pub fn is_document(bytes: &[u8]) -> bool {
    let nothing = Selection { root: Node::default(), paths: 0 };
    read(bytes, &nothing, &mut Vec::new()).is_ok()
}

/// Parses `text`, which is `value` with white space around it, for a node of the trie.
fn visit<'a>(
    text: &'a str,
    value: &'a str,
    node: &Node,
    found: &mut [Option<&'a str>],
) -> Result<(), serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    match value.as_bytes().first() {
        Some(b'{') if !node.children.is_empty() => parser.deserialize_map(Members { node, found })?,
        Some(b'[') if !node.children.is_empty() => parser.deserialize_seq(Elements { node, found })?,
        _ => parser.deserialize_ignored_any(IgnoredAny).map(drop)?,
    }
    parser.end()?;
    set(&node.ends, Some(value), found);
    Ok(())
}

/// A value at a node below the root: its text is valid, as the parser went over it already.
fn take<'a>(raw: &'a RawValue, node: &Node, found: &mut [Option<&'a str>]) -> Result<(), serde_json::Error> {
    set(&node.below, None, found);
    if node.children.is_empty() {
        set(&node.ends, Some(raw.get()), found);
        return Ok(());
    }
    visit(raw.get(), raw.get(), node, found)
}

fn set<'a>(paths: &[usize], value: Option<&'a str>, found: &mut [Option<&'a str>]) {
    for path in paths {
        if let Some(slot) = found.get_mut(*path) {
            *slot = value;
        }
    }
}

struct Members<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut [Option<&'a str>],
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        // Raw keys: a `String` key would refuse lone surrogates.
        while let Some(key) = map.next_key::<&RawValue>()? {
            match self.node.named(key.get()) {
                Some(node) => take(map.next_value()?, node, self.found).map_err(serde::de::Error::custom)?,
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

struct Elements<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut [Option<&'a str>],
}

impl<'a> Visitor<'a> for Elements<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0.. {
            let more = match self.node.at(index) {
                Some(node) => match elements.next_element()? {
                    Some(raw) => {
                        take(raw, node, self.found).map_err(serde::de::Error::custom)?;
                        true
                    }
                    None => false,
                },
                None => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

fn not_text(body: &[u8], valid_up_to: usize) -> NotJson {
    if body.first() == Some(&0) {
        return confluent();
    }
    NotJson(format!("it is not valid UTF-8 at byte {}", valid_up_to + 1).into())
}

fn not_json(text: &str, error: &serde_json::Error) -> NotJson {
    if text.starts_with('\0') {
        return confluent();
    }
    if text.starts_with('\u{feff}') {
        return NotJson("it starts with a byte order mark, which JSON does not allow".into());
    }
    if text.trim_matches([' ', '\t', '\n', '\r']).is_empty() {
        return NotJson("it is empty".into());
    }
    NotJson(error.to_string().into())
}

fn confluent() -> NotJson {
    NotJson(
        "it starts with byte 0 like Confluent's wire format (Avro, Protobuf or JSON with a schema \
         registry); let the producer write plain JSON, or use only what needs no JSON: the raw \
         payload, and the event's type and id from headers"
            .into(),
    )
}
