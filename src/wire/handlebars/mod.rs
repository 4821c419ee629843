//! Templates: Handlebars, with values escaped by where they stand.
//!
//! Text → `syntax` (`parser`, `tag`) → `steps` with every name looked up (`compile`, `roots`) and, for
//! JSON, every tag placed (`json_position`) → bytes (`render`, with `value`, `functions`, `instant`).
//! In JSON a tag stands for a whole value or for a part of a string, and is written as such, so
//! that no text of an event can get out of its place; what was rendered is read once more as JSON,
//! because only then is it known which branches were taken.

mod compile;
mod functions;
mod instant;
mod json_position;
mod nearest;
mod parser;
mod render;
mod roots;
mod steps;
mod syntax;
mod tag;
mod value;

use std::fmt;
use std::ops::Range;

use compile::Compiler;
use render::Rendering;
use steps::{Documents, Step, Writing};
use syntax::{Escaping, Node, Spot};
use value::Value;

use super::Unrenderable;
use super::spec::Tree;
use crate::json::{self, JsonForm, Selection};

pub(super) use render::Facts;
pub use roots::Roots;
pub use syntax::TemplateFault;

#[cfg(test)]
mod tests;

/// Loops in loops end here: each doubles the work of placing its tags.
const MAX_LOOPS: usize = 6;

/// What a template's text is, which decides how values are escaped in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Json,
    /// HTML or XML.
    Html,
    /// `application/x-www-form-urlencoded`.
    Form,
    Plain,
}

impl Language {
    /// By the content type.
    pub(super) fn of(content_type: &str) -> Language {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let subtype = media_type.split_once('/').map_or("", |(_, subtype)| subtype);
        match subtype {
            "x-www-form-urlencoded" => Language::Form,
            _ if subtype == "json" || subtype.ends_with("+json") => Language::Json,
            _ if matches!(subtype, "html" | "xml") || subtype.ends_with("+xml") => Language::Html,
            _ => Language::Plain,
        }
    }
}

/// A template, compiled.
pub(super) struct Template {
    steps: Box<[Step]>,
    language: Language,
    /// What is looked for in the event's data and in the body, if anything is.
    data: Option<Selection>,
    body: Option<Selection>,
    /// About how much it writes.
    size: usize,
}

/// Its text may hold secrets and is not shown.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("language", &self.language).finish_non_exhaustive()
    }
}

impl Template {
    /// The text itself, if there is no tag in it.
    pub(super) fn constant(&self) -> Option<String> {
        let mut whole = String::new();
        for step in &self.steps {
            match step {
                Step::Text(text) => whole.push_str(text),
                _ => return None,
            }
        }
        Some(whole)
    }

    /// Compiles a text; in the `literal` ranges of it nothing is a tag.
    pub(super) fn compile(
        text: &str,
        literal: &[Range<usize>],
        language: Language,
        roots: &Roots,
    ) -> Result<Template, Vec<TemplateFault>> {
        let nodes = parser::parse(text, literal).map_err(|fault| vec![fault])?;
        Template::of(&nodes, Spot::START.after(text), language, roots, text.len())
    }

    /// Compiles a JSON value whose texts are templates.
    pub(super) fn of_tree(tree: &Tree, roots: &Roots) -> Result<Template, Vec<TemplateFault>> {
        let mut nodes = Vec::new();
        plant(tree, &mut nodes).map_err(|fault| vec![fault])?;
        Template::of(&nodes, Spot::START, Language::Json, roots, 64)
    }

    fn of(
        nodes: &[Node],
        end: Spot,
        language: Language,
        roots: &Roots,
        size: usize,
    ) -> Result<Template, Vec<TemplateFault>> {
        let (steps, Documents { data, body }) = Compiler::new(language, roots).compile(nodes, end)?;
        let selection = |paths: Vec<_>| (!paths.is_empty()).then(|| Selection::new(&paths));
        Ok(Template { steps, language, data: selection(data), body: selection(body), size })
    }

