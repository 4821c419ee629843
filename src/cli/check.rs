//! `check`: the faults of a configuration, or what it comes to.

use std::io::{self, Write};

use serde::Serialize;

mod connect;
mod route_tests;

use super::{Exit, Format};
use crate::domain::Ordering;
use crate::plan::{self, Broker, Examined, Faults, Layers, Nats, NatsMode, Setting};
use connect::Finding;
use route_tests::FailedTest;

/// Judges a configuration and writes the answer to `out`: all faults, or the plan with where each
/// of its values comes from.
/// With `Look::Connect` also what a look at brokers and targets finds.
pub(super) fn check(layers: &Layers, look: Look, format: Format, out: &mut impl Write) -> Exit {
    let examined = plan::examine(layers);
    let found = match (&examined, look) {
        (Ok(examined), Look::Connect) => Some(connect::look(examined)),
        (Ok(_), Look::Files) | (Err(_), _) => None,
    };
    let failed = examined.as_ref().map(route_tests::failed).unwrap_or_default();
    let written = write(&examined, &failed, found.as_deref(), format, out);
    match (examined, written) {
        (_, Err(cause)) if cause.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
        (Ok(_), _) if faulty(found.as_deref()) > 0 || !failed.is_empty() => Exit::BadInput,
        (Ok(_), _) => Exit::Done,
        (Err(_), _) => Exit::BadInput,
    }
}

/// How many things have to be mended.
fn faulty(found: Option<&[Finding]>) -> usize {
    found.unwrap_or_default().iter().filter(|finding| finding.fault).count()
}

/// What `check` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The configuration alone.
    Files,
    /// `--connect`: the brokers and targets too.
    Connect,
}

/// Writes what was found.
pub(super) fn write(
    examined: &Result<Examined, Faults>,
    failed: &[FailedTest],
    found: Option<&[Finding]>,
    format: Format,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Text => text(examined, failed, found, out),
        Format::Json => json(examined, failed, found, out),
    }
}

/// What `check` says of a source, a target or a route.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    says: String,
}

/// The answer as one JSON document.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Valid {
        valid: bool,
        hash: &'a str,
        sources: Vec<Line>,
        targets: Vec<Line>,
        routes: Vec<Line>,
        settings: &'a [Setting],
        notices: &'a [String],
        failed_tests: &'a [FailedTest],
        #[serde(skip_serializing_if = "Option::is_none")]
        connections: Option<&'a [Finding]>,
    },
    Invalid {
        valid: bool,
        faults: &'a Faults,
    },
}

fn json(
    examined: &Result<Examined, Faults>,
    failed: &[FailedTest],
    found: Option<&[Finding]>,
    out: &mut impl Write,
) -> io::Result<()> {
    let answer = match examined {
        Ok(examined) => Answer::Valid {
            valid: failed.is_empty(),
            hash: &examined.plan.hash,
            sources: sources(examined),
            targets: targets(examined),
            routes: routes(examined),
            settings: &examined.settings,
            notices: &examined.plan.notices,
            failed_tests: failed,
            connections: found,
        },
        Err(faults) => Answer::Invalid { valid: false, faults },
    };
    serde_json::to_writer_pretty(&mut *out, &answer)?;
    writeln!(out)
}

fn text(
    examined: &Result<Examined, Faults>,
    failed: &[FailedTest],
    found: Option<&[Finding]>,
    out: &mut impl Write,
) -> io::Result<()> {
    let examined = match examined {
        Ok(examined) => examined,
        Err(faults) => {
            let count = faults.iter().count();
            return writeln!(out, "{faults}\n{count} fault{}", if count == 1 { "" } else { "s" });
        }
    };
    for (title, lines) in
        [("Sources", sources(examined)), ("Targets", targets(examined)), ("Routes", routes(examined))]
    {
        writeln!(out, "{title}")?;
        let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
        for line in lines {
            writeln!(out, "  {:width$}  {}", line.name, line.says)?;
        }
    }
    writeln!(out, "Values, and where each comes from")?;
    let widest =
        |length: fn(&Setting) -> usize| examined.settings.iter().map(length).max().unwrap_or_default();
    let path_width = widest(|setting| setting.path.len());
    let value_width = widest(|setting| setting.value.chars().count()).min(40);
    for Setting { path, value, from, .. } in &examined.settings {
        writeln!(out, "  {path:path_width$}  {value:value_width$}  {from}")?;
    }
    if !examined.plan.notices.is_empty() {
        writeln!(out, "Notices")?;
        for notice in &examined.plan.notices {
            writeln!(out, "  {notice}")?;
        }
    }
    if !failed.is_empty() {
        writeln!(out, "Tests of routes that fail")?;
        for FailedTest { at, says } in failed {
            writeln!(out, "  {at}: {says}")?;
        }
    }
    if let Some(found) = found {
        writeln!(out, "Brokers and targets")?;
        for finding in found {
            writeln!(out, "  {finding}")?;
        }
    }
    let hash = &examined.plan.hash;
    if !failed.is_empty() {
        let many = if failed.len() == 1 { "a test of a route fails" } else { "tests of routes fail" };
        return writeln!(out, "The configuration can be read (plan {hash}), but {many}.");
    }
    match faulty(found) {
        0 => writeln!(out, "The configuration is valid (plan {hash})."),
        1 => writeln!(out, "The configuration is valid (plan {hash}); its brokers and targets have 1 fault."),
        faults => writeln!(
            out,
            "The configuration is valid (plan {hash}); its brokers and targets have {faults} faults."
        ),
    }
}

