//! Where in a JSON text one stands, followed over the static text of a template. Branches and loops
//! make that several places at once: all that are possible are kept, and a template is refused only
//! where none is left. What the branches really do is judged when the text is rendered.

use std::collections::BTreeSet;

/// The places in which one may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Positions(BTreeSet<Position>);

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// Objects and arrays that are open.
    open: Vec<Container>,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Container {
    Object,
    Array,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Value,
    /// A value or `]`.
    FirstElement,
    /// A key or `}`.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end of what is open.
    End,
    InString(Role, Escape),
    /// The rest of `true`, `false` or `null`.
    Word(&'static str),
    Number(Digits),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Key,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Escape {
    None,
    Backslash,
    /// So many hexadecimal digits are missing.
    Unicode(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// What a tag stands for in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A whole value.
    Value,
    /// A part of a string.
    String,
}

/// Why a template is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// The text up to so many bytes is fine; this character can't come next.
    Character(usize, char),
    /// A tag can't stand here.
    Tag,
    /// A tag would be in a string or not, depending on a branch.
    Ambiguous,
    /// Something is still open at the end.
    End,
    /// A loop leaves more open each time.
    Loop,
}

/// More places than any sane template has.
const MOST: usize = 256;

impl Positions {
    pub(super) fn start() -> Positions {
        Positions(BTreeSet::from([Position { open: Vec::new(), next: Next::Value }]))
    }

    /// Steps over static text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        if self.is_nowhere() {
            return Ok(());
        }
        for (at, c) in text.char_indices() {
            self.0 =
                std::mem::take(&mut self.0).into_iter().filter_map(|position| position.after(c)).collect();
            if self.0.is_empty() {
                return Err(Misplaced::Character(at, c));
            }
        }
        Ok(())
    }

    /// Steps over a tag. Places where no value can stand are left out, because static text that can't
    /// stand somewhere makes the whole no JSON; but what is written as a part of a string could go on with
    /// the JSON around it, so there every place has to be in a string.
    pub(super) fn tag(&mut self) -> Result<Slot, Misplaced> {
        if self.is_nowhere() {
            return Ok(Slot::Value);
        }
        let steps: Vec<(Slot, Position)> = self.0.iter().filter_map(Position::after_tag).collect();
        let (first, _) = steps.first().ok_or(Misplaced::Tag)?;
        let slot = *first;
        let is_sure = slot == Slot::Value || steps.len() == self.0.len();
        if !is_sure || steps.iter().any(|(other, _)| *other != slot) {
            return Err(Misplaced::Ambiguous);
        }
        self.0 = steps.into_iter().map(|(_, position)| position).collect();
        Ok(slot)
    }

    /// There is no way to be here.
    pub(super) fn give_up(&mut self) {
        self.0.clear();
    }

    fn is_nowhere(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the places of another way.
    pub(super) fn or(&mut self, other: Positions) -> Result<(), Misplaced> {
        self.0.extend(other.0);
        if self.0.len() > MOST { Err(Misplaced::Loop) } else { Ok(()) }
    }

    /// Whether a whole JSON text may have ended here.
    pub(super) fn end(&self) -> Result<(), Misplaced> {
        let ended = |position: &Position| position.open.is_empty() && position.value_has_ended();
        if self.0.iter().any(ended) { Ok(()) } else { Err(Misplaced::End) }
    }
}

impl Position {
    fn after_tag(&self) -> Option<(Slot, Position)> {
        match self.next {
            Next::Value | Next::FirstElement => {
                Some((Slot::Value, Position { next: Next::End, ..self.clone() }))
            }
            Next::InString(_, Escape::None) => Some((Slot::String, self.clone())),
            _ => None,
        }
    }

    fn value_has_ended(&self) -> bool {
        match self.next {
            Next::End => true,
            Next::Number(digits) => digits.may_end(),
            _ => false,
        }
    }

    fn after(self, c: char) -> Option<Position> {
        match self.next {
            Next::InString(role, escape) => self.in_string(role, escape, c),
            Next::Word(rest) => {
                let rest = rest.strip_prefix(c)?;
                let next = if rest.is_empty() { Next::End } else { Next::Word(rest) };
                Some(Position { next, ..self })
            }
            Next::Number(digits) => match digits.after(c) {
                Some(digits) => Some(Position { next: Next::Number(digits), ..self }),
                None if digits.may_end() => Position { next: Next::End, ..self }.after(c),
                None => None,
            },
            _ if matches!(c, ' ' | '\t' | '\n' | '\r') => Some(self),
            Next::Value => self.value(c),
            Next::FirstElement if c == ']' => self.close(Container::Array),
            Next::FirstElement => self.value(c),
            Next::FirstKey if c == '}' => self.close(Container::Object),
            Next::FirstKey | Next::Key => {
                (c == '"').then_some(Position { next: Next::InString(Role::Key, Escape::None), ..self })
            }
            Next::Colon => (c == ':').then_some(Position { next: Next::Value, ..self }),
            Next::End => match (self.open.last()?, c) {
                (Container::Object, ',') => Some(Position { next: Next::Key, ..self }),
                (Container::Array, ',') => Some(Position { next: Next::Value, ..self }),
                (Container::Object, '}') => self.close(Container::Object),
                (Container::Array, ']') => self.close(Container::Array),
                _ => None,
            },
        }
    }

    fn value(mut self, c: char) -> Option<Position> {
        self.next = match c {
            '{' => {
                self.open.push(Container::Object);
                Next::FirstKey
            }
            '[' => {
                self.open.push(Container::Array);
                Next::FirstElement
            }
            '"' => Next::InString(Role::Value, Escape::None),
            't' => Next::Word("rue"),
            'f' => Next::Word("alse"),
            'n' => Next::Word("ull"),
            '-' => Next::Number(Digits::Minus),
            '0' => Next::Number(Digits::Zero),
            '1'..='9' => Next::Number(Digits::Whole),
            _ => return None,
        };
        Some(self)
    }

    fn close(mut self, container: Container) -> Option<Position> {
        (self.open.pop() == Some(container)).then_some(Position { next: Next::End, ..self })
    }

    fn in_string(self, role: Role, escape: Escape, c: char) -> Option<Position> {
        let escape = match (escape, c) {
            (Escape::None, '"') => {
                let next = if role == Role::Key { Next::Colon } else { Next::End };
                return Some(Position { next, ..self });
            }
            (Escape::None, '\\') => Escape::Backslash,
            (Escape::None, '\0'..='\x1f') => return None,
            (Escape::None, _) => Escape::None,
            (Escape::Backslash, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Escape::None,
            (Escape::Backslash, 'u') => Escape::Unicode(4),
            (Escape::Unicode(1), c) if c.is_ascii_hexdigit() => Escape::None,
            (Escape::Unicode(missing), c) if c.is_ascii_hexdigit() => Escape::Unicode(missing - 1),
            _ => return None,
        };
        Some(Position { next: Next::InString(role, escape), ..self })
    }
}

impl Digits {
    fn after(self, c: char) -> Option<Digits> {
        Some(match (self, c) {
            (Digits::Minus, '0') => Digits::Zero,
            (Digits::Minus, '1'..='9') | (Digits::Whole, '0'..='9') => Digits::Whole,
            (Digits::Zero | Digits::Whole, '.') => Digits::Point,
            (Digits::Point | Digits::Fraction, '0'..='9') => Digits::Fraction,
            (Digits::Zero | Digits::Whole | Digits::Fraction, 'e' | 'E') => Digits::Exponent,
            (Digits::Exponent, '+' | '-') => Digits::Sign,
            (Digits::Exponent | Digits::Sign | Digits::Power, '0'..='9') => Digits::Power,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Digits::Zero | Digits::Whole | Digits::Fraction | Digits::Power)
    }
}
