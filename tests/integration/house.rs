//! The house rules that a machine can check.

use std::path::{Path, PathBuf};

/// The floor of each top-level module; imports point to the same floor within one module, or down.
const FLOORS: [(&str, u8); 17] = [
    ("domain", 0),
    ("json", 0),
    ("wire", 1),
    ("plan", 2),
    ("engine", 3),
    ("broker", 4),
    ("source", 4),
    ("store", 4),
    ("sender", 4),
    ("observe", 5),
    ("pipeline", 6),
    ("simulation", 5),
    ("reload", 7),
    ("admin", 8),
    ("app", 9),
    ("demo", 10),
    ("cli", 11),
];
/// On floor 4 both edges stand on what reaches the broker.
const STEPS: [(&str, &str); 2] = [("source", "broker"), ("store", "broker")];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helpers", "common", "manager", "misc"];
const LONGEST: usize = 700;
/// Hosts of package registries: a checkout must not depend on one by name.
const REGISTRIES: [&str; 5] =
    ["crates.io/api", "static.crates.io", "repo1.maven.org", "repo.maven.apache.org", "pypi.org/simple"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of ours: its path from the root, and its text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn at(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// The top-level module, for files under `src/`.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src").ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

/// All text files of ours below these folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = open.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push(Source { path: path.strip_prefix(root()).unwrap().to_owned(), text });
        }
    }
    found
}

fn rust(folders: &[&str]) -> Vec<Source> {
    let mut found = sources(folders);
    found.retain(|source| source.path.extension().is_some_and(|ending| ending == "rs"));
    found
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The top-level modules that a file names with `crate::`, each with its line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for after in code.split("crate::").skip(1) {
            let names = after.trim_start_matches('{').split([',', ' ', '}', ';']);
            let grouped = after.starts_with('{');
            let first =
                |path: &str| path.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
            let wanted = names.filter_map(first).take(if grouped { usize::MAX } else { 1 });
            found.extend(wanted.map(|name| (number + 1, name)));
        }
    }
    found
}

fn upward_imports(source: &Source) -> Vec<String> {
    let Some(module) = source.module().filter(|module| !["lib", "main"].contains(module)) else {
        return vec![];
    };
    let Some(own) = floor(module) else { return vec![format!("{}: {module} has no floor", source.shown())] };
    let upward = |(line, name): (usize, String)| {
        let theirs = floor(&name)?;
        let beside = theirs == own && name != module && own != 0;
        let wrong = theirs > own || (beside && !STEPS.contains(&(module, name.as_str())));
        wrong.then(|| format!("{}:{line}: floor {own} imports {name} of floor {theirs}", source.shown()))
    };
    imports(product(source)).into_iter().filter_map(upward).collect()
}

/// The part of a file that the product is built from: tests may look at their neighbours.
fn product(source: &Source) -> &str {
    let name = source.path.file_stem().unwrap_or_default().to_string_lossy();
    if name.starts_with("test") || source.path.iter().any(|part| part == "tests") {
        return "";
    }
    source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

fn empty_name(source: &Source) -> Option<String> {
    let is_empty = |part: &str| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default());
    let named = source.path.components().any(|part| part.as_os_str().to_str().is_some_and(is_empty));
    // `plan/types.rs` is the one exception: it is the list of what the plan consists of.
    let types = source.path.ends_with("types.rs") && !source.path.ends_with("plan/types.rs");
    (named || types).then(|| format!("{}: the name says nothing", source.shown()))
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LONGEST).then(|| format!("{}: {lines} lines", source.shown()))
}

