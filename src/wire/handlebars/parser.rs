//! Text → [`Node`]s. Written here and not taken from a library, because where a tag stands in the
//! JSON decides how its value is written, and no Handlebars library says where its tags stand.

use std::ops::Range;

use super::syntax::{Block, BlockKind, Escaping, Expression, Node, Spot, TemplateFault, Zero};
use super::tag::Tag;

/// Blocks in blocks end here, before the stack does.
const MAX_BLOCKS: usize = 64;

/// Reads a template. What stands in `literal` ranges of the text holds no tags.
pub(super) fn parse(text: &str, literal: &[Range<usize>]) -> Result<Vec<Node>, TemplateFault> {
    let mut parser = Parser {
        text,
        literal,
        at: 0,
        spot: Spot::START,
        pending: String::new(),
        pending_spot: Spot::START,
        trim: false,
    };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        End::OfText => Ok(nodes),
        End::Else(Otherwise { spot, .. }) => {
            Err(TemplateFault::at(spot, "an `{{else}}` stands outside of a block"))
        }
        End::Close(name, spot) => {
            Err(TemplateFault::at(spot, format!("`{{{{/{name}}}}}` closes a block that was not opened")))
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    literal: &'t [Range<usize>],
    at: usize,
    spot: Spot,
    /// Text since the last tag.
    pending: String,
    pending_spot: Spot,
    /// The last tag ended in `~}}`, or alone on its line.
    trim: bool,
}

/// What ended a run of nodes.
enum End<'t> {
    OfText,
    Else(Otherwise<'t>),
    Close(&'t str, Spot),
}

/// `{{else}}`, `{{^}}`, or `{{else if x}}` with the tag that goes on.
struct Otherwise<'t> {
    chained: Option<Opening<'t>>,
    spot: Spot,
}

/// The head of a block.
struct Opening<'t> {
    name: &'t str,
    kind: BlockKind,
    subject: Expression,
    zero: Zero,
    names: Vec<String>,
    spot: Spot,
}

impl<'t> Parser<'t> {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, End<'t>), TemplateFault> {
        let mut nodes = Vec::new();
        if depth > MAX_BLOCKS {
            return Err(TemplateFault::at(self.spot, "blocks are nested too deep"));
        }
        while self.text_up_to_tag() {
            let open = self.at;
            let spot = self.spot;
            let rest = self.text.get(open..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix("{{!").or_else(|| rest.strip_prefix("{{~!")) {
                self.comment(open, rest, after, &mut nodes)?;
                continue;
            }
            let triple = rest.starts_with("{{{");
            let inner = rest.get(if triple { 3 } else { 2 }..).unwrap_or_default();
            let mut tag = Tag::new(inner, spot.after(if triple { "{{{" } else { "{{" }));
            let trim_before = tag.skip("~");
            tag.spaces();
            let head = tag.spot();
            if tag.skip("#") || tag.rest().starts_with('^') && !only_inverse(tag.rest()) {
                let inverse = tag.skip("^");
                let mut opening = opening(&mut tag, spot)?;
                if inverse {
                    opening.kind = inverted(opening.kind, spot)?;
                }
                self.close_tag(&mut tag, open, trim_before, Lines::OfTheirOwn, &mut nodes)?;
                nodes.push(self.block(opening, depth)?);
            } else if tag.skip("/") {
                tag.spaces();
                let name = tag.name();
                self.close_tag(&mut tag, open, trim_before, Lines::OfTheirOwn, &mut nodes)?;
                return Ok((nodes, End::Close(name, spot)));
            } else if let Some(chained) = otherwise(&mut tag, spot)? {
                self.close_tag(&mut tag, open, trim_before, Lines::OfTheirOwn, &mut nodes)?;
                return Ok((nodes, End::Else(Otherwise { chained, spot })));
            } else if tag.rest().starts_with(['>', '*']) {
                return Err(TemplateFault::at(head, "partials and decorators are not supported"));
            } else {
                let raw = triple || tag.skip("&");
                let value = tag.expression()?;
                if triple {
                    self.close_triple(&mut tag, open, &mut nodes)?;
                } else {
                    self.close_tag(&mut tag, open, trim_before, Lines::Shared, &mut nodes)?;
                }
                let escaping = if raw { Escaping::None } else { Escaping::ByPosition };
                nodes.push(Node::Output { value, escaping, spot: head });
            }
        }
        self.flush(&mut nodes);
        Ok((nodes, End::OfText))
    }

