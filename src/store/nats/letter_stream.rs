use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use crate::domain::SubjectPattern;
use crate::plan::DeadLetters;

/// Dead letters are kept so long, unless the stream is the user's own.
const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);

/// Whether the stream for dead letters is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is, and it takes our subjects.
    There,
    /// It has to be made.
    Missing,
}

/// Sees to it that the stream for dead letters exists; makes it where that is allowed.
///
/// # Errors
/// What is in the way, as a sentence with the remedy.
pub(super) async fn ensure(context: &Context, letters: &DeadLetters, largest: usize) -> Result<(), String> {
    match find(context, letters).await? {
        Found::There => Ok(()),
        Found::Missing => create(context, letters, largest).await,
    }
}

/// Looks for the stream for dead letters; makes and alters nothing.
///
/// # Errors
/// Why it can't be used, as a sentence with the remedy.
pub(crate) async fn find(context: &Context, letters: &DeadLetters) -> Result<Found, String> {
    let DeadLetters { stream, subject, .. } = letters;
    match context.get_stream(stream).await {
        Ok(found) => judge(&found.cached_info().config.subjects, letters).map(|()| Found::There),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(Found::Missing)
            }
            GetStreamErrorKind::JetStream(error) => {
                Err(format!("the stream {stream} can't be used: {error}"))
            }
            _ => Err(format!(
                "JetStream does not answer for the stream {stream} of dead letters ({subject}.*): {error}; switch \
                 JetStream on, or name a source with another broker in `dead_letters.on`"
            )),
        },
    }
}

/// Whether a stream takes our subjects.
fn judge(subjects: &[String], letters: &DeadLetters) -> Result<(), String> {
    let DeadLetters { stream, subject, .. } = letters;
    let ours = format!("{subject}.name");
    let takes =
        |pattern: &String| pattern.parse::<SubjectPattern>().is_ok_and(|pattern| pattern.takes(&ours));
    match subjects.iter().any(takes) {
        true => Ok(()),
        false => Err(format!(
            "the stream {stream} does not take {subject}.>; add it with: nats stream edit {stream} --subjects \
             '{}'",
            subjects
                .iter()
                .map(String::as_str)
                .chain([&*format!("{subject}.>")])
                .collect::<Vec<_>>()
                .join(",")
        )),
    }
}

async fn create(context: &Context, letters: &DeadLetters, largest: usize) -> Result<(), String> {
    let DeadLetters { stream, subject, .. } = letters;
    let config = Config {
        name: stream.clone(),
        description: Some("dead letters of hookferry".to_owned()),
        subjects: vec![format!("{subject}.>")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: RETENTION,
        max_message_size: i32::try_from(largest).unwrap_or(i32::MAX),
        ..Config::default()
    };
    match context.create_stream(config).await {
        Ok(_) => {
            tracing::info!("made the stream {stream} for dead letters on {subject}.> (retention 14 days)");
            Ok(())
        }
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                Ok(())
            }
            _ => Err(format!(
                "the stream {stream} does not exist and can't be made ({error}); make it, for example with: nats \
                 stream add {stream} --subjects '{subject}.>' --storage file --max-age 14d --max-msg-size {largest} \
                 --defaults"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_ones_own_must_take_our_subjects() {
        let letters =
            DeadLetters { topic: String::new(), stream: "DLQ".to_owned(), subject: "shop.dlq".to_owned() };
        let judged = |subjects: &[&str]| {
            judge(&subjects.iter().map(|subject| (*subject).to_owned()).collect::<Vec<_>>(), &letters)
        };
        assert_eq!(judged(&["shop.dlq.>"]), Ok(()));
        assert_eq!(judged(&["other", "shop.>"]), Ok(()));
        let fault = judged(&["shop.dlq"]).expect_err("too narrow");
        assert!(fault.ends_with("nats stream edit DLQ --subjects 'shop.dlq,shop.dlq.>'"), "{fault}");
    }
}
