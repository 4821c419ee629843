//! `HOOKFERRY__ADMIN__LISTEN=…`: the layer over all files.

use std::collections::BTreeMap;

use figment::value::{Dict, Map as Profiles, Value as Figure};
use figment::{Figment, Metadata, Profile, Provider};

use super::origin::Origin;
use super::tree::{Entry, Map, Node, Scalar, Taint, Value};

/// Every other `HOOKFERRY_*` variable is ignored: Kubernetes injects such.
const PREFIX: &str = "HOOKFERRY__";

/// Between levels.
const SEPARATOR: &str = "__";

/// Keys whose values are lists; the text of a variable is split at its commas there.
const LISTS: [&str; 6] = ["brokers", "topics", "secrets", "success", "retry_on", "schedule"];

/// The variables that set something.
struct Variables<'a>(&'a BTreeMap<String, String>);

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
        for (name, text) in self.0 {
            if let Some(path) = name.strip_prefix(PREFIX) {
                let key = path.to_ascii_lowercase().replace(SEPARATOR, ".");
                figment = figment.merge((key, text));
            }
        }
        figment.data()
    }
}

/// What the environment sets, as a layer. `None` if it sets nothing.
pub(super) fn layer(variables: &BTreeMap<String, String>) -> Option<Node> {
    let figment = Figment::from(Variables(variables));
    let settings = figment.extract::<Dict>().ok().filter(|settings| !settings.is_empty())?;
    let metadata = figment.metadata().next()?;
    let name = |path: &[String]| Origin::Environment(metadata.interpolate(&Profile::Default, path).into());
    Some(node(&Figure::from(settings), &mut Vec::new(), &name))
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
            let is_list = path.last().is_some_and(|key| LISTS.contains(&key.as_str()));
            match is_list {
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

fn scalar(text: &str) -> Value {
    Value::Scalar(Scalar { taint: Taint::Environment, ..Scalar::text(text) })
}