    /// The rest of a block, after its head.
    fn block(&mut self, opening: Opening<'t>, depth: usize) -> Result<Node, TemplateFault> {
        let (body, mut end) = self.nodes(depth + 1)?;
        let mut otherwise = Vec::new();
        if let End::Else(chain) = end {
            match chain.chained {
                // `{{else if}}` is closed by the end of the block that it continues.
                Some(mut inner) => {
                    inner.name = opening.name;
                    let node = self.block(inner, depth + 1)?;
                    return Ok(Node::Block(Block { otherwise: vec![node], ..block(opening, body) }));
                }
                None => (otherwise, end) = self.nodes(depth + 1)?,
            }
        }
        match end {
            End::Close(name, _) if name == opening.name => {
                Ok(Node::Block(Block { otherwise, ..block(opening, body) }))
            }
            End::Close(name, spot) => Err(TemplateFault::at(
                spot,
                format!("`{{{{/{name}}}}}` stands where `{{{{/{}}}}}` is expected", opening.name),
            )),
            End::Else(chain) => Err(TemplateFault::at(chain.spot, "a block has a second `{{else}}`")),
            End::OfText => {
                Err(TemplateFault::at(opening.spot, format!("the block has no `{{{{/{}}}}}`", opening.name)))
            }
        }
    }

    /// Collects text up to the next tag; whether there is one.
    fn text_up_to_tag(&mut self) -> bool {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(found) = rest.find("{{") else {
                self.keep(rest.len());
                return false;
            };
            let open = self.at + found;
            let before = rest.get(..found).unwrap_or_default();
            if self.literal.iter().any(|range| range.contains(&open)) {
                self.keep(found + 1);
            } else if before.ends_with("\\\\") {
                // `\\{{x}}` is a backslash and a tag, `\{{x}}` the text `{{x}}`.
                self.keep(found - 1);
                self.drop(1);
                return true;
            } else if before.ends_with('\\') {
                self.keep(found - 1);
                self.drop(1);
                self.keep(2);
            } else {
                self.keep(found);
                return true;
            }
        }
    }

    fn keep(&mut self, length: usize) {
        let text = self.text.get(self.at..self.at + length).unwrap_or_default();
        let mut kept = text;
        if self.trim && self.pending.is_empty() {
            kept = text.trim_start();
            self.trim = kept.is_empty();
        }
        if self.pending.is_empty() {
            self.pending_spot = self.spot.after(text.get(..text.len() - kept.len()).unwrap_or_default());
        }
        self.pending.push_str(kept);
        self.step(length);
    }

    fn drop(&mut self, length: usize) {
        self.step(length);
    }

    fn step(&mut self, length: usize) {
        let text = self.text.get(self.at..self.at + length).unwrap_or_default();
        self.spot = self.spot.after(text);
        self.at += length;
    }

    fn flush(&mut self, nodes: &mut Vec<Node>) {
        if !self.pending.is_empty() {
            nodes.push(Node::Text { text: std::mem::take(&mut self.pending), spot: self.pending_spot });
        }
    }

    fn comment(
        &mut self,
        open: usize,
        rest: &str,
        after: &str,
        nodes: &mut Vec<Node>,
    ) -> Result<(), TemplateFault> {
        let end = if after.starts_with("--") { "--" } else { "" };
        let found = [format!("{end}}}}}"), format!("{end}~}}}}")]
            .into_iter()
            .filter_map(|end| Some((after.find(&end)?, end.len())))
            .min();
        let Some((at, length)) = found else {
            return Err(TemplateFault::at(self.spot, "a comment has no end"));
        };
        let whole = rest.len() - after.len() + at + length;
        let trims = after.get(at..at + length).is_some_and(|end| end.contains('~'));
        self.finish(open, whole, rest.starts_with("{{~"), trims, Lines::OfTheirOwn, nodes);
        Ok(())
    }

    fn close_triple(
        &mut self,
        tag: &mut Tag<'t>,
        open: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<(), TemplateFault> {
        tag.spaces();
        if !tag.skip("}}}") {
            return tag.fault("a `{{{` has no `}}}` here");
        }
        let whole = self.text.len() - open - tag.rest().len();
        self.finish(open, whole, false, false, Lines::Shared, nodes);
        Ok(())
    }

    fn close_tag(
        &mut self,
        tag: &mut Tag<'t>,
        open: usize,
        trim_before: bool,
        lines: Lines,
        nodes: &mut Vec<Node>,
    ) -> Result<(), TemplateFault> {
        tag.spaces();
        let trim_after = tag.skip("~");
        if !tag.skip("}}") {
            return tag.fault("the tag has no `}}` here");
        }
        let whole = self.text.len() - open - tag.rest().len();
        self.finish(open, whole, trim_before, trim_after, lines, nodes);
        Ok(())
    }

    /// Steps over a tag of `whole` bytes, and takes away the white space that it takes away.
    fn finish(
        &mut self,
        open: usize,
        whole: usize,
        trim_before: bool,
        trim_after: bool,
        lines: Lines,
        nodes: &mut Vec<Node>,
    ) {
        let line = (lines == Lines::OfTheirOwn).then(|| self.own_line(open, open + whole)).flatten();
        if trim_before {
            self.pending.truncate(self.pending.trim_end().len());
        } else if line.is_some() {
            self.pending.truncate(self.pending.trim_end_matches([' ', '\t']).len());
        }
        self.flush(nodes);
        self.step(whole);
        self.trim = trim_after;
        if let (Some(rest_of_line), false) = (line, trim_after) {
            self.step(rest_of_line);
        }
    }

    /// If a tag stands alone on its line: how many bytes of the line are left behind it, with its
    /// end. Handlebars leaves nothing of such a line.
    fn own_line(&self, open: usize, end: usize) -> Option<usize> {
        let blank = |text: &str| text.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
        let before = self.text.get(..open)?.rsplit('\n').next()?;
        let after = self.text.get(end..)?;
        let rest = after.split('\n').next()?;
        let has_end = rest.len() < after.len();
        (blank(before) && blank(rest.strip_suffix('\r').unwrap_or(rest)))
            .then_some(rest.len() + usize::from(has_end))
    }
}

