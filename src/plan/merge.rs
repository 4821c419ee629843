//! How layers are laid over each other, and how the files of a folder are united.

use super::fault::Findings;
use super::read::join;
use super::tree::{Entry, Map, Node, Value};

/// Lays one configuration over an earlier one: maps merge, `routes` merge by `name`, other lists
/// replace, `null` removes.
pub(super) fn lay_document_over(base: Node, over: Node) -> Node {
    let origin = base.origin.clone();
    let (mut base, mut over) = (base.into_map(), over.into_map());
    let routes = match (base.remove("routes"), over.remove("routes")) {
        (Some(base), Some(over)) => Some(Entry { node: lay_routes_over(base.node, over.node), ..over }),
        (base, over) => over.or(base),
    };
    let mut document = lay_map_over(base, over, Mapping::Document);
    document.0.extend(routes.filter(|routes| !routes.node.is_null()));
    Node { origin, value: Value::Map(document) }
}

fn lay_routes_over(base: Node, over: Node) -> Node {
    let (mut routes, over_routes) = match (base.value, over.value) {
        (Value::List(routes), Value::List(over)) => (routes, over),
        (_, value) => return Node { origin: over.origin, value },
    };
    for route in over_routes {
        let name = name_of(&route).map(str::to_owned);
        let same = routes.iter_mut().find(|earlier| name.is_some() && name_of(earlier) == name.as_deref());
        match same {
            Some(earlier) => *earlier = lay_over(earlier.clone(), route),
            None => routes.push(route),
        }
    }
    Node { origin: over.origin, value: Value::List(routes) }
}

fn name_of(route: &Node) -> Option<&str> {
    Some(&route.as_map()?.get("name")?.as_scalar()?.text)
}

/// Lays a value over another: maps merge, anything else replaces.
pub(super) fn lay_over(base: Node, over: Node) -> Node {
    lay_value_over(base, over, Mapping::Plain)
}

/// As [`lay_over`], for the keys of a target or of `defaults`, of which some have several forms.
pub(super) fn lay_target_over(base: Node, over: Node) -> Node {
    lay_value_over(base, over, Mapping::Target)
}

fn lay_value_over(base: Node, over: Node, mapping: Mapping) -> Node {
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(above)) => {
            Node { origin: over.origin, value: Value::Map(lay_map_over(base, above, mapping)) }
        }
        (_, value) => Node { origin: over.origin, value },
    }
}

/// Which mapping it is: names that a user chose (of labels, of targets) may be those of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mapping {
    Document,
    Targets,
    EventTypes,
    /// `declare` of `event_types`, where a name without a value says all that there is to say.
    Declared,
    /// A target, or `defaults`.
    Target,
    Signature,
    /// `auth` of a target.
    Auth,
    /// Names of headers, which compare in any case.
    Headers,
    Plain,
}

impl Mapping {
    fn below(self, key: &str) -> Mapping {
        match (self, key) {
            (Mapping::Document, "targets") => Mapping::Targets,
            (Mapping::Document, "event_types") => Mapping::EventTypes,
            (Mapping::EventTypes, "declare") => Mapping::Declared,
            (Mapping::Document, "defaults") | (Mapping::Targets, _) => Mapping::Target,
            (Mapping::Target, "signature") => Mapping::Signature,
            (Mapping::Target, "auth") => Mapping::Auth,
            (Mapping::Target | Mapping::Signature, "headers") | (Mapping::Auth, "header") => Mapping::Headers,
            _ => Mapping::Plain,
        }
    }

    fn is_same(self, left: &str, right: &str) -> bool {
        match self {
            Mapping::Headers => left.eq_ignore_ascii_case(right),
            _ => left == right,
        }
    }
}

