use std::collections::HashMap;

use crate::domain::{
    Condition, Event, Field, Operator, RouteId, Segment, SourceId, TargetId, Tenant, TypePattern,
};
use crate::plan::{Plan, Route};

/// The routes that take from one source, by what they ask of an event, so that an event's cost does not
/// grow with the routes that it has nothing to do with. What it finds is a superset of the routes that
/// take the event, and of those that can't judge it.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By a whole type.
    exact: HashMap<Box<str>, Bucket>,
    /// By the text before a pattern's first wildcard, without the last dot.
    beginning: HashMap<Box<str>, Bucket>,
    /// By the last segment of patterns that begin with a wildcard.
    ending: HashMap<Box<str>, Bucket>,
    /// Any type may do.
    any: Bucket,
    /// For an event without a type, which no type rules out.
    untyped: Bucket,
}

/// Routes that no difference in types tells apart.
#[derive(Debug, Default)]
struct Bucket {
    /// Those that ask for one of a few values, by what they look at.
    asking: Vec<Asking>,
    rest: Vec<RouteId>,
}

/// Routes that ask the same thing of an event for one of a few values.
#[derive(Debug)]
struct Asking {
    question: Question,
    by_text: HashMap<Box<str>, Vec<RouteId>>,
    by_scalar: HashMap<Scalar, Vec<RouteId>>,
    /// Each once, for an event that has no answer because it can't be read.
    all: Vec<RouteId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// The value of a field, by its index in [`Plan::fields`].
    Field(usize),
    Tenant,
}

#[derive(Debug)]
enum Answer {
    Text(Box<str>),
    Scalar(Scalar),
}

/// A value, so that what is equal by the rules of `where` is equal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scalar {
    /// The bits of a float, which integers are compared as.
    Number(u64),
    Bool(bool),
}

impl Index {
    /// The index of a source's routes.
    pub(super) fn new(plan: &Plan, source: SourceId) -> Index {
        let mut index = Index::default();
        for (id, route) in (0..).map(RouteId).zip(&plan.routes) {
            if route.takes_from(source) {
                index.add(plan, id, route);
            }
        }
        index
    }

    fn add(&mut self, plan: &Plan, id: RouteId, route: &Route) {
        let asked = asked(plan, route);
        self.untyped.add(id, &asked);
        if route.types.include.is_empty() {
            return self.any.add(id, &asked);
        }
        for pattern in &route.types.include {
            let bucket = match pattern {
                TypePattern::Everything => &mut self.any,
                TypePattern::Exact(text) => self.exact.entry(text.clone()).or_default(),
                TypePattern::Segments(segments) => match (beginning(segments), segments.last()) {
                    (Some(text), _) => self.beginning.entry(text).or_default(),
                    (None, Some(Segment::Text(text))) => self.ending.entry(text.clone()).or_default(),
                    (None, _) => &mut self.any,
                },
            };
            bucket.add(id, &asked);
        }
    }

    /// The routes to be asked about an event, in file order.
    pub(super) fn candidates(&self, plan: &Plan, event: &Event, candidates: &mut Vec<RouteId>) {
        candidates.clear();
        let Some(event_type) = &event.event_type else {
            self.untyped.find(plan, event, candidates);
            return in_order(candidates);
        };
        self.any.find(plan, event, candidates);
        let exact = self.exact.get(&**event_type);
        let ending = self.ending.get(event_type.rsplit('.').next().unwrap_or_default());
        for bucket in [exact, ending].into_iter().flatten() {
            bucket.find(plan, event, candidates);
        }
        if !self.beginning.is_empty() {
            let ends = event_type.match_indices('.').map(|(at, _)| at).chain([event_type.len()]);
            for bucket in ends.filter_map(|end| self.beginning.get(&event_type[..end])) {
                bucket.find(plan, event, candidates);
            }
        }
        in_order(candidates);
    }
}

fn in_order(candidates: &mut Vec<RouteId>) {
    candidates.sort_unstable();
    candidates.dedup();
}

