//! The top level: one document → one [`Plan`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::Examined;
use super::budget::Budget;
use super::conditions::Fields;
use super::consumers::Consumer;
use super::dead_letters::{DeadLetters, dead_letters};
use super::event_types::{EventTypes, event_types};
use super::fault::{Conclusion, Faults, Findings};
use super::layers::Document;
use super::merge;
use super::nats::{Nats, NatsMode};
use super::ordered;
use super::origin::Origin;
use super::own_places;
use super::presets::Presets;
use super::process::{Admin, LEAST_MEMORY, Limits, Log, Shutdown, admin, limits, log, shutdown};
use super::reload::{Reload, reload};
use super::routes::{Route, Surroundings, Switch, routes};
use super::settings;
use super::sources::{Source, source};
use super::target_layers::{Layered, TargetLayers, pruned};
use super::targets::{Target, target};
use super::tenants;
use super::tree::{Map, Node, Value};
use super::units;
use super::walk::{Item, Keys};
use crate::domain::{Place, SourceId, TargetId};

/// The configuration after validation: immutable, hashed, swapped whole.
#[derive(Debug)]
pub struct Plan {
    /// `name`: the namespace of everything we own on brokers.
    pub name: String,
    /// `replicas`: how many processes run with this configuration.
    pub replicas: u32,
    /// The first 16 hex digits of SHA-256 over what was configured (secrets masked).
    pub hash: String,
    /// `admin`.
    pub admin: Admin,
    /// `log`.
    pub log: Log,
    /// `limits`.
    pub limits: Limits,
    /// `shutdown`.
    pub shutdown: Shutdown,
    /// `reload`.
    pub reload: Reload,
    /// In order of their names; [`SourceId`] is an index into it.
    pub sources: Vec<Source>,
    /// What reads the sources and the retry tiers;
    /// [`ConsumerId`](crate::domain::ConsumerId) is an index into it.
    pub consumers: Vec<Consumer>,
    /// [`TargetId`] is an index into it. In order of their names; after a reload each keeps its place, and
    /// new ones stand behind. One that a reload did not change is the same as before.
    pub targets: Vec<Arc<Target>>,
    /// Those of `targets` that a reload took out of the configuration: what is open of them ends.
    pub removed: BTreeSet<TargetId>,
    /// In file order; [`RouteId`](crate::domain::RouteId) is an index into it.
    pub routes: Vec<Route>,
    /// `event_types`.
    pub event_types: EventTypes,
    /// The places that conditions look at; [`Condition::field`](crate::domain::Condition::field) is an index into it.
    pub fields: Vec<Place>,
    /// `dead_letters`.
    pub dead_letters: DeadLetters,
    /// All waits of retries and tiers are divided by this; 1, but where a schedule is rehearsed.
    pub time_scale: u32,
    /// The files that values came from by `${file:…}`, `template_file` and `schema_file`.
    pub referred: BTreeSet<PathBuf>,
    /// What a user should know although it is no fault, for example rules of a dialect that are
    /// not enforced yet. One sentence each, with its place; `check` and `run` print them.
    pub notices: Vec<String>,
}

impl Plan {
    /// Divides all waits of retries by `scale`, at least 1, so that a schedule of hours can be watched in
    /// minutes; the lengths of the tiers are divided by whoever writes their records.
    pub fn rehearse(&mut self, scale: u32) {
        self.time_scale = scale.max(1);
        // Nobody else has them: a plan is rehearsed before it is used.
        for target in self.targets.iter_mut().filter_map(Arc::get_mut) {
            target.retry.divide_waits(self.time_scale);
        }
    }
}

/// Of what the system lets the process have, so many per cent are the budget; the rest is for what
/// can't be counted.
const BUDGET_PER_CENT: u64 = 60;

/// Keys that a later version brings.
const LATER: [&str; 2] = ["store", "metrics"];

/// Judges a document. Every fault is in `findings` or is added to it.
pub(super) fn plan(document: Document, findings: Findings) -> Result<Examined, Faults> {
    let presets = Presets::read(&findings);
    let laid = laid(document.root, &presets, &findings);
    let mut plan = read(&laid, document.files, &presets, &findings);
    let configured = laid.root.nearest(["limits", "memory"]).as_scalar().is_some();
    if let Some(limit) = document.memory_limit.filter(|_| !configured) {
        plan.limits.memory = (limit / 100 * BUDGET_PER_CENT).max(LEAST_MEMORY);
    }
    remark_on(&plan, &laid.root, &findings);
    let mut settings = settings::settings(&laid.root);
    let contents = findings.contents();
    plan.hash = settings::hash(&settings, &contents);
    settings::imprint(&mut settings, &contents);
    let Conclusion { notices, concealed, referred } = findings.conclude()?;
    (plan.notices, plan.referred) = (notices, referred);
    Ok(Examined { plan, settings, concealed })
}

