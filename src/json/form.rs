use std::borrow::Cow;

use super::cursor::Cursor;
use super::number::{self, Integers};
use super::string::{requote, requote_for_go, unescape};

/// How JSON is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonForm {
    /// Without white space outside strings; every token as the event had it.
    Exact,
    /// A fixed point of `JSON.stringify(JSON.parse(body))` (DIALECTS.md §1), except for integers
    /// that a double can't hold: those keep their digits.
    Js,
    /// As `Js`, and integers that a double can't hold are rounded to the nearest that it can, as
    /// JavaScript does.
    JsRounded,
    /// A fixed point of Go's `encoding/json` without HTML escaping and with `UseNumber`: no white
    /// space, the keys of every object sorted by code point, of duplicates the last; numbers as the
    /// event had them; the shortest escapes, and U+2028 and U+2029 escaped. Only a lone surrogate,
    /// which Go can't hold, stays what it is.
    Sorted,
}

/// The value is nested deeper than 128 levels, so its members can't be put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JSON is nested deeper than {MAX_DEPTH} levels")]
pub struct TooDeep;

/// Hostile nesting ends here, before the stack does.
const MAX_DEPTH: usize = 128;

/// Appends the JSON text `raw` to `out` in a form.
///
/// # Errors
/// It is nested too deep for `Js` or `Sorted`; `out` then ends in an unfinished text.
pub fn write(raw: &str, form: JsonForm, out: &mut Vec<u8>) -> Result<(), TooDeep> {
    match form {
        JsonForm::Exact => {
            compact(raw, out);
            Ok(())
        }
        JsonForm::Js | JsonForm::JsRounded | JsonForm::Sorted => value(&mut Cursor::new(raw), form, 0, out),
    }
}

/// Copies everything but white space outside strings.
fn compact(raw: &str, out: &mut Vec<u8>) {
    let mut copied = 0;
    let (mut inside, mut escaped) = (false, false);
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b' ' | b'\t' | b'\n' | b'\r' if !inside => {
                out.extend_from_slice(raw.as_bytes().get(copied..at).unwrap_or_default());
                copied = at + 1;
            }
            _ => {}
        }
    }
    out.extend_from_slice(raw.as_bytes().get(copied..).unwrap_or_default());
}

fn value(cursor: &mut Cursor<'_>, form: JsonForm, depth: usize, out: &mut Vec<u8>) -> Result<(), TooDeep> {
    match cursor.peek() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => Err(TooDeep),
        Some(b'{') => object(cursor, form, depth + 1, out),
        Some(b'[') => array(cursor, form, depth + 1, out),
        _ => {
            scalar(cursor.value(), form, out);
            Ok(())
        }
    }
}

fn object(cursor: &mut Cursor<'_>, form: JsonForm, depth: usize, out: &mut Vec<u8>) -> Result<(), TooDeep> {
    let mut object = ObjectWriter::open(form, out);
    cursor.open();
    while cursor.more() {
        let out = object.member(cursor.key());
        value(cursor, form, depth, out)?;
    }
    object.close();
    Ok(())
}

fn array(cursor: &mut Cursor<'_>, form: JsonForm, depth: usize, out: &mut Vec<u8>) -> Result<(), TooDeep> {
    cursor.open();
    out.push(b'[');
    let mut first = true;
    while cursor.more() {
        if !first {
            out.push(b',');
        }
        first = false;
        value(cursor, form, depth, out)?;
    }
    out.push(b']');
    Ok(())
}

fn scalar(raw: &str, form: JsonForm, out: &mut Vec<u8>) {
    match raw.as_bytes().first() {
        Some(b'"') if matches!(form, JsonForm::Js | JsonForm::JsRounded) => requote(raw, out),
        Some(b'"') if form == JsonForm::Sorted => requote_for_go(raw, out),
        Some(b'-' | b'0'..=b'9') if form == JsonForm::Js => number::write(raw, Integers::Kept, out),
        Some(b'-' | b'0'..=b'9') if form == JsonForm::JsRounded => number::write(raw, Integers::Rounded, out),
        _ => out.extend_from_slice(raw.as_bytes()),
    }
}

