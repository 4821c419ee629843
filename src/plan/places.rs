//! Where the parts of an event are (PRODUCT.md §1, "Places").

use crate::domain::{Path, Place};

use super::walk::{Item, Keys, did_you_mean};

/// `event`: for each part, the places to look at; the first that is present wins. `None` where
/// the configuration does not set a part: then the default list counts, and a CloudEvents envelope
/// wins over it (DESIGN.md §4.9); what is set counts for CloudEvents too.
#[derive(Debug, Clone, Default)]
pub struct EventParts {
    /// `event.type`.
    pub event_type: Option<Vec<Place>>,
    /// `event.id`.
    pub id: Option<Vec<Place>>,
    /// `event.time`.
    pub time: Option<Vec<Place>>,
    /// `event.subject`.
    pub subject: Option<Vec<Place>>,
    /// `event.key`.
    pub key: Option<Vec<Place>>,
    /// `event.source`.
    pub producer: Option<Vec<Place>>,
    /// `event.data`.
    pub data: Option<Vec<Place>>,
    /// `event.priority`.
    pub priority: Option<Vec<Place>>,
    /// `event.tenant`; where it is set, the source tells tenants apart.
    pub tenant: Option<Vec<Place>>,
}

impl EventParts {
    /// All places that are set.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let EventParts { event_type, id, time, subject, key, producer, data, priority, tenant } = self;
        [event_type, id, time, subject, key, producer, data, priority, tenant].into_iter().flatten().flatten()
    }
}

/// The words before a colon.
const PREFIXES: [&str; 5] = ["header", "body", "data", "subject", "const"];

/// Reads `header:N`, `body:PATH`, `data:PATH`, `topic`, `key`, `broker`, `subject:N`, `subject:N..`, `origin`,
/// `const:TEXT` or a bare path.
pub(super) fn place(text: &str) -> Result<Place, String> {
    match text {
        "topic" => return Ok(Place::Topic),
        "key" => return Ok(Place::Key),
        "broker" => return Ok(Place::Broker),
        "origin" => return Ok(Place::Origin),
        "body" => return Ok(Place::Body(Path::default())),
        "data" => return Ok(Place::Data(Path::default())),
        _ => {}
    }
    match text.split_once(':') {
        Some(("header", name))
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) =>
        {
            Err("write a header's name directly after `header:`, without spaces".to_owned())
        }
        Some(("header", name)) => Ok(Place::Header(name.into())),
        Some(("body", text)) => Ok(Place::Body(path(text)?)),
        Some(("data", text)) => Ok(Place::Data(path(text)?)),
        Some(("const", text)) => Ok(Place::Const(text.into())),
        Some(("subject", tokens)) => subject(tokens),
        // The text may be secret and is not repeated.
        Some((prefix, _)) if !prefix.contains('/') => Err(format!(
            "the word before `:` is no place{}; a path with a colon is written `body:…`",
            did_you_mean(prefix, PREFIXES)
        )),
        _ => Ok(Place::Body(path(text)?)),
    }
}

/// Reads the numbers of a subject's tokens: `2` or `2..`.
fn subject(text: &str) -> Result<Place, String> {
    let (number, rest) = match text.strip_suffix("..") {
        Some(number) => (number, true),
        None => (text, false),
    };
    match number.parse() {
        Ok(first) if first > 0 => Ok(Place::Subject { first, rest }),
        _ => Err("write the number of a subject's token, counted from 1, such as `subject:2`, or `subject:2..` for \
                  all from it on"
            .to_owned()),
    }
}

/// Reads `a.b`, `items.0.sku`, or a JSON Pointer (RFC 6901) such as `/a/b.c`.
fn path(text: &str) -> Result<Path, String> {
    if let Some(pointer) = text.strip_prefix('/') {
        let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~").into();
        return Ok(Path(pointer.split('/').map(unescape).collect()));
    }
    match text.split('.').any(str::is_empty) {
        true => Err("a path has names between its dots, such as `cost.amount`; write keys with dots as a \
                     JSON Pointer, such as `/a/b.c`"
            .to_owned()),
        false => Ok(Path(text.split('.').map(Into::into).collect())),
    }
}

/// Reads `event` of a source.
pub(super) fn event_parts(event: &Item<'_>) -> EventParts {
    let mut keys = event.keys();
    let parts = EventParts {
        event_type: part(&mut keys, "type"),
        id: part(&mut keys, "id"),
        time: part(&mut keys, "time"),
        subject: part(&mut keys, "subject"),
        key: part(&mut keys, "key"),
        producer: part(&mut keys, "source"),
        priority: part(&mut keys, "priority"),
        data: part(&mut keys, "data"),
        // Its default is an empty list, which may be written out.
        tenant: part(&mut keys, "tenant").filter(|places| !places.is_empty()),
    };
    let inside_itself = |place: &Place| matches!(place, Place::Data(_));
    if parts.data.as_ref().is_some_and(|places| places.iter().any(inside_itself)) {
        event.fault("`data` can't be found inside itself; write `body:PATH` in `event.data`");
    }
    keys.done();
    parts
}

fn part(keys: &mut Keys<'_>, key: &'static str) -> Option<Vec<Place>> {
    let places = keys.get(key)?;
    Some(places.elements().iter().map(|item| item.parse(Place::Topic, place)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_is_written() {
        for text in [
            "header:ce_type",
            "body:a.b",
            "body:/a/b.c",
            "data",
            "data:x.0",
            "topic",
            "subject:2",
            "subject:1..",
        ] {
            assert_eq!(place(text).map(|place| place.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(place("cost.amount"), place("body:cost.amount"));
        assert_eq!(place("/a~1b/c~0d"), Ok(Place::Body(Path(vec!["a/b".into(), "c~d".into()]))));
        assert_eq!(place("const:/orders"), Ok(Place::Const("/orders".into())));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in [
            "",
            "a..b",
            ".a",
            "header:",
            "header: x",
            "header:a b",
            "header:a\n",
            "headers:x",
            "subject:0",
            "subject:x",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
