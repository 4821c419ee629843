//! The command line: what is asked for, and how it ended. Commands are in the files below.

mod arguments;
mod check;
mod dead_letters;
mod diff;
mod explain;
mod listen;
mod publish;
mod secret;
mod sign;
mod signatory;
mod targets;
#[cfg(test)]
mod tests;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::Parser;

use crate::pipeline::Drained;
use crate::plan::{self, Faults, Layers, LogFormat, Plan, WhenUnset};
use crate::reload::Configuration;
use crate::{app, demo, observe};
pub use arguments::{Arguments, Command, Format};

/// How a command ended (PRODUCT.md §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked; `run`: a drained stop. Exit code 0.
    Done,
    /// It tried and failed; the reason has been written to standard error. Exit code 1.
    Failed,
    /// The configuration, an argument or an input file is wrong, and nothing was done. Exit code 2.
    BadInput,
    /// `run` could not start. Exit code 3.
    NotStarted,
    /// `run` did not drain within its deadline. Exit code 4.
    Overdue,
}

/// Carries out the command line of this process.
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return refuse(&answer),
    };
    let Arguments { config, format, command } = arguments;
    let (logged, format) = (format, format.unwrap_or(Format::Text));
    if matches!(command, Command::Demo(_)) && !config.is_empty() {
        complain(&"demo has its own configuration (see --print-config); leave -c out");
        return Exit::BadInput;
    }
    let named = !config.is_empty();
    let below = config.clone();
    let layers = |when_unset| Layers::of_process(config, when_unset);
    match command {
        Command::Demo(options) => demonstrate(&options, format),
        Command::Run { time_scale } => run(layers(WhenUnset::Fault), logged, time_scale),
        Command::Check { allow_unset, connect } => {
            let when_unset = if allow_unset { WhenUnset::Allow } else { WhenUnset::Fault };
            let look = if connect { check::Look::Connect } else { check::Look::Files };
            check::check(&layers(when_unset), look, format, &mut io::stdout().lock())
        }
        Command::Diff(asked) => {
            let when_unset = if asked.allow_unset { WhenUnset::Allow } else { WhenUnset::Fault };
            let over = |path: &Path| below.iter().cloned().chain([path.to_owned()]).collect();
            diff::diff(&asked, |path| Layers::of_process(over(path), when_unset), format)
        }
        Command::Explain(question) => match plan::examine(&layers(WhenUnset::Fault)) {
            Ok(examined) => explain::explain(&examined, &question, format),
            Err(faults) => bad_configuration(&faults),
        },
        Command::Targets(question) => {
            // Where it runs, its secrets may be known to it alone.
            let layers = (named || Layers::are_in_the_usual_place()).then(|| layers(WhenUnset::Allow));
            targets::ask(&question, layers.as_ref(), format)
        }
        Command::Publish(order) => {
            with_plan(&layers(WhenUnset::Fault), |plan| publish::publish(&plan, &order, format))
        }
        Command::Listen(asked) => listen::listen(&asked, || layers(WhenUnset::Fault), format),
        Command::Sign(asked) => sign::sign(&asked, || layers(WhenUnset::Fault), format),
        Command::Verify(asked) => verify::verify(&asked, || layers(WhenUnset::Fault), format),
        Command::Secret(asked) => secret::secret(&asked, format),
        Command::Schema => answer(&format!("{:#}\n", plan::Reference::read().schema())),
        Command::DeadLetters(command) => {
            with_plan(&layers(WhenUnset::Fault), |plan| dead_letters::carry_out(&plan, &command, format))
        }
    }
}

/// `--help` and `--version` are answers; everything else that clap says is a refusal.
fn refuse(answer: &clap::Error) -> Exit {
    // There is nowhere to report that the terminal is gone.
    let _ = answer.print();
    if answer.use_stderr() { Exit::BadInput } else { Exit::Done }
}

fn with_plan(layers: &Layers, command: impl FnOnce(Plan) -> Exit) -> Exit {
    match plan::load(layers) {
        Ok(plan) => command(plan),
        Err(faults) => bad_configuration(&faults),
    }
}

fn bad_configuration(faults: &Faults) -> Exit {
    complain(faults);
    Exit::BadInput
}

fn run(layers: Layers, format: Option<Format>, time_scale: u32) -> Exit {
    let (mut plan, settings) = match plan::examine(&layers) {
        Ok(examined) => (examined.plan, examined.settings),
        Err(faults) => return bad_configuration(&faults),
    };
    let adjust = move |plan: &mut Plan| {
        plan.log.format = match format {
            Some(Format::Text) => LogFormat::Text,
            Some(Format::Json) => LogFormat::Json,
            None => plan.log.format,
        };
        if time_scale > 1 {
            plan.rehearse(time_scale);
        }
    };
    adjust(&mut plan);
    observe::init(&plan.log);
    for notice in &plan.notices {
        tracing::warn!("{notice}");
    }
    if time_scale > 1 {
        tracing::warn!(time_scale, "a rehearsal: the waits of retries and retry tiers are shortened");
    }
    match app::run(Configuration { layers, adjust: Box::new(adjust), plan: Arc::new(plan), settings }) {
        app::Exit::Drained(Drained::InTime) => Exit::Done,
        app::Exit::Drained(Drained::Late) => Exit::Overdue,
        app::Exit::NotStarted(fault) => {
            complain(&fault);
            Exit::NotStarted
        }
    }
}

fn demonstrate(options: &demo::Options, format: Format) -> Exit {
    let telling = match format {
        Format::Text => demo::Telling::Text,
        Format::Json => demo::Telling::Json,
    };
    match demo::demo(options, telling) {
        Ok(demo::Ending::AddsUp) => Exit::Done,
        Ok(demo::Ending::Mismatch) => Exit::Failed,
        Err(fault) => {
            complain(&fault);
            Exit::NotStarted
        }
    }
}

/// One line on standard error.
fn complain(what: &dyn std::fmt::Display) {
    // There is nowhere to report that standard error is gone.
    let _ = writeln!(io::stderr(), "{what}");
}

/// The answer on standard output; a reader that went away (`| head`) is no failure.
fn answer(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(cause) => {
            complain(&format!("can't write to standard output: {cause}"));
            Exit::Failed
        }
    }
}