    /// The text for one event. JSON is written in `form`, and always is JSON; `exact` leaves what
    /// the template wrote.
    pub(super) fn render(&self, facts: Facts<'_>, form: JsonForm) -> Result<Vec<u8>, Unrenderable> {
        let mut rendering = self.rendering(facts, form)?;
        rendering.run(&self.steps)?;
        let out = rendering.out;
        if self.language != Language::Json {
            return Ok(out);
        }
        let nothing = Selection::new(&[]);
        json::read(&out, &nothing, &mut Vec::new()).map_err(|reason| {
            Unrenderable(format!("what the template makes of this event is no JSON: {reason}").into())
        })?;
        match (form, str::from_utf8(&out)) {
            (JsonForm::Exact, _) | (_, Err(_)) => Ok(out),
            (form, Ok(text)) => {
                let mut formed = Vec::with_capacity(out.len());
                json::write(text, form, &mut formed).map_err(|error| {
                    Unrenderable(format!("what the template makes of this event: {error}").into())
                })?;
                Ok(formed)
            }
        }
    }

    /// As [`Template::render`], for a member of an object: `None` if it is nothing but one tag, and
    /// the event has no such value.
    pub(super) fn render_member(
        &self,
        facts: Facts<'_>,
        form: JsonForm,
    ) -> Result<Option<Vec<u8>>, Unrenderable> {
        if let [Step::Write { value, how: Writing::JsonValue }] = &*self.steps
            && self.rendering(facts, form)?.value(value)? == Value::Missing
        {
            return Ok(None);
        }
        self.render(facts, form).map(Some)
    }

    fn rendering<'a>(&'a self, facts: Facts<'a>, form: JsonForm) -> Result<Rendering<'a>, Unrenderable> {
        let out = Vec::with_capacity(self.size + self.size / 2);
        Rendering::new(facts, form, self.data.as_ref(), self.body.as_ref(), out)
    }
}

/// Adds the nodes of a JSON value. A text that is one tag stands for the value itself.
fn plant(tree: &Tree, nodes: &mut Vec<Node>) -> Result<(), TemplateFault> {
    let text = |text: &str| Node::Text { text: text.to_owned(), spot: Spot::START };
    match tree {
        Tree::Literal(literal) => nodes.push(text(literal)),
        Tree::Text { template, literal } => {
            let mut parsed = parser::parse(template, literal)?;
            if let [Node::Output { escaping: Escaping::ByPosition, .. }] = &*parsed {
                nodes.append(&mut parsed);
            } else {
                escape(&mut parsed);
                nodes.push(text("\""));
                nodes.append(&mut parsed);
                nodes.push(text("\""));
            }
        }
        Tree::List(elements) => {
            nodes.push(text("["));
            for (index, element) in elements.iter().enumerate() {
                nodes.extend((index > 0).then(|| text(",")));
                plant(element, nodes)?;
            }
            nodes.push(text("]"));
        }
        Tree::Map(members) => {
            for (index, (name, member)) in members.iter().enumerate() {
                let mut key = if index == 0 { b"{".to_vec() } else { b",".to_vec() };
                json::quote(name, &mut key);
                key.push(b':');
                nodes.push(text(&String::from_utf8_lossy(&key)));
                plant(member, nodes)?;
            }
            nodes.push(text(if members.is_empty() { "{}" } else { "}" }));
        }
    }
    Ok(())
}

/// Makes static text a part of a JSON string.
fn escape(nodes: &mut [Node]) {
    for node in nodes {
        match node {
            Node::Text { text, .. } => {
                let mut escaped = Vec::with_capacity(text.len());
                json::escape(text, &mut escaped);
                *text = String::from_utf8(escaped).unwrap_or_default();
            }
            Node::Output { .. } => {}
            Node::Block(block) => {
                escape(&mut block.body);
                escape(&mut block.otherwise);
            }
        }
    }
}