/// The text before the first wildcard; `None` if it stands first.
fn beginning(segments: &[Segment]) -> Option<Box<str>> {
    let texts = segments.iter().map_while(|segment| match segment {
        Segment::Text(text) => Some(&**text),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(".").into())
}

/// The first thing that a route asks for one of a few values, and these.
fn asked(plan: &Plan, route: &Route) -> Option<(Question, Vec<Answer>)> {
    let condition = |condition: &Condition| {
        if condition.missing_passes {
            return None;
        }
        let wanted = condition.operators.iter().find_map(|operator| match operator {
            Operator::Equal(value) => Some(std::slice::from_ref(value)),
            Operator::In(values) => Some(&**values),
            _ => None,
        })?;
        let answers = wanted.iter().map(answer).collect::<Option<Vec<Answer>>>()?;
        Some((Question::Field(condition.field), answers))
    };
    let tenant = |target: &TargetId| match &plan.targets.get(target.0 as usize)?.tenant {
        Some(Tenant::Only(tenant)) => Some(Answer::Text(tenant.clone())),
        Some(Tenant::Everybody) | None => None,
    };
    route.conditions.iter().find_map(condition).or_else(|| {
        if route.to.is_empty() {
            return None;
        }
        let tenants = route.to.iter().map(tenant).collect::<Option<Vec<Answer>>>()?;
        Some((Question::Tenant, tenants))
    })
}

fn answer(value: &Field) -> Option<Answer> {
    match value {
        Field::Text(text) => Some(Answer::Text(text.clone())),
        other => scalar(other).map(Answer::Scalar),
    }
}

fn scalar(value: &Field) -> Option<Scalar> {
    // Both zeros are equal.
    let number = |value: f64| Scalar::Number((value + 0.0).to_bits());
    Some(match value {
        Field::Bool(value) => Scalar::Bool(*value),
        Field::Integer(value) => number(*value as f64),
        Field::Float(value) => number(*value),
        Field::Text(_) | Field::Null | Field::List(_) | Field::Object => return None,
    })
}

impl Bucket {
    fn add(&mut self, id: RouteId, asked: &Option<(Question, Vec<Answer>)>) {
        let Some((question, answers)) = asked else {
            return self.rest.push(id);
        };
        let asking = match self.asking.iter().position(|asking| asking.question == *question) {
            Some(index) => &mut self.asking[index],
            None => {
                self.asking.push(Asking::new(*question));
                let last = self.asking.len() - 1;
                &mut self.asking[last]
            }
        };
        asking.all.push(id);
        for answer in answers {
            let routes = match answer {
                Answer::Text(text) => asking.by_text.entry(text.clone()).or_default(),
                Answer::Scalar(scalar) => asking.by_scalar.entry(*scalar).or_default(),
            };
            routes.push(id);
        }
    }

    fn find(&self, plan: &Plan, event: &Event, found: &mut Vec<RouteId>) {
        found.extend_from_slice(&self.rest);
        for asking in &self.asking {
            asking.find(plan, event, found);
        }
    }
}

impl Asking {
    fn new(question: Question) -> Asking {
        Asking { question, by_text: HashMap::new(), by_scalar: HashMap::new(), all: Vec::new() }
    }

    fn find(&self, plan: &Plan, event: &Event, found: &mut Vec<RouteId>) {
        match self.question {
            // These routes can't judge it.
            Question::Tenant if super::is_tenant_unreadable(plan, event) => {
                found.extend_from_slice(&self.all);
            }
            Question::Tenant => {
                let routes = event.tenant.as_deref().and_then(|tenant| self.by_text.get(tenant));
                found.extend(routes.into_iter().flatten());
            }
            Question::Field(field) if super::is_field_unreadable(plan, event, field) => {
                found.extend_from_slice(&self.all);
            }
            Question::Field(field) => match event.fields.get(field).and_then(Option::as_ref) {
                Some(Field::List(elements)) => {
                    found.extend(elements.iter().flat_map(|element| self.answered(element)));
                }
                Some(value) => found.extend(self.answered(value)),
                None => {}
            },
        }
    }

    fn answered(&self, value: &Field) -> &[RouteId] {
        let routes = match value {
            Field::Text(text) => self.by_text.get(text),
            other => scalar(other).and_then(|scalar| self.by_scalar.get(&scalar)),
        };
        routes.map_or(&[], Vec::as_slice)
    }
}
