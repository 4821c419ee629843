use std::fmt;
use std::str::FromStr;

/// A NATS subject with wildcards: tokens between dots, of which `*` takes exactly one and a last `>`
/// takes one or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubjectPattern(Box<str>);

/// Why a text is no [`SubjectPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFault {
    /// Nothing between two dots, or at an end.
    #[error("it has an empty token; write names between the dots")]
    EmptyToken,
    /// White space or a control character.
    #[error("it holds white space, which no subject can have")]
    WhiteSpace,
    /// `>` anywhere but alone at the end.
    #[error("`>` stands for all further tokens and is possible only at the end, after a dot")]
    Rest,
    /// For example `orders*`. Not repeated: it may come from where nothing may be shown.
    #[error("`*` stands for a whole token and can't be a part of one")]
    Mixed,
}

impl FromStr for SubjectPattern {
    type Err = SubjectFault;

    fn from_str(text: &str) -> Result<SubjectPattern, SubjectFault> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(SubjectFault::WhiteSpace);
        }
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            match token {
                "" => return Err(SubjectFault::EmptyToken),
                ">" if tokens.peek().is_some() => return Err(SubjectFault::Rest),
                ">" | "*" => {}
                mixed if mixed.contains('*') => return Err(SubjectFault::Mixed),
                mixed if mixed.contains('>') => return Err(SubjectFault::Rest),
                _ => {}
            }
        }
        Ok(SubjectPattern(text.into()))
    }
}

impl SubjectPattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for one subject only.
    pub fn is_literal(&self) -> bool {
        !self.0.split('.').any(|token| matches!(token, "*" | ">"))
    }

    /// Whether it takes messages that are published to `subject`.
    pub fn takes(&self, subject: &str) -> bool {
        let (mut own, mut theirs) = (self.0.split('.'), subject.split('.'));
        loop {
            match (own.next(), theirs.next()) {
                (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(own), Some(theirs)) if own == theirs => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// Whether a subject exists that both take.
    pub fn overlaps(&self, other: &SubjectPattern) -> bool {
        let (mut left, mut right) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (left.next(), right.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
                (Some(left), Some(right)) if left == right => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> SubjectPattern {
        text.parse().expect("a valid subject")
    }

    #[test]
    fn a_star_takes_one_token_and_an_arrow_the_rest() {
        assert!(pattern("a.*.c").takes("a.b.c"));
        assert!(!pattern("a.*.c").takes("a.b.b.c"));
        assert!(!pattern("a.*").takes("a"));
        assert!(pattern("a.>").takes("a.b") && pattern("a.>").takes("a.b.c"));
        assert!(!pattern("a.>").takes("a"));
        assert!(pattern(">").takes("a"));
        assert!(pattern("a.b").takes("a.b") && !pattern("a.b").takes("a.B"));
    }

    #[test]
    fn two_patterns_overlap_if_one_subject_suits_both() {
        for (left, right) in [("a.*", "*.b"), ("a.>", "a.b.c"), (">", "a"), ("a.b", "a.b"), ("a.*.c", "a.>")]
        {
            assert!(pattern(left).overlaps(&pattern(right)), "{left} {right}");
            assert!(pattern(right).overlaps(&pattern(left)), "{right} {left}");
        }
        for (left, right) in [("a.*", "b.*"), ("a.>", "a"), ("a.b", "a.b.c"), ("a.*.c", "a.*.d")] {
            assert!(!pattern(left).overlaps(&pattern(right)), "{left} {right}");
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        use SubjectFault::*;
        for (text, fault) in [
            ("", EmptyToken),
            ("a..b", EmptyToken),
            (".a", EmptyToken),
            ("a b", WhiteSpace),
            ("a.>.b", Rest),
            ("a>", Rest),
            ("orders*", Mixed),
        ] {
            assert_eq!(text.parse::<SubjectPattern>(), Err(fault), "{text}");
        }
        assert!(pattern("a.b").is_literal() && !pattern("a.*").is_literal() && !pattern("a.>").is_literal());
    }
}
