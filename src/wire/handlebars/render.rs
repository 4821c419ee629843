//! Carries out the steps of a template for one event.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write as _;

use super::functions;
use super::steps::{Document, Expr, Part, Step, Writing};
use super::syntax::{LoopValue, Zero};
use super::value::Value;
use crate::domain::{Content, Event};
use crate::json::{self, JsonForm, Selection};
use crate::wire::{Unrenderable, payload};

/// What a template is rendered for.
#[derive(Debug, Clone, Copy)]
pub(in crate::wire) struct Facts<'a> {
    pub(in crate::wire) event: &'a Event,
    pub(in crate::wire) target_id: &'a str,
    /// 1 for the first attempt of the delivery.
    pub(in crate::wire) attempt: u32,
}

/// A loop in a loop over a long list must not grow without end.
pub(super) const MOST_BYTES: usize = 16 << 20;
const MOST_STEPS: usize = 1_000_000;
/// Nor look through a long list again for each of its elements.
const MOST_READ: usize = 512 << 20;

/// The state of one rendering.
pub(super) struct Rendering<'a> {
    facts: Facts<'a>,
    form: JsonForm,
    data: Vec<Option<&'a str>>,
    body: Vec<Option<&'a str>>,
    frames: Vec<Frame<'a>>,
    steps: usize,
    /// Bytes of all values so far.
    read: Cell<usize>,
    pub(super) out: Vec<u8>,
}

/// An `each` or a `with` that one is in.
struct Frame<'a> {
    value: Value<'a>,
    turn: Option<Turn>,
}

/// Where an `each` is.
struct Turn {
    key: Option<String>,
    index: usize,
    last: bool,
}

