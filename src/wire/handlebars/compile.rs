//! A template with every name looked up and every tag placed.

use super::functions::{self, Options, SIGNATURES, Signature};
use super::json_position::{Misplaced, Positions, Slot};
use super::nearest;
use super::roots::{Roots, Source};
use super::steps::{Documents, Expr, Step, Writing};
use super::syntax::{
    Base, Block, BlockKind, Call, Escaping, Expression, LoopValue, Node, Path, Spot, TemplateFault,
};
use super::value::Value;
use super::{Language, MAX_LOOPS};

/// An enclosing `each` or `with`.
struct Frame {
    kind: BlockKind,
    names: Vec<String>,
}

/// Compiles one template.
pub(super) struct Compiler<'r> {
    roots: &'r Roots,
    language: Language,
    frames: Vec<Frame>,
    /// Where one stands, if it is JSON.
    position: Option<Positions>,
    /// Of so many loops around it is not known yet where their bodies may begin. Until then a way
    /// that ends is only not gone on with: a comma between elements can't stand before the first.
    unsettled: usize,
    pub(super) documents: Documents,
    faults: Vec<TemplateFault>,
}

/// The template was given up; the faults say why.
struct GivenUp;

impl<'r> Compiler<'r> {
    pub(super) fn new(language: Language, roots: &'r Roots) -> Compiler<'r> {
        let position = (language == Language::Json).then(Positions::start);
        Compiler {
            roots,
            language,
            frames: Vec::new(),
            position,
            unsettled: 0,
            documents: Documents::default(),
            faults: Vec::new(),
        }
    }

    /// All steps, or all faults.
    pub(super) fn compile(
        mut self,
        nodes: &[Node],
        end: Spot,
    ) -> Result<(Box<[Step]>, Documents), Vec<TemplateFault>> {
        let steps = self.nodes(nodes);
        if steps.is_ok()
            && let Some(Err(misplaced)) = self.position.as_ref().map(Positions::end)
        {
            let _ = self.misplaced(misplaced, end, "");
        }
        match steps {
            Ok(steps) if self.faults.is_empty() => Ok((steps, self.documents)),
            _ => Err(self.faults),
        }
    }

    fn nodes(&mut self, nodes: &[Node]) -> Result<Box<[Step]>, GivenUp> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn node(&mut self, node: &Node) -> Result<Step, GivenUp> {
        match node {
            Node::Text { text, spot } => {
                let stepped = self.position.as_mut().map_or(Ok(()), |position| position.text(text));
                stepped.or_else(|misplaced| self.misplaced(misplaced, *spot, text))?;
                Ok(Step::Text(text.as_str().into()))
            }
            Node::Output { value, escaping, spot } => {
                let slot = self.position.as_mut().map(Positions::tag).transpose();
                let slot = match slot {
                    Ok(slot) => slot,
                    Err(misplaced) => {
                        return self.misplaced(misplaced, *spot, "").map(|()| Step::Text("".into()));
                    }
                };
                let (value, how) = self.written(value, *escaping, slot);
                Ok(Step::Write { value: self.expression(value), how })
            }
            Node::Block(block) => match block.kind {
                BlockKind::If | BlockKind::Unless => self.condition(block),
                BlockKind::Each => self.each(block),
                BlockKind::With => self.with(block),
            },
        }
    }

    /// What is written, and how: `json` says the latter too.
    fn written<'e>(
        &self,
        value: &'e Expression,
        escaping: Escaping,
        slot: Option<Slot>,
    ) -> (&'e Expression, Writing) {
        let inner = match value {
            Expression::Call(Call { name, arguments, named, .. }) if name == "json" && named.is_empty() => {
                arguments.first().filter(|_| arguments.len() == 1)
            }
            _ => None,
        };
        match (slot, escaping) {
            (Some(Slot::Value), _) if inner.is_some() => (inner.unwrap_or(value), Writing::JsonValue),
            (Some(Slot::Value), Escaping::ByPosition) => (value, Writing::JsonValue),
            (Some(Slot::Value), Escaping::None) => (value, Writing::RawJsonValue),
            (Some(Slot::String), Escaping::ByPosition) if inner.is_some() => {
                (inner.unwrap_or(value), Writing::JsonTextInJsonString)
            }
            (Some(Slot::String), Escaping::ByPosition) => (value, Writing::InJsonString),
            (Some(Slot::String), Escaping::None) => (value, Writing::RawInJsonString),
            (None, Escaping::None) => (value, Writing::Plain),
            (None, Escaping::ByPosition) => match self.language {
                Language::Html => (value, Writing::Html),
                Language::Form => (value, Writing::Form),
                Language::Json | Language::Plain => (value, Writing::Plain),
            },
        }
    }

