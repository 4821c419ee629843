/// How many messages of a stream wait to be read through a durable, as the server said last: with each
/// message that it gives, and when it is asked. What was published since then is not known of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread {
    /// The last sequence that was given.
    pub(super) after: u64,
    /// How many wait behind it.
    pub(super) messages: u64,
}

impl Unread {
    /// Notes what the server says, unless it is older than what is known.
    pub(super) fn note(&mut self, said: Unread) {
        if said.after >= self.after {
            *self = said;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_changes_nothing() {
        let mut unread = Unread { after: 10, messages: 5 };
        unread.note(Unread { after: 12, messages: 3 });
        unread.note(Unread { after: 11, messages: 4 });
        assert_eq!(unread, Unread { after: 12, messages: 3 }, "an answer that a message overtook");
        unread.note(Unread { after: 12, messages: 30 });
        assert_eq!(unread.messages, 30, "more were published");
    }
}
