//! What an expression comes to.

use std::borrow::Cow;

use crate::json::{self, JsonForm};

/// A value while a template is rendered. Nothing is copied out of the event before it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none.
    Missing,
    /// JSON text of any kind.
    Json(Cow<'a, str>),
    Text(Cow<'a, str>),
}

impl<'a> Value<'a> {
    pub(super) fn bool(value: bool) -> Value<'a> {
        Value::Json(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    pub(super) fn number(value: impl ToString) -> Value<'a> {
        Value::Json(Cow::Owned(value.to_string()))
    }

    pub(super) fn optional_text(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::Missing, |text| Value::Text(Cow::Borrowed(text)))
    }

    pub(super) fn optional_json(raw: Option<&'a str>) -> Value<'a> {
        raw.map_or(Value::Missing, |raw| Value::Json(Cow::Borrowed(raw)))
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Missing => 0,
            Value::Json(text) | Value::Text(text) => text.len(),
        }
    }

    /// There is none, or it is `null`.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Value::Missing) || self.raw() == Some("null")
    }

    /// As Handlebars has it: not `false`, 0, an empty text or list, `null` or missing.
    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Value::Missing => false,
            Value::Text(text) => !text.is_empty(),
            Value::Json(raw) => match raw.as_bytes().first() {
                None | Some(b'n' | b'f') => false,
                Some(b'"') => raw.len() > 2,
                Some(b'[') => json::elements(raw).is_some_and(|elements| !elements.is_empty()),
                Some(b'{' | b't') => true,
                Some(_) => raw.parse::<f64>().is_ok_and(|number| number != 0.0),
            },
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.as_number() == Some(0.0)
    }

    fn raw(&self) -> Option<&str> {
        match self {
            Value::Json(raw) => Some(raw),
            Value::Missing | Value::Text(_) => None,
        }
    }

    /// The number that it is.
    pub(super) fn as_number(&self) -> Option<f64> {
        let raw = self.raw()?;
        raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| raw.parse().ok())?
    }

    /// The JSON text of the number that it is, or that it is the text of.
    pub(super) fn numeric(&self) -> Option<Cow<'_, str>> {
        let text = match self {
            Value::Text(text) => Cow::Borrowed(&**text),
            Value::Json(raw) if raw.starts_with('"') => json::text(raw)?,
            Value::Json(raw) => Cow::Borrowed(&**raw),
            Value::Missing => return None,
        };
        let trimmed = text.trim();
        let is_number = trimmed.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && json::is_document(trimmed.as_bytes());
        is_number.then(|| Cow::Owned(trimmed.to_owned()))
    }

    /// The text that it is.
    pub(super) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Json(raw) if raw.starts_with('"') => json::text(raw),
            Value::Json(_) | Value::Missing => None,
        }
    }

    /// What is written of it where no JSON is: nothing for `null` and what is missing; a list's
    /// elements with commas between them, as JavaScript has it; an object's JSON text.
    pub(super) fn plain(&self, form: JsonForm) -> Cow<'_, str> {
        match self {
            Value::Missing => Cow::Borrowed(""),
            Value::Text(text) => Cow::Borrowed(text),
            Value::Json(raw) => match raw.as_bytes().first() {
                Some(b'n') => Cow::Borrowed(""),
                Some(b'"') => json::text(raw).unwrap_or_default(),
                Some(b'[') => Cow::Owned(joined(raw, ",", form)),
                _ => Cow::Owned(formed(raw, form)),
            },
        }
    }

    /// Its JSON text: `null` for what is missing.
    pub(super) fn json(&self, form: JsonForm) -> Cow<'_, str> {
        match self {
            Value::Missing => Cow::Borrowed("null"),
            Value::Text(text) => {
                let mut out = Vec::with_capacity(text.len() + 2);
                json::quote(text, &mut out);
                Cow::Owned(String::from_utf8(out).unwrap_or_default())
            }
            Value::Json(raw) => Cow::Owned(formed(raw, form)),
        }
    }

    /// What stands below it under a name or index; of lists and texts also their `length`.
    pub(super) fn member(&self, name: &str) -> Value<'a> {
        match self {
            Value::Json(Cow::Borrowed(raw)) => match json::at(raw, name) {
                Some(found) => Value::Json(Cow::Borrowed(found)),
                None => self.length(name),
            },
            Value::Json(Cow::Owned(raw)) => match json::at(raw, name) {
                Some(found) => Value::Json(Cow::Owned(found.to_owned())),
                None => self.length(name),
            },
            Value::Missing | Value::Text(_) => self.length(name),
        }
    }

    fn length(&self, name: &str) -> Value<'a> {
        match name {
            "length" => self.len().map_or(Value::Missing, Value::number),
            _ => Value::Missing,
        }
    }

    /// How many elements or characters it has.
    pub(super) fn len(&self) -> Option<usize> {
        match self.raw() {
            Some(raw) if raw.starts_with('[') => json::elements(raw).map(|elements| elements.len()),
            _ => self.as_text().map(|text| text.chars().count()),
        }
    }

    /// The elements of a list, or the members of an object with their keys.
    pub(super) fn entries(&self) -> Vec<(Option<String>, Value<'a>)> {
        fn entries<'j, 'v>(
            raw: &'j str,
            value: impl Fn(&'j str) -> Value<'v>,
        ) -> Vec<(Option<String>, Value<'v>)> {
            if let Some(elements) = json::elements(raw) {
                return elements.into_iter().map(|element| (None, value(element))).collect();
            }
            let members = json::members(raw).unwrap_or_default();
            let entry = |member: json::Member<'j>| (Some(member.name().into_owned()), value(member.value));
            members.into_iter().map(entry).collect()
        }
        match self {
            Value::Json(Cow::Borrowed(raw)) => entries(raw, |raw| Value::Json(Cow::Borrowed(raw))),
            Value::Json(Cow::Owned(raw)) => entries(raw, |raw| Value::Json(Cow::Owned(raw.to_owned()))),
            Value::Missing | Value::Text(_) => Vec::new(),
        }
    }
}

/// The elements of a list as texts, with `separator` between them.
pub(super) fn joined(raw: &str, separator: &str, form: JsonForm) -> String {
    let elements = json::elements(raw).unwrap_or_default();
    let text = |element: &str| match element.starts_with('[') {
        // A list in a list is not followed further: nesting is the sender's to choose.
        true => formed(element, form),
        false => Value::Json(Cow::Borrowed(element)).plain(form).into_owned(),
    };
    elements.into_iter().map(text).collect::<Vec<_>>().join(separator)
}

/// JSON text in a form; what is nested too deep for it is left as it is.
fn formed(raw: &str, form: JsonForm) -> String {
    let mut out = Vec::with_capacity(raw.len());
    if json::write(raw, form, &mut out).is_err() {
        out = raw.as_bytes().to_vec();
    }
    String::from_utf8(out).unwrap_or_default()
}
