use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::store::{LetterPosition, LetterState};

/// The version that is written. What a later one means is not known, but that something was done is.
const VERSION: u32 = 1;

/// What was done about the dead letters of one topic, as the compacted topic `<name>.dlq-state` says.
#[derive(Debug, Default)]
pub(super) struct LetterStates(HashMap<(i32, i64), Noted>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    state: LetterState,
    written_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    v: u32,
    state: &'a str,
    /// When it was done, in milliseconds since 1970-01-01 UTC.
    at: i64,
    /// When the letter was written: a topic that is made anew has the same offsets.
    written: i64,
}

/// A record's key.
pub(super) fn key(position: &LetterPosition) -> String {
    position.to_string()
}

/// A record's value.
pub(super) fn value(state: LetterState, at_ms: i64, written_ms: i64) -> String {
    let document = Document { v: VERSION, state: state.as_str(), at: at_ms, written: written_ms };
    // A text and numbers can always be written.
    serde_json::to_string(&document).unwrap_or_default()
}

impl LetterStates {
    /// Takes one record over, if it is about a letter of this topic: returns where that stands. What can't
    /// be read says nothing.
    pub(super) fn take(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Option<(i32, i64)> {
        let position: LetterPosition = std::str::from_utf8(key?).ok()?.parse().ok()?;
        let place = position.partition.filter(|_| *position.place == *topic)?;
        let place = (place, position.number);
        let Some(value) = value else {
            self.0.remove(&place);
            return Some(place);
        };
        let document: Document<'_> = serde_json::from_slice(value).ok()?;
        let state = match document.state {
            "purged" => LetterState::Purged,
            _ => LetterState::Redriven,
        };
        self.0.insert(place, Noted { state, written_ms: document.written });
        Some(place)
    }

    /// What was done about the letter that stands here and was written then.
    pub(super) fn of(&self, place: (i32, i64), written_ms: i64) -> LetterState {
        match self.0.get(&place) {
            Some(noted) if noted.written_ms == written_ms => noted.state,
            _ => LetterState::Pending,
        }
    }

    /// Forgets what is not about letters that stand at or above these offsets; returns where they stood.
    pub(super) fn forget_below(&mut self, topic: &Arc<str>, low: &[(i32, i64)]) -> Vec<LetterPosition> {
        let is_gone = |place: &(i32, i64)| low.iter().any(|(p, low)| *p == place.0 && place.1 < *low);
        let gone = self.0.extract_if(|place, _| is_gone(place));
        let position =
            |(partition, number)| LetterPosition { place: topic.clone(), partition: Some(partition), number };
        gone.map(|(place, _)| position(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> LetterStates {
        let mut states = LetterStates::default();
        for (key, state) in [("x.dlq/0/7", LetterState::Purged), ("x.dlq/1/7", LetterState::Redriven)] {
            states.take("x.dlq", Some(key.as_bytes()), Some(value(state, 5, 3).as_bytes()));
        }
        states
    }

    #[test]
    fn a_letter_has_the_state_that_was_noted_for_it() {
        let states = states();
        assert_eq!(states.of((0, 7), 3), LetterState::Purged);
        assert_eq!(states.of((1, 7), 3), LetterState::Redriven);
        assert_eq!(states.of((1, 8), 3), LetterState::Pending);
    }

    /// A topic that was deleted and made anew begins at offset 0 again.
    #[test]
    fn a_later_letter_at_the_same_offset_is_another_one() {
        assert_eq!(states().of((1, 7), 4), LetterState::Pending);
    }

    #[test]
    fn what_is_about_other_topics_or_unreadable_says_nothing() {
        let mut states = states();
        let value = value(LetterState::Purged, 5, 3);
        for (key, value) in [("y.dlq/1/9", &*value), ("x.dlq/1", &value), ("x.dlq/1/9", "{")] {
            assert_eq!(states.take("x.dlq", Some(key.as_bytes()), Some(value.as_bytes())), None, "{key}");
        }
        assert_eq!(states.of((1, 9), 3), LetterState::Pending);
    }

    #[test]
    fn what_retention_took_is_forgotten() {
        let mut states = states();
        let gone = states.forget_below(&"x.dlq".into(), &[(0, 7), (1, 8)]);
        assert_eq!(gone.iter().map(ToString::to_string).collect::<Vec<_>>(), ["x.dlq/1/7"]);
        assert_eq!(states.of((1, 7), 3), LetterState::Pending);
        assert_eq!(states.take("x.dlq", Some(b"x.dlq/0/7"), None), Some((0, 7)));
        assert_eq!(states.of((0, 7), 3), LetterState::Pending, "a tombstone");
    }
}