/// Says which sources and targets no route names, which sources may lose events, and where memory is scarce.
fn remark_on(plan: &Plan, root: &Node, findings: &Findings) {
    let needed = Budget::of(plan).needed();
    if needed > plan.limits.memory {
        let at = &root.nearest(["limits", "memory"]).origin;
        let (consumers, mib) = (plan.consumers.len(), needed.div_ceil(1 << 20));
        findings.notice(format!(
            "{at}: limits.memory: {consumers} consumers need {mib} MiB, for each holds at least one event of \
             limits.max_event; raise it, or lower that"
        ));
    }
    let notice = |section: &str, name: &str, what: &str| {
        let at = &root.nearest([section, name]).origin;
        findings.notice(format!("{at}: {section}.{name}: {what}"));
    };
    for (index, source) in plan.sources.iter().enumerate() {
        let reads = |route: &Route| route.takes_from(SourceId(index as u16));
        if !plan.routes.iter().any(reads) {
            notice("sources", &source.name, "no route reads from it, so its events are dropped");
        }
    }
    for source in &plan.sources {
        if let Some(Nats { mode: NatsMode::Core { .. }, .. }) = source.nats() {
            let what = "core NATS delivers at most once: what comes while no replica listens, or while the window is \
                        full, is lost, and so is what is open when the process ends; `stream` reads JetStream, which \
                        loses nothing";
            notice("sources", &source.name, what);
        }
    }
    for (index, target) in plan.targets.iter().enumerate() {
        let named = plan.routes.iter().any(|route| route.to.contains(&TargetId(index as u32)));
        if target.enabled && !named {
            notice("targets", &target.name, "no route names it, so it receives nothing");
        }
    }
}

/// The document with every layer laid.
struct Laid {
    root: Node,
    /// In the order of their names.
    targets: Vec<(String, Layered)>,
}

fn laid(root: Node, presets: &Presets, findings: &Findings) -> Laid {
    let origin = root.origin.clone();
    let mut user = root.into_map();
    let defaults = user.remove("defaults").map(|entry| entry.node);
    let layers = TargetLayers::new(presets, defaults.as_ref(), findings);
    let top = Node { origin: Origin::Program, value: Value::Map(presets.program("top")) };
    let mut map = Map::default();
    let mut apart = Map::default();
    for entry in user.0 {
        match entry.key.as_str() {
            // Where no value is nothing: a name without one is declared, and a schema may hold `null`.
            "sources" | "targets" | "routes" | "event_types" => apart.0.push(entry),
            _ => map.0.push(entry),
        }
    }
    let user = pruned(Node { origin: Origin::Program, value: Value::Map(map) });
    let mut map = merge::lay_over(top, user).into_map();
    let name = map.get("name").and_then(Node::as_scalar).map_or("hookferry", |name| &name.text).to_owned();
    complete_dead_letters(&mut map, &name);
    let mut targets = Vec::new();
    for mut entry in apart.0 {
        if let Value::Map(named) = &mut entry.node.value {
            match entry.key.as_str() {
                "sources" => lay_sources(named, presets, &name),
                "targets" => targets = lay_targets(named, &layers, findings),
                _ => {}
            }
        }
        map.0.push(entry);
    }
    Laid { root: Node { origin, value: Value::Map(map) }, targets }
}

fn complete_dead_letters(map: &mut Map, name: &str) {
    let mut own = Map::default();
    own.set_default("topic", format!("{name}.dlq"));
    own.set_default("stream", format!("{name}-dlq"));
    own.set_default("subject", format!("{name}.dlq"));
    let own = Node { origin: Origin::Program, value: Value::Map(own) };
    let complete = match map.get("dead_letters") {
        Some(user) => merge::lay_over(own, user.clone()),
        None => own,
    };
    map.set("dead_letters", complete);
}

fn lay_sources(sources: &mut Map, presets: &Presets, name: &str) {
    sources.0.sort_by(|left, right| left.key.cmp(&right.key));
    for entry in &mut sources.0 {
        if entry.node.as_map().is_none() {
            continue;
        }
        let mut program = presets.program("source");
        let (kafka, nats) = (program.remove("kafka"), program.remove("nats"));
        // Nothing is made up for the broker that a source does not have.
        let has =
            |broker: &str| entry.node.as_map().and_then(|source| source.get(broker)).and_then(Node::as_map);
        if let (Some(_), Some(mut kafka)) = (has("kafka"), kafka) {
            if let Value::Map(map) = &mut kafka.node.value {
                map.set_default("group", format!("{name}-{}", entry.key));
            }
            program.0.push(kafka);
        }
        if let (Some(own), Some(mut nats)) = (has("nats"), nats) {
            if let Value::Map(map) = &mut nats.node.value {
                let streams = own.get("stream").is_some_and(|stream| !stream.is_null());
                if !streams {
                    *map = Map::default();
                }
                map.set_default(if streams { "durable" } else { "queue" }, format!("{name}-{}", entry.key));
            }
            program.0.push(nats);
        }
        let program = Node { origin: Origin::Program, value: Value::Map(program) };
        entry.node = merge::lay_over(program, pruned(entry.node.clone()));
    }
}

