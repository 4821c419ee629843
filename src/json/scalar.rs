use std::borrow::Cow;

use super::cursor::Cursor;
use super::form::{JsonForm, write};
use super::string::unescape_lossy;
use crate::domain::Field;

/// A JSON text as what a route's condition looks at. Numbers that are 64-bit integers stay
/// integers; lone surrogates become U+FFFD; in an array, inner arrays count as objects.
pub fn field(raw: &str) -> Field {
    if !raw.starts_with('[') {
        return single(raw);
    }
    let mut cursor = Cursor::new(raw);
    let mut elements = Vec::new();
    cursor.open();
    while cursor.more() {
        elements.push(single(cursor.value()));
    }
    Field::List(elements.into())
}

fn single(raw: &str) -> Field {
    match raw.as_bytes().first() {
        Some(b'"') => Field::Text(unescape_lossy(raw).into()),
        Some(b'{' | b'[') => Field::Object,
        Some(b't') => Field::Bool(true),
        Some(b'f') => Field::Bool(false),
        Some(b'-' | b'0'..=b'9') => raw.parse().map(Field::Integer).unwrap_or_else(|_| float(raw)),
        _ => Field::Null,
    }
}

/// Whether two JSON texts have the same value: numbers by what they are, objects whatever the order
/// of their members. Of what is nested too deep to be put in order, only equal texts are the same.
pub fn same(left: &str, right: &str) -> bool {
    match (field(left), field(right)) {
        (Field::Integer(left), Field::Integer(right)) => left == right,
        (Field::Integer(one), Field::Float(other)) | (Field::Float(other), Field::Integer(one)) => {
            one as f64 == other
        }
        (Field::Object | Field::List(_), Field::Object | Field::List(_)) => {
            let ordered = |raw: &str| {
                let mut out = Vec::with_capacity(raw.len());
                write(raw, JsonForm::Sorted, &mut out).map(|()| out).ok()
            };
            left == right || ordered(left).is_some_and(|left| Some(left) == ordered(right))
        }
        (left, right) => left == right,
    }
}

fn float(raw: &str) -> Field {
    raw.parse().map_or(Field::Null, Field::Float)
}

/// The text of a JSON string (unescaped, with U+FFFD for lone surrogates), number or boolean;
/// `None` for `null`, arrays and objects.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => Some(unescape_lossy(raw)),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}
