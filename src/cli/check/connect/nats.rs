use std::sync::Arc;

use async_nats::jetstream::{self, stream};

use super::{Findings, PATIENCE};
use crate::broker::nats::{Reachability, TierStream, try_connect};
use crate::domain::SubjectPattern;
use crate::plan::{DeadLetters, JetStream, Nats, NatsMode, Plan, Start};
use crate::source::nats::Durable;
use crate::store::nats::letter_stream::{Found, find};

/// What the headers of a dead letter or of a tier's record may take.
const HEADER_ROOM: usize = 64 * 1024;

/// Looks at the servers of a source. `ordered`: the targets that have durables of their own; `kept`: the
/// plan, if its dead letters and tiers are there.
pub(super) fn look(
    nats: &Nats,
    max_event: usize,
    ordered: &[&str],
    kept: Option<&Plan>,
    findings: &mut Findings<'_>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return findings.fault(format!("no connection can be made: {fault}")),
    };
    runtime.block_on(async {
        let reachability = Arc::new(Reachability::new(findings.source, &nats.servers));
        let connecting = try_connect("hookferry-check", nats, &reachability);
        let servers = nats.servers.join(", ");
        let client = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(link)) => link.client,
            Ok(Err(reason)) => {
                return findings.fault(format!("the NATS servers {servers} can't be used: {reason}"));
            }
            Err(_) => return findings.fault(format!("the NATS servers {servers} do not answer")),
        };
        let version = client.server_info().version;
        findings.fine(format!("the NATS servers {servers} answer, version {version}"));
        if let Some(warning) = payload_warning(client.server_info().max_payload, max_event) {
            findings.fine(warning);
        }
        let jetstream = jetstream::new(client.clone());
        match &nats.mode {
            NatsMode::Core { .. } => {
                findings.fine("core NATS: each message is delivered at most once".to_owned());
            }
            NatsMode::JetStream(settings) => {
                if nats.subjects.len() > 1 && !client.is_server_compatible(2, 10, 0) {
                    findings.fault(format!(
                        "version {version} knows one subject for a durable only; use 2.10 or later, or one subject"
                    ));
                }
                look_at_stream(&jetstream, settings, &nats.subjects, ordered, findings).await;
            }
        }
        if let Some(plan) = kept {
            look_at_letters(&jetstream, &plan.dead_letters, findings).await;
            look_at_tiers(&jetstream, &TierStream::new(plan), findings).await;
        }
    });
}

/// What it means that a server takes messages of so many bytes at most.
fn payload_warning(max_payload: usize, max_event: usize) -> Option<String> {
    (max_payload < max_event).then(|| {
        format!(
            "warning: the server takes messages of {max_payload} bytes at most, with their headers, and \
             `limits.max_event` is {max_event}: a larger event can be written to no dead letter and no retry tier \
             there; raise the server's `max_payload` to {} (room for headers too), or lower `limits.max_event`",
            max_event.saturating_add(HEADER_ROOM)
        )
    })
}

async fn look_at_letters(context: &jetstream::Context, letters: &DeadLetters, findings: &mut Findings<'_>) {
    let DeadLetters { stream, subject, .. } = letters;
    match find(context, letters).await {
        Err(reason) => findings.fault(reason),
        Ok(Found::There) => findings.fine(format!("the stream {stream} for dead letters is there")),
        // Two streams can't take the same subjects, so that ours could not be made.
        Ok(Found::Missing) => match context.stream_by_subject(format!("{subject}.>")).await {
            Ok(other) => findings.fault(format!(
                "the stream {stream} for dead letters can't be made: the stream {other} takes {subject}.> or a part of \
                 it; choose another `dead_letters.subject`"
            )),
            Err(_) => findings
                .fine(format!("the stream {stream} for dead letters will be created, if that is allowed")),
        },
    }
}

async fn look_at_tiers(context: &jetstream::Context, tiers: &TierStream, findings: &mut Findings<'_>) {
    let name = tiers.name();
    match tiers.find(context).await {
        Err(reason) => findings.fault(reason),
        Ok(Some(stream)) => match tiers.too_small(&stream.cached_info().config) {
            Some(fault) => findings.fault(fault),
            None => findings.fine(format!("the stream {name} of the retry tiers is there")),
        },
        Ok(None) => findings.fine(format!(
            "the stream {name} of the retry tiers will be created, if that is allowed; else with: {}",
            tiers.command()
        )),
    }
}

