use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy};

use super::{Durable, Trouble};
use crate::domain::SubjectPattern;
use crate::plan::JetStream;

/// What an existing durable has to be.
impl Durable {
    /// Whether an existing durable is what we need.
    ///
    /// # Errors
    /// What differs, and the command that mends it.
    pub(crate) fn judge(&self, found: &consumer::Config) -> Result<(), Trouble> {
        let (final_ones, editable) = self.differences(found);
        let (stream, durable) = (&self.settings.stream, &self.settings.durable);
        let all: Vec<&str> = final_ones.iter().chain(&editable).map(String::as_str).collect();
        if all.is_empty() {
            return Ok(());
        }
        let remedy = match final_ones.is_empty() {
            true => format!("mend it with: {}", self.edit_command()),
            false => format!(
                "that can't be changed in place; remove it with `nats consumer rm {stream} {durable}` (it is made \
                 anew from `start` on), or name another `durable`"
            ),
        };
        Err(Trouble::Refused(format!(
            "the durable {durable} on the stream {stream} exists with other settings: {}; {remedy}",
            all.join(", ")
        )))
    }

    /// What is different: what can't be changed of an existing durable, and what can.
    fn differences(&self, found: &consumer::Config) -> (Vec<String>, Vec<String>) {
        let JetStream { ack_wait, max_ack_pending, .. } = &self.settings;
        let (mut final_ones, mut editable) = (Vec::new(), Vec::new());
        if found.deliver_subject.is_some() {
            final_ones.push("it is push-based, and a pull consumer is needed".to_owned());
        }
        if found.ack_policy != AckPolicy::Explicit {
            let policy = format!("{:?}", found.ack_policy).to_lowercase();
            final_ones.push(format!("its acknowledgements are `{policy}`, and `explicit` is needed"));
        }
        if found.max_deliver != -1 && found.max_deliver != 0 {
            editable.push(format!(
                "max_deliver is {} (the server would give a message up after so many deliveries), and -1 is needed",
                found.max_deliver
            ));
        }
        if !found.backoff.is_empty() {
            editable.push("it has a backoff, which replaces `ack_wait`".to_owned());
        } else if found.ack_wait != *ack_wait {
            let (theirs, ours) = (seconds(found.ack_wait), seconds(*ack_wait));
            editable.push(format!("ack_wait is {theirs} there and {ours} here"));
        }
        if found.max_ack_pending != i64::from(*max_ack_pending) {
            let theirs = found.max_ack_pending;
            editable.push(format!("max_ack_pending is {theirs} there and {max_ack_pending} here"));
        }
        if found.headers_only {
            editable.push("it delivers headers only, and bodies are needed".to_owned());
        }
        let ours: BTreeSet<&str> = self.subjects.iter().map(SubjectPattern::as_str).collect();
        let theirs = filters(found);
        // A filter that takes all there is may be left out.
        if theirs != ours && !(theirs.is_empty() && ours == BTreeSet::from([">"])) {
            let shown = |subjects: &BTreeSet<&str>| match subjects.is_empty() {
                true => "all".to_owned(),
                false => subjects.iter().copied().collect::<Vec<_>>().join(" "),
            };
            editable.push(format!("its subjects are {} there and {} here", shown(&theirs), shown(&ours)));
        }
        (final_ones, editable)
    }

    fn edit_command(&self) -> String {
        let JetStream { stream, durable, ack_wait, max_ack_pending, .. } = &self.settings;
        let filters: String = self.subjects.iter().map(|subject| format!(" --filter '{subject}'")).collect();
        format!(
            "nats consumer edit {stream} {durable} --wait {} --max-pending {max_ack_pending} --max-deliver=-1{filters} \
             --force",
            seconds(*ack_wait),
        )
    }
}

fn filters(config: &consumer::Config) -> BTreeSet<&str> {
    let several = config.filter_subjects.iter().map(String::as_str);
    several.chain([config.filter_subject.as_str()]).filter(|subject| !subject.is_empty()).collect()
}

fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::consumer::DeliverPolicy;

    use super::super::Begin;
    use super::*;
    use crate::plan::Start;

    fn durable() -> Durable {
        let settings = JetStream {
            stream: "AUDIT".to_owned(),
            durable: "hookferry-audit".to_owned(),
            start: Start::Latest,
            ack_wait: Duration::from_secs(60),
            max_ack_pending: 20_000,
        };
        Durable::new(&settings, &["audit.user.>".parse().unwrap(), "audit.system.*".parse().unwrap()])
    }

    fn good() -> consumer::Config {
        consumer::Config {
            ack_wait: Duration::from_secs(60),
            max_deliver: -1,
            max_ack_pending: 20_000,
            filter_subjects: vec!["audit.system.*".to_owned(), "audit.user.>".to_owned()],
            ..consumer::Config::default()
        }
    }

    fn fault(change: impl FnOnce(&mut consumer::Config)) -> String {
        let mut found = good();
        change(&mut found);
        durable().judge(&found).expect_err("a difference").text().to_owned()
    }

    #[test]
    fn what_we_make_is_what_we_want() {
        use consumer::IntoConsumerConfig as _;
        let made = durable().config(&Begin::Configured).into_consumer_config();
        assert_eq!(durable().judge(&made), Ok(()));
        assert_eq!(durable().judge(&good()), Ok(()));
        assert_eq!(made.deliver_policy, DeliverPolicy::New);
    }

    #[test]
    fn a_durable_that_was_deleted_goes_on_where_it_was() {
        let begin = Begin::Resumed { created: "1".into(), sequence: 42 };
        let policy = durable().config(&begin).deliver_policy;
        assert_eq!(policy, DeliverPolicy::ByStartSequence { start_sequence: 42 });
    }

    #[test]
    fn every_difference_is_named_with_the_command_that_mends_it() {
        let text = fault(|found| {
            found.max_deliver = 5;
            found.ack_wait = Duration::from_millis(1500);
            found.max_ack_pending = 1000;
            found.filter_subjects = vec!["audit.>".to_owned()];
        });
        for part in [
            "max_deliver is 5 (the server would give a message up after so many deliveries), and -1 is needed",
            "ack_wait is 1500ms there and 60s here",
            "max_ack_pending is 1000 there and 20000 here",
            "its subjects are audit.> there and audit.system.* audit.user.> here",
            "nats consumer edit AUDIT hookferry-audit --wait 60s --max-pending 20000 --max-deliver=-1 --filter \
             'audit.user.>' --filter 'audit.system.*' --force",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(fault(|found| found.backoff = vec![Duration::from_secs(1)]).contains("backoff"));
    }

    #[test]
    fn what_cannot_be_edited_has_to_be_removed() {
        let push = fault(|found| found.deliver_subject = Some("x".to_owned()));
        assert!(
            push.contains("push-based") && push.contains("nats consumer rm AUDIT hookferry-audit"),
            "{push}"
        );
        let none = fault(|found| found.ack_policy = AckPolicy::None);
        assert!(none.contains("`none`") && !none.contains("consumer edit"), "{none}");
    }
}
