use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::demo;

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
  explain  Say which routes take an event, which don't and why, and the requests it would make
             hookferry explain order.json --source orders

Operate:
  publish  Put events into the topic of a source
             hookferry publish --source orders events.jsonl
  targets  List or show how targets stand in a running process
             hookferry targets list --url http://127.0.0.1:9477

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
        /// Look at the brokers too: topics, streams, durables. Nothing is made or altered there
        #[arg(long)]
        connect: bool,
    },
    /// Say which routes take an event, and the requests it would make
    #[command(after_help = "Example: hookferry explain order.json --header event-type=order.created")]
    Explain(Question),
    /// Put events into the topic or on the subject of a source
    #[command(after_help = "Example: hookferry publish --source orders events.jsonl")]
    Publish(Order),
    /// See how targets stand in a running process
    #[command(after_help = "Example: hookferry targets show crm")]
    Targets(Targets),
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
        assert!(parsed("hookferry listen").is_err(), "what does not exist yet is not accepted");
    }
}
