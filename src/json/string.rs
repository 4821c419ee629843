use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error, Visitor};

/// The content of a JSON string (given with its quotes) as WTF-8: UTF-8 in which a lone surrogate
/// escape stands as its three-byte code point. Byte order is code point order.
pub(super) fn unescape(raw: &str) -> Cow<'_, [u8]> {
    if let Some(plain) = unescaped(raw) {
        return Cow::Borrowed(plain.as_bytes());
    }
    let parsed = serde_json::Deserializer::from_str(raw).deserialize_bytes(Content);
    Cow::Owned(parsed.unwrap_or_default())
}

/// As [`unescape`], with U+FFFD for each lone surrogate.
pub(super) fn unescape_lossy(raw: &str) -> Cow<'_, str> {
    if let Some(plain) = unescaped(raw) {
        return Cow::Borrowed(plain);
    }
    let mut text = String::new();
    for piece in pieces(&unescape(raw)) {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Surrogate(_) => text.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(text)
}

/// The content of a JSON string that has no escape.
fn unescaped(raw: &str) -> Option<&str> {
    let inner = raw.get(1..raw.len().checked_sub(1)?)?;
    (!inner.as_bytes().contains(&b'\\')).then_some(inner)
}

struct Content;

impl<'a> Visitor<'a> for Content {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, content: &[u8]) -> Result<Vec<u8>, E> {
        Ok(content.to_vec())
    }
}

/// Appends `text` as a JSON string with the shortest escapes (DIALECTS.md §1).
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Appends a JSON string (given with its quotes) as `JSON.stringify` writes it: the shortest
/// escapes, and a lone surrogate escaped in lower case.
pub(super) fn requote(raw: &str, out: &mut Vec<u8>) {
    if unescaped(raw).is_some() {
        // A valid string without escapes is in its shortest form.
        return out.extend_from_slice(raw.as_bytes());
    }
    out.push(b'"');
    for piece in pieces(&unescape(raw)) {
        match piece {
            Piece::Text(text) => escape(text, out),
            Piece::Surrogate(unit) => escape_unit(unit, out),
        }
    }
    out.push(b'"');
}

/// As [`requote`], with the line separators U+2028 and U+2029 escaped, as Go always has them.
pub(super) fn requote_for_go(raw: &str, out: &mut Vec<u8>) {
    let mut requoted = Vec::with_capacity(raw.len());
    requote(raw, &mut requoted);
    let mut rest = requoted.as_slice();
    while let Some(at) = rest.windows(3).position(|three| matches!(three, [0xe2, 0x80, 0xa8 | 0xa9])) {
        let (before, separator) = rest.split_at(at);
        let (separator, after) = separator.split_at(3);
        out.extend_from_slice(before);
        out.extend_from_slice(if separator.ends_with(&[0xa8]) { b"\\u2028" } else { b"\\u2029" });
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Appends `text` as a part of a JSON string, with the shortest escapes.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => escape_unit(u16::from(*other), out),
        }
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

fn escape_unit(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

enum Piece<'a> {
    Text(&'a str),
    Surrogate(u16),
}

/// Cuts WTF-8 into its UTF-8 runs and its lone surrogates.
fn pieces(mut wtf8: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let run = match str::from_utf8(wtf8) {
            Ok(_) => wtf8.len(),
            Err(error) => error.valid_up_to(),
        };
        if run > 0 {
            let (text, rest) = wtf8.split_at_checked(run)?;
            wtf8 = rest;
            return str::from_utf8(text).ok().map(Piece::Text);
        }
        let (surrogate, rest) = wtf8.split_first_chunk::<3>()?;
        wtf8 = rest;
        let [first, second, third] = surrogate.map(|byte| u16::from(byte & 0x3f));
        Some(Piece::Surrogate((first & 0x0f) << 12 | second << 6 | third))
    })
}
