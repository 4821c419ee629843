use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// So many texts are kept; then all are forgotten, so that texts that never come again don't stay.
const MOST: usize = 512;
/// A longer text is not kept, in bytes.
const LONGEST: usize = 200;

/// Texts of few different values, so that an event shares its own with those before it.
#[derive(Debug, Default)]
pub(super) struct Words(RefCell<HashSet<Arc<str>>>);

impl Words {
    /// This text, shared if it was seen before.
    pub(super) fn share(&self, text: &str) -> Arc<str> {
        if text.len() > LONGEST {
            return text.into();
        }
        let mut known = self.0.borrow_mut();
        if let Some(shared) = known.get(text) {
            return shared.clone();
        }
        if known.len() >= MOST {
            known.clear();
        }
        let shared: Arc<str> = text.into();
        known.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_again_is_the_same_one() {
        let words = Words::default();
        assert!(Arc::ptr_eq(&words.share("a.b"), &words.share("a.b")));
        assert_eq!(&*words.share("a.c"), "a.c");
        let long = "x".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&words.share(&long), &words.share(&long)));
    }

    #[test]
    fn texts_that_never_come_again_take_no_room() {
        let words = Words::default();
        for number in 0..10 * MOST {
            words.share(&number.to_string());
            assert!(words.0.borrow().len() <= MOST);
        }
    }
}