async fn look_at_stream(
    context: &jetstream::Context,
    settings: &JetStream,
    subjects: &[SubjectPattern],
    ordered: &[&str],
    findings: &mut Findings<'_>,
) {
    let durable = Durable::new(settings, subjects);
    let stream = match durable.stream(context).await {
        Ok(stream) => stream,
        Err(trouble) => return findings.fault(trouble.text().to_owned()),
    };
    let info = stream.cached_info();
    judge_stream(&info.config, settings, subjects, findings);
    let sends = first_sent(&info.config, info.state.messages, settings.start, subjects);
    let is_there = look_at_durable(&durable, &stream, &sends, findings).await;
    // An ordered target's own durable begins where the shared one stands.
    let sends = match is_there {
        true => format!("what the durable {} has not settled", settings.durable),
        false => sends,
    };
    for target in ordered {
        let own = Durable::ordered(settings, subjects, target);
        match own.judge_stream(&stream.cached_info().config) {
            Err(trouble) => findings.fault(trouble.text().to_owned()),
            Ok(()) => {
                look_at_durable(&own, &stream, &sends, findings).await;
            }
        }
    }
    let config = &stream.cached_info().config;
    if config.retention == stream::RetentionPolicy::Interest {
        findings.fine(format!(
            "the stream {} keeps messages only while a consumer wants them: what is published before a durable \
             exists is not kept for it",
            config.name
        ));
    }
}

/// Looks at a durable; `sends` says what it would send if it had to be made. Whether it is there.
async fn look_at_durable(
    durable: &Durable,
    stream: &stream::Stream,
    sends: &str,
    findings: &mut Findings<'_>,
) -> bool {
    let name = durable.name();
    let found = match durable.found(stream).await {
        Ok(found) => found,
        Err(trouble) => {
            findings.fault(trouble.text().to_owned());
            return false;
        }
    };
    match &found {
        Some(found) => match durable.judge(&found.config) {
            Err(trouble) => findings.fault(trouble.text().to_owned()),
            Ok(()) => findings.fine(format!(
                "the durable {name} is there; {} messages wait, {} are open",
                found.num_pending, found.num_ack_pending
            )),
        },
        None => findings.fine(format!("the first start makes the durable {name} and sends {sends}")),
    }
    found.is_some()
}

/// Which of a stream's messages a durable gets that has to be made.
fn first_sent(config: &stream::Config, messages: u64, start: Start, subjects: &[SubjectPattern]) -> String {
    let ours = |subject: &String| subjects.iter().any(|own| own.as_str() == subject);
    let takes_all = subjects.iter().any(|own| own.as_str() == ">")
        || (lists_all(config) && config.subjects.iter().all(ours));
    let up_to = if takes_all { "" } else { "up to " };
    match start {
        Start::Latest => {
            format!("none of the {messages} messages that are there (`start: earliest` would)")
        }
        Start::Earliest => format!("{up_to}{messages} messages"),
        Start::Ago(_) | Start::At(_) => {
            format!("{up_to}{messages} messages, less those that are older than `start`")
        }
    }
}

/// Whether a stream takes only the subjects that it lists: a mirror, and one made of sources, do not.
fn lists_all(config: &stream::Config) -> bool {
    config.mirror.is_none() && config.sources.as_ref().is_none_or(Vec::is_empty)
}

