use std::ops::Range;

use secrecy::zeroize::Zeroizing;

use super::origin::Origin;

/// A value of the configuration before it has a type, with the place that it comes from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it comes from.
    pub origin: Origin,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// Text, a number or a boolean.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A scalar: its text, as it was written.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, after references were resolved. It may be secret, and is wiped when it is dropped.
    pub text: Zeroizing<String>,
    /// What YAML takes it for.
    pub kind: ScalarKind,
    /// Whether the text, or a part of it, may be secret.
    pub taint: Taint,
    /// Holds a reference without a value, let through by `--allow-unset`.
    pub unset: Unset,
    /// Where in the text stands what references brought in: nothing there is a template's tag.
    pub foreign: Vec<Range<usize>>,
}

/// The text may be secret and is not shown.
impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scalar").field("kind", &self.kind).field("taint", &self.taint).finish_non_exhaustive()
    }
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarKind {
    /// Text.
    Text,
    /// An unquoted number.
    Number,
    /// An unquoted `true` or `false`.
    Bool,
}

/// Where the text of a scalar comes from; the later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Taint {
    /// It stands in the configuration.
    Clear,
    /// All or a part of it comes from the environment.
    Environment,
    /// All or a part of it comes from a `${file:…}`.
    File,
}

/// Whether a scalar holds a reference without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    /// Every reference had a value.
    No,
    /// One had none.
    Yes,
}

/// A mapping, in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Map(pub Vec<Entry>);

/// One key of a [`Map`].
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub origin: Origin,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A scalar that the program made up.
    pub(super) fn program(text: impl Into<String>) -> Node {
        Node { origin: Origin::Program, value: Value::Scalar(Scalar::text(text)) }
    }

    /// The mapping, if it is one.
    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The mapping; anything else counts as an empty one.
    pub(super) fn into_map(self) -> Map {
        match self.value {
            Value::Map(map) => map,
            _ => Map::default(),
        }
    }

    /// The scalar, if it is one.
    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether no text in it may be secret.
    pub(super) fn is_clear(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(scalar) => scalar.taint == Taint::Clear,
            Value::List(elements) => elements.iter().all(Node::is_clear),
            Value::Map(map) => map.0.iter().all(|entry| entry.node.is_clear()),
        }
    }

    /// Whether there is no value.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value at `path` below this one, or the nearest one above it that exists.
    pub(super) fn nearest<'a>(&'a self, path: impl IntoIterator<Item = &'a str>) -> &'a Node {
        let mut node = self;
        for segment in path {
            let below = match &node.value {
                Value::Map(map) => map.get(segment),
                Value::List(elements) => segment.parse().ok().and_then(|index: usize| elements.get(index)),
                _ => None,
            };
            match below {
                Some(below) => node = below,
                None => return node,
            }
        }
        node
    }

    /// Gives this value, and all below it, other origins.
    pub(super) fn reattribute(&mut self, attribute: &impl Fn(&Origin) -> Origin) {
        self.origin = attribute(&self.origin);
        match &mut self.value {
            Value::Null | Value::Scalar(_) => {}
            Value::List(elements) => {
                elements.iter_mut().for_each(|element| element.reattribute(attribute));
            }
            Value::Map(map) => map.0.iter_mut().for_each(|entry| {
                entry.origin = attribute(&entry.origin);
                entry.node.reattribute(attribute);
            }),
        }
    }
}

impl Scalar {
    /// Clear text.
    pub(super) fn text(text: impl Into<String>) -> Scalar {
        let text = Zeroizing::new(text.into());
        Scalar { text, kind: ScalarKind::Text, taint: Taint::Clear, unset: Unset::No, foreign: Vec::new() }
    }

    /// Appends to the text. A string that grows by itself may leave a copy in freed memory.
    pub(super) fn push(&mut self, more: &str) {
        let mut longer = Zeroizing::new(String::with_capacity(self.text.len() + more.len()));
        longer.push_str(&self.text);
        longer.push_str(more);
        self.text = longer;
    }

    /// The text for a fault: in quotes, or no text at all where it may be secret.
    pub(super) fn quoted(&self) -> String {
        match self.taint {
            Taint::Clear => format!("`{}`", self.text.as_str()),
            Taint::Environment | Taint::File => "the value (not shown)".to_owned(),
        }
    }
}

impl Map {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A key with its value.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(index))
    }

    /// Sets a key, in its old place if it was there.
    pub(super) fn set(&mut self, key: &str, node: Node) {
        match self.0.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.node = node,
            None => self.0.push(Entry { key: key.to_owned(), origin: node.origin.clone(), node }),
        }
    }

    /// Sets a key to what the program makes up, if it has no value.
    pub(super) fn set_default(&mut self, key: &str, text: impl Into<String>) {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Node::program(text));
        }
    }
}
