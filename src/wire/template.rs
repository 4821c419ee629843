use std::fmt;

/// A text with placeholders, cut up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Placeholder),
}

/// What a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placeholder {
    Id,
    Timestamp,
    EventType,
    EventTypePath,
    TargetId,
    Body,
    Signature,
    Signatures,
}

/// Known in `signature.message`.
pub(super) const IN_MESSAGE: &[Placeholder] = &[
    Placeholder::Id,
    Placeholder::Timestamp,
    Placeholder::Body,
    Placeholder::EventType,
    Placeholder::EventTypePath,
    Placeholder::TargetId,
];

/// Known in `signature.each`.
pub(super) const IN_EACH: &[Placeholder] = &[
    Placeholder::Id,
    Placeholder::Timestamp,
    Placeholder::Signature,
    Placeholder::EventType,
    Placeholder::EventTypePath,
    Placeholder::TargetId,
];

/// Known in `signature.headers`.
pub(super) const IN_HEADERS: &[Placeholder] = &[
    Placeholder::Id,
    Placeholder::Timestamp,
    Placeholder::Signature,
    Placeholder::Signatures,
    Placeholder::EventType,
    Placeholder::EventTypePath,
    Placeholder::TargetId,
];

impl Placeholder {
    pub(super) fn name(self) -> &'static str {
        match self {
            Placeholder::Id => "id",
            Placeholder::Timestamp => "timestamp",
            Placeholder::EventType => "event.type",
            Placeholder::EventTypePath => "event.type_path",
            Placeholder::TargetId => "target.id",
            Placeholder::Body => "body",
            Placeholder::Signature => "signature",
            Placeholder::Signatures => "signatures",
        }
    }
}

/// Why a text is no template. Says nothing of the text itself, which may come from anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplateFault {
    Unclosed,
    Unknown(&'static [Placeholder]),
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateFault::Unclosed => f.write_str("a `{{` has no `}}`; write for example `{{id}}`"),
            TemplateFault::Unknown(known) => {
                let known: Vec<String> =
                    known.iter().map(|placeholder| format!("`{{{{{}}}}}`", placeholder.name())).collect();
                write!(f, "it has an unknown placeholder; known here are {}", known.join(" "))
            }
        }
    }
}

/// What the placeholders of one attempt stand for.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) id: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) event_type: Option<&'a str>,
    pub(super) target_id: &'a str,
    pub(super) body: &'a [u8],
    pub(super) signature: &'a str,
    pub(super) signatures: &'a [u8],
}

/// The event has no type, and the template names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoType;

impl Template {
    pub(super) fn parse(text: &str, known: &'static [Placeholder]) -> Result<Template, TemplateFault> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TemplateFault::Unclosed)?;
            let named = known.iter().find(|placeholder| placeholder.name() == name.trim());
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Value(*named.ok_or(TemplateFault::Unknown(known))?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Template { pieces })
    }

    pub(super) fn names(&self, placeholder: Placeholder) -> bool {
        self.pieces.contains(&Piece::Value(placeholder))
    }

    /// The template as a regular expression with a group for each placeholder, and what the groups
    /// stand for; `form` says what may stand in their place.
    pub(super) fn pattern(&self, form: impl Fn(Placeholder) -> String) -> (String, Vec<Placeholder>) {
        let mut groups = Vec::new();
        let mut pattern = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => pattern.push_str(&regex::escape(text)),
                Piece::Value(placeholder) => {
                    groups.push(*placeholder);
                    pattern.push_str(&format!("({})", form(*placeholder)));
                }
            }
        }
        (pattern, groups)
    }

    /// Hands the rendered text to `sink`, part by part.
    pub(super) fn render(&self, facts: &Facts<'_>, mut sink: impl FnMut(&[u8])) -> Result<(), NoType> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => sink(text.as_bytes()),
                Piece::Value(Placeholder::Id) => sink(facts.id.as_bytes()),
                Piece::Value(Placeholder::Timestamp) => sink(facts.timestamp.as_bytes()),
                Piece::Value(Placeholder::EventType) => sink(facts.event_type.ok_or(NoType)?.as_bytes()),
                Piece::Value(Placeholder::EventTypePath) => {
                    sink(facts.event_type.ok_or(NoType)?.replace('.', "/").as_bytes());
                }
                Piece::Value(Placeholder::TargetId) => sink(facts.target_id.as_bytes()),
                Piece::Value(Placeholder::Body) => sink(facts.body),
                Piece::Value(Placeholder::Signature) => sink(facts.signature.as_bytes()),
                Piece::Value(Placeholder::Signatures) => sink(facts.signatures),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let facts = Facts {
            id: "evt_1",
            timestamp: "17",
            event_type: Some("a.b.c"),
            target_id: "crm",
            body: b"{}",
            signature: "s",
            signatures: b"s,t",
        };
        let mut out = Vec::new();
        let template = Template::parse(text, IN_MESSAGE).expect("a template");
        template.render(&facts, |part| out.extend_from_slice(part)).expect("it has a type");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(rendered("v0:{{timestamp}}:{{ body }}"), "v0:17:{}");
        assert_eq!(
            rendered("{{id}}{{target.id}} {{event.type}} {{event.type_path}}}}"),
            "evt_1crm a.b.c a/b/c}}"
        );
        assert_eq!(rendered(""), "");
    }

    #[test]
    fn a_wrong_template_is_a_fault_that_does_not_repeat_it() {
        assert_eq!(Template::parse("{{id", IN_MESSAGE), Err(TemplateFault::Unclosed));
        let fault = Template::parse("{{hunter2}}", IN_EACH).unwrap_err().to_string();
        assert_eq!(
            fault,
            "it has an unknown placeholder; known here are `{{id}}` `{{timestamp}}` `{{signature}}` \
             `{{event.type}}` `{{event.type_path}}` `{{target.id}}`"
        );
        assert!(Template::parse("{{body}}", IN_HEADERS).is_err());
    }
}