/// Writes one object, member by member, and puts the members in the form's order at the end.
#[derive(Debug)]
pub struct ObjectWriter<'k, 'o> {
    form: JsonForm,
    out: &'o mut Vec<u8>,
    /// Where the first member stands in `out`.
    start: usize,
    /// Empty for [`JsonForm::Exact`], which reorders nothing.
    written: Vec<Written<'k>>,
}

/// A member that stands in the buffer already.
#[derive(Debug)]
struct Written<'k> {
    name: Cow<'k, [u8]>,
    /// Where its key starts.
    start: usize,
}

impl<'k, 'o> ObjectWriter<'k, 'o> {
    /// Starts an object at the end of `out`.
    pub fn open(form: JsonForm, out: &'o mut Vec<u8>) -> ObjectWriter<'k, 'o> {
        out.push(b'{');
        ObjectWriter { form, start: out.len(), out, written: Vec::new() }
    }

    /// Writes a key, given as JSON text with its quotes; the caller appends the value in the same
    /// form to what this returns.
    pub fn member(&mut self, key: &'k str) -> &mut Vec<u8> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        if self.form != JsonForm::Exact {
            self.written.push(Written { name: unescape(key), start: self.out.len() });
        }
        scalar(key, self.form, self.out);
        self.out.push(b':');
        self.out
    }

    /// Ends the object.
    pub fn close(self) {
        let order = match self.form {
            JsonForm::Exact => None,
            JsonForm::Js | JsonForm::JsRounded => js_order(&self.written),
            JsonForm::Sorted => sorted_order(&self.written),
        };
        if let Some(order) = order {
            let members: Vec<&[u8]> = order.iter().map(|place| self.text(*place)).collect();
            let ordered = members.join(&b',');
            self.out.truncate(self.start);
            self.out.extend_from_slice(&ordered);
        }
        self.out.push(b'}');
    }

    /// Key and value of a member, without a comma.
    fn text(&self, place: usize) -> &[u8] {
        let start = self.written.get(place).map_or(self.out.len(), |member| member.start);
        let end = self.written.get(place + 1).map_or(self.out.len(), |next| next.start - 1);
        self.out.get(start..end).unwrap_or_default()
    }
}

/// Which of the written members make up the object, in order; `None` if all as they stand.
/// Array indices come first, ascending; the last of duplicates takes the place of the first.
fn js_order(written: &[Written<'_>]) -> Option<Vec<usize>> {
    let runs = by_name(written);
    if runs.len() == written.len() && !written.iter().any(|member| array_index(&member.name).is_some()) {
        return None;
    }
    let mut ranked: Vec<(Option<u32>, usize, usize)> = runs
        .into_iter()
        .map(|(first, last)| (written.get(first).and_then(|member| array_index(&member.name)), first, last))
        .collect();
    ranked.sort_unstable_by_key(|(index, first, _)| (index.is_none(), *index, *first));
    Some(ranked.into_iter().map(|(_, _, last)| last).collect())
}

fn sorted_order(written: &[Written<'_>]) -> Option<Vec<usize>> {
    Some(by_name(written).into_iter().map(|(_, last)| last).collect())
}

/// The first and the last place of each name, sorted by name.
fn by_name(written: &[Written<'_>]) -> Vec<(usize, usize)> {
    let mut named: Vec<(&[u8], usize)> =
        written.iter().enumerate().map(|(place, member)| (&*member.name, place)).collect();
    named.sort_unstable();
    named
        .chunk_by(|(one, _), (other, _)| one == other)
        .filter_map(|run| Some((run.first()?.1, run.last()?.1)))
        .collect()
}

/// A canonical array index (ECMA-262 §6.1.7): 0 to 2^32 - 2 without leading zeros.
fn array_index(name: &[u8]) -> Option<u32> {
    if name.len() > 10 || !name.first()?.is_ascii_digit() || (name.len() > 1 && name.starts_with(b"0")) {
        return None;
    }
    str::from_utf8(name).ok()?.parse().ok().filter(|index| *index < u32::MAX)
}
