use std::fmt;

/// Where a value is found in a message (PRODUCT.md §1, "Places").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// `header:NAME`, compared without regard to ASCII case.
    Header(Box<str>),
    /// `body` (an empty path) or `body:PATH`.
    Body(Path),
    /// `data` (an empty path) or `data:PATH`: inside what `event.data` names.
    Data(Path),
    /// `subject:N` or `subject:N..`: tokens of a NATS subject, counted from 1; nothing on Kafka.
    Subject {
        /// The first token, from 1.
        first: usize,
        /// Whether all tokens after it belong to the value.
        rest: bool,
    },
    /// `topic`: the topic's name (Kafka), or the stream's (JetStream).
    Topic,
    /// `key`: the message's key, if it is UTF-8.
    Key,
    /// `broker`: the time that the broker recorded for the message.
    Broker,
    /// `origin`: where the message stands on its broker, as text.
    Origin,
    /// `const:TEXT`.
    Const(Box<str>),
}

/// Member names and array indices from the outside in. Empty means the whole document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(pub Vec<Box<str>>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().any(|segment| segment.contains(['.', '/'])) {
            for segment in &self.0 {
                write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1"))?;
            }
            return Ok(());
        }
        f.write_str(&self.0.join("."))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Body(path) if path.0.is_empty() => f.write_str("body"),
            Place::Body(path) => write!(f, "body:{path}"),
            Place::Data(path) if path.0.is_empty() => f.write_str("data"),
            Place::Data(path) => write!(f, "data:{path}"),
            Place::Subject { first, rest } => {
                write!(f, "subject:{first}{}", if *rest { ".." } else { "" })
            }
            Place::Topic => f.write_str("topic"),
            Place::Key => f.write_str("key"),
            Place::Broker => f.write_str("broker"),
            Place::Origin => f.write_str("origin"),
            Place::Const(text) => write!(f, "const:{text}"),
        }
    }
}
