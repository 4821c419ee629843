use std::borrow::Cow;
use std::collections::HashMap;

use super::selection::array_index;
use super::string::{unescape, unescape_lossy};

/// One member of an object, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key as JSON text, with its quotes.
    pub key: &'a str,
    /// The value as JSON text.
    pub value: &'a str,
}

impl<'a> Member<'a> {
    /// The key unescaped, with U+FFFD for lone surrogates.
    pub fn name(&self) -> Cow<'a, str> {
        unescape_lossy(self.key)
    }
}

/// The members of the object that `raw` is, in order; of duplicates the last value, at the place
/// of the first, as `JSON.parse` has it. `None` if it is no object.
pub fn members(raw: &str) -> Option<Vec<Member<'_>>> {
    if !raw.starts_with('{') {
        return None;
    }
    let mut cursor = Cursor::new(raw);
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut places: HashMap<Cow<'_, [u8]>, usize> = HashMap::new();
    cursor.open();
    while cursor.more() {
        let member = Member { key: cursor.key(), value: cursor.value() };
        let place = *places.entry(unescape(member.key)).or_insert(members.len());
        match members.get_mut(place) {
            Some(earlier) => *earlier = member,
            None => members.push(member),
        }
    }
    Some(members)
}

/// The elements of the array that `raw` is. `None` if it is none.
pub fn elements(raw: &str) -> Option<Vec<&str>> {
    if !raw.starts_with('[') {
        return None;
    }
    let mut cursor = Cursor::new(raw);
    let mut elements = Vec::new();
    cursor.open();
    while cursor.more() {
        elements.push(cursor.value());
    }
    Some(elements)
}

/// What stands in the object or array that `raw` is under this name or decimal index; of duplicates
/// the last.
pub fn at<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    match raw.as_bytes().first()? {
        b'[' => elements(raw)?.get(array_index(name)?).copied(),
        b'{' => {
            let mut cursor = Cursor::new(raw);
            let mut found = None;
            cursor.open();
            while cursor.more() {
                let member = Member { key: cursor.key(), value: cursor.value() };
                if *unescape(member.key) == *name.as_bytes() {
                    found = Some(member.value);
                }
            }
            found
        }
        _ => None,
    }
}

/// Whether JSON text holds a number, given as it stands there, for which this is so.
pub(super) fn any_number(raw: &str, is_so: impl Fn(&str) -> bool) -> bool {
    let mut cursor = Cursor::new(raw);
    while let Some(byte) = cursor.byte() {
        let start = cursor.at;
        match byte {
            b'"' => cursor.skip_string(),
            b'-' | b'0'..=b'9' => {
                cursor.skip_token();
                if raw.get(start..cursor.at).is_some_and(&is_so) {
                    return true;
                }
            }
            _ => cursor.at += 1,
        }
    }
    false
}

/// Walks over JSON text that is known to be valid.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    /// The next byte after white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Steps over the bracket that opens an object or array.
    pub(super) fn open(&mut self) {
        self.peek();
        self.at += 1;
    }

    /// Whether another member or element follows; steps over the comma, or the closing bracket.
    pub(super) fn more(&mut self) -> bool {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                true
            }
            Some(b'}' | b']') => {
                self.at += 1;
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Steps over a key and its colon; the key with its quotes.
    pub(super) fn key(&mut self) -> &'a str {
        let key = self.value();
        self.peek();
        self.at += 1;
        key
    }

    /// Steps over a value of any kind.
    pub(super) fn value(&mut self) -> &'a str {
        self.peek();
        let start = self.at;
        let mut depth = 0usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                    continue;
                }
                b'}' | b']' => {
                    self.at += 1;
                    depth = depth.saturating_sub(1);
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.at += 1;
                    continue;
                }
                _ => self.skip_token(),
            }
            if depth == 0 {
                break;
            }
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.byte() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    fn skip_token(&mut self) {
        while let Some(byte) = self.byte() {
            if matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') {
                break;
            }
            self.at += 1;
        }
    }
}