fn sources(examined: &Examined) -> Vec<Line> {
    let line = |source: &plan::Source| {
        let (broker, says) = match &source.broker {
            Broker::Kafka(_) => {
                ("kafka", "Kafka at {brokers}, topics {topics}, group {group}, start {start}")
            }
            Broker::Nats(Nats { mode: NatsMode::JetStream(_), .. }) => (
                "nats",
                "JetStream {stream} at {servers}, subjects {subjects}, durable {durable}, start {start}",
            ),
            Broker::Nats(Nats { mode: NatsMode::Core { .. }, .. }) => {
                ("nats", "core NATS at {servers}, subjects {subjects}, queue group {queue}, at most once")
            }
        };
        let keys =
            ["brokers", "topics", "group", "servers", "stream", "subjects", "durable", "queue", "start"];
        let mut says = keys.iter().fold(says.to_owned(), |says, key| {
            let path = format!("sources.{}.{broker}.{key}", source.name);
            says.replace(&format!("{{{key}}}"), shown(&examined.settings, &path))
        });
        let keeper = examined.plan.sources.get(usize::from(source.store.0));
        if let Some(keeper) = keeper.filter(|keeper| keeper.name != source.name) {
            says.push_str(&format!(", dead letters on the broker of {}", keeper.name));
        }
        Line { name: source.name.clone(), says }
    };
    examined.plan.sources.iter().map(line).collect()
}

fn targets(examined: &Examined) -> Vec<Line> {
    let line = |target: &plan::Target| {
        let url = shown(&examined.settings, &format!("targets.{}.url", target.name));
        let off = if target.enabled { "" } else { " (switched off)" };
        let order = order(target.ordering);
        Line { name: target.name.to_string(), says: format!("{url}{off}{order}") }
    };
    examined.plan.targets.iter().map(|target| line(target)).collect()
}

fn routes(examined: &Examined) -> Vec<Line> {
    let plan = &examined.plan;
    let sources = |route: &plan::Route| {
        let names = route.from.iter().filter_map(|id| plan.sources.get(usize::from(id.0)));
        let names: Vec<&str> = names.map(|source| source.name.as_str()).collect();
        if names.is_empty() { "every source".to_owned() } else { names.join(" ") }
    };
    let targets = |route: &plan::Route| {
        let names = route.to.iter().filter_map(|id| plan.targets.get(id.0 as usize));
        let names: Vec<&str> = names.map(|target| &*target.name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
    };
    let types = |route: &plan::Route| {
        // As in the settings: they are masked where they have to be.
        match shown(&examined.settings, &format!("routes.{}.types", route.name)) {
            "" | "[]" => "all types".to_owned(),
            types => format!("types {}", types.trim_matches(['[', ']']).replace(", ", " ")),
        }
    };
    let conditions = |route: &plan::Route| match route.conditions.len() {
        0 => String::new(),
        1 => ", 1 condition".to_owned(),
        more => format!(", {more} conditions"),
    };
    let line = |route: &plan::Route| Line {
        name: route.name.to_string(),
        says: format!(
            "{} → {}: {}{}{}",
            sources(route),
            targets(route),
            types(route),
            conditions(route),
            priority(route.priority)
        ),
    };
    plan.routes.iter().map(line).collect()
}

/// What is added to a target that keeps order.
pub(super) fn order(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::None => "",
        Ordering::ByKey => ", in order for each key",
        Ordering::Strict => ", in order for each partition",
    }
}

