//! What differs between two configurations.

use std::collections::HashMap;

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
