//! The functions of templates.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::instant;
use super::render::{MOST_BYTES, too_much};
use super::value::{Value, joined};
use crate::json::{self, JsonForm};
use crate::wire::Unrenderable;

/// What can be called: `{{name argument …}}` and `(name argument …)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    And,
    Or,
    Not,
    Default,
    Required,
    Json,
    Lookup,
    Length,
    Join,
    Concat,
    Upper,
    Lower,
    Trim,
    Truncate,
    Replace,
    Url,
    Ce,
    Date,
    Number,
}

/// How a function is called.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    /// So many arguments at least and at most.
    pub(super) arguments: (usize, usize),
    /// What can be given as `name=value`; never a tree, always constants.
    pub(super) named: &'static [&'static str],
}

const fn plain(name: &'static str, function: Function, least: usize, most: usize) -> Signature {
    Signature { name, function, arguments: (least, most), named: &[] }
}

const ANY: usize = usize::MAX;

pub(super) const SIGNATURES: &[Signature] = &[
    plain("eq", Function::Eq, 2, 2),
    plain("ne", Function::Ne, 2, 2),
    plain("gt", Function::Gt, 2, 2),
    plain("gte", Function::Gte, 2, 2),
    plain("lt", Function::Lt, 2, 2),
    plain("lte", Function::Lte, 2, 2),
    plain("and", Function::And, 2, ANY),
    plain("or", Function::Or, 2, ANY),
    plain("not", Function::Not, 1, 1),
    plain("default", Function::Default, 2, ANY),
    plain("required", Function::Required, 1, 1),
    plain("json", Function::Json, 1, 1),
    plain("lookup", Function::Lookup, 2, 2),
    plain("length", Function::Length, 1, 1),
    plain("join", Function::Join, 1, 2),
    plain("concat", Function::Concat, 1, ANY),
    plain("upper", Function::Upper, 1, 1),
    plain("lower", Function::Lower, 1, 1),
    plain("trim", Function::Trim, 1, 1),
    plain("truncate", Function::Truncate, 2, 3),
    plain("replace", Function::Replace, 3, 3),
    plain("url", Function::Url, 1, 1),
    plain("ce", Function::Ce, 1, 1),
    Signature { name: "date", function: Function::Date, arguments: (1, 2), named: &["offset"] },
    Signature {
        name: "number",
        function: Function::Number,
        arguments: (1, 1),
        named: &["decimals", "separator", "point"],
    },
];

/// Constants given as `name=value`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Options(pub(super) Box<[(&'static str, Box<str>)]>);

impl Options {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| &**value)
    }
}

/// What is known of a call before any event: constants that it can't work with.
pub(super) fn fault(function: Function, constants: &[Option<&str>], options: &Options) -> Option<String> {
    match function {
        Function::Date => {
            let format = constants.get(1).copied().flatten();
            let offset = options.get("offset");
            format.and_then(instant::format_fault).or_else(|| offset.and_then(instant::offset_fault))
        }
        Function::Number => options
            .get("decimals")
            .filter(|text| {
                text.parse::<usize>().is_ok_and(|decimals| decimals > MAX_DECIMALS)
                    || text.parse::<usize>().is_err()
            })
            .map(|_| format!("`decimals` is a number from 0 to {MAX_DECIMALS}")),
        Function::Truncate => constants
            .get(1)
            .copied()
            .flatten()
            .filter(|text| text.parse::<usize>().is_err())
            .map(|_| "`truncate` takes a text and how many characters may stay".to_owned()),
        _ => None,
    }
}

const MAX_DECIMALS: usize = 20;