fn lay_targets(targets: &mut Map, layers: &TargetLayers<'_>, findings: &Findings) -> Vec<(String, Layered)> {
    targets.0.sort_by(|left, right| left.key.cmp(&right.key));
    let mut laid = Vec::new();
    for entry in &mut targets.0 {
        if entry.node.as_map().is_none() && !entry.node.is_null() {
            continue;
        }
        let item = Item::new(&entry.node, format!("targets.{}", entry.key), findings);
        let layered = layers.lay(&item);
        entry.node = layered.node.clone();
        laid.push((entry.key.clone(), layered));
    }
    laid
}

fn read(laid: &Laid, files: usize, presets: &Presets, findings: &Findings) -> Plan {
    let root = Item::new(&laid.root, "", findings);
    let mut keys = root.keys();
    keys.later(&LATER);
    let name = keys.get("name").map_or_else(String::new, |item| item.parse(String::new(), units::name));
    let (admin, log) = (admin(&mut keys), log(&mut keys));
    let limits = limits(&mut keys);
    let shutdown = shutdown(&mut keys);
    let reload = reload(&mut keys);
    let source_names = source_names(&laid.root);
    let (dead_letters, on) = dead_letters(&mut keys, &source_names);
    let sources = sources(&mut keys, &source_names, on);
    let replicas = keys.get("replicas").map_or(1, |item| item.number(1..=10_000));
    judge_replicas(replicas, &sources, &root);
    let mut fields = Fields::default();
    let targets = targets(&mut keys, laid, presets, replicas, &mut fields);
    let event_types = event_types(&mut keys, presets);
    let around = Surroundings { sources: &source_names, targets: &targets.names, types: &event_types, files };
    let routes = match keys.require("routes", "without a route every event would be dropped") {
        Some(item) => {
            if matches!(&item.node.value, Value::List(routes) if routes.is_empty()) {
                item.names_nothing("without a route every event would be dropped");
            }
            routes(&item, &around, &mut fields)
        }
        None => Vec::new(),
    };
    keys.done();
    let plan = Plan {
        consumers: Plan::consumers(&sources, &targets.read, &routes),
        time_scale: 1,
        name,
        replicas,
        hash: String::new(),
        admin,
        log,
        limits,
        shutdown,
        reload,
        sources,
        targets: targets.read,
        removed: BTreeSet::new(),
        routes,
        event_types,
        fields: fields.0,
        dead_letters,
        referred: BTreeSet::new(),
        notices: Vec::new(),
    };
    own_places::judge(&plan, &root);
    ordered::judge(&plan, &root);
    tenants::judge(&plan, &root);
    plan
}

fn sources(keys: &mut Keys<'_>, names: &[String], on: Option<SourceId>) -> Vec<Source> {
    let Some(item) = keys.require("sources", "write for example `sources: { NAME: { kafka: … } }`") else {
        return Vec::new();
    };
    let entries = item.entries();
    if entries.is_empty() && item.node.as_map().is_some() {
        item.names_nothing("at least one source is needed");
    }
    let mut sources = Vec::new();
    for (named, id) in entries.iter().zip((0..).map(SourceId)) {
        judge_name(&named.item, named.at, named.name);
        sources.push(source(&named.item, id, names, on));
    }
    sources
}

/// The names of all sources, in order.
fn source_names(root: &Node) -> Vec<String> {
    let sources = root.as_map().and_then(|root| root.get("sources")).and_then(Node::as_map);
    sources.map(|sources| sources.0.iter().map(|entry| entry.key.clone()).collect()).unwrap_or_default()
}

/// Each replica needs a part of what a durable may have open.
fn judge_replicas(replicas: u32, sources: &[Source], root: &Item<'_>) {
    for source in sources {
        let Some(Nats { mode: NatsMode::JetStream(js), .. }) = source.nats() else { continue };
        if js.max_ack_pending < replicas {
            let keys = ["sources", &source.name, "nats", "max_ack_pending"];
            Item::new(root.node.nearest(keys), keys.join("."), root.findings())
                .fault(format!("smaller than `replicas`, which is {replicas}: each needs at least one"));
        }
    }
}

/// What was read of `targets`.
struct Targets {
    read: Vec<Arc<Target>>,
    names: Vec<(String, Switch)>,
}

fn targets(
    keys: &mut Keys<'_>,
    laid: &Laid,
    presets: &Presets,
    replicas: u32,
    fields: &mut Fields,
) -> Targets {
    let mut targets = Targets { read: Vec::new(), names: Vec::new() };
    let Some(item) = keys.require("targets", "write for example `targets: { NAME: { url: https://… } }`")
    else {
        return targets;
    };
    for named in item.entries() {
        judge_name(&named.item, named.at, named.name);
        let layered = laid.targets.iter().find(|(name, _)| name == named.name);
        let read = match layered {
            Some((_, layered)) => target(&named.item, named.name, layered, presets, replicas, fields),
            None => {
                named.item.keys().done();
                None
            }
        };
        let off = read.as_ref().is_some_and(|target| !target.enabled);
        targets.names.push((named.name.to_owned(), if off { Switch::Off } else { Switch::On }));
        targets.read.extend(read.map(Arc::new));
    }
    targets
}

fn judge_name(item: &Item<'_>, at: &Origin, name: &str) {
    if let Err(message) = units::name(name) {
        item.findings().fault(at, item.path.clone(), message);
    }
}
