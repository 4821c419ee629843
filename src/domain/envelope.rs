use bytes::Bytes;

/// How a message says that it is a CloudEvent (DESIGN.md §4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// It says nothing of it.
    None,
    /// By its content type: the body is a JSON object with all attributes and the data.
    Structured,
    /// By the header `ce_specversion` or `ce-specversion`: headers are the attributes, the body is the
    /// data.
    Binary,
}

impl Envelope {
    /// What these headers say.
    pub fn of(headers: &[(Box<str>, Bytes)]) -> Envelope {
        let structured = header_text(headers, "content-type").is_some_and(|content_type| {
            let media_type = content_type.split(';').next().unwrap_or_default();
            media_type.trim().eq_ignore_ascii_case("application/cloudevents+json")
        });
        if structured {
            return Envelope::Structured;
        }
        match header_text(headers, "ce_specversion").or_else(|| header_text(headers, "ce-specversion")) {
            Some(_) => Envelope::Binary,
            None => Envelope::None,
        }
    }
}

/// The last header of this name, as Kafka's own clients have it, if it is text and not empty.
pub fn header_text<'a>(headers: &'a [(Box<str>, Bytes)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok().filter(|text| !text.is_empty())
}