/// What a function makes of its arguments. `path` is what `required` misses, for people.
pub(super) fn call<'a>(
    function: Function,
    arguments: Vec<Value<'a>>,
    options: &Options,
    form: JsonForm,
    path: &str,
) -> Result<Value<'a>, Unrenderable> {
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().unwrap_or(Value::Missing);
    Ok(match function {
        Function::Eq => Value::bool(equal(&next(), &next())),
        Function::Ne => Value::bool(!equal(&next(), &next())),
        Function::Gt => Value::bool(ordered(&next(), &next()).is_some_and(|order| order.is_gt())),
        Function::Gte => Value::bool(ordered(&next(), &next()).is_some_and(|order| order.is_ge())),
        Function::Lt => Value::bool(ordered(&next(), &next()).is_some_and(|order| order.is_lt())),
        Function::Lte => Value::bool(ordered(&next(), &next()).is_some_and(|order| order.is_le())),
        Function::And => until(arguments, |value| !value.is_truthy()),
        Function::Or => until(arguments, Value::is_truthy),
        Function::Not => Value::bool(!next().is_truthy()),
        Function::Default => until(arguments, |value| !value.is_nothing() && !is_empty_text(value)),
        Function::Required => match next() {
            value if value.is_nothing() || is_empty_text(&value) => {
                return Err(Unrenderable(
                    format!("the template needs {path}, and the event has none").into(),
                ));
            }
            value => value,
        },
        Function::Json => match next() {
            Value::Missing => Value::Missing,
            value => Value::Text(Cow::Owned(value.json(form).into_owned())),
        },
        Function::Lookup => {
            let value = next();
            value.member(&next().plain(JsonForm::Js))
        }
        Function::Length => next().len().map_or(Value::Missing, Value::number),
        Function::Join => {
            let (list, separator) = (next(), next());
            let separator = separator.as_text().unwrap_or(Cow::Borrowed(", "));
            match list {
                Value::Json(raw) if raw.starts_with('[') => {
                    bounded(raw.len(), raw.matches(',').count(), separator.len())?;
                    text(joined(&raw, &separator, form))
                }
                other => other,
            }
        }
        Function::Concat => text(arguments.map(|value| value.plain(form).into_owned()).collect::<String>()),
        Function::Upper => changed(next(), form, str::to_uppercase),
        Function::Lower => changed(next(), form, str::to_lowercase),
        Function::Trim => changed(next(), form, |text| text.trim().to_owned()),
        Function::Truncate => {
            let (value, most, end) = (next(), next(), next());
            let most = most.numeric().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX);
            let end = end.as_text().unwrap_or(Cow::Borrowed("…")).into_owned();
            changed(value, form, |text| truncated(text, most, &end))
        }
        Function::Replace => {
            let (value, from, to) =
                (next(), next().plain(form).into_owned(), next().plain(form).into_owned());
            if value.is_nothing() || from.is_empty() {
                return Ok(value);
            }
            let old = value.plain(form);
            bounded(old.len(), old.matches(&from).count(), to.len())?;
            text(old.replace(&from, &to))
        }
        Function::Url => changed(next(), form, |text| utf8_percent_encode(text, UNRESERVED).to_string()),
        Function::Ce => changed(next(), form, |text| utf8_percent_encode(text, OUTSIDE_CE).to_string()),
        Function::Date => {
            let (value, format) = (next(), next());
            let format = format.as_text();
            instant::written(&value, format.as_deref(), options.get("offset")).map_or(Value::Missing, text)
        }
        Function::Number => next().numeric().map_or(Value::Missing, |token| number(&token, options)),
    })
}

/// All but the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What an attribute of CloudEvents may not have in a header (HTTP binding §3.1.3.2), beside what is
/// not ASCII.
const OUTSIDE_CE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

fn text<'a>(text: String) -> Value<'a> {
    Value::Text(Cow::Owned(text))
}

fn is_empty_text(value: &Value<'_>) -> bool {
    value.as_text().is_some_and(|text| text.is_empty())
}

/// The first that fits, else the last.
fn until<'a>(values: impl Iterator<Item = Value<'a>>, fits: impl Fn(&Value<'a>) -> bool) -> Value<'a> {
    let mut last = Value::Missing;
    for value in values {
        let found = fits(&value);
        last = value;
        if found {
            break;
        }
    }
    last
}

fn changed<'a>(value: Value<'a>, form: JsonForm, change: impl FnOnce(&str) -> String) -> Value<'a> {
    match value.is_nothing() {
        true => value,
        false => text(change(&value.plain(form))),
    }
}

/// An event that gives a function both a long text and what to put between its parts must not fill the memory.
fn bounded(length: usize, places: usize, each: usize) -> Result<(), Unrenderable> {
    match places.checked_mul(each).and_then(|more| length.checked_add(more)) {
        Some(size) if size <= MOST_BYTES => Ok(()),
        _ => Err(too_much()),
    }
}

/// Numbers by their value, all else by what it is; `null` is as good as missing.
fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return left == right;
    }
    match (left, right) {
        _ if left.is_nothing() || right.is_nothing() => left.is_nothing() && right.is_nothing(),
        (Value::Json(left), Value::Json(right)) => json::same(left, right),
        _ => false,
    }
}

/// By number if both are numbers or texts of numbers and one is a number; two texts by their characters.
fn ordered(left: &Value<'_>, right: &Value<'_>) -> Option<std::cmp::Ordering> {
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return Some(left.cmp(&right));
    }
    let number = |value: &Value<'_>| value.numeric()?.parse::<f64>().ok();
    number(left)?.partial_cmp(&number(right)?)
}

fn truncated(text: &str, most: usize, end: &str) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(end.chars().count());
    text.chars().take(kept).chain(end.chars().take(most)).collect()
}

/// A number with so many decimals and separators between thousands; still a JSON number if neither
/// separators nor another point are asked for.
fn number<'a>(token: &str, options: &Options) -> Value<'a> {
    let decimals = options.get("decimals").and_then(|text| text.parse::<usize>().ok());
    let separator = options.get("separator").unwrap_or_default();
    let point = options.get("point").unwrap_or(".");
    let integer = token.strip_prefix('-').unwrap_or(token).bytes().all(|byte| byte.is_ascii_digit());
    let written = match (decimals, token.parse::<f64>()) {
        // The digits of an integer are right, however many there are.
        (None | Some(0), _) if integer => token.to_owned(),
        (Some(decimals), _) if integer => format!("{token}.{}", "0".repeat(decimals)),
        (Some(decimals), Ok(value)) if value.is_finite() => format!("{value:.decimals$}"),
        (None, Ok(value)) if value.is_finite() => format!("{value}"),
        _ => return Value::Missing,
    };
    let negative = written.starts_with('-') && written.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let digits = written.strip_prefix('-').unwrap_or(&written);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut out = String::from(if negative { "-" } else { "" });
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push_str(separator);
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push_str(point);
        out.push_str(fraction);
    }
    match separator.is_empty() && (point == "." || fraction.is_none()) {
        true => Value::Json(Cow::Owned(out)),
        false => text(out),
    }
}
