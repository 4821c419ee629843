mod signing;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::domain::{DeadLetterReason, TypePattern};
use crate::store::LetterPosition;
use crate::{demo, plan};
pub use signing::{Listen, Secret, Sign, Signatory, Verify};

/// Help with the commands by what they are for; clap's own list has no groups.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Run:
  demo     See it work: embedded broker, receivers that fail at times, the real pipeline
             hookferry demo --events 200
  run      Be the bridge, until SIGTERM or SIGINT
             hookferry run -c /etc/hookferry/

Inspect:
  check    Judge a configuration: all faults at once, or the plan and where its values come from
             hookferry check -c hookferry.yaml --connect
  diff     Say what changes from one configuration to another, also for the last events of a source
             hookferry diff hookferry.yaml next.yaml --source orders --last 1000
  explain  Say which routes take an event, which don't and why, and the requests it would make
             hookferry explain order.json --source orders

Operate:
  publish  Put events into the topic of a source
             hookferry publish --source orders events.jsonl
  dead-letters  List, show, redrive and purge what could not be delivered
             hookferry dead-letters list --target crm --newer-than 1d
  targets  List or show how targets stand in a running process
             hookferry targets list --url http://127.0.0.1:9477

Develop:
  listen   Be a receiver on this machine: verify and show every request; fail on purpose
             hookferry listen 8080 --dialect stripe --secret-file secret --fail-every 3
  sign     Sign a body as a dialect or a target does: the headers, and a `curl` line
             hookferry sign --dialect github --secret-file secret --type push body.json
  verify   Judge a captured request, and say why it is refused
             hookferry verify --target crm headers.txt body.json
  secret   Make a new secret
             hookferry secret --dialect standard-webhooks
  schema   Print the JSON Schema of the configuration, for editors
             hookferry schema > hookferry.schema.json

Options:
{options}

`hookferry help COMMAND` says more. Exit codes: 0 done, 1 failed, 2 bad configuration or input,
3 `run` could not start, 4 `run` did not drain in time.
";

/// hookferry's command line.
#[derive(Debug, Parser)]
#[command(name = "hookferry", version, about, help_template = HELP)]
pub struct Arguments {
    /// A configuration file or folder; a later one is laid over the ones before it
    ///
    /// `demo` takes none. Without any: ./hookferry.yaml if it exists, else /etc/hookferry/.
    #[arg(short = 'c', long = "config", value_name = "FILE|FOLDER", global = true)]
    pub config: Vec<PathBuf>,
    /// How answers are written (default: text); with `run`, its log
    #[arg(long, value_enum, global = true)]
    pub format: Option<Format>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, and tell what happens
    #[command(after_help = "Example: hookferry demo --events 200")]
    Demo(demo::Options),
    /// Be the bridge, until SIGTERM or SIGINT
    #[command(after_help = "Example: hookferry run -c /etc/hookferry/")]
    Run {
        /// Divides the waits of retries, to rehearse a schedule of hours in minutes
        #[arg(long, value_name = "N", hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        time_scale: u32,
    },
    /// Judge a configuration and print the plan
    #[command(after_help = "Example: hookferry check -c hookferry.yaml --allow-unset")]
    Check {
        /// Let `${env:…}` and `${file:…}` without a value pass
        #[arg(long, conflicts_with = "connect")]
        allow_unset: bool,
        /// Look at brokers (topics, streams, durables) and targets (DNS, egress, TLS, tokens) too. Nothing is made, altered or delivered there
        #[arg(long)]
        connect: bool,
    },
    /// Say what changes from one configuration to another
    ///
    /// What stands in `-c` lies below both.
    #[command(after_help = "Example: hookferry diff hookferry.yaml next.yaml --source orders --last 1000")]
    Diff(Comparison),
    /// Say which routes take an event, and the requests it would make
    #[command(after_help = "Example: hookferry explain order.json --header event-type=order.created")]
    Explain(Question),
    /// Put events into the topic or on the subject of a source
    #[command(after_help = "Example: hookferry publish --source orders events.jsonl")]
    Publish(Order),
    /// List, show, redrive and purge what could not be delivered
    #[command(subcommand, after_help = "Example: hookferry dead-letters list --target crm --newer-than 1d")]
    DeadLetters(DeadLetters),
    /// Be a receiver on this machine that verifies and shows every request
    #[command(
        after_help = "Example: hookferry listen 8080 --target crm --status 503 --fail-every 3 --delay 2s"
    )]
    Listen(Listen),
    /// Sign a body as a dialect or a target does
    #[command(
        after_help = "Example: hookferry sign --dialect github --secret-file secret --type push body.json"
    )]
    Sign(Sign),
    /// Judge a captured request; exit code 1 if it is refused
    #[command(
        after_help = "Example: hookferry verify --dialect stripe --secret-file secret headers.txt body.json"
    )]
    Verify(Verify),
    /// Make a new secret with 256 random bits
    #[command(after_help = "Example: hookferry secret --dialect cost-katana > secret")]
    Secret(Secret),
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = "Example: hookferry schema > hookferry.schema.json")]
    Schema,
    /// See how targets stand in a running process
    #[command(after_help = "Example: hookferry targets show crm")]
    Targets(Targets),
}