    fn condition(&mut self, block: &Block) -> Result<Step, GivenUp> {
        let condition = self.expression(&block.subject);
        let before = self.position.clone();
        let body = self.nodes(&block.body)?;
        let otherwise = self.other_way(before, &block.otherwise, block.spot)?;
        let wanted = block.kind == BlockKind::If;
        Ok(Step::If { condition, wanted, zero: block.zero, body, otherwise })
    }

    fn with(&mut self, block: &Block) -> Result<Step, GivenUp> {
        let subject = self.expression(&block.subject);
        let before = self.position.clone();
        self.frames.push(Frame { kind: block.kind, names: block.names.clone() });
        let body = self.nodes(&block.body);
        self.frames.pop();
        let body = body?;
        let otherwise = self.other_way(before, &block.otherwise, block.spot)?;
        Ok(Step::With { subject, body, otherwise })
    }

    fn each(&mut self, block: &Block) -> Result<Step, GivenUp> {
        let subject = self.expression(&block.subject);
        if self.frames.iter().filter(|frame| frame.kind == BlockKind::Each).count() >= MAX_LOOPS {
            self.fault(block.spot, "loops are nested too deep");
            return Err(GivenUp);
        }
        let before = self.position.clone();
        self.frames.push(Frame { kind: block.kind, names: block.names.clone() });
        let body = self.repeated(block);
        self.frames.pop();
        let body = body?;
        let otherwise = self.other_way(before, &block.otherwise, block.spot)?;
        Ok(Step::Each { subject, body, otherwise })
    }

    /// The body of a loop, placed wherever it may begin: after nothing, and after itself.
    fn repeated(&mut self, block: &Block) -> Result<Box<[Step]>, GivenUp> {
        let Some(mut begins) = self.position.clone() else { return self.nodes(&block.body) };
        loop {
            let known = begins.clone();
            self.position = Some(known.clone());
            self.unsettled += 1;
            let body = self.nodes(&block.body);
            self.unsettled -= 1;
            body?;
            if let Some(ended) = self.position.clone() {
                begins.or(ended).or_else(|misplaced| self.misplaced(misplaced, block.spot, ""))?;
            }
            if begins == known {
                self.position = Some(begins);
                return self.nodes(&block.body);
            }
        }
    }

    /// The branch that is taken instead of the one that was just placed.
    fn other_way(
        &mut self,
        before: Option<Positions>,
        nodes: &[Node],
        spot: Spot,
    ) -> Result<Box<[Step]>, GivenUp> {
        let after = std::mem::replace(&mut self.position, before);
        let steps = self.nodes(nodes)?;
        if let (Some(position), Some(after)) = (&mut self.position, after) {
            position.or(after).or_else(|misplaced| self.misplaced(misplaced, spot, ""))?;
        }
        Ok(steps)
    }

    fn misplaced(&mut self, misplaced: Misplaced, spot: Spot, text: &str) -> Result<(), GivenUp> {
        if self.unsettled > 0 && misplaced != Misplaced::Loop {
            if let Some(position) = &mut self.position {
                position.give_up();
            }
            return Ok(());
        }
        let (spot, message) = match misplaced {
            Misplaced::Character(at, c) => {
                let spot = spot.after(text.get(..at).unwrap_or_default());
                let message = match c {
                    '\0'..='\x1f' => "a line break or control character in a string of JSON; write `\\n`".to_owned(),
                    c => format!("`{c}` can't stand here in JSON"),
                };
                (spot, message)
            }
            Misplaced::Tag => (
                spot,
                "a tag can't stand here in JSON: it stands for a whole value, or in a string for a part of it"
                    .to_owned(),
            ),
            Misplaced::Ambiguous => {
                (spot, "the branches before this tag leave it in a string or outside of one".to_owned())
            }
            Misplaced::End => (spot, "the JSON is not complete at the end of the template".to_owned()),
            Misplaced::Loop => (spot, "each turn of this block leaves the JSON at another place".to_owned()),
        };
        self.fault(spot, message);
        Err(GivenUp)
    }

    fn fault(&mut self, spot: Spot, message: impl Into<String>) {
        let fault = TemplateFault::at(spot, message);
        // A loop's body is placed several times.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn expression(&mut self, expression: &Expression) -> Expr {
        match expression {
            Expression::Literal(text) => Expr::Constant(Value::Json(text.clone().into())),
            Expression::Nothing => Expr::Constant(Value::Missing),
            Expression::Path(path) => self.path(path),
            Expression::Call(call) => self.call(call),
        }
    }

