//! The stream in which deliveries wait for their next attempt: one for all retry tiers.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};

use crate::domain::SubjectPattern;
use crate::plan::Plan;

/// What a record's header may take beside the event: in it are the message's own headers too.
const HEADER_ROOM: usize = 64 * 1024;

/// The stream of the retry tiers: what it has to be, and whether it is.
#[derive(Debug, Clone)]
pub(crate) struct TierStream {
    name: String,
    subjects: String,
    largest: usize,
}

impl TierStream {
    /// Of this plan.
    pub(crate) fn new(plan: &Plan) -> TierStream {
        TierStream {
            name: plan.tier_stream(),
            subjects: format!("{}.retry.*", plan.name),
            largest: plan.limits.max_event.saturating_add(HEADER_ROOM),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The stream; made if it is missing.
    ///
    /// # Errors
    /// Why it can't be used, as a sentence with the remedy.
    pub(crate) async fn ensure(&self, context: &Context) -> Result<Stream, String> {
        match self.find(context).await? {
            Some(stream) => Ok(stream),
            None => self.create(context).await,
        }
    }

    /// The stream, if it is there; makes and alters nothing.
    ///
    /// # Errors
    /// Why it can't be used, as a sentence with the remedy.
    pub(crate) async fn find(&self, context: &Context) -> Result<Option<Stream>, String> {
        let name = &self.name;
        match context.get_stream(name).await {
            Ok(stream) => {
                self.judge(&stream.cached_info().config)?;
                Ok(Some(stream))
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Ok(None)
                }
                GetStreamErrorKind::JetStream(error) => {
                    Err(format!("the stream {name} of the retry tiers can't be used: {error}"))
                }
                _ => Err(format!(
                    "JetStream does not answer for the stream {name} of the retry tiers: {error}; switch JetStream \
                     on, or name a source with another broker in `dead_letters.on`"
                )),
            },
        }
    }

    /// Which events an existing stream can't hold although they may be read, if there are any: they could
    /// not wait there, and would be dead letters at once.
    pub(crate) fn too_small(&self, found: &Config) -> Option<String> {
        let TierStream { name, largest, .. } = self;
        let most = usize::try_from(found.max_message_size).ok().filter(|most| *most > 0)?;
        (most < *largest).then(|| {
            format!(
                "the stream {name} of the retry tiers takes messages of {most} bytes at most, and a delivery that waits \
                 may need {largest} (`limits.max_event` and its headers): a larger one would not wait, but be a dead \
                 letter at once; mend it with: nats stream edit {name} --max-msg-size {largest} --force"
            )
        })
    }

    /// The command that makes it.
    pub(crate) fn command(&self) -> String {
        let TierStream { name, subjects, largest } = self;
        format!(
            "nats stream add {name} --subjects '{subjects}' --retention work --discard new --storage file \
             --max-msg-size {largest} --defaults"
        )
    }

    async fn create(&self, context: &Context) -> Result<Stream, String> {
        let name = &self.name;
        match context.create_stream(self.config()).await {
            Ok(stream) => {
                tracing::info!("made the stream {name} for retries on {}", self.subjects);
                Ok(stream)
            }
            Err(error) => match error.kind() {
                CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NAME_EXIST =>
                {
                    Err(format!(
                        "the stream {name} of the retry tiers was made meanwhile; it is looked at again"
                    ))
                }
                _ => Err(format!(
                    "the stream {name} of the retry tiers does not exist and can't be made ({error}); make it, for \
                     example with: {}",
                    self.command()
                )),
            },
        }
    }

    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            description: Some("retry tiers of hookferry".to_owned()),
            subjects: vec![self.subjects.clone()],
            retention: RetentionPolicy::WorkQueue,
            // What waits may not be thrown out by what comes after it: rather is that refused.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_message_size: i32::try_from(self.largest).unwrap_or(i32::MAX),
            ..Config::default()
        }
    }

    /// Whether an existing stream can hold what waits without losing it.
    fn judge(&self, found: &Config) -> Result<(), String> {
        let TierStream { name, subjects, .. } = self;
        let remove =
            format!("remove it when it is empty (`nats stream rm {name}`); it is made anew as it has to be");
        let mut faults = Vec::new();
        if found.retention != RetentionPolicy::WorkQueue {
            faults.push(format!("it is no work queue; {remove}"));
        }
        if !found.max_age.is_zero() {
            faults.push(format!(
                "it has an age limit, which would delete what waits; mend it with: nats stream edit {name} \
                 --max-age 0s --force"
            ));
        }
        if found.discard != DiscardPolicy::New {
            faults.push(format!(
                "it discards old messages when it is full, which are what waits; mend it with: nats stream edit \
                 {name} --discard new --force"
            ));
        }
        let ours = subjects.replace('*', "1m");
        let takes = |own: &String| own.parse::<SubjectPattern>().is_ok_and(|own| own.takes(&ours));
        if !found.subjects.iter().any(takes) {
            faults.push(format!(
                "it does not take {subjects}; mend it with: nats stream edit {name} --subjects '{subjects}' --force"
            ));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => {
                Err(format!("the stream {name} of the retry tiers can't be used: {}", faults.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tiers() -> TierStream {
        TierStream { name: "shop-retry".to_owned(), subjects: "shop.retry.*".to_owned(), largest: 1000 }
    }

    fn fault(change: impl FnOnce(&mut Config)) -> String {
        let mut found = tiers().config();
        change(&mut found);
        tiers().judge(&found).expect_err("a fault")
    }

    #[test]
    fn what_we_make_is_what_we_want() {
        assert_eq!(tiers().judge(&tiers().config()), Ok(()));
    }

    #[test]
    fn a_stream_that_takes_no_large_messages_is_named_with_the_remedy() {
        let said = |most: i32| tiers().too_small(&Config { max_message_size: most, ..tiers().config() });
        assert_eq!((said(1000), said(-1), said(0)), (None, None, None));
        let small = said(999).expect("too small");
        assert!(small.contains("999 bytes at most") && small.contains("--max-msg-size 1000"), "{small}");
    }

    #[test]
    fn a_stream_that_could_lose_what_waits_is_named_with_the_remedy() {
        let aged = fault(|found| found.max_age = Duration::from_secs(60));
        assert!(aged.contains("age limit") && aged.contains("--max-age 0s"), "{aged}");
        let discarding = fault(|found| found.discard = DiscardPolicy::Old);
        assert!(discarding.contains("--discard new"), "{discarding}");
        let kept = fault(|found| found.retention = RetentionPolicy::Limits);
        assert!(kept.contains("no work queue") && kept.contains("nats stream rm shop-retry"), "{kept}");
        let other = fault(|found| found.subjects = vec!["shop.retry.5m".to_owned()]);
        assert!(other.contains("does not take shop.retry.*"), "{other}");
    }
}
