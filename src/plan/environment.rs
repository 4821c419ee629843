//! `HOOKFERRY__ADMIN__LISTEN=…`: the layer over all files.

use std::collections::BTreeMap;

use figment::value::{Dict, Map as Profiles, Value as Figure};
use figment::{Figment, Metadata, Profile, Provider};

use super::fault::Findings;
use super::origin::Origin;
use super::settings::is_shown;
use super::tree::{Entry, Map, Node, Scalar, Taint, Value};

/// Every other `HOOKFERRY_*` variable is ignored: Kubernetes injects such.
const PREFIX: &str = "HOOKFERRY__";

/// Between levels.
const SEPARATOR: &str = "__";

/// Whether the value at a path is a list; the text of a variable is split at its commas there.
fn is_list(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["sources", _, "kafka", "brokers" | "topics"]
        | ["sources", _, "nats", "servers" | "subjects"]
        | ["sources", _, "event", _] => true,
        ["targets", _, below @ ..] | ["defaults", below @ ..] => matches!(
            below,
            ["secrets" | "success"] | ["retry", "retry_on" | "schedule"] | ["egress", "allow" | "deny"]
        ),
        _ => false,
    }
}

/// The variables that set something: the path of each key, with its text.
struct Variables<'a>(Vec<(String, &'a str)>);

impl<'a> Variables<'a> {
    /// Those of the environment. One that names no key is a fault of its own and costs no other.
    fn of(variables: &'a BTreeMap<String, String>, findings: &Findings) -> Variables<'a> {
        let mut set = Vec::new();
        for (name, text) in variables {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let segments: Vec<&str> = path.split(SEPARATOR).collect();
            if segments.iter().any(|segment| segment.is_empty() || segment.contains('.')) {
                let message = "the name holds no key; write for example `HOOKFERRY__ADMIN__LISTEN`";
                findings.fault(&Origin::Environment(name.as_str().into()), "", message);
                continue;
            }
            set.push((segments.join(".").to_ascii_lowercase(), text.as_str()));
        }
        Variables(set)
    }
}

impl Provider for Variables<'_> {
    /// Names a value by the variable that set it.
    fn metadata(&self) -> Metadata {
        Metadata::named("environment").interpolater(|_: &Profile, keys: &[&str]| {
            format!("{PREFIX}{}", keys.join(SEPARATOR).to_ascii_uppercase())
        })
    }

    /// Every value stays text: what it means is up to its key.
    fn data(&self) -> figment::Result<Profiles<Profile, Dict>> {
        let mut figment = Figment::new();
        for (key, text) in &self.0 {
            figment = figment.merge((key, text));
        }
        figment.data()
    }
}

/// What the environment sets, as a layer. `None` if it sets nothing.
pub(super) fn layer(variables: &BTreeMap<String, String>, findings: &Findings) -> Option<Node> {
    let figment = Figment::from(Variables::of(variables, findings));
    let settings = match figment.extract::<Dict>() {
        Ok(settings) if settings.is_empty() => return None,
        Ok(settings) => settings,
        // The reason may repeat a value, which may be a secret.
        Err(_) => {
            let message = "the variables can't be read as keys; compare their names with the documentation";
            findings.fault(&Origin::Environment(format!("{PREFIX}…").into()), "", message);
            return None;
        }
    };
    let metadata = figment.metadata().next()?;
    let name = |path: &[String]| Origin::Environment(metadata.interpolate(&Profile::Default, path).into());
    let layer = node(&Figure::from(settings), &mut Vec::new(), &name);
    conceal(&layer, &mut Vec::new(), findings);
    Some(layer)
}

fn node(figure: &Figure, path: &mut Vec<String>, name: &impl Fn(&[String]) -> Origin) -> Node {
    let origin = name(path);
    let value = match figure {
        Figure::Dict(_, settings) => {
            let mut map = Map::default();
            for (key, figure) in settings {
                path.push(key.clone());
                map.0.push(Entry { key: key.clone(), origin: name(path), node: node(figure, path, name) });
                path.pop();
            }
            Value::Map(map)
        }
        figure => {
            let text = figure.as_str().unwrap_or_default();
            match is_list(path) {
                true => {
                    let parts = text.split(',').map(|part| scalar(part.trim()));
                    Value::List(parts.map(|value| Node { origin: origin.clone(), value }).collect())
                }
                false => scalar(text),
            }
        }
    };
    Node { origin, value }
}

/// Notes all values of the layer that may not be shown.
fn conceal<'n>(node: &'n Node, path: &mut Vec<&'n str>, findings: &Findings) {
    match &node.value {
        Value::Scalar(scalar) if !is_shown(path) => findings.conceal(&scalar.text),
        Value::Scalar(_) | Value::Null => {}
        Value::List(elements) => elements.iter().for_each(|element| conceal(element, path, findings)),
        Value::Map(map) => {
            for entry in &map.0 {
                path.push(&entry.key);
                conceal(&entry.node, path, findings);
                path.pop();
            }
        }
    }
}

fn scalar(text: &str) -> Value {
    Value::Scalar(Scalar { taint: Taint::Environment, ..Scalar::text(text) })
}
