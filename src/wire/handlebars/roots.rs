//! What the paths of templates start from.

use super::nearest;
use super::steps::{Document, Part};

/// What a template can name. Built in are `event`, `body`, `headers`, `target` and `attempt`; `extra`
/// holds constants, and a dialect has names of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roots {
    /// Each stands for the first of some paths that is there. A name has one or two segments, such
    /// as `user` or `event.eventType`.
    pub own: Vec<(String, Vec<String>)>,
    /// Members of `extra`, as JSON text.
    pub extra: Vec<(String, String)>,
}

/// Where the value of a path is found; the texts are the segments that are left.
pub(super) enum Source {
    Part(Part, Vec<String>),
    Inside(Document, Vec<String>),
    Header(String),
    Headers,
    /// JSON text.
    Constant(String, Vec<String>),
    Missing,
    First(Vec<Source>),
    Object(Vec<(String, Source)>),
}

const EVENT: [(&str, Part); 7] = [
    ("id", Part::Id),
    ("type", Part::Type),
    ("time", Part::Time),
    ("subject", Part::Subject),
    ("key", Part::Key),
    ("source", Part::Producer),
    ("tenant", Part::Tenant),
];
const BUILT_IN: [&str; 6] = ["event", "body", "headers", "target", "attempt", "extra"];

impl Roots {
    /// What stands under this path, or why nothing can.
    pub(super) fn find(&self, path: &[String]) -> Result<Source, String> {
        for (name, places) in &self.own {
            let name: Vec<&str> = name.split('.').collect();
            if path.len() >= name.len() && path.iter().zip(&name).all(|(one, other)| one == other) {
                let rest = path.get(name.len()..).unwrap_or_default();
                return self.first(places, rest);
            }
        }
        self.built_in(path)
    }

    fn first(&self, places: &[String], rest: &[String]) -> Result<Source, String> {
        let one = |place: &String| {
            let mut path: Vec<String> = place.split('.').map(str::to_owned).collect();
            path.extend_from_slice(rest);
            match path.first().map(String::as_str) {
                Some("extra") => Ok(self.extra(path.get(1..).unwrap_or_default()).unwrap_or(Source::Missing)),
                _ => self.built_in(&path),
            }
        };
        Ok(Source::First(places.iter().map(one).collect::<Result<_, _>>()?))
    }

    fn built_in(&self, path: &[String]) -> Result<Source, String> {
        let (first, rest) = path.split_first().ok_or_else(|| self.unknown(""))?;
        match first.as_str() {
            "event" => self.event(rest),
            "body" => Ok(Source::Inside(Document::Body, rest.to_vec())),
            "headers" => {
                match rest {
                    [] => Ok(Source::Headers),
                    [name] => Ok(Source::Header(name.clone())),
                    _ => Err("a header has no members; write `headers.NAME`, or `headers.[NAME.WITH.DOTS]`"
                        .to_owned()),
                }
            }
            "target" => match rest {
                [] => Ok(Source::Object(vec![("id".to_owned(), Source::Part(Part::TargetId, Vec::new()))])),
                [member] if member == "id" => Ok(Source::Part(Part::TargetId, Vec::new())),
                _ => Err("of a target there is only `target.id`".to_owned()),
            },
            "attempt" => match rest {
                [] => Ok(Source::Part(Part::Attempt, Vec::new())),
                _ => Err("`attempt` is a number and has no members".to_owned()),
            },
            "extra" => match rest {
                [] => {
                    let member = |(name, json): &(String, String)| {
                        (name.clone(), Source::Constant(json.clone(), Vec::new()))
                    };
                    Ok(Source::Object(self.extra.iter().map(member).collect()))
                }
                _ => self.extra(rest).ok_or_else(|| "`payload.extra` has no such member".to_owned()),
            },
            other => Err(self.unknown(other)),
        }
    }

    fn extra(&self, path: &[String]) -> Option<Source> {
        let (name, rest) = path.split_first()?;
        let (_, json) = self.extra.iter().find(|(own, _)| own == name)?;
        Some(Source::Constant(json.clone(), rest.to_vec()))
    }

    fn event(&self, path: &[String]) -> Result<Source, String> {
        let Some((first, rest)) = path.split_first() else { return Ok(self.whole_event()) };
        if first == "data" {
            return Ok(Source::Inside(Document::Data, rest.to_vec()));
        }
        match EVENT.iter().find(|(name, _)| name == first) {
            Some((_, part)) => Ok(Source::Part(*part, rest.to_vec())),
            None => {
                let own = self.own_of_event().map(|(name, _)| name);
                let known: Vec<&str> =
                    EVENT.iter().map(|(name, _)| *name).chain(["data"]).chain(own).collect();
                let hint = nearest::hint(first, known.iter().copied());
                Err(format!("`event` has no `{first}`{hint}; it has: {}", known.join(" ")))
            }
        }
    }

    /// The names that a dialect has below `event`.
    fn own_of_event(&self) -> impl Iterator<Item = (&str, &Vec<String>)> {
        self.own.iter().filter_map(|(name, places)| Some((name.strip_prefix("event.")?, places)))
    }

    /// `event` itself: with the names that the dialect's receivers know, if it has any.
    fn whole_event(&self) -> Source {
        let data = || ("data".to_owned(), Source::Inside(Document::Data, Vec::new()));
        let own: Vec<(String, Source)> = self
            .own_of_event()
            .filter_map(|(name, places)| Some((name.to_owned(), self.first(places, &[]).ok()?)))
            .collect();
        let parts = EVENT.iter().map(|(name, part)| ((*name).to_owned(), Source::Part(*part, Vec::new())));
        Source::Object(match own.is_empty() {
            true => parts.chain([data()]).collect(),
            false => own.into_iter().chain([data()]).collect(),
        })
    }

    fn unknown(&self, name: &str) -> String {
        let own = self.own.iter().map(|(name, _)| name.as_str()).filter(|name| !name.contains('.'));
        let known: Vec<&str> = BUILT_IN.into_iter().chain(own).collect();
        let hint = nearest::hint(name, known.iter().copied());
        match name {
            "" => format!("name what is meant; there are: {}", known.join(" ")),
            _ => format!("there is no `{name}` here{hint}; there are: {}", known.join(" ")),
        }
    }
}