/// A file that gives a module its outside must say what it is for.
fn lacks_module_docs(source: &Source) -> Option<String> {
    if source.path.iter().any(|part| part == "tests") {
        return None;
    }
    let entry = source.path.ends_with("mod.rs") || source.path.ends_with("lib.rs");
    let top = source.path.parent() == Some(Path::new("src")) && !source.path.ends_with("main.rs");
    let documented = source.text.trim_start().starts_with("//!");
    ((entry || top) && !documented).then(|| format!("{}: no //! at its top", source.shown()))
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let ignore = concat!("#[ig", "nore");
    let todo = [concat!("to", "do!("), concat!("TO", "DO"), concat!("unimpl", "emented!(")];
    let words = [ignore].into_iter().chain(todo);
    words
        .filter(|word| source.text.contains(word))
        .map(|word| format!("{}: {word}", source.shown()))
        .collect()
}

fn registries(source: &Source) -> Vec<String> {
    let named = |host: &&&str| source.text.contains(**host);
    REGISTRIES.iter().filter(named).map(|host| format!("{}: {host}", source.shown())).collect()
}

#[track_caller]
fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn imports_point_down_the_floors() {
    assert_none(rust(&["src"]).iter().flat_map(upward_imports).collect());
}

#[test]
fn no_file_is_a_drawer_for_everything() {
    assert_none(rust(&["src", "tests", "examples"]).iter().filter_map(empty_name).collect());
}

#[test]
fn no_file_is_too_long() {
    assert_none(rust(&["src", "tests", "examples"]).iter().filter_map(too_long).collect());
}

#[test]
fn every_module_says_what_it_is_for() {
    assert_none(rust(&["src"]).iter().filter_map(lacks_module_docs).collect());
    let map = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(map.contains("#![warn(missing_docs)]"), "src/lib.rs asks for documentation of every public item");
}

#[test]
fn nothing_is_skipped_or_left_for_later() {
    assert_none(rust(&["src", "tests", "examples"]).iter().flat_map(forbidden_words).collect());
}

#[test]
fn no_registry_is_named() {
    let mut all = sources(&["src", "tests", "examples", "scripts", ".ci", "docs", "config", "deploy"]);
    all.extend(sources(&["dashboards", "Cargo.toml", "README.md", "Dockerfile", "docker-compose.yml"]));
    all.retain(|source| !source.path.ends_with("house.rs"));
    assert_none(all.iter().flat_map(registries).collect());
}

#[test]
fn each_rule_sees_what_it_forbids() {
    let grouped = Source::at("src/engine/lane.rs", "use crate::{domain::Event, sender::Job};\n");
    assert_eq!(upward_imports(&grouped).len(), 1);
    let up = Source::at("src/engine/lane.rs", "use crate::domain::Event;\nuse crate::sender::Job;\n");
    assert_eq!(upward_imports(&up), ["src/engine/lane.rs:2: floor 3 imports sender of floor 4"]);
    let beside = Source::at("src/store/mod.rs", "use crate::source::Report;\n");
    assert_eq!(upward_imports(&beside).len(), 1);
    let below = Source::at("src/store/mod.rs", "use crate::broker::kafka;\n");
    assert!(upward_imports(&below).is_empty());
    let back = Source::at("src/broker/mod.rs", "use crate::store::FromStore;\n");
    assert_eq!(upward_imports(&back).len(), 1);
    let tested = "use crate::domain::Event;\n#[cfg(test)]\nmod tests {\nuse crate::source::Intake;\n}\n";
    assert!(upward_imports(&Source::at("src/store/record.rs", tested)).is_empty());
    assert_eq!(upward_imports(&Source::at("src/attic.rs", "")), ["src/attic.rs: attic has no floor"]);
    assert!(empty_name(&Source::at("src/wire/util.rs", "")).is_some());
    assert!(empty_name(&Source::at("src/wire/types.rs", "")).is_some());
    assert!(empty_name(&Source::at("src/plan/types.rs", "")).is_none());
    assert!(too_long(&Source::at("src/x.rs", &"\n".repeat(LONGEST + 1))).is_some());
    assert!(lacks_module_docs(&Source::at("src/wire/mod.rs", "mod spec;")).is_some());
    assert!(!forbidden_words(&Source::at("src/x.rs", concat!("#[ig", "nore]"))).is_empty());
    assert!(!registries(&Source::at("scripts/x", REGISTRIES[0])).is_empty());
}