/// What is added to what has a priority.
pub(super) fn priority(priority: i16) -> String {
    match priority {
        0 => String::new(),
        priority => format!(", priority {priority}"),
    }
}

/// The masked text of a value.
pub(super) fn shown<'a>(settings: &'a [Setting], path: &str) -> &'a str {
    settings.iter().find(|setting| setting.path == path).map_or("", |setting| &setting.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, format: Format) -> (String, bool) {
        let examined = plan::examine_text("h.yaml", text, &Layers::default());
        let mut out = Vec::new();
        let failed = examined.as_ref().map(route_tests::failed).unwrap_or_default();
        assert!(write(&examined, &failed, None, format, &mut out).is_ok());
        (String::from_utf8(out).expect("text"), examined.is_ok())
    }

    const VALID: &str = "\
sources: { orders: { kafka: { brokers: 'b:9092', topics: [events] } } }
targets: { crm: { url: 'https://x.example/hooks', dialect: llm-optimizer, secrets: [hunter2], ordering: by_key } }
routes: [{ name: all, types: ['a.*', '!a.b'], where: { x: 1 }, to: [crm], priority: 5 }]
";

    #[test]
    fn a_valid_configuration_is_shown_with_the_origin_of_each_value() {
        let (text, valid) = answered(VALID, Format::Text);

        assert!(valid);
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "orders Kafka at b:9092, topics [events], group hookferry-orders, start latest",
            "crm https://x.example/hooks, in order for each key",
            "all every source → crm: types a.* !a.b, 1 condition, priority 5",
            "targets.crm.timeout 30s dialect llm-optimizer",
            "targets.crm.allow_http false program default",
            "targets.crm.url https://x.example/hooks h.yaml:2:24",
            "targets.crm.secrets [***] h.yaml:2:84",
            "targets.crm.rate.limit 10/s dialect llm-optimizer",
        ] {
            assert!(squeezed.iter().any(|shown| shown == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn the_json_form_says_the_same() {
        let (text, _) = answered(VALID, Format::Json);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");

        assert_eq!(answer["valid"], true);
        assert_eq!(answer["targets"][0]["name"], "crm");
        let settings = answer["settings"].as_array().expect("settings");
        let url = settings.iter().find(|setting| setting["path"] == "targets.crm.url").expect("the URL");
        assert_eq!(
            url["from"],
            serde_json::json!({ "layer": "file", "file": "h.yaml", "line": 2, "column": 24 })
        );
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn faults_are_counted_and_placed() {
        let faulty = VALID.replace("crm]", "crn]");

        let (text, valid) = answered(&faulty, Format::Text);
        assert!(!valid);
        assert_eq!(
            text,
            "h.yaml:3:69: routes.all.to.0: there is no target `crn`; did you mean `crm`?\n1 fault\n"
        );
        let (text, _) = answered(&faulty, Format::Json);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&answer["valid"], &answer["faults"][0]["at"]["line"]), (&false.into(), &3.into()));
    }

    #[test]
    fn tests_of_routes_are_run() {
        let with = |tests: &str| VALID.replace("priority: 5", &format!("tests: [{tests}]"));
        let passes = "{ event: { type: a.c, x: 1 }, to: [crm] }, { event: { type: a.b, x: 1 }, to: [] }";
        let (text, _) = answered(&with(passes), Format::Text);
        assert!(text.contains("The configuration is valid"), "{text}");

        let fails = "{ event: { type: a.c, x: 2 }, to: [crm] }, { event: { type: a.c, x: 1 }, to: [] }";
        let (text, _) = answered(&with(fails), Format::Text);
        assert!(
            text.contains("routes.all.tests.0: the event goes to no target, and not to crm: where "),
            "{text}"
        );
        assert!(text.contains("routes.all.tests.1: the event goes to crm, and not to no target"), "{text}");
        assert!(text.contains("but tests of routes fail"), "{text}");
        let declared =
            format!("event_types: {{ declare: {{ a.c: }}, unknown: dead_letter }}\n{}", with(fails))
                .replace("'a.*', '!a.b'", "'a.*'")
                .replace("type: a.c, x: 1", "type: a.d, x: 1");
        let (text, _) = answered(&declared, Format::Text);
        assert!(!text.contains("routes.all.tests.1"), "it reaches no route, as the test says: {text}");
        let (json, _) = answered(&with(fails), Format::Json);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["valid"], false);
        assert_eq!(json["failed_tests"].as_array().map(Vec::len), Some(2));
    }
}
