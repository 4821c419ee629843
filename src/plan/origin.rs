use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// Where a value of the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A place in a file.
    File(Position),
    /// A place in a file, below `defaults`.
    Defaults(Position),
    /// An environment variable, by its name.
    Environment(Arc<str>),
    /// A built-in dialect, by its name.
    Dialect(Arc<str>),
    /// The program's own default.
    Program,
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(position) => position.fmt(f),
            Origin::Defaults(position) => write!(f, "{position} (defaults)"),
            Origin::Environment(name) => write!(f, "env {name}"),
            Origin::Dialect(name) => write!(f, "dialect {name}"),
            Origin::Program => f.write_str("program default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (layer, position, name) = match self {
            Origin::File(position) => ("file", Some(position), None),
            Origin::Defaults(position) => ("defaults", Some(position), None),
            Origin::Environment(name) => ("environment", None, Some(name)),
            Origin::Dialect(name) => ("dialect", None, Some(name)),
            Origin::Program => ("program", None, None),
        };
        let mut fields = serializer.serialize_struct("Origin", 5)?;
        fields.serialize_field("layer", layer)?;
        if let Some(position) = position {
            fields.serialize_field("file", &*position.file)?;
            fields.serialize_field("line", &position.line)?;
            fields.serialize_field("column", &position.column)?;
        }
        if let Some(name) = name {
            fields.serialize_field("name", &**name)?;
        }
        fields.end()
    }
}
