//! The effective values, each with where it comes from; masked (DESIGN.md §4.11).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::nats::CREDENTIALS;
use super::origin::Origin;
use super::properties::is_sensitive;
use super::read::join;
use super::routes::shown_name;
use super::tree::{Node, Scalar, Taint, Value};

/// Stands for a value that is not shown.
pub(super) const MASK: &str = "***";

/// Whether the value at this path may be shown although it comes from the environment
/// (DESIGN.md §4.11).
pub(super) fn is_shown(path: &[&str]) -> bool {
    matches!(
        path,
        ["name"]
            | ["admin", "listen"]
            | ["replicas"]
            | ["sources", _, "kafka", "brokers" | "topics" | "group", ..]
            | ["sources", _, "nats", "servers" | "stream" | "subjects" | "durable" | "queue", ..]
            | ["dead_letters", "topic" | "stream" | "subject"]
            | ["routes", _, "name"]
    )
}

/// One effective value of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key, for example `targets.crm.timeout`.
    pub path: String,
    /// Its value; `***` where it may be secret.
    pub value: String,
    /// Where it comes from.
    pub from: Origin,
    /// Tells it from another value, also where neither may be shown.
    #[serde(skip)]
    pub(super) print: Print,
}

/// What a value is known by again without being kept: it may be secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print([u8; 32]);

impl Print {
    fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Print {
        let mut sha = Sha256::new();
        for text in texts {
            sha.update((text.len() as u64).to_be_bytes());
            sha.update(text.as_bytes());
        }
        Print(sha.finalize().into())
    }
}

/// Who sees it could guess a short secret.
impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print")
    }
}

/// Lets the value of each setting that names a file be another one when the file's content is.
pub(super) fn imprint(settings: &mut [Setting], contents: &BTreeMap<String, String>) {
    for setting in settings {
        if let Some(content) = contents.get(&setting.path) {
            setting.print = Print::of([&*setting.value, content]);
        }
    }
}

/// All values below `node`, in its order.
pub(super) fn settings(node: &Node) -> Vec<Setting> {
    let mut settings = Vec::new();
    collect(node, "", &mut settings);
    settings
}

/// The first 16 hex digits of SHA-256 over paths and masked values, and over the `contents` of what
/// settings only name. Only among routes does their order matter.
pub(super) fn hash(settings: &[Setting], contents: &BTreeMap<String, String>) -> String {
    let mut ordered: Vec<&Setting> = settings.iter().collect();
    ordered.sort_by_key(|setting| Some(&setting.path).filter(|path| !path.starts_with("routes.")));
    let mut sha = Sha256::new();
    let settings = ordered.iter().map(|setting| [setting.path.as_str(), &setting.value]);
    let contents = contents.iter().map(|(path, text)| [path.as_str(), text]);
    for part in settings.chain(contents).flatten() {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn collect(node: &Node, path: &str, settings: &mut Vec<Setting>) {
    let mut push = |value, print| {
        settings.push(Setting { path: path.to_owned(), value, from: node.origin.clone(), print });
    };
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => push(shown(path, node, scalar), Print::of([scalar.text.as_str()])),
        Value::Map(map) if map.0.is_empty() => push("{}".to_owned(), Print::of([])),
        Value::Map(map) => {
            for entry in &map.0 {
                collect(&entry.node, &join(path, &entry.key), settings);
            }
        }
        Value::List(elements) if elements.iter().all(|element| element.as_scalar().is_some()) => {
            let scalars = || elements.iter().filter_map(Node::as_scalar);
            let shown: Vec<String> = scalars().map(|scalar| shown(path, node, scalar)).collect();
            let print = Print::of(scalars().map(|scalar| scalar.text.as_str()));
            push(format!("[{}]", shown.join(", ")), print);
        }
        Value::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                collect(element, &join(path, shown_name(element, index)), settings);
            }
        }
    }
}

/// The text as it may be shown.
fn shown(path: &str, node: &Node, scalar: &Scalar) -> String {
    let segments: Vec<&str> = path.split('.').collect();
    let hidden = match segments.as_slice() {
        ["targets", _, "secrets", ..] | ["admin", "token"] => true,
        ["targets", _, "auth", "basic", "username"] => false,
        ["targets", _, "auth", "oauth2", key, ..] => *key == "client_secret",
        ["targets", _, "auth" | "tls", ..] => true,
        ["targets", _, "headers", ..] => !matches!(node.origin, Origin::Dialect(_)),
        ["sources", _, "kafka", "properties", property @ ..] => is_sensitive(&property.join(".")),
        ["sources", _, "nats", "user" | "password" | "token" | "nkey"] => true,
        ["sources", _, "nats", "creds"] => scalar.text.contains(CREDENTIALS),
        _ => false,
    };
    let is_url =
        matches!(segments.as_slice(), ["targets", _, "url"] | ["targets", _, "auth", "oauth2", "token_url"]);
    let is_proxy = matches!(segments.as_slice(), ["targets", _, "proxy"]);
    match scalar.taint {
        _ if hidden => MASK.to_owned(),
        Taint::File => MASK.to_owned(),
        _ if is_proxy && *scalar.text == "off" => scalar.text.to_string(),
        _ if is_proxy => without_user(&scalar.text),
        Taint::Clear if is_url => without_query(&scalar.text),
        Taint::Clear => scalar.text.to_string(),
        Taint::Environment if is_shown(&segments) => scalar.text.to_string(),
        Taint::Environment if is_url => origin_of(&scalar.text),
        Taint::Environment => MASK.to_owned(),
    }
}

/// A URL that stands in the configuration as it is: only its query is masked, because tokens are
/// often written there.
fn without_query(text: &str) -> String {
    match text.split_once('?') {
        Some((before, _)) => format!("{before}?{MASK}"),
        None => text.to_owned(),
    }
}

/// Scheme, host and port of a URL; user and password are masked.
fn without_user(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return MASK.to_owned() };
    let origin = url.origin().ascii_serialization();
    let has_user = !url.username().is_empty() || url.password().is_some();
    match origin.split_once("://") {
        Some((scheme, host)) if has_user => format!("{scheme}://{MASK}@{host}"),
        Some(_) => origin,
        None => MASK.to_owned(),
    }
}

/// Scheme, host and port of a URL; path and query are masked.
fn origin_of(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => format!("{}/{MASK}", url.origin().ascii_serialization()),
        Err(_) => MASK.to_owned(),
    }
}
