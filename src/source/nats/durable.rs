mod differences;

use async_nats::jetstream::consumer::{self, AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{GetStreamErrorKind, RequestErrorKind};
use async_nats::jetstream::stream::{
    self, ConsumerCreateStrictErrorKind as ConsumerErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};

use crate::domain::{Moment, SubjectPattern};
use crate::plan::{JetStream, OPEN_IN_ORDER, Start};

/// The durable consumer of a source: what it has to be, and whether it is.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    settings: JetStream,
    subjects: Vec<SubjectPattern>,
    /// Of an ordered target's own durable.
    own: Option<Own>,
}

/// Whose own a durable is, and beside which it stands.
#[derive(Debug, Clone)]
struct Own {
    target: String,
    /// The durable of all targets that are not ordered.
    shared: String,
}

/// A durable that can be pulled from.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) consumer: Consumer<pull::Config>,
    /// The stream that it is on, as it was when it was looked at.
    pub(crate) stream: Stream,
    /// Nanoseconds since 1970 at which the stream was made, as text: another stream of that name has
    /// another one.
    pub(crate) created: Box<str>,
}

/// Where a durable that has to be made begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// As `start` says.
    Configured,
    /// With the first message: the stream was not there before.
    Beginning,
    /// After this sequence, up to which the shared durable served the ordered target.
    Seeded(u64),
    /// It was deleted under us, and goes on.
    Resumed {
        /// The stream that it was on; another one is read from its beginning.
        created: Box<str>,
        /// The first sequence that is not settled.
        sequence: u64,
    },
}

/// Why a durable can't be pulled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server did not answer; it is asked again.
    NoAnswer(String),
    /// Something that people have to mend; the text says how.
    Refused(String),
    /// The stream is not there; the text says how to make it.
    NoStream(String),
}

impl Trouble {
    pub(crate) fn text(&self) -> &str {
        match self {
            Trouble::NoAnswer(text) | Trouble::Refused(text) | Trouble::NoStream(text) => text,
        }
    }
}

impl Durable {
    pub(crate) fn new(settings: &JetStream, subjects: &[SubjectPattern]) -> Durable {
        Durable { settings: settings.clone(), subjects: subjects.to_vec(), own: None }
    }

    /// The durable of an ordered target of its own: it gives one message at a time.
    pub(crate) fn ordered(settings: &JetStream, subjects: &[SubjectPattern], target: &str) -> Durable {
        let shared = settings.durable.clone();
        let durable = format!("{shared}-{target}");
        let settings = JetStream { durable, max_ack_pending: OPEN_IN_ORDER, ..settings.clone() };
        let own = Some(Own { target: target.to_owned(), shared });
        Durable { own, ..Durable::new(&settings, subjects) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.settings.durable
    }

    /// The stream that it is on.
    pub(crate) fn stream_name(&self) -> &str {
        &self.settings.stream
    }

    /// Finds the stream, and the durable on it; makes the durable if there is none. Neither is ever
    /// altered.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) async fn attach(&self, context: &Context, begin: &Begin) -> Result<Attachment, Trouble> {
        let stream = self.stream(context).await?;
        if let Some(info) = self.found(&stream).await? {
            self.judge(&info.config)?;
            return self.attachment(stream, &info).await;
        }
        self.make(stream, begin).await
    }

