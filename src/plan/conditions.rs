//! `where` of a route.

use crate::domain::{Condition, Field, Operator, Place, Presence};

use super::places::place;
use super::tree::{ScalarKind, Taint, Value};
use super::walk::{Item, Keys};

/// The places that conditions and ordered targets look at, each once.
#[derive(Default)]
pub(super) struct Fields(pub Vec<Place>);

impl Fields {
    /// Where `place` stands among them.
    pub(super) fn index(&mut self, place: Place) -> usize {
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
            let (field, concealed) = (fields.index(place), !named.item.node.is_clear());
            conditions.push(Condition { field, operators, missing_passes, concealed });
        }
    }
    conditions
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
            let wanted: Vec<Field> = item.elements().iter().flat_map(readings).collect();
            (wanted.is_empty().then(Vec::new).unwrap_or_else(|| vec![Operator::In(wanted)]), false)
        }
    }
}

fn explicit(item: &Item<'_>) -> (Vec<Operator>, bool) {
    let mut keys = item.keys();
    // An operand that got lost must not take its filter with it.
    keys.refuse_empty();
    let mut operators = Vec::new();
    let mut one = |keys: &mut Keys<'_>, key, read: fn(&Item<'_>) -> Operator| {
        operators.extend(keys.get(key).map(|item| read(&item)));
    };
    one(&mut keys, "eq", |item| one_reading_or(item, Operator::Equal, Operator::In));
    one(&mut keys, "ne", |item| one_reading_or(item, Operator::NotEqual, Operator::NotIn));
    one(&mut keys, "gt", |item| Operator::Greater(bound(item)));
    one(&mut keys, "gte", |item| Operator::GreaterOrEqual(bound(item)));
    one(&mut keys, "lt", |item| Operator::Less(bound(item)));
    one(&mut keys, "lte", |item| Operator::LessOrEqual(bound(item)));
    // An empty list says nothing, as without an operator (DIALECTS.md §4).
    let mut list = |key| {
        let item = keys.get(key)?;
        Some(item.elements().iter().flat_map(readings).collect())
            .filter(|wanted: &Vec<Field>| !wanted.is_empty())
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

/// What a value may be compared as. A reference has no quotes to tell text from a number, so what it
/// brought in is text and also the number or boolean that it looks like.
fn readings(item: &Item<'_>) -> Vec<Field> {
    let brought_in = item.node.as_scalar().filter(|scalar| scalar.taint != Taint::Clear);
    let looks_like = brought_in.and_then(|scalar| unquoted(&scalar.text));
    std::iter::once(field(item)).chain(looks_like).collect()
}

fn one_reading_or(
    item: &Item<'_>,
    one: fn(Field) -> Operator,
    several: fn(Vec<Field>) -> Operator,
) -> Operator {
    match <[Field; 1]>::try_from(readings(item)) {
        Ok([only]) => one(only),
        Err(readings) => several(readings),
    }
}

/// The number or boolean that a text would be without quotes. As there, one with a leading zero is
/// text: `007` is a name.
fn unquoted(text: &str) -> Option<Field> {
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(Field::Bool(text.eq_ignore_ascii_case("true")));
    }
    let digits = text.trim_start_matches(['+', '-']).as_bytes();
    let leading_zero = matches!(digits, [b'0', b'0'..=b'9', ..]);
    number(text).filter(|_| !leading_zero)
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