/// What is done about dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List them, those of each partition in their order
    #[command(after_help = "Example: hookferry dead-letters list --reason exhausted --older-than 2d")]
    List {
        /// Which
        #[command(flatten)]
        selection: Selection,
        /// List also what was redriven or purged (Kafka; on JetStream it is gone)
        #[arg(long)]
        all: bool,
    },
    /// Show all that is known of one, with its value
    #[command(after_help = "Example: hookferry dead-letters show hookferry.dlq/0/17")]
    Show {
        /// Where it stands, as `list` shows it
        #[arg(required_unless_present = "event_id")]
        position: Option<LetterPosition>,
        /// Show all of this event instead
        #[arg(long, value_name = "ID", conflicts_with = "position")]
        event_id: Option<String>,
    },
    /// Hand them to the running replicas again, each for its own target only
    #[command(after_help = "Example: hookferry dead-letters redrive --target crm --yes")]
    Redrive(Change),
    /// Give them up
    #[command(after_help = "Example: hookferry dead-letters purge --older-than 7d --dry-run")]
    Purge(Change),
}

/// Which dead letters are meant. Of a repeated option one has to fit, of different ones all.
#[derive(Debug, Args)]
pub struct Selection {
    /// Of this target; an empty name means events that are in the dead letters themselves; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<String>,
    /// With this reason, for example `exhausted`; may be repeated
    #[arg(long = "reason", value_name = "REASON", value_parser = reason)]
    pub reasons: Vec<DeadLetterReason>,
    /// Of events of this type, a pattern as in routes; may be repeated
    #[arg(long = "type", value_name = "PATTERN")]
    pub types: Vec<TypePattern>,
    /// Written longer ago than this, for example `2d`
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Written less long ago than this, for example `1h`
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub newer_than: Option<Duration>,
    /// Of events of this source; may be repeated
    #[arg(long = "source", value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// What `dead-letters redrive` and `purge` are told.
#[derive(Debug, Args)]
pub struct Change {
    /// Only those that stand here, as `list` shows it
    #[arg(value_name = "POSITION")]
    pub positions: Vec<LetterPosition>,
    /// Which
    #[command(flatten)]
    pub selection: Selection,
    /// Do it without a question
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Only say how many there are
    #[arg(long)]
    pub dry_run: bool,
}

fn reason(text: &str) -> Result<DeadLetterReason, String> {
    let known = DeadLetterReason::ALL;
    let found = known.into_iter().find(|reason| reason.as_str() == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|reason| reason.as_str()).collect();
        format!("there is no such reason; there are: {}", names.join(", "))
    })
}

fn age(text: &str) -> Result<Duration, String> {
    plan::duration(text).ok_or_else(|| "write it as 30m, 12h or 2d".to_owned())
}

/// What is asked of the targets.
#[derive(Debug, Args)]
pub struct Targets {
    /// Where the process is asked; without it: `admin.listen` of the configuration, else http://127.0.0.1:9477
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// A file with the admin token; without it: `admin.token` of the configuration
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Which of them
    #[command(subcommand)]
    pub question: TargetQuestion,
}

/// Which targets are asked for.
#[derive(Debug, Subcommand)]
pub enum TargetQuestion {
    /// One line for each target
    List,
    /// Everything of one target
    Show {
        /// The target's name
        name: String,
    },
}

