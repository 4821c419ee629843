use crate::domain::{Path, Place};
use crate::plan::EventParts;

/// A [`Place`], compiled: paths have become indices into what one reading of the body finds.
#[derive(Debug)]
pub(super) enum Look {
    Header(Box<str>),
    /// A header of CloudEvents as HTTP and NATS have it: its value is percent-encoded (HTTP binding
    /// §3.1.3.2).
    Encoded(Box<str>),
    /// The raw JSON text at this body path.
    Body(usize),
    /// CloudEvents' `data_base64` at this body path.
    Base64(usize),
    /// `data:PATH`.
    Data {
        /// For each data place of the profile: the body path, if that place is in the body.
        in_body: Box<[Option<usize>]>,
        /// The path where `data` does not stand in the body.
        inside: usize,
    },
    /// Tokens of the subject, from 1.
    Subject {
        first: usize,
        rest: bool,
    },
    Topic,
    Key,
    Broker,
    Origin,
    Const(Box<str>),
}

/// Where the parts of one kind of message are: plain, or CloudEvents in one of its two modes.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) event_type: Box<[Look]>,
    pub(super) id: Box<[Look]>,
    pub(super) time: Box<[Look]>,
    pub(super) subject: Box<[Look]>,
    pub(super) key: Box<[Look]>,
    pub(super) priority: Box<[Look]>,
    pub(super) tenant: Box<[Look]>,
    pub(super) producer: Box<[Look]>,
    pub(super) data: Box<[Look]>,
    /// One for each of [`Plan::fields`](crate::plan::Plan::fields).
    pub(super) fields: Box<[Look]>,
    /// Whether any of them looks below `data`.
    pub(super) looks_inside_data: bool,
}

/// The places that count where the configuration does not set a part.
struct Defaults {
    event_type: Vec<Place>,
    id: Vec<Place>,
    time: Vec<Place>,
    subject: Vec<Place>,
    producer: Vec<Place>,
    data: Vec<Place>,
}

/// Collects the paths that all profiles of a source need, each once.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    body: Vec<Path>,
    data: Vec<Path>,
}

impl Compiler {
    /// PRODUCT.md §1, `event`. The headers `ce_…` are looked at although the message is no
    /// CloudEvent by the letter: producers set them without `ce_specversion`.
    pub(super) fn plain(&mut self, set: &EventParts, fields: &[Place]) -> Profile {
        let defaults = Defaults {
            event_type: [header("ce_type"), header("event-type")]
                .into_iter()
                .chain(["type", "event_type", "eventType", "event"].map(body))
                .collect(),
            id: vec![header("ce_id"), header("event-id"), body("event_id"), body("eventId")],
            time: vec![
                header("ce_time"),
                body("time"),
                body("timestamp"),
                body("occurred_at"),
                Place::Broker,
            ],
            subject: vec![header("ce_subject"), body("subject")],
            producer: vec![header("ce_source"), body("source")],
            data: vec![body("data"), Place::Body(Path::default())],
        };
        self.profile(set, defaults, fields)
    }

    /// CloudEvents JSON format §3: the body is the envelope.
    pub(super) fn structured(&mut self, set: &EventParts, fields: &[Place]) -> Profile {
        let defaults = Defaults {
            event_type: vec![body("type")],
            id: vec![body("id")],
            time: vec![body("time")],
            subject: vec![body("subject")],
            producer: vec![body("source")],
            data: vec![body("data")],
        };
        let mut profile = self.profile(set, defaults, fields);
        if set.data.is_none() {
            let base64 = Look::Base64(self.body(&Path(vec!["data_base64".into()])));
            profile.data = profile.data.into_iter().chain([base64]).collect();
        }
        profile
    }

    /// CloudEvents Kafka binding §3.2 (`ce_`), and `ce-` as bridges from HTTP leave it: the headers
    /// are the envelope and the body is the data.
    pub(super) fn binary(&mut self, set: &EventParts, fields: &[Place]) -> Profile {
        let both = |name: &str| vec![header(&format!("ce_{name}")), header(&format!("ce-{name}"))];
        let defaults = Defaults {
            event_type: both("type"),
            id: both("id"),
            time: both("time"),
            subject: both("subject"),
            producer: both("source"),
            data: vec![Place::Body(Path::default())],
        };
        self.profile(set, defaults, fields)
    }

    /// The body paths that the profiles' indices refer to.
    pub(super) fn body_paths(&self) -> &[Path] {
        &self.body
    }

    /// The paths below `data` that the profiles' indices refer to.
    pub(super) fn data_paths(&self) -> &[Path] {
        &self.data
    }

    fn profile(&mut self, set: &EventParts, defaults: Defaults, fields: &[Place]) -> Profile {
        let data = set.data.clone().unwrap_or(defaults.data);
        let mut part = |own: &Option<Vec<Place>>, default: Vec<Place>| {
            self.looks(own.as_ref().unwrap_or(&default), &data)
        };
        let event_type = part(&set.event_type, defaults.event_type);
        let id = part(&set.id, defaults.id);
        let time = part(&set.time, defaults.time);
        let subject = part(&set.subject, defaults.subject);
        let key = part(&set.key, vec![Place::Key]);
        let producer = part(&set.producer, defaults.producer);
        let priority = part(&set.priority, Vec::new());
        let tenant = part(&set.tenant, Vec::new());
        let fields = self.looks(fields, &data);
        let data = self.looks(&data, &[]);
        let inside = |looks: &[Look]| looks.iter().any(|look| matches!(look, Look::Data { .. }));
        let looks_inside_data =
            [&event_type, &id, &time, &subject, &key, &priority, &tenant, &producer, &fields]
                .into_iter()
                .any(|looks| inside(looks));
        Profile {
            event_type,
            id,
            time,
            subject,
            key,
            priority,
            tenant,
            producer,
            data,
            fields,
            looks_inside_data,
        }
    }

    fn looks(&mut self, places: &[Place], data: &[Place]) -> Box<[Look]> {
        places.iter().map(|place| self.look(place, data)).collect()
    }

    fn look(&mut self, place: &Place, data: &[Place]) -> Look {
        match place {
            Place::Header(name) if name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ce-")) => {
                Look::Encoded(name.clone())
            }
            Place::Header(name) => Look::Header(name.clone()),
            Place::Body(path) => Look::Body(self.body(path)),
            Place::Data(below) => Look::Data {
                in_body: data.iter().map(|place| self.below(place, below)).collect(),
                inside: index_of(&mut self.data, below),
            },
            Place::Subject { first, rest } => Look::Subject { first: *first, rest: *rest },
            Place::Topic => Look::Topic,
            Place::Key => Look::Key,
            Place::Broker => Look::Broker,
            Place::Origin => Look::Origin,
            Place::Const(text) => Look::Const(text.clone()),
        }
    }

    fn below(&mut self, data: &Place, path: &Path) -> Option<usize> {
        let Place::Body(above) = data else { return None };
        Some(self.body(&Path(above.0.iter().chain(&path.0).cloned().collect())))
    }

    fn body(&mut self, path: &Path) -> usize {
        index_of(&mut self.body, path)
    }
}

fn index_of(paths: &mut Vec<Path>, path: &Path) -> usize {
    paths.iter().position(|known| known == path).unwrap_or_else(|| {
        paths.push(path.clone());
        paths.len() - 1
    })
}

fn header(name: &str) -> Place {
    Place::Header(name.into())
}

fn body(name: &str) -> Place {
    Place::Body(Path(vec![name.into()]))
}
