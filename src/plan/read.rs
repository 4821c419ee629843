//! YAML (and so JSON) text → [`Node`]s.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, MessageFormatter, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

use super::fault::Findings;
use super::origin::{Origin, Position};
use super::tree::{Entry, Map, Node, Scalar, ScalarKind, Value};

/// Deeper nesting is refused, so that no walk over the tree can exhaust the stack.
const MAX_DEPTH: usize = 40;

/// Reads one file. `None` if it is no YAML; then the fault is in `findings`. A key that stands
/// twice in one mapping is a fault that names both places; the first one counts.
pub(super) fn read(file: &Arc<str>, text: &str, findings: &Findings) -> Option<Node> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // A snippet could show a secret.
        with_snippet: false,
    };
    let reading = Reading { file, text, findings };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Some(reading.node(raw, "")),
        Err(error) => {
            let position = reading.position(error.location().unwrap_or(Location::UNKNOWN));
            let hint = tab_hint(text, position.line).unwrap_or(quoting_hint(text, position.line));
            let message = format!("{}{hint}", UserMessageFormatter.format_message(error.without_snippet()));
            findings.unreadable(&Origin::File(position), message);
            None
        }
    }
}

/// A tab in the indentation on or directly before the line is the likely cause.
fn tab_hint(text: &str, line: u64) -> Option<&'static str> {
    let before = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(2);
    let indented =
        |line: &str| line.chars().take_while(|first| first.is_whitespace()).any(|first| first == '\t');
    text.lines().skip(before).take(2).any(indented).then_some("; indent with spaces, not with tabs")
}

/// An unquoted `${…}` inside `[ ]` or `{ }` is the likely cause of a syntax fault beside it.
fn quoting_hint(text: &str, line: u64) -> &'static str {
    let before = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(2);
    let beside = text.lines().skip(before).take(2);
    let quotes = |text: &str| text.matches(['"', '\'']).count();
    let unquoted = |line: &str| {
        line.match_indices("${").any(|(at, _)| quotes(line.get(..at).unwrap_or_default()) % 2 == 0)
    };
    match beside.into_iter().any(unquoted) {
        true => "; quote a `${…}` inside `[ ]` and `{ }`: \"${env:NAME}\"",
        false => "",
    }
}

struct Reading<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    findings: &'a Findings,
}

impl Reading<'_> {
    fn position(&self, location: Location) -> Position {
        Position { file: self.file.clone(), line: location.line().max(1), column: location.column().max(1) }
    }

    fn origin(&self, location: Location) -> Origin {
        Origin::File(self.position(location))
    }

    fn node(&self, raw: Spanned<Raw>, path: &str) -> Node {
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Scalar(Scalar::text(text)),
            Raw::Bool(value) => self.unquoted(raw.defined, value.to_string(), ScalarKind::Bool),
            Raw::Number(text) => self.unquoted(raw.defined, text, ScalarKind::Number),
            Raw::List(elements) => {
                let elements = elements.into_iter().enumerate();
                Value::List(elements.map(|(index, element)| self.node(element, &join(path, index))).collect())
            }
            Raw::Map(entries) => Value::Map(self.map(entries, path)),
        };
        Node { origin: self.origin(raw.referenced), value }
    }

    /// The text as it was written (`1.10`, not 1.1), so that it can also be read as text.
    fn unquoted(&self, place: Location, shortest: String, kind: ScalarKind) -> Value {
        let written = written(self.text, place).filter(|text| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric() || "+-.".contains(first))
        });
        let text = written.map_or(shortest, str::to_owned);
        Value::Scalar(Scalar { kind, ..Scalar::text(text) })
    }

    fn map(&self, entries: Vec<(Spanned<String>, Spanned<Raw>)>, path: &str) -> Map {
        let mut map = Map::default();
        for (key, value) in entries {
            let origin = self.origin(key.referenced);
            let key = key.value;
            // Free for anchors; what matters of it stands where it is referred to.
            if path.is_empty() && key.starts_with("x-") {
                continue;
            }
            let path = join(path, &key);
            match map.entry(&key) {
                Some(first) => self.findings.fault(
                    &origin,
                    path,
                    format!("the key stands twice; it stands first at {}", first.origin),
                ),
                None => {
                    let node = self.node(value, &path);
                    map.0.push(Entry { key, origin, node });
                }
            }
        }
        map
    }
}

/// `path.key`.
pub(super) fn join(path: &str, key: impl fmt::Display) -> String {
    match path {
        "" => key.to_string(),
        path => format!("{path}.{key}"),
    }
}

fn written(text: &str, place: Location) -> Option<&str> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?)
}

/// What the YAML library makes of a document.
enum Raw {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
