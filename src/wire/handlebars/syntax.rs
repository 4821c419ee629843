//! A template as it was written.

use std::fmt;

/// A place in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// From 1.
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
}

impl Spot {
    pub(super) const START: Spot = Spot { line: 1, column: 1 };

    /// Where one is after this text.
    pub(super) fn after(self, text: &str) -> Spot {
        text.chars().fold(self, |spot, c| match c {
            '\n' => Spot { line: spot.line + 1, column: 1 },
            _ => Spot { column: spot.column + 1, ..spot },
        })
    }
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    pub(super) spot: Spot,
    pub(super) message: String,
}

/// `LINE:COLUMN: MESSAGE`.
impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.spot.line, self.spot.column, self.message)
    }
}

impl TemplateFault {
    pub(super) fn at(spot: Spot, message: impl Into<String>) -> TemplateFault {
        TemplateFault { spot, message: message.into() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text {
        text: String,
        /// Where it begins.
        spot: Spot,
    },
    Output {
        value: Expression,
        escaping: Escaping,
        spot: Spot,
    },
    Block(Block),
}

/// `{{x}}`, or `{{{x}}}` and `{{&x}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    ByPosition,
    None,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) subject: Expression,
    /// `includeZero=true` of `if` and `unless`.
    pub(super) zero: Zero,
    /// The names of `as |value key|`.
    pub(super) names: Vec<String>,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
    pub(super) spot: Spot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    If,
    Unless,
    Each,
    With,
}

/// What the number 0 counts as in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    False,
    True,
}

impl BlockKind {
    pub(super) const ALL: [(&'static str, BlockKind); 4] = [
        ("if", BlockKind::If),
        ("unless", BlockKind::Unless),
        ("each", BlockKind::Each),
        ("with", BlockKind::With),
    ];
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Path(Path),
    /// JSON text.
    Literal(String),
    /// `undefined`.
    Nothing,
    Call(Call),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Expression>,
    /// `name=value`.
    pub(super) named: Vec<(String, Expression)>,
    pub(super) spot: Spot,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub(super) base: Base,
    pub(super) segments: Vec<String>,
    pub(super) spot: Spot,
}

/// What the segments of a path start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// A bare path: a block's name, else a member of what the block is about.
    Bare,
    /// `this`, `./`, and so many blocks further out with `../`.
    Scope(usize),
    /// `@root`.
    Root,
    /// `@index`, `@key`, `@first`, `@last`, so many loops further out with `@../`.
    Loop(LoopValue, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopValue {
    Index,
    Key,
    First,
    Last,
}