    fn call(&mut self, call: &Call) -> Expr {
        let Some(signature) = SIGNATURES.iter().find(|signature| signature.name == call.name) else {
            let names = SIGNATURES.iter().map(|signature| signature.name);
            let hint = nearest::hint(&call.name, names.clone());
            let all: Vec<&str> = names.collect();
            self.fault(
                call.spot,
                format!("there is no function `{}`{hint}; there are: {}", call.name, all.join(" ")),
            );
            return Expr::Constant(Value::Missing);
        };
        let (least, most) = signature.arguments;
        if !(least..=most).contains(&call.arguments.len()) {
            let wanted = match (least, most) {
                (least, most) if least == most => format!("{least}"),
                (least, usize::MAX) => format!("{least} or more"),
                (least, most) => format!("{least} to {most}"),
            };
            self.fault(call.spot, format!("`{}` takes {wanted} arguments", call.name));
        }
        let options = self.options(call, signature);
        let constants: Vec<Option<String>> = call.arguments.iter().map(constant).collect();
        let constants: Vec<Option<&str>> = constants.iter().map(Option::as_deref).collect();
        if let Some(message) = functions::fault(signature.function, &constants, &options) {
            self.fault(call.spot, message);
        }
        let about = call.arguments.first().map_or_else(String::new, shown);
        let arguments = call.arguments.iter().map(|argument| self.expression(argument)).collect();
        Expr::Call { function: signature.function, arguments, options, about: about.into() }
    }

    fn options(&mut self, call: &Call, signature: &Signature) -> Options {
        let mut options = Vec::new();
        for (name, value) in &call.named {
            let known = signature.named.iter().find(|known| *known == name);
            match (known, constant(value)) {
                (Some(known), Some(value)) => options.push((*known, value.into())),
                (Some(_), None) => self.fault(call.spot, format!("`{name}` takes a constant")),
                (None, _) => self.fault(call.spot, format!("`{}` takes no `{name}`", call.name)),
            }
        }
        Options(options.into())
    }

    fn path(&mut self, path: &Path) -> Expr {
        let (first, rest) = match path.segments.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", &[][..]),
        };
        match path.base {
            Base::Loop(value, outward) => self.loop_value(value, outward, path.spot),
            Base::Root => self.root(path),
            Base::Bare => {
                let named = self.frames.iter().rev().enumerate().find_map(|(outward, frame)| {
                    Some((outward, frame.names.iter().position(|name| name == first)?))
                });
                match named {
                    Some((outward, 0)) => below(Expr::Scope { outward }, rest),
                    Some((outward, _)) => below(Expr::Key { outward }, rest),
                    None if self.frames.is_empty() => self.root(path),
                    None => below(Expr::Scope { outward: 0 }, &path.segments),
                }
            }
            Base::Scope(outward) if outward < self.frames.len() => {
                below(Expr::Scope { outward }, &path.segments)
            }
            Base::Scope(outward) if outward == self.frames.len() => self.root(path),
            Base::Scope(_) => {
                self.fault(path.spot, "there are not so many blocks around this");
                Expr::Constant(Value::Missing)
            }
        }
    }

    fn loop_value(&mut self, value: LoopValue, outward: usize, spot: Spot) -> Expr {
        let loops = self.frames.iter().filter(|frame| frame.kind == BlockKind::Each).count();
        if outward >= loops {
            self.fault(spot, "it is known only inside of `{{#each}}`");
        }
        Expr::Loop { value, outward }
    }

    fn root(&mut self, path: &Path) -> Expr {
        match self.roots.find(&path.segments) {
            Ok(source) => self.source(source),
            Err(message) => {
                self.fault(path.spot, message);
                Expr::Constant(Value::Missing)
            }
        }
    }

    fn source(&mut self, source: Source) -> Expr {
        match source {
            Source::Part(part, segments) => below(Expr::Part(part), &segments),
            Source::Inside(document, segments) => {
                // A member may be called so; a list has none.
                let own = match segments.split_last() {
                    Some((last, above)) if last == "length" => above,
                    _ => &segments,
                };
                let path = self.documents.path(document, own);
                let rest = segments.get(own.len()..).unwrap_or_default();
                below(Expr::Found { document, path }, rest)
            }
            Source::Header(name) => Expr::Header(name.into()),
            Source::Headers => Expr::Headers,
            Source::Constant(json, segments) => below(Expr::Constant(Value::Json(json.into())), &segments),
            Source::Missing => Expr::Constant(Value::Missing),
            Source::First(sources) => {
                Expr::First(sources.into_iter().map(|source| self.source(source)).collect())
            }
            Source::Object(members) => {
                let member = |(name, source): (String, Source)| (name.into(), self.source(source));
                Expr::Object(members.into_iter().map(member).collect())
            }
        }
    }
}

fn below(value: Expr, segments: &[String]) -> Expr {
    match segments.is_empty() {
        true => value,
        false => Expr::Below {
            value: Box::new(value),
            segments: segments.iter().map(|segment| segment.as_str().into()).collect(),
        },
    }
}

/// The text of a constant.
fn constant(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Literal(text) => {
            Some(Value::Json(text.as_str().into()).plain(crate::json::JsonForm::Exact).into_owned())
        }
        _ => None,
    }
}

/// A path for people.
fn shown(expression: &Expression) -> String {
    match expression {
        Expression::Path(path) => path.segments.join("."),
        _ => "a value".to_owned(),
    }
}
