//! What stands between `{{` and `}}`.

use super::syntax::{Base, Call, Expression, LoopValue, Path, Spot, TemplateFault};

/// Reads one tag, from behind its opening braces.
pub(super) struct Tag<'t> {
    rest: &'t str,
    spot: Spot,
}

/// Expressions in expressions end here, before the stack does.
const MAX_NESTING: usize = 32;

impl<'t> Tag<'t> {
    pub(super) fn new(rest: &'t str, spot: Spot) -> Tag<'t> {
        Tag { rest, spot }
    }

    pub(super) fn spot(&self) -> Spot {
        self.spot
    }

    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    pub(super) fn fault<T>(&self, message: impl Into<String>) -> Result<T, TemplateFault> {
        Err(TemplateFault::at(self.spot, message))
    }

    pub(super) fn spaces(&mut self) {
        let spaces = self.rest.len() - self.rest.trim_start().len();
        self.take(spaces);
    }

    /// Steps over this text, if it comes next.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let next = self.rest.starts_with(text);
        if next {
            self.take(text.len());
        }
        next
    }

    /// The name that comes next, without dots and slashes; empty if none does.
    pub(super) fn name(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !in_name(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.spot = self.spot.after(taken);
        self.rest = rest;
        taken
    }

    /// Whether the tag ends here.
    fn ends(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with('}') || self.rest.starts_with("~}")
    }

    /// What a tag or a block is about: a value, or a function with what it is given.
    pub(super) fn expression(&mut self) -> Result<Expression, TemplateFault> {
        self.call_or_value(0)
    }

    /// What a block is about: one value.
    pub(super) fn subject(&mut self) -> Result<Expression, TemplateFault> {
        self.value(0)
    }

    /// `name=value …` behind the subject of a block.
    pub(super) fn named(&mut self) -> Result<Vec<(String, Expression)>, TemplateFault> {
        let mut named = Vec::new();
        while let Some(name) = self.name_before_equals() {
            named.push((name, self.value(0)?));
        }
        Ok(named)
    }

    fn name_before_equals(&mut self) -> Option<String> {
        self.spaces();
        let end = self.rest.find(|c: char| !in_name(c)).unwrap_or(self.rest.len());
        let (name, after) = self.rest.split_at(end);
        let equals = after.trim_start().strip_prefix('=')?;
        let name = Some(name.to_owned()).filter(|name| !name.is_empty())?;
        self.take(self.rest.len() - equals.len());
        self.spaces();
        Some(name)
    }

    pub(super) fn block_names(&mut self) -> Result<Vec<String>, TemplateFault> {
        self.spaces();
        let after = self.rest.strip_prefix("as").filter(|after| after.trim_start().starts_with('|'));
        if after.is_none() {
            return Ok(Vec::new());
        }
        self.skip("as");
        self.spaces();
        self.skip("|");
        let mut names = Vec::new();
        loop {
            self.spaces();
            if self.skip("|") {
                return Ok(names);
            }
            match self.name() {
                "" => return self.fault("write the names of a block between bars: `as |item index|`"),
                name => names.push(name.to_owned()),
            }
        }
    }

    fn call_or_value(&mut self, depth: usize) -> Result<Expression, TemplateFault> {
        self.spaces();
        let spot = self.spot;
        let first = self.value(depth)?;
        let (mut arguments, mut named) = (Vec::new(), Vec::new());
        loop {
            if let Some(name) = self.name_before_equals() {
                named.push((name, self.value(depth)?));
                continue;
            }
            if self.ends() || self.rest.starts_with(')') || self.starts_block_names() {
                break;
            }
            if !named.is_empty() {
                return self.fault("write `name=value` after all other arguments");
            }
            arguments.push(self.value(depth)?);
        }
        if arguments.is_empty() && named.is_empty() {
            return Ok(first);
        }
        match first {
            Expression::Path(Path { base: Base::Bare, segments, .. }) if segments.len() == 1 => {
                let name = segments.concat();
                Ok(Expression::Call(Call { name, arguments, named, spot }))
            }
            _ => Err(TemplateFault::at(spot, "only a function takes arguments, as in `{{json event.data}}`")),
        }
    }

    fn starts_block_names(&self) -> bool {
        self.rest.strip_prefix("as").is_some_and(|after| after.trim_start().starts_with('|'))
    }

    fn value(&mut self, depth: usize) -> Result<Expression, TemplateFault> {
        if depth > MAX_NESTING {
            return self.fault("parentheses are nested too deep");
        }
        self.spaces();
        match self.rest.chars().next() {
            Some('(') => {
                self.skip("(");
                let value = self.call_or_value(depth + 1)?;
                self.spaces();
                if !self.skip(")") {
                    return self.fault("a `(` has no `)`");
                }
                // `(name)` alone would be a function without arguments, and there is none.
                match value {
                    Expression::Call(_) => Ok(value),
                    _ => self.fault("parentheses hold a function and what it is given: `(eq a b)`"),
                }
            }
            Some(quote @ ('"' | '\'')) => self.text(quote),
            Some('-' | '0'..='9') => match self.number() {
                Some(number) => Ok(Expression::Literal(number)),
                None => self.path(),
            },
            _ => self.path(),
        }
    }

    fn text(&mut self, quote: char) -> Result<Expression, TemplateFault> {
        let inner = self.rest.get(1..).unwrap_or_default();
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            match c {
                _ if escaped => {
                    // As in Handlebars, only the quote needs a backslash; any other stays.
                    if c != quote {
                        text.push('\\');
                    }
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                _ if c == quote => {
                    self.take(at + 2);
                    return Ok(Expression::Literal(serde_json::Value::from(text).to_string()));
                }
                _ => text.push(c),
            }
        }
        self.fault("a text in quotes has no end")
    }

    fn number(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '.'))
            .unwrap_or(self.rest.len());
        let text = self.rest.get(..end)?;
        let ends = self.rest.get(end..)?.chars().next().is_none_or(|c| !in_name(c) && c != '/');
        let number = ends && serde_json::from_str::<serde_json::Number>(text).is_ok();
        number.then(|| self.take(end).to_owned())
    }

    fn path(&mut self) -> Result<Expression, TemplateFault> {
        let spot = self.spot;
        let mut base = match self.skip("@") {
            true => self.at_name()?,
            false => self.outward(),
        };
        let mut segments = Vec::new();
        let mut open = matches!(base, Base::Bare) || self.rest_is_segment(&base);
        while open {
            let literal = self.rest.starts_with('[');
            let segment = self.segment()?;
            let plain = !literal && segments.is_empty() && base == Base::Bare;
            match segment.as_str() {
                "this" if plain => base = Base::Scope(0),
                "true" | "false" | "null" if plain && !self.continues() => {
                    return Ok(Expression::Literal(segment));
                }
                "undefined" if plain && !self.continues() => return Ok(Expression::Nothing),
                _ => segments.push(segment),
            }
            open = self.continues();
            if open {
                self.take(1);
            }
        }
        Ok(Expression::Path(Path { base, segments, spot }))
    }

    /// Whether another segment follows: a dot or slash, and something behind it.
    fn continues(&self) -> bool {
        self.rest.starts_with(['.', '/'])
    }

    /// After `@root` and the like segments follow a separator; after `../` they follow at once.
    fn rest_is_segment(&mut self, base: &Base) -> bool {
        match base {
            Base::Scope(_) => self.rest.starts_with(|c: char| in_name(c) || c == '['),
            _ => self.continues() && !self.take(1).is_empty(),
        }
    }

    fn segment(&mut self) -> Result<String, TemplateFault> {
        if self.skip("[") {
            let Some(end) = self.rest.find(']') else { return self.fault("a `[` has no `]`") };
            let segment = self.take(end).to_owned();
            self.skip("]");
            return Ok(segment);
        }
        match self.name() {
            "" if self.ends() => self.fault("a name is missing here; write for example `{{event.type}}`"),
            "" => self.fault(
                "this can't stand in a tag; write for example `{{event.type}}` or `{{json event.data}}`",
            ),
            name => Ok(name.to_owned()),
        }
    }

    /// `./` and `../../`; nothing of them is a bare path.
    fn outward(&mut self) -> Base {
        let mut up = 0;
        loop {
            if self.rest.starts_with("..") {
                self.take(2);
                up += 1;
            } else if self.rest.starts_with('.') {
                self.take(1);
                self.skip("/");
                return Base::Scope(up);
            } else {
                return match up {
                    0 => Base::Bare,
                    _ => Base::Scope(up),
                };
            }
            if !self.skip("/") {
                return Base::Scope(up);
            }
        }
    }

    fn at_name(&mut self) -> Result<Base, TemplateFault> {
        let mut up = 0;
        while self.skip("../") {
            up += 1;
        }
        let known = [
            ("index", LoopValue::Index),
            ("key", LoopValue::Key),
            ("first", LoopValue::First),
            ("last", LoopValue::Last),
        ];
        let spot = self.spot;
        match self.name() {
            "root" => Ok(Base::Root),
            name => match known.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => Ok(Base::Loop(*value, up)),
                None => Err(TemplateFault::at(spot, "after `@` there are: root index key first last")),
            },
        }
    }
}

/// Handlebars' own rule for names.
fn in_name(c: char) -> bool {
    !c.is_whitespace() && !"!\"#%&'()*+,./;<=>@[\\]^`{|}~".contains(c)
}