/// What `diff` compares.
#[derive(Debug, Args)]
pub struct Comparison {
    /// A configuration file or folder
    pub old: PathBuf,
    /// Another one
    pub new: PathBuf,
    /// Let `${env:…}` and `${file:…}` without a value pass
    #[arg(long)]
    pub allow_unset: bool,
    /// Look also where the last events of this source go by each
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// How many events
    #[arg(long, value_name = "N", requires = "source", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: u32,
}

/// What `explain` is asked.
#[derive(Debug, Args)]
pub struct Question {
    /// The message's value; `-` is standard input
    #[arg(value_name = "EVENT.json")]
    pub event: PathBuf,
    /// The source that it comes from; not needed if there is only one
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// A header of the message; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The message's key (Kafka)
    #[arg(long)]
    pub key: Option<String>,
    /// The subject that it is published to (NATS); the source's first one if not said
    #[arg(long)]
    pub subject: Option<String>,
}

/// What `publish` is told.
#[derive(Debug, Args)]
pub struct Order {
    /// JSON or JSON lines, one event for each document; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The source whose topic gets them; not needed if there is only one
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// The topic or subject; not needed if the source has one that is no pattern
    #[arg(long, visible_alias = "subject", value_name = "TOPIC")]
    pub topic: Option<String>,
    /// The key of every event (Kafka)
    #[arg(long)]
    pub key: Option<String>,
    /// A header of every event; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_declaration_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_lists_every_command_with_an_example() {
        let help = Arguments::command().render_help().to_string();
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            assert!(help.contains(&format!("\n  {name} ")), "{name} is not in:\n{help}");
            assert!(help.contains(&format!("hookferry {name}")), "no example of {name} in:\n{help}");
        }
        assert!(help.contains("--format"), "{help}");
    }

    #[test]
    fn configurations_are_repeated_and_stand_anywhere() {
        let arguments = parsed("hookferry -c base.yaml run -c local.yaml --format json").expect("valid");
        assert!(matches!(arguments.command, Command::Run { time_scale: 1 }));
        assert_eq!(arguments.format, Some(Format::Json));
        let before_and_after = parsed("hookferry run -c base.yaml -c local.yaml").expect("valid");
        assert_eq!(before_and_after.config, [PathBuf::from("base.yaml"), PathBuf::from("local.yaml")]);
    }

    #[test]
    fn dead_letters_are_chosen_by_options() {
        let line =
            "hookferry dead-letters list --target crm --target  --reason expired --type a.* --older-than 2d";
        let Command::DeadLetters(DeadLetters::List { selection, .. }) = parsed(line).expect("valid").command
        else {
            panic!("not list")
        };
        assert_eq!(selection.targets, ["crm", ""]);
        assert_eq!(selection.reasons, [DeadLetterReason::Expired]);
        assert_eq!(selection.older_than, Some(Duration::from_secs(172_800)));
        for wrong in ["--reason late", "--older-than 2", "--type a..b", "--limit x"] {
            assert!(parsed(&format!("hookferry dead-letters list {wrong}")).is_err(), "{wrong}");
        }
        assert!(parsed("hookferry dead-letters show").is_err(), "a position is needed");
        assert!(parsed("hookferry dead-letters show x.dlq/0/1").is_ok());
        assert!(parsed("hookferry dead-letters purge --yes --dry-run").is_err(), "one or the other");
    }

    #[test]
    fn a_header_needs_a_name_and_a_value() {
        let arguments = parsed("hookferry explain e.json --header a=b=c --key k").expect("valid");
        let Command::Explain(question) = arguments.command else { panic!("not explain") };
        assert_eq!(question.headers, [("a".to_owned(), "b=c".to_owned())]);
        assert!(parsed("hookferry explain e.json --header =b").is_err());
        let arguments = parsed("hookferry publish e.json --key k --header a=b --header a=").expect("valid");
        let Command::Publish(order) = arguments.command else { panic!("not publish") };
        assert_eq!(order.key.as_deref(), Some("k"));
        assert_eq!(order.headers, [("a".into(), "b".into()), ("a".into(), String::new())]);
        let arguments = parsed("hookferry publish e.json --subject orders.new").expect("valid");
        let Command::Publish(order) = arguments.command else { panic!("not publish") };
        assert_eq!(order.topic.as_deref(), Some("orders.new"), "what NATS calls a topic");
        assert!(parsed("hookferry publish").is_err(), "a file is needed");
        assert!(parsed("hookferry replay").is_err(), "what does not exist yet is not accepted");
    }
}
