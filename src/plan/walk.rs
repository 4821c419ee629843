//! Typed reading: a walk over the tree that collects faults. Each reading answers with a value; one
//! that can't be read is reported and answered with a stand-in, because a plan with faults is never
//! used.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::fault::Findings;
use super::origin::Origin;
use super::read::join;
use super::tree::{Entry, Map, Node, Scalar, ScalarKind, Taint, Unset, Value};
use super::units;

/// A value with its path.
#[derive(Clone)]
pub(super) struct Item<'a> {
    /// The value.
    pub node: &'a Node,
    /// Its path, for example `targets.crm.timeout`.
    pub path: String,
    findings: &'a Findings,
}

/// A mapping of which known keys are taken; those that are left are unknown.
pub(super) struct Keys<'a> {
    map: &'a Map,
    at: Origin,
    path: String,
    known: Vec<&'static str>,
    /// Those that a later version brings.
    later: Vec<&'static str>,
    findings: &'a Findings,
}

/// One entry of a mapping whose keys are names that the user chose.
pub(super) struct Named<'a> {
    /// The name.
    pub name: &'a str,
    /// Where the name stands.
    pub at: &'a Origin,
    /// The value.
    pub item: Item<'a>,
}

const EMPTY: &Map = &Map(Vec::new());

impl<'a> Item<'a> {
    /// The value at the top.
    pub(super) fn new(node: &'a Node, path: impl Into<String>, findings: &'a Findings) -> Item<'a> {
        Item { node, path: path.into(), findings }
    }

    /// Reports a fault of this value.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.findings.fault(&self.node.origin, attributed(&self.path, &self.node.origin), message);
    }

    /// Reports that this value names something that does not exist.
    pub(super) fn names_nothing(&self, message: impl Into<String>) {
        self.findings.missing(&self.node.origin, attributed(&self.path, &self.node.origin), message);
    }

    /// Where faults and notices go.
    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// The value as a mapping with known keys.
    pub(super) fn keys(&self) -> Keys<'a> {
        Keys {
            map: self.map(),
            at: self.node.origin.clone(),
            path: self.path.clone(),
            known: Vec::new(),
            later: Vec::new(),
            findings: self.findings,
        }
    }

    /// As [`Item::entries`], for names that a variable's name can't spell.
    pub(super) fn entries_of_files(&self) -> Vec<Named<'a>> {
        let mut entries = self.entries();
        entries.retain(|named| {
            let of_environment = matches!(named.at, Origin::Environment(_));
            if of_environment {
                let message = "can't be set by the environment; write it in a file";
                self.findings.fault(named.at, named.item.path.clone(), message);
            }
            !of_environment
        });
        entries
    }

    fn map(&self) -> &'a Map {
        match &self.node.value {
            Value::Map(map) => map,
            Value::Null => EMPTY,
            Value::Scalar(_) | Value::List(_) => {
                self.fault("a map is expected here (`key: value`)");
                EMPTY
            }
        }
    }

    /// The value as a mapping whose keys are names that the user chose, in order.
    pub(super) fn entries(&self) -> Vec<Named<'a>> {
        let named = |entry: &'a Entry| Named {
            name: &entry.key,
            at: &entry.origin,
            item: Item { node: &entry.node, path: join(&self.path, &entry.key), findings: self.findings },
        };
        self.map().0.iter().map(named).collect()
    }

    /// The value as a list; a scalar counts as a list of one.
    pub(super) fn elements(&self) -> Vec<Item<'a>> {
        match &self.node.value {
            Value::List(elements) => {
                let item =
                    |(index, node)| Item { node, path: join(&self.path, index), findings: self.findings };
                elements.iter().enumerate().map(item).collect()
            }
            Value::Scalar(_) => vec![self.clone()],
            Value::Null => Vec::new(),
            Value::Map(_) => {
                self.fault("a list is expected here (`[a, b]`)");
                Vec::new()
            }
        }
    }

    /// The scalar; anything else is a fault.
    pub(super) fn scalar(&self) -> Option<&'a Scalar> {
        let what = match &self.node.value {
            Value::Scalar(scalar) => return Some(scalar),
            Value::Null => "a value is missing here",
            Value::List(_) => "one value is expected here, not a list",
            Value::Map(_) => "one value is expected here, not a map",
        };
        self.fault(what);
        None
    }

    /// The text; also that of a number or boolean.
    pub(super) fn text(&self) -> String {
        self.scalar().map_or_else(String::new, |scalar| scalar.text.to_string())
    }

    /// The text, if there is any.
    pub(super) fn nonempty(&self) -> String {
        self.parse(String::new(), |text| match text.trim().is_empty() {
            true => Err("it is empty".to_owned()),
            false => Ok(text.to_owned()),
        })
    }

    /// The file that the text names. A relative path begins where the configuration file is.
    pub(super) fn file_path(&self) -> PathBuf {
        let name = self.node.as_scalar().map_or("", |scalar| &scalar.text);
        match &self.node.origin {
            Origin::File(position) | Origin::Defaults(position) => {
                Path::new(&*position.file).parent().unwrap_or(Path::new("")).join(name)
            }
            _ => PathBuf::from(name),
        }
    }

    /// What stands in the file that the text names. With it the setting is another one.
    pub(super) fn file_text(&self) -> Option<String> {
        if self.nonempty().is_empty() {
            return None;
        }
        self.findings.refer(&self.file_path());
        let text = std::fs::read_to_string(self.file_path())
            .map_err(|error| self.fault(format!("the file {} can't be read: {error}", self.quoted())))
            .ok()?;
        self.findings.content(&self.path, &text);
        Some(text)
    }

    /// Whether a part of the text came out of a file.
    pub(super) fn is_from_file(&self) -> bool {
        self.node.as_scalar().is_some_and(|scalar| scalar.taint == Taint::File)
    }

    /// Where in the text stands what references brought in.
    pub(super) fn foreign(&self) -> Vec<Range<usize>> {
        self.node.as_scalar().map(|scalar| scalar.foreign.clone()).unwrap_or_default()
    }

    /// The text, which may be secret.
    pub(super) fn secret(&self) -> SecretString {
        // From the text where it is: a copy on the way would not be wiped.
        self.scalar().map_or_else(SecretString::default, |scalar| SecretString::from(scalar.text.as_str()))
    }

    /// What `parse` makes of the text. Its error says what to write instead, without the text.
    pub(super) fn parse<T>(&self, stand_in: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        let Some(scalar) = self.scalar() else { return stand_in };
        match parse(&scalar.text) {
            Ok(value) => value,
            // Its place is known to be unset; it was reported or let through.
            Err(_) if scalar.unset == Unset::Yes => stand_in,
            Err(message) => {
                self.fault(message);
                stand_in
            }
        }
    }

    /// The text for a fault; where it may be secret, no text.
    pub(super) fn quoted(&self) -> String {
        self.node.as_scalar().map_or_else(|| "the value".to_owned(), Scalar::quoted)
    }

    /// A duration such as `250ms` or `2h`; at least `least`.
    pub(super) fn duration(&self, least: Duration) -> Duration {
        let quoted = self.quoted();
        self.parse(least, |text| match units::duration(text) {
            Some(duration) if duration >= least => Ok(duration),
            Some(_) => Err(format!("{quoted} is too short; it must be at least {}", units::written(least))),
            None => {
                Err(format!("{quoted} is no duration; write for example `250ms`, `5s`, `1m`, `2h` or `3d`"))
            }
        })
    }

    /// The value, unless it is `off`.
    pub(super) fn unless_off(self) -> Option<Item<'a>> {
        (!self.is("off")).then_some(self)
    }

    /// A size in bytes such as `64KiB`.
    pub(super) fn size(&self) -> u64 {
        let quoted = self.quoted();
        self.parse(1, |text| match units::size(text) {
            Some(0) => Err(format!("{quoted} is too small; it must be at least 1")),
            Some(size) => Ok(size),
            None => Err(format!("{quoted} is no size; write for example `64KiB` or `2MiB`")),
        })
    }

    /// A number within a range.
    pub(super) fn number<T: FromStr + PartialOrd + Display + Copy>(&self, range: RangeInclusive<T>) -> T {
        let quoted = self.quoted();
        let (least, most) = (*range.start(), *range.end());
        self.parse(least, |text| match text.trim().parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("{quoted} must be a number from {least} to {most}")),
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> bool {
        self.choice(&[("true", true), ("false", false)])
    }

    /// One of a closed set.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> T {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let quoted = self.quoted();
        self.parse(choices[0].1, |text| {
            let chosen = choices.iter().find(|(name, _)| *name == text);
            chosen.map(|(_, value)| *value).ok_or_else(|| {
                format!(
                    "{quoted} is not possible here; write {}{}",
                    one_of(&names),
                    did_you_mean(text, names)
                )
            })
        })
    }

    /// Whether the value is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.node.as_scalar().is_some_and(|scalar| *scalar.text == word)
    }

    /// Whether YAML takes the value for text.
    pub(super) fn kind(&self) -> Option<ScalarKind> {
        self.node.as_scalar().map(|scalar| scalar.kind)
    }
}

