//! `where` of a route.

use crate::domain::{Condition, Field, Operator, Place, Presence};

use super::places::place;
use super::tree::{Node, ScalarKind, Taint, Value};
use super::walk::{Item, Keys};

/// The places that conditions look at, each once.
#[derive(Default)]
pub(super) struct Fields(pub Vec<Place>);

impl Fields {
    fn index(&mut self, place: Place) -> usize {
        match self.0.iter().position(|known| *known == place) {
            Some(index) => index,
            None => {
                self.0.push(place);
                self.0.len() - 1
            }
        }
    }
}

/// Reads `where`. An empty list or map says nothing, and so makes no condition.
pub(super) fn conditions(item: &Item<'_>, fields: &mut Fields) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for named in item.entries() {
        let place = match place(named.name) {
            Ok(place) => place,
            Err(message) => {
                item.findings().fault(named.at, named.item.path.clone(), message);
                continue;
            }
        };
        let (operators, missing_passes) = operators(&named.item);
        if !operators.is_empty() {
            let (field, concealed) = (fields.index(place), is_tainted(named.item.node));
            conditions.push(Condition { field, operators, missing_passes, concealed });
        }
    }
    conditions
}

/// Whether anything in it comes from a reference.
fn is_tainted(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar(scalar) => scalar.taint != Taint::Clear,
        Value::List(elements) => elements.iter().any(is_tainted),
        Value::Map(map) => map.0.iter().any(|entry| is_tainted(&entry.node)),
    }
}

/// The operators, and whether a missing field passes.
fn operators(item: &Item<'_>) -> (Vec<Operator>, bool) {
    match &item.node.value {
        Value::Map(_) => explicit(item),
        Value::Null => {
            item.fault("a value is missing here; write a value, a list, or operators such as `{ gte: 100 }`");
            (Vec::new(), false)
        }
        Value::Scalar(_) | Value::List(_) => {
            let wanted: Vec<Field> = item.elements().iter().map(field).collect();
            (wanted.is_empty().then(Vec::new).unwrap_or_else(|| vec![Operator::In(wanted)]), false)
        }
    }
}

fn explicit(item: &Item<'_>) -> (Vec<Operator>, bool) {
    let mut keys = item.keys();
    // An operand that got lost must not take its filter with it.
    keys.refuse_empty();
    let mut operators = Vec::new();
    let mut one = |keys: &mut Keys<'_>, key, read: fn(&Item<'_>) -> Field, make: fn(Field) -> Operator| {
        operators.extend(keys.get(key).map(|item| make(read(&item))));
    };
    one(&mut keys, "eq", field, Operator::Equal);
    one(&mut keys, "ne", field, Operator::NotEqual);
    one(&mut keys, "gt", bound, Operator::Greater);
    one(&mut keys, "gte", bound, Operator::GreaterOrEqual);
    one(&mut keys, "lt", bound, Operator::Less);
    one(&mut keys, "lte", bound, Operator::LessOrEqual);
    // An empty list says nothing, as without an operator (DIALECTS.md §4).
    let mut list = |key| {
        let item = keys.get(key)?;
        Some(item.elements().iter().map(field).collect()).filter(|wanted: &Vec<Field>| !wanted.is_empty())
    };
    operators.extend(list("in").map(Operator::In));
    operators.extend(list("not_in").map(Operator::NotIn));
    operators.extend(keys.get("exists").map(|item| {
        Operator::Exists(item.choice(&[("true", Presence::Present), ("false", Presence::Absent)]))
    }));
    operators.extend(keys.get("prefix").map(|item| Operator::Prefix(item.text().into())));
    let missing_passes =
        keys.get("missing").is_some_and(|item| item.choice(&[("pass", true), ("refuse", false)]));
    keys.done();
    (operators, missing_passes)
}

/// A value to compare with: a number or boolean only if it is written without quotes.
fn field(item: &Item<'_>) -> Field {
    let text = item.text();
    match item.kind() {
        Some(ScalarKind::Bool) => Field::Bool(text.eq_ignore_ascii_case("true")),
        Some(ScalarKind::Number) => number(&text).unwrap_or(Field::Text(text.into())),
        Some(ScalarKind::Text) | None => Field::Text(text.into()),
    }
}

/// A bound; what a reference brought in is a number if it looks like one.
fn bound(item: &Item<'_>) -> Field {
    let Some(scalar) = item.node.as_scalar() else { return field(item) };
    match (number(&scalar.text), scalar.taint) {
        (Some(number), Taint::Environment | Taint::File) => number,
        (Some(_), Taint::Clear) if scalar.kind == ScalarKind::Text => {
            item.findings().notice(format!(
                "{}: {}: in quotes it is text, so no number passes; write it without quotes",
                item.node.origin, item.path
            ));
            field(item)
        }
        _ => field(item),
    }
}

fn number(text: &str) -> Option<Field> {
    let integer = text.parse().ok().map(Field::Integer);
    integer.or_else(|| text.parse().ok().filter(|float: &f64| float.is_finite()).map(Field::Float))
}