fn lay_map_over(mut base: Map, over: Map, mapping: Mapping) -> Map {
    for entry in over.0 {
        let index = base.0.iter().position(|below| mapping.is_same(&below.key, &entry.key));
        match (index, entry.node.is_null()) {
            (Some(index), true) => {
                base.0.remove(index);
            }
            (None, true) if mapping != Mapping::Declared => {}
            (None, _) => base.0.push(entry),
            (Some(index), false) => {
                if let Some(below) = base.0.get_mut(index) {
                    let (lower, upper) = match mapping {
                        Mapping::Target => one_form(&entry.key, below.node.clone(), entry.node),
                        _ => (below.node.clone(), entry.node),
                    };
                    let node = lay_value_over(lower, upper, mapping.below(&entry.key));
                    *below = Entry { key: entry.key, origin: entry.origin, node };
                }
            }
        }
    }
    base
}

/// The keys of `retry` that describe exponential waits; they and `schedule` exclude each other.
pub(super) const EXPONENTIAL: [&str; 4] = ["attempts", "initial", "factor", "max_delay"];

/// The keys of `payload` that hold a template.
pub(super) const TEMPLATES: [&str; 2] = ["template", "template_file"];
/// The keys of `payload` that say what the body is.
const BODIES: [&str; 3] = ["preset", "template", "template_file"];

/// Brings two values of a target's key that has several forms to the same form: `payload: NAME` is
/// `payload: { preset: NAME }`; who sets one form of `retry` drops the other one below, and the
/// jitter that belongs to it (PRODUCT.md §1, "Layers"); who sets one kind of `auth` drops the others.
fn one_form(key: &str, mut below: Node, mut over: Node) -> (Node, Node) {
    match key {
        "payload" => {
            for node in [&mut below, &mut over] {
                if let Value::Scalar(scalar) = &node.value {
                    let preset = Node { origin: node.origin.clone(), value: Value::Scalar(scalar.clone()) };
                    let mut map = Map::default();
                    map.set("preset", preset);
                    node.value = Value::Map(map);
                }
            }
            // A template makes the whole body, and so does a preset: who sets one drops the other.
            if let (Value::Map(below), Some(over)) = (&mut below.value, over.as_map())
                && BODIES.iter().any(|key| over.get(key).is_some())
            {
                TEMPLATES.iter().for_each(|key| drop(below.remove(key)));
            }
        }
        "auth" => {
            if let (Value::Map(below), Some(over)) = (&mut below.value, over.as_map())
                && over.0.iter().any(|entry| !entry.node.is_null())
            {
                below.0.retain(|entry| over.get(&entry.key).is_some());
            }
        }
        "retry" => {
            if let (Value::Map(below), Some(over)) = (&mut below.value, over.as_map()) {
                let sets_exponential = EXPONENTIAL.iter().any(|key| over.get(key).is_some());
                if over.get("schedule").is_some() {
                    EXPONENTIAL.iter().chain(&["jitter"]).for_each(|key| drop(below.remove(key)));
                } else if sets_exponential && below.remove("schedule").is_some() {
                    below.remove("jitter");
                }
            }
        }
        _ => {}
    }
    (below, over)
}

/// Unites two files of one folder: maps unite, lists append, and what is defined twice is a fault
/// that names both places.
pub(super) fn unite(first: Node, second: Node, findings: &Findings) -> Node {
    let origin = first.origin.clone();
    let mut united = first.into_map();
    unite_maps(&mut united, second.into_map(), "", findings);
    Node { origin, value: Value::Map(united) }
}

fn unite_maps(first: &mut Map, second: Map, path: &str, findings: &Findings) {
    for entry in second.0 {
        let path_here = join(path, &entry.key);
        let Some(earlier) = first.0.iter_mut().find(|earlier| earlier.key == entry.key) else {
            first.0.push(entry);
            continue;
        };
        // A source or target is one thing: it can't be written half here and half there.
        let divisible = !matches!(path, "sources" | "targets");
        match (&mut earlier.node.value, entry.node.value) {
            (Value::Map(map), Value::Map(more)) if divisible => {
                unite_maps(map, more, &path_here, findings);
            }
            (Value::List(list), Value::List(more)) => list.extend(more),
            _ => findings.fault(
                &entry.origin,
                path_here,
                format!("defined twice; it is defined first at {}", earlier.origin),
            ),
        }
    }
}