impl<'a> Keys<'a> {
    /// The value of a known key, if it has one.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let node = self.map.get(key).filter(|node| !node.is_null())?;
        Some(Item { node, path: join(&self.path, key), findings: self.findings })
    }

    /// The value of a known key that must be there; the remedy says what to write.
    pub(super) fn require(&mut self, key: &'static str, remedy: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.missing(key, remedy);
        }
        item
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, remedy: &str) {
        let at = self.map.entry(key).map_or(&self.at, |entry| &entry.origin);
        self.findings.missing(at, join(&self.path, key), format!("missing; {remedy}"));
    }

    /// Refuses keys that a later version brings.
    pub(super) fn later(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.later.push(key);
            if let Some(entry) = self.map.entry(key) {
                let path = attributed(&join(&self.path, key), &entry.origin);
                self.findings.fault(&entry.origin, path, "not supported yet; remove it");
            }
        }
    }

    /// Refuses known keys without a value, where leaving one out would mean something else.
    pub(super) fn refuse_empty(&self) {
        for entry in &self.map.0 {
            if entry.node.is_null() {
                let message = "a value is missing here; write one, or remove the key";
                self.findings.fault(&entry.origin, join(&self.path, &entry.key), message);
            }
        }
    }

    /// Makes a key known that is read elsewhere.
    pub(super) fn skip(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Where the mapping stands.
    pub(super) fn at(&self) -> &Origin {
        &self.at
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reports every key that was not asked for.
    pub(super) fn done(self) {
        #[cfg(test)]
        super::reference::tests::note(&self.path, &self.at, &self.known);
        for entry in &self.map.0 {
            let all = || self.known.iter().chain(&self.later).copied();
            if !all().any(|key| key == entry.key) {
                let path = attributed(&join(&self.path, &entry.key), &entry.origin);
                let hint = match did_you_mean(&entry.key, all()) {
                    hint if hint.is_empty() => format!("; there are: {}", self.known.join(" ")),
                    hint => hint,
                };
                let message = format!("unknown key{hint}");
                self.findings.fault(&entry.origin, path, message);
            }
        }
    }
}

/// What stands in `defaults` is reported there, not at the target that it is laid under.
fn attributed(path: &str, origin: &Origin) -> String {
    match (origin, path.strip_prefix("targets.").and_then(|path| path.split_once('.'))) {
        (Origin::Defaults(_), Some((_, key))) => format!("defaults.{key}"),
        _ => path.to_owned(),
    }
}

/// `; did you mean …?`, if something similar is known.
pub(super) fn did_you_mean<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let written = written.to_ascii_lowercase();
    let allowed = written.chars().count().div_ceil(3).min(3);
    let nearest = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// `` `a`, `b` or `c` ``.
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