impl<'a> Rendering<'a> {
    /// Reads what the template looks for.
    pub(super) fn new(
        facts: Facts<'a>,
        form: JsonForm,
        data: Option<&Selection>,
        body: Option<&Selection>,
        out: Vec<u8>,
    ) -> Result<Rendering<'a>, Unrenderable> {
        let mut rendering = Rendering {
            facts,
            form,
            data: Vec::new(),
            body: Vec::new(),
            frames: Vec::new(),
            steps: 0,
            read: Cell::new(0),
            out,
        };
        let event = facts.event;
        if let Some(selection) = data {
            match (payload::data_of(event), &event.content) {
                (Some(raw), _) => read(raw.as_bytes(), selection, &mut rendering.data)?,
                (None, Content::NotJson(reason)) => return Err(not_json("event.data", reason)),
                (None, Content::Json) => {}
            }
        }
        if let Some(selection) = body {
            match &event.content {
                Content::Json => read(&event.body, selection, &mut rendering.body)?,
                Content::NotJson(reason) if selection.looks_below() => return Err(not_json("body", reason)),
                Content::NotJson(_) => {}
            }
        }
        Ok(rendering)
    }

    pub(super) fn run(&mut self, steps: &'a [Step]) -> Result<(), Unrenderable> {
        for step in steps {
            self.steps += 1;
            if self.steps > MOST_STEPS || self.out.len() > MOST_BYTES {
                return Err(too_much());
            }
            match step {
                Step::Text(text) => self.out.extend_from_slice(text.as_bytes()),
                Step::Write { value, how } => {
                    let value = self.value(value)?;
                    self.write(&value, *how)?;
                }
                Step::If { condition, wanted, zero, body, otherwise } => {
                    let value = self.value(condition)?;
                    let truthy = value.is_truthy() || *zero == Zero::True && value.is_zero();
                    self.run(if truthy == *wanted { body } else { otherwise })?;
                }
                Step::With { subject, body, otherwise } => match self.value(subject)? {
                    value if value.is_truthy() => {
                        self.frames.push(Frame { value, turn: None });
                        self.run(body)?;
                        self.frames.pop();
                    }
                    _ => self.run(otherwise)?,
                },
                Step::Each { subject, body, otherwise } => self.each(subject, body, otherwise)?,
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        subject: &'a Expr,
        body: &'a [Step],
        otherwise: &'a [Step],
    ) -> Result<(), Unrenderable> {
        let entries = self.value(subject)?.entries();
        if entries.is_empty() {
            return self.run(otherwise);
        }
        let last = entries.len() - 1;
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.frames.push(Frame { value, turn: Some(Turn { key, index, last: index == last }) });
            self.run(body)?;
            self.frames.pop();
        }
        Ok(())
    }

    /// What an expression comes to. Whatever is done with it takes time by its size.
    pub(super) fn value(&self, expr: &'a Expr) -> Result<Value<'a>, Unrenderable> {
        let value = self.evaluated(expr)?;
        self.read.set(self.read.get().saturating_add(value.size()));
        if self.read.get() > MOST_READ { Err(too_much()) } else { Ok(value) }
    }

    fn evaluated(&self, expr: &'a Expr) -> Result<Value<'a>, Unrenderable> {
        Ok(match expr {
            Expr::Constant(value) => value.clone(),
            Expr::Part(part) => self.part(*part)?,
            Expr::Found { document: Document::Data, path } => {
                Value::optional_json(self.data.get(*path).copied().flatten())
            }
            Expr::Found { document: Document::Body, path } => match &self.facts.event.content {
                Content::Json => Value::optional_json(self.body.get(*path).copied().flatten()),
                Content::NotJson(_) => Value::Text(String::from_utf8_lossy(&self.facts.event.body)),
            },
            Expr::Header(name) => Value::optional_text(self.header(name)),
            Expr::Headers => self.headers(),
            Expr::Scope { outward } => {
                self.frame(*outward).map_or(Value::Missing, |frame| frame.value.clone())
            }
            Expr::Key { outward } => {
                self.frame(*outward).and_then(|frame| frame.turn.as_ref()).map_or(Value::Missing, key)
            }
            Expr::Loop { value, outward } => self.turn(*value, *outward),
            Expr::Below { value, segments } => {
                let value = self.value(value)?;
                segments.iter().fold(value, |value, segment| value.member(segment))
            }
            Expr::First(values) => {
                for value in values {
                    match self.value(value)? {
                        value if value.is_nothing() => {}
                        value => return Ok(value),
                    }
                }
                Value::Missing
            }
            Expr::Object(members) => self.object(members)?,
            Expr::Call { function, arguments, options, about } => {
                let arguments =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>, _>>()?;
                functions::call(*function, arguments, options, self.form, about)?
            }
        })
    }

    fn part(&self, part: Part) -> Result<Value<'a>, Unrenderable> {
        let event = self.facts.event;
        Ok(match part {
            Part::Id => Value::Text(Cow::Borrowed(&event.id)),
            Part::Type => Value::optional_text(event.event_type.as_deref()),
            Part::Time => match &event.time.text {
                Some(text) => Value::Text(Cow::Borrowed(text)),
                None => Value::Text(Cow::Owned(payload::rfc3339(event.time.unix_ms)?)),
            },
            Part::Subject => Value::optional_text(event.subject.as_deref()),
            Part::Key => Value::optional_text(event.key.as_deref()),
            Part::Producer => Value::Text(Cow::Borrowed(&event.producer)),
            Part::Tenant => Value::optional_text(event.tenant.as_deref()),
            Part::TargetId => Value::Text(Cow::Borrowed(self.facts.target_id)),
            Part::Attempt => Value::number(self.facts.attempt),
        })
    }

    /// The last header of a name that is text.
    fn header(&self, name: &str) -> Option<&'a str> {
        let headers = self.facts.event.headers.iter().rev();
        let mut own = headers.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.find_map(|(_, value)| str::from_utf8(value).ok().filter(|text| !text.is_empty()))
    }

    fn headers(&self) -> Value<'a> {
        let mut out = vec![b'{'];
        for (name, value) in &self.facts.event.headers {
            if let Ok(text) = str::from_utf8(value) {
                comma(&mut out);
                json::quote(name, &mut out);
                out.push(b':');
                json::quote(text, &mut out);
            }
        }
        closed(out)
    }

    /// Without what is missing.
    fn object(&self, members: &'a [(Box<str>, Expr)]) -> Result<Value<'a>, Unrenderable> {
        let mut out = vec![b'{'];
        for (name, expr) in members {
            let value = self.value(expr)?;
            if value != Value::Missing {
                comma(&mut out);
                json::quote(name, &mut out);
                out.push(b':');
                out.extend_from_slice(value.json(JsonForm::Exact).as_bytes());
            }
        }
        Ok(closed(out))
    }

    fn frame(&self, outward: usize) -> Option<&Frame<'a>> {
        self.frames.iter().rev().nth(outward)
    }

    fn turn(&self, value: LoopValue, outward: usize) -> Value<'a> {
        let mut turns = self.frames.iter().rev().filter_map(|frame| frame.turn.as_ref());
        let Some(turn) = turns.nth(outward) else { return Value::Missing };
        match value {
            LoopValue::Index => Value::number(turn.index),
            LoopValue::Key => key(turn),
            LoopValue::First => Value::bool(turn.index == 0),
            LoopValue::Last => Value::bool(turn.last),
        }
    }

    fn write(&mut self, value: &Value<'_>, how: Writing) -> Result<(), Unrenderable> {
        let out = &mut self.out;
        let is_value = matches!(how, Writing::JsonValue | Writing::RawJsonValue);
        if is_value && out.last().is_some_and(u8::is_ascii_alphanumeric) {
            // Two numbers without a comma between them would be a third one.
            return Err(Unrenderable("the template writes a value right behind another one".into()));
        }
        match how {
            Writing::JsonValue => match value {
                Value::Text(text) => json::quote(text, out),
                Value::Json(raw) => out.extend_from_slice(raw.as_bytes()),
                Value::Missing => out.extend_from_slice(b"null"),
            },
            Writing::InJsonString => match value {
                // What stands in the event's own string is escaped already.
                Value::Json(raw) if raw.starts_with('"') && raw.len() > 1 => {
                    out.extend_from_slice(raw.get(1..raw.len() - 1).unwrap_or_default().as_bytes());
                }
                value => json::escape(&value.plain(self.form), out),
            },
            Writing::JsonTextInJsonString => {
                if *value != Value::Missing {
                    json::escape(&value.json(self.form), out);
                }
            }
            Writing::RawJsonValue => match value.as_text() {
                Some(text) if json::is_document(text.as_bytes()) => out.extend_from_slice(text.as_bytes()),
                Some(_) => return Err(raw("is no JSON value")),
                None => out.extend_from_slice(value.json(JsonForm::Exact).as_bytes()),
            },
            Writing::RawInJsonString => {
                let text = value.plain(self.form);
                if !json::is_document(format!("\"{text}\"").as_bytes()) {
                    return Err(raw("can't stand in a string of JSON as it is"));
                }
                out.extend_from_slice(text.as_bytes());
            }
            Writing::Plain => out.extend_from_slice(value.plain(self.form).as_bytes()),
            Writing::Html => html(&value.plain(self.form), out),
            Writing::Form => {
                let text = value.plain(self.form);
                out.extend(form_urlencoded(&text));
            }
        }
        Ok(())
    }
}