    /// Makes the durable, which was not there.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) async fn make(&self, stream: Stream, begin: &Begin) -> Result<Attachment, Trouble> {
        self.judge_stream(&stream.cached_info().config)?;
        let seeded;
        let begin = match (&self.own, begin) {
            (None, _) => begin,
            (Some(_), Begin::Resumed { .. } | Begin::Seeded(_)) => begin,
            (Some(own), Begin::Configured | Begin::Beginning) => {
                match consumer_info(&stream, &own.shared).await? {
                    Some(shared) => {
                        seeded = Begin::Seeded(shared.ack_floor.stream_sequence);
                        &seeded
                    }
                    None => begin,
                }
            }
        };
        let created = created(stream.cached_info());
        let begin = match begin {
            Begin::Resumed { created: known, .. } if *known != created => &Begin::Beginning,
            // What is left in a work queue is what is not settled, and it can't be begun elsewhere.
            Begin::Resumed { .. } if is_work_queue(&stream.cached_info().config) => &Begin::Beginning,
            begin => begin,
        };
        let config = self.config(begin);
        // Strictly: one that another replica made meanwhile is looked at, and not altered.
        match stream.create_consumer_strict(config).await {
            Ok(consumer) => {
                self.tell_made(&stream, consumer.cached_info(), begin);
                Ok(Attachment { consumer, stream, created })
            }
            Err(error) => match error.kind() {
                ConsumerErrorKind::AlreadyExists => {
                    Err(Trouble::NoAnswer("another replica makes the durable".to_owned()))
                }
                ConsumerErrorKind::JetStream(refusal) => Err(self.refused(&stream, &refusal)),
                kind => Err(Trouble::NoAnswer(format!("the durable can't be made: {kind}"))),
            },
        }
    }

    /// The stream.
    ///
    /// # Errors
    /// It is not there, or the server does not answer.
    pub(crate) async fn stream(&self, context: &Context) -> Result<Stream, Trouble> {
        let name = &self.settings.stream;
        context.get_stream(name).await.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                let subjects = self.subjects_text(",");
                Trouble::NoStream(format!(
                    "the stream {name} does not exist; it is read from its beginning once it does. Make it, for \
                     example with: nats stream add {name} --subjects '{subjects}' --defaults"
                ))
            }
            GetStreamErrorKind::JetStream(error) => Trouble::Refused(format!("the stream {name}: {error}")),
            _ if is_no_jetstream(&error) => Trouble::Refused(
                "the server has no JetStream for this account; switch it on, or leave `stream` out to read core \
                 NATS"
                    .to_owned(),
            ),
            kind => Trouble::NoAnswer(format!("the stream {name}: {kind}")),
        })
    }

    /// What the server knows of the durable, if it is there.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) async fn found(&self, stream: &Stream) -> Result<Option<consumer::Info>, Trouble> {
        consumer_info(stream, &self.settings.durable).await
    }

    /// Whether the durable can stand on a stream like this: a work queue gives each message to one durable
    /// only.
    ///
    /// # Errors
    /// It can't, with the remedy.
    pub(crate) fn judge_stream(&self, found: &stream::Config) -> Result<(), Trouble> {
        match &self.own {
            Some(own) if is_work_queue(found) => Err(self.one_reader_only(own)),
            _ => Ok(()),
        }
    }

    fn one_reader_only(&self, own: &Own) -> Trouble {
        let JetStream { stream, durable, .. } = &self.settings;
        Trouble::Refused(format!(
            "the target {} is ordered and needs the durable {durable} of its own, and the stream {stream} is a work \
             queue, which gives each message to one durable only: take `ordering` out, or read a stream with another \
             retention (`nats stream add … --retention limits`)",
            own.target
        ))
    }

    async fn attachment(&self, stream: Stream, info: &consumer::Info) -> Result<Attachment, Trouble> {
        let consumer = stream
            .get_consumer(&info.name)
            .await
            .map_err(|error| Trouble::NoAnswer(format!("the durable {}: {error}", info.name)))?;
        let created = created(stream.cached_info());
        Ok(Attachment { consumer, stream, created })
    }

    fn subjects_text(&self, separator: &str) -> String {
        self.subjects.iter().map(SubjectPattern::as_str).collect::<Vec<_>>().join(separator)
    }

    /// The durable as we make it.
    fn config(&self, begin: &Begin) -> pull::Config {
        let JetStream { durable, ack_wait, max_ack_pending, .. } = &self.settings;
        let mut config = pull::Config {
            durable_name: Some(durable.clone()),
            description: Some("made by hookferry".to_owned()),
            deliver_policy: self.deliver_policy(begin),
            ack_policy: AckPolicy::Explicit,
            ack_wait: *ack_wait,
            max_deliver: -1,
            max_ack_pending: i64::from(*max_ack_pending),
            ..pull::Config::default()
        };
        match &*self.subjects {
            [only] => config.filter_subject = only.to_string(),
            several => config.filter_subjects = several.iter().map(ToString::to_string).collect(),
        }
        config
    }

    fn deliver_policy(&self, begin: &Begin) -> DeliverPolicy {
        match begin {
            Begin::Configured => {}
            Begin::Beginning => return DeliverPolicy::All,
            Begin::Seeded(after) => {
                return DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) };
            }
            Begin::Resumed { sequence, .. } => {
                return DeliverPolicy::ByStartSequence { start_sequence: *sequence };
            }
        }
        let start_ms = match self.settings.start {
            Start::Latest => return DeliverPolicy::New,
            Start::Earliest => return DeliverPolicy::All,
            Start::Ago(age) => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Moment::now().wall_ms.saturating_sub(age_ms).max(0)
            }
            Start::At(unix_ms) => unix_ms.max(0),
        };
        match async_nats::datetime::from_nanos(i128::from(start_ms) * 1_000_000) {
            Ok(start_time) => DeliverPolicy::ByStartTime { start_time },
            // A time that the server can't be told lies after all messages.
            Err(_) => DeliverPolicy::New,
        }
    }

    fn tell_made(&self, stream: &Stream, info: &consumer::Info, begin: &Begin) {
        let JetStream { stream: name, durable, .. } = &self.settings;
        if let Begin::Resumed { sequence, .. } = begin {
            tracing::warn!(
                "made the durable {durable} on the stream {name} anew, from message {} on",
                sequence
            );
            return;
        }
        if let Begin::Seeded(after) = begin {
            tracing::info!(
                "made the durable {durable} on the stream {name}, after message {after}, up to which the shared one \
                 had served"
            );
            return;
        }
        let last = stream.cached_info().state.last_sequence;
        let waiting = info.num_pending;
        tracing::info!(
            "made the durable {durable} on the stream {name}, whose last message is {last}: {waiting} messages are \
             sent, and those before them are not (`start: earliest` would send them)"
        );
    }

    fn refused(&self, stream: &Stream, refusal: &async_nats::jetstream::Error) -> Trouble {
        let JetStream { stream: name, durable, .. } = &self.settings;
        let work_queue = is_work_queue(&stream.cached_info().config);
        let remedy = match refusal.error_code() {
            ErrorCode::CONSUMER_WQ_MULTIPLE_UNFILTERED | ErrorCode::CONSUMER_WQ_CONSUMER_NOT_UNIQUE => {
                "a work-queue stream gives each message to one consumer only: remove the other one, or choose subjects \
                 that it does not take"
            }
            ErrorCode::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL => {
                "a work-queue stream has no messages to skip; write `start: earliest`"
            }
            ErrorCode::CONSUMER_OVERLAPPING_SUBJECT_FILTERS => "choose subjects that do not overlap",
            ErrorCode::MAXIMUM_CONSUMERS_LIMIT => "raise the stream's or account's limit of consumers",
            _ if work_queue => "see what a work-queue stream allows",
            _ => "see the reason",
        };
        Trouble::Refused(format!(
            "the durable {durable} on the stream {name} can't be made: {refusal}; {remedy}"
        ))
    }
}

/// What the server knows of a durable, if it is there.
pub(super) async fn consumer_info(stream: &Stream, durable: &str) -> Result<Option<consumer::Info>, Trouble> {
    use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
    match stream.consumer_info(durable).await {
        Ok(info) => Ok(Some(info)),
        Err(error) => match error.kind() {
            Kind::NotFound => Ok(None),
            Kind::JetStream(refusal) if refusal.error_code() == ErrorCode::CONSUMER_NOT_FOUND => Ok(None),
            kind => Err(Trouble::NoAnswer(format!("the durable {durable}: {kind}"))),
        },
    }
}

fn is_work_queue(config: &stream::Config) -> bool {
    config.retention == RetentionPolicy::WorkQueue
}

/// Whether nobody answers for JetStream.
fn is_no_jetstream(error: &async_nats::jetstream::context::GetStreamError) -> bool {
    use std::error::Error as _;
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<async_nats::jetstream::context::RequestError>());
    source.is_some_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

pub(super) fn created(info: &stream::Info) -> Box<str> {
    info.created.unix_timestamp_nanos().to_string().into()
}
