use std::fmt;
use std::str::FromStr;

/// A pattern over dot-separated event types: a last `*` takes one or more segments, elsewhere
/// exactly one; `**` takes any number; alone, `*` is everything, also an event without a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// `*` alone.
    Everything,
    /// A type without wildcards.
    Exact(Box<str>),
    /// Anything else, by segments.
    Segments(Vec<Segment>),
}

/// One part of a [`TypePattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Text(Box<str>),
    /// `*` before the end: exactly one segment.
    One,
    /// `*` at the end: one or more segments.
    OneOrMore,
    /// `**`: any number of segments, also none.
    Any,
}

/// Why a text is no [`TypePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypePatternFault {
    /// Two dots in a row, or a dot at an end, or nothing at all.
    #[error("it has an empty segment; write names between the dots, or `*`")]
    EmptySegment,
    /// For example `bill*`.
    #[error("`*` stands for whole segments; `{0}` mixes it with text")]
    MixedSegment(String),
}

impl FromStr for TypePattern {
    type Err = TypePatternFault;

    fn from_str(text: &str) -> Result<TypePattern, TypePatternFault> {
        if text == "*" {
            return Ok(TypePattern::Everything);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let mut segments = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            segments.push(match *part {
                "" => return Err(TypePatternFault::EmptySegment),
                "**" => Segment::Any,
                "*" if index + 1 == parts.len() => Segment::OneOrMore,
                "*" => Segment::One,
                mixed if mixed.contains('*') => return Err(TypePatternFault::MixedSegment(mixed.to_owned())),
                plain => Segment::Text(plain.into()),
            });
        }
        if segments.iter().all(|segment| matches!(segment, Segment::Text(_))) {
            return Ok(TypePattern::Exact(text.into()));
        }
        Ok(TypePattern::Segments(segments))
    }
}

impl TypePattern {
    /// Whether it takes an event of this type.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            TypePattern::Everything => true,
            TypePattern::Exact(text) => **text == *event_type,
            TypePattern::Segments(segments) => {
                let parts: Vec<&str> = event_type.split('.').collect();
                segments_match(segments, &parts)
            }
        }
    }
}

/// Linear two-pointer wildcard match: `Any` and `OneOrMore` remember where they could take more,
/// so hostile types with many dots cost no more than their length times the pattern's.
fn segments_match(pattern: &[Segment], parts: &[&str]) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let advanced = match pattern.get(at) {
            None if part == parts.len() => return true,
            Some(Segment::Any) => {
                retry = Some((at + 1, part));
                at += 1;
                continue;
            }
            // Only ever last: the rest of the type, if there is any.
            Some(Segment::OneOrMore) if part < parts.len() => return true,
            Some(Segment::One) => part < parts.len(),
            Some(Segment::Text(text)) => parts.get(part) == Some(&&**text),
            _ => false,
        };
        if advanced {
            at += 1;
            part += 1;
            continue;
        }
        match retry {
            Some((resume, from)) if from < parts.len() => {
                retry = Some((resume, from + 1));
                at = resume;
                part = from + 1;
            }
            _ => return false,
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypePattern::Everything => f.write_str("*"),
            TypePattern::Exact(text) => f.write_str(text),
            TypePattern::Segments(segments) => {
                for (index, segment) in segments.iter().enumerate() {
                    let dot = if index == 0 { "" } else { "." };
                    let text = match segment {
                        Segment::Text(text) => text,
                        Segment::One | Segment::OneOrMore => "*",
                        Segment::Any => "**",
                    };
                    write!(f, "{dot}{text}")?;
                }
                Ok(())
            }
        }
    }
}

/// The `types` of one route: what it takes, less what it excludes with `!`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeSet {
    /// Empty takes everything.
    pub include: Vec<TypePattern>,
    /// Written with a leading `!`.
    pub exclude: Vec<TypePattern>,
}

impl TypeSet {
    /// Whether the set takes an event of this type.
    pub fn matches(&self, event_type: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(event_type)))
            && !self.exclude.iter().any(|pattern| pattern.matches(event_type))
    }

    /// Whether an event without a type is taken; if not, the route can't judge such an event.
    pub fn takes_untyped(&self) -> bool {
        self.include.is_empty() || self.include.contains(&TypePattern::Everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, event_type: &str) -> bool {
        pattern.parse::<TypePattern>().expect("a valid pattern").matches(event_type)
    }

    #[test]
    fn a_last_star_takes_one_or_more_segments() {
        assert!(matches("billing.*", "billing.a"));
        assert!(matches("billing.*", "billing.a.b"));
        assert!(!matches("billing.*", "billing"));
        assert!(!matches("billing.*", "billings.a"));
    }

    #[test]
    fn an_inner_star_takes_exactly_one_segment() {
        assert!(matches("*.failed", "payment.failed"));
        assert!(!matches("*.failed", "a.payment.failed"));
        assert!(!matches("*.failed", "failed"));
        assert!(matches("a.*.c", "a.b.c"));
        assert!(!matches("a.*.c", "a.b.b.c"));
    }

    #[test]
    fn a_double_star_takes_any_number_of_segments() {
        assert!(matches("**.failed", "failed"));
        assert!(matches("**.failed", "a.b.failed"));
        assert!(!matches("**.failed", "a.failed.b"));
        assert!(matches("a.**", "a"));
        assert!(matches("a.**.c.*", "a.b.c.c.d"));
        assert!(!matches("a.**.c.*", "a.b.c"));
        assert!(matches("**.a.**.b", "x.a.y.a.z.b"));
    }

    #[test]
    fn a_star_alone_is_everything() {
        assert!(matches("*", "a"));
        assert!(matches("*", "a.b.c"));
    }

    #[test]
    fn a_set_takes_what_it_includes_less_what_it_excludes() {
        let set = TypeSet {
            include: vec!["billing.*".parse().unwrap()],
            exclude: vec!["billing.test.*".parse().unwrap()],
        };
        assert!(set.matches("billing.paid"));
        assert!(!set.matches("billing.test.paid"));
        assert!(!set.takes_untyped());
        assert!(TypeSet::default().takes_untyped());
    }

    #[test]
    fn a_star_inside_a_segment_is_a_fault() {
        assert_eq!("bill*".parse::<TypePattern>(), Err(TypePatternFault::MixedSegment("bill*".into())));
        assert_eq!("a..b".parse::<TypePattern>(), Err(TypePatternFault::EmptySegment));
    }
}