/// The template takes too much time or memory for this event.
pub(super) fn too_much() -> Unrenderable {
    Unrenderable(
        "the template makes too much of this event: more than 16 MiB, a million steps, or 512 MiB of values that it \
         looks through"
            .into(),
    )
}

fn read<'a>(
    text: &'a [u8],
    selection: &Selection,
    found: &mut Vec<Option<&'a str>>,
) -> Result<(), Unrenderable> {
    json::read(text, selection, found)
        .map_err(|reason| Unrenderable(format!("the event's data is no JSON: {reason}").into()))
}

fn not_json(root: &str, reason: &str) -> Unrenderable {
    Unrenderable(format!("the template looks into `{root}`, and the body is not JSON: {reason}").into())
}

fn raw(what: &str) -> Unrenderable {
    Unrenderable(
        format!("what the template writes unescaped (`{{{{{{ }}}}}}`) {what}; write `{{{{ }}}}`").into(),
    )
}

fn key<'a>(turn: &Turn) -> Value<'a> {
    match &turn.key {
        Some(key) => Value::Text(Cow::Owned(key.clone())),
        None => Value::number(turn.index),
    }
}

fn comma(out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
}

fn closed<'a>(mut out: Vec<u8>) -> Value<'a> {
    out.push(b'}');
    Value::Json(Cow::Owned(String::from_utf8(out).unwrap_or_default()))
}

/// As Handlebars escapes.
fn html(text: &str, out: &mut Vec<u8>) {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' | '\'' | '`' | '=' => {
                // Writing to a String does not fail.
                let _ = match c {
                    '"' => write!(escaped, "&quot;"),
                    c => write!(escaped, "&#x{:X};", c as u32),
                };
            }
            c => escaped.push(c),
        }
    }
    out.extend_from_slice(escaped.as_bytes());
}

fn form_urlencoded(text: &str) -> impl Iterator<Item = u8> {
    url::form_urlencoded::byte_serialize(text.as_bytes()).flat_map(str::bytes)
}
