/// A value that a route's condition looks at, read from an event once at intake.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is a 64-bit integer.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text: a JSON string (unescaped), a header's value, a topic, a key.
    Text(Box<str>),
    /// The elements of a JSON array.
    List(Box<[Field]>),
    /// A JSON object; conditions can only ask whether it exists.
    Object,
}

impl Field {
    /// About the memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let own = size_of::<Field>();
        match self {
            Field::Text(text) => own + text.len(),
            Field::List(elements) => own + elements.iter().map(Field::weight).sum::<usize>(),
            _ => own,
        }
    }
}
