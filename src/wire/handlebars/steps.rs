//! A compiled template: what is done in order, and where its values come from.

use super::functions::{Function, Options};
use super::syntax::{LoopValue, Zero};
use super::value::Value;
use crate::domain;

/// One thing to do, in order.
#[derive(Debug)]
pub(super) enum Step {
    Text(Box<str>),
    Write { value: Expr, how: Writing },
    If { condition: Expr, wanted: bool, zero: Zero, body: Box<[Step]>, otherwise: Box<[Step]> },
    Each { subject: Expr, body: Box<[Step]>, otherwise: Box<[Step]> },
    With { subject: Expr, body: Box<[Step]>, otherwise: Box<[Step]> },
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    JsonValue,
    InJsonString,
    /// The JSON text of a value, inside a string.
    JsonTextInJsonString,
    RawJsonValue,
    RawInJsonString,
    Plain,
    /// Escaped for HTML and XML.
    Html,
    /// Percent-encoded.
    Form,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Expr {
    Constant(Value<'static>),
    Part(Part),
    /// What one reading of the data or the body finds.
    Found {
        document: Document,
        path: usize,
    },
    Header(Box<str>),
    Headers,
    /// The member of an enclosing `each` or `with`, so many further out.
    Scope {
        outward: usize,
    },
    /// The key or index of an enclosing `each`, as `as |value key|` names it.
    Key {
        outward: usize,
    },
    Loop {
        value: LoopValue,
        outward: usize,
    },
    Below {
        value: Box<Expr>,
        segments: Box<[Box<str>]>,
    },
    /// The first that is there.
    First(Box<[Expr]>),
    Object(Box<[(Box<str>, Expr)]>),
    Call {
        function: Function,
        arguments: Box<[Expr]>,
        options: Options,
        about: Box<str>,
    },
}

/// A part of the event, or of what is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Id,
    Type,
    Time,
    Subject,
    Key,
    Producer,
    Tenant,
    TargetId,
    Attempt,
}

/// What is read for paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Data,
    Body,
}

/// The paths that one reading of each document looks for.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) data: Vec<domain::Path>,
    pub(super) body: Vec<domain::Path>,
}

impl Documents {
    /// The number of a path.
    pub(super) fn path(&mut self, document: Document, segments: &[String]) -> usize {
        let path = domain::Path(segments.iter().map(|segment| segment.as_str().into()).collect());
        let paths = match document {
            Document::Data => &mut self.data,
            Document::Body => &mut self.body,
        };
        paths.iter().position(|known| *known == path).unwrap_or_else(|| {
            paths.push(path);
            paths.len() - 1
        })
    }
}