/// Whether a tag that stands alone takes its line with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    OfTheirOwn,
    Shared,
}

fn block(opening: Opening<'_>, body: Vec<Node>) -> Block {
    let Opening { kind, subject, zero, names, spot, .. } = opening;
    Block { kind, subject, zero, names, body, otherwise: Vec::new(), spot }
}

/// `^` or `else` without a condition.
fn only_inverse(rest: &str) -> bool {
    rest.strip_prefix('^').is_some_and(|rest| rest.trim_start().trim_start_matches('~').starts_with("}}"))
}

fn inverted(kind: BlockKind, spot: Spot) -> Result<BlockKind, TemplateFault> {
    match kind {
        BlockKind::If => Ok(BlockKind::Unless),
        BlockKind::Unless => Ok(BlockKind::If),
        _ => Err(TemplateFault::at(spot, "only `if` and `unless` can be inverted by `{{^…}}`")),
    }
}

/// `{{else}}`, `{{^}}`, `{{else if x}}`. The outer `None`: it is another tag.
fn otherwise<'t>(tag: &mut Tag<'t>, spot: Spot) -> Result<Option<Option<Opening<'t>>>, TemplateFault> {
    if only_inverse(tag.rest()) {
        tag.skip("^");
        return Ok(Some(None));
    }
    let after = tag.rest().strip_prefix("else");
    if after.is_none_or(|after| !after.starts_with([' ', '\t', '\n', '\r', '~', '}'])) {
        return Ok(None);
    }
    tag.skip("else");
    tag.spaces();
    if tag.rest().starts_with("}}") || tag.rest().starts_with("~}}") {
        return Ok(Some(None));
    }
    opening(tag, spot).map(Some).map(Some)
}

fn opening<'t>(tag: &mut Tag<'t>, spot: Spot) -> Result<Opening<'t>, TemplateFault> {
    tag.spaces();
    let at = tag.spot();
    let name = tag.name();
    let Some((_, kind)) = BlockKind::ALL.iter().find(|(known, _)| *known == name) else {
        return Err(TemplateFault::at(at, "there is no such block; there are: if unless each with"));
    };
    let subject = tag.subject()?;
    let named = tag.named()?;
    let mut zero = Zero::False;
    for (name, value) in &named {
        match (kind, name.as_str(), value) {
            (BlockKind::If | BlockKind::Unless, "includeZero", Expression::Literal(text)) => {
                zero = if text == "true" { Zero::True } else { Zero::False };
            }
            _ => {
                return Err(TemplateFault::at(
                    at,
                    "only `if` and `unless` take `includeZero=true`, and no more",
                ));
            }
        }
    }
    let names = tag.block_names()?;
    let most = match kind {
        BlockKind::Each => 2,
        BlockKind::With => 1,
        _ => 0,
    };
    if names.len() > most {
        return Err(TemplateFault::at(at, format!("`{name}` can name {most} values with `as |…|`")));
    }
    Ok(Opening { name, kind: *kind, subject, zero, names, spot })
}
