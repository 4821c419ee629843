//! What differs between two configurations.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use super::settings::Setting;

/// One setting that is not as before. Values are masked as `check` masks them, so that both may look
/// alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its key, for example `targets.crm.timeout`.
    pub path: String,
    /// What it was; `None`: it is new.
    pub old: Option<String>,
    /// What it is; `None`: it is gone.
    pub new: Option<String>,
}

/// Whose a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject<'a> {
    /// One of `sources`.
    Source(&'a str),
    /// One of `targets`.
    Target(&'a str),
    /// One of `routes`.
    Route(&'a str),
    /// The whole configuration's.
    Top,
}

impl Subject<'_> {
    /// Whose the setting with this key is.
    pub fn of(path: &str) -> Subject<'_> {
        let mut segments = path.splitn(3, '.');
        match (segments.next(), segments.next()) {
            (Some("sources"), Some(name)) => Subject::Source(name),
            (Some("targets"), Some(name)) => Subject::Target(name),
            (Some("routes"), Some(name)) => Subject::Route(name),
            _ => Subject::Top,
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Source(name) => write!(f, "sources.{name}"),
            Subject::Target(name) => write!(f, "targets.{name}"),
            Subject::Route(name) => write!(f, "routes.{name}"),
            Subject::Top => Ok(()),
        }
    }
}

/// Everything that differs: in the order of the new configuration, and then what is gone. The order of
/// routes counts too.
pub fn changes(old: &[Setting], new: &[Setting]) -> Vec<Change> {
    let mut left: HashMap<&str, &Setting> = old.iter().map(|setting| (&*setting.path, setting)).collect();
    let mut changes = Vec::new();
    for setting in new {
        let was = left.remove(&*setting.path);
        if was.is_none_or(|was| was.print != setting.print || was.value != setting.value) {
            let old = was.map(|was| was.value.clone());
            changes.push(Change { path: setting.path.clone(), old, new: Some(setting.value.clone()) });
        }
    }
    let gone = old.iter().filter(|setting| left.contains_key(&*setting.path));
    changes.extend(gone.map(|setting| Change {
        path: setting.path.clone(),
        old: Some(setting.value.clone()),
        new: None,
    }));
    changes.extend(moved_routes(old, new));
    changes
}

/// Every source, target and route that there is.
pub fn subjects(settings: &[Setting]) -> BTreeSet<Subject<'_>> {
    let all = settings.iter().map(|setting| Subject::of(&setting.path));
    all.filter(|subject| *subject != Subject::Top).collect()
}

/// The keys that differ; of a source, target or route that is new or gone only its name, with `+` or `-`.
pub(super) fn summary(old: &[Setting], new: &[Setting], changes: &[Change]) -> Vec<String> {
    let (before, after) = (subjects(old), subjects(new));
    let mut summary: Vec<String> = Vec::new();
    for Change { path, .. } in changes {
        let subject = Subject::of(path);
        let told = match (before.contains(&subject), after.contains(&subject)) {
            (false, true) => format!("+{subject}"),
            (true, false) => format!("-{subject}"),
            _ => path.clone(),
        };
        if summary.last() != Some(&told) {
            summary.push(told);
        }
    }
    summary
}

/// Which of two routes that name the same target comes first counts.
fn moved_routes(old: &[Setting], new: &[Setting]) -> Option<Change> {
    let (old, new) = (route_names(old), route_names(new));
    let kept = |names: &[&str], others: &[&str]| {
        let kept: Vec<&str> = names.iter().copied().filter(|name| others.contains(name)).collect();
        kept.join(", ")
    };
    let (before, after) = (kept(&old, &new), kept(&new, &old));
    (before != after).then(|| Change { path: "routes".to_owned(), old: Some(before), new: Some(after) })
}

fn route_names(settings: &[Setting]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for setting in settings {
        if let Subject::Route(name) = Subject::of(&setting.path)
            && names.last() != Some(&name)
        {
            names.push(name);
        }
    }
    names
}