/// What the kind of a stream means for its reader.
fn judge_stream(
    config: &stream::Config,
    settings: &JetStream,
    subjects: &[SubjectPattern],
    findings: &mut Findings<'_>,
) {
    let name = &config.name;
    let theirs = || config.subjects.iter().filter_map(|subject| subject.parse::<SubjectPattern>().ok());
    for subject in subjects {
        if lists_all(config) && !theirs().any(|own| own.overlaps(subject)) {
            findings.fault(format!(
                "the stream {name} takes no {subject}; it takes {}",
                config.subjects.join(" ")
            ));
        }
    }
    if !lists_all(config) {
        let what = if config.mirror.is_some() { "is a mirror" } else { "has sources" };
        findings.fine(format!(
            "the stream {name} {what}: messages come when it has them, later than to the origin"
        ));
    }
    match config.retention {
        stream::RetentionPolicy::WorkQueue if settings.start != Start::Earliest => findings.fault(format!(
            "the stream {name} is a work queue, which has no messages to skip; write `start: earliest`"
        )),
        stream::RetentionPolicy::WorkQueue => findings.fine(format!(
            "the stream {name} is a work queue: a message is deleted when all of its deliveries have ended"
        )),
        stream::RetentionPolicy::Interest | stream::RetentionPolicy::Limits => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(change: impl FnOnce(&mut stream::Config, &mut JetStream)) -> Vec<String> {
        let mut config = stream::Config {
            name: "S".to_owned(),
            subjects: vec!["a.>".to_owned()],
            ..stream::Config::default()
        };
        let mut settings = JetStream {
            stream: "S".to_owned(),
            durable: "d".to_owned(),
            start: Start::Latest,
            ack_wait: Duration::from_secs(60),
            max_ack_pending: 10,
        };
        change(&mut config, &mut settings);
        let mut findings = Findings { source: "s", found: Vec::new() };
        judge_stream(&config, &settings, &["a.b".parse().expect("a subject")], &mut findings);
        findings.found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stream_that_can_not_be_read_so_is_a_fault() {
        assert!(judged(|_, _| {}).is_empty());
        assert_eq!(
            judged(|config, _| config.subjects = vec!["b.>".to_owned()]),
            ["sources.s: fault: the stream S takes no a.b; it takes b.>"]
        );
        let queue = |config: &mut stream::Config| config.retention = stream::RetentionPolicy::WorkQueue;
        assert!(judged(|config, _| queue(config))[0].contains("write `start: earliest`"));
        let earliest = judged(|config, settings| {
            queue(config);
            settings.start = Start::Earliest;
        });
        assert!(!earliest[0].contains("fault"), "{earliest:?}");
    }

    #[test]
    fn a_server_that_takes_no_large_messages_is_warned_of_with_the_remedy() {
        assert_eq!(payload_warning(1 << 20, 1 << 20), None);
        let warning = payload_warning(1 << 20, 2 << 20).expect("a warning");
        assert!(warning.contains("1048576 bytes at most") && warning.contains("to 2162688"), "{warning}");
    }

    #[test]
    fn an_ordered_target_can_not_stand_on_a_work_queue() {
        let settings = JetStream {
            stream: "S".to_owned(),
            durable: "d".to_owned(),
            start: Start::Earliest,
            ack_wait: Duration::from_secs(60),
            max_ack_pending: 10,
        };
        let subjects = ["a.b".parse().expect("a subject")];
        let own = Durable::ordered(&settings, &subjects, "ledger");
        let on = |retention| stream::Config { retention, ..stream::Config::default() };
        assert_eq!(own.judge_stream(&on(stream::RetentionPolicy::Limits)), Ok(()));
        let fault = own.judge_stream(&on(stream::RetentionPolicy::WorkQueue)).expect_err("a fault");
        assert!(fault.text().contains("target ledger is ordered"), "{}", fault.text());
        let shared = Durable::new(&settings, &subjects);
        assert_eq!(shared.judge_stream(&on(stream::RetentionPolicy::WorkQueue)), Ok(()));
    }

    #[test]
    fn a_stream_that_gets_its_messages_from_others_lists_no_subjects() {
        let origin = || stream::Source { name: "O".to_owned(), ..stream::Source::default() };

        let mirror = judged(|config, _| {
            (config.subjects, config.mirror) = (Vec::new(), Some(origin()));
        });
        let sourced = judged(|config, _| {
            (config.subjects, config.sources) = (vec!["b".to_owned()], Some(vec![origin()]));
        });

        assert!(
            matches!(&mirror[..], [only] if only.starts_with("sources.s: the stream S is a mirror")),
            "{mirror:?}"
        );
        assert!(
            matches!(&sourced[..], [only] if only.starts_with("sources.s: the stream S has sources")),
            "{sourced:?}"
        );
    }

    #[test]
    fn a_first_start_sends_at_most_what_the_stream_holds() {
        let config = stream::Config { subjects: vec!["a.>".to_owned()], ..stream::Config::default() };
        let sent =
            |start, subject: &str| first_sent(&config, 7, start, &[subject.parse().expect("a subject")]);

        assert_eq!(sent(Start::Earliest, "a.>"), "7 messages");
        assert_eq!(sent(Start::Earliest, ">"), "7 messages");
        assert_eq!(sent(Start::Earliest, "a.b"), "up to 7 messages");
        assert!(sent(Start::Latest, "a.>").starts_with("none of the 7 messages"));
        assert!(sent(Start::At(0), "a.>").starts_with("7 messages, less those that are older"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_a_fault_with_its_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port").to_string();
        let nats = Nats {
            servers: vec![address.clone()],
            subjects: Vec::new(),
            mode: NatsMode::Core { queue: "q".to_owned() },
            tls: None,
            login: crate::plan::NatsLogin::Anonymous,
        };
        let mut findings = Findings { source: "s", found: Vec::new() };

        look(&nats, 0, &[], None, &mut findings);

        let [found] = &findings.found[..] else { panic!("{:?}", findings.found) };
        assert!(found.fault && found.says.contains(&address), "{found}");
    }
}
