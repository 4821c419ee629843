use crate::cli::arguments::Selection;
use crate::domain::TypePattern;
use crate::store::DeadLetterRecord;

impl Selection {
    /// Without any option.
    pub(super) fn everything() -> Selection {
        Selection {
            targets: Vec::new(),
            reasons: Vec::new(),
            types: Vec::new(),
            older_than: None,
            newer_than: None,
            sources: Vec::new(),
            limit: None,
        }
    }

    /// Whether this letter is meant, at this time.
    pub(super) fn takes(&self, letter: &DeadLetterRecord, now_ms: i64) -> bool {
        let target = letter.target.as_deref().unwrap_or_default();
        let age = u128::try_from(now_ms.saturating_sub(letter.written_ms)).unwrap_or(0);
        let typed = |pattern: &TypePattern| match &letter.event_type {
            Some(event_type) => pattern.matches(event_type),
            None => *pattern == TypePattern::Everything,
        };
        any(&self.targets, |name| **name == *target)
            && any(&self.reasons, |reason| reason.as_str() == &*letter.reason)
            && any(&self.types, typed)
            && any(&self.sources, |name| letter.source.as_deref() == Some(&**name))
            && self.older_than.is_none_or(|than| age > than.as_millis())
            && self.newer_than.is_none_or(|than| age < than.as_millis())
    }

    /// The target, if there is only one.
    pub(super) fn only_target(&self) -> Option<&str> {
        match &*self.targets {
            [target] => Some(target),
            _ => None,
        }
    }
}

/// Whether one of them fits; all do, if none is named.
fn any<T>(named: &[T], fits: impl Fn(&T) -> bool) -> bool {
    named.is_empty() || named.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::dead_letters::listing::tests::letter;
    use crate::domain::DeadLetterReason;

    /// A letter that was written at 10,000.
    fn takes(change: impl FnOnce(&mut Selection)) -> bool {
        let mut selection = Selection::everything();
        change(&mut selection);
        selection.takes(&letter(), 70_000)
    }

    #[test]
    fn of_one_option_any_fits_and_of_all_each() {
        assert!(takes(|_| ()));
        assert!(takes(|selection| selection.targets = vec!["chat".to_owned(), "crm".to_owned()]));
        assert!(!takes(|selection| selection.targets = vec![String::new()]));
        assert!(!takes(|selection| {
            selection.targets = vec!["crm".to_owned()];
            selection.reasons = vec![DeadLetterReason::Poisoned];
        }));
        assert!(takes(|selection| selection.types = vec!["test.*".parse().expect("a pattern")]));
        assert!(!takes(|selection| selection.types = vec!["other".parse().expect("a pattern")]));
        assert!(!takes(|selection| selection.sources = vec!["other".to_owned()]));
    }

    #[test]
    fn an_age_is_counted_from_when_the_letter_was_written() {
        let (less, more) = (Some(Duration::from_secs(59)), Some(Duration::from_secs(61)));
        assert!(takes(|selection| selection.older_than = less));
        assert!(!takes(|selection| selection.older_than = more));
        assert!(takes(|selection| selection.newer_than = more));
        assert!(!takes(|selection| selection.newer_than = less));
    }

    #[test]
    fn an_event_of_its_own_has_no_target_and_maybe_no_type() {
        let own = DeadLetterRecord { target: None, event_type: None, ..letter() };
        let mut selection = Selection::everything();
        selection.targets = vec![String::new()];
        assert!(selection.takes(&own, 0));
        selection.types = vec![TypePattern::Everything];
        assert!(selection.takes(&own, 0));
        selection.types = vec!["test.*".parse().expect("a pattern")];
        assert!(!selection.takes(&own, 0));
    }
}
