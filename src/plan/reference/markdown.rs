//! The reference as Markdown: docs/reference.md.

use std::fmt::Write;

use super::{Key, Kind, Reference};

const HEAD: &str = "\
# Every key

Made of `src/plan/reference/keys.yaml`; `hookferry schema` prints the same as JSON Schema for editors.
What belongs together is explained, with examples, in [configuration](configuration.md).

`*` stands for a name of yours, `[]` for each element of a list. Where a list is expected, one value is a list
of one. `${env:…}` and `${file:…}` may stand for any value.
";

impl Reference {
    /// All keys, in tables.
    pub fn markdown(&self) -> String {
        let mut text = HEAD.to_owned();
        for section in &self.0 {
            // Writing to a string can't fail.
            let _ = write!(
                text,
                "\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                section.title
            );
            for key in &section.keys {
                let _ = writeln!(text, "{}", row(key));
            }
        }
        text
    }
}

fn row(key: &Key) -> String {
    let path = key.path.join(".").replace(".[]", "[]");
    let default = key.default.as_deref().unwrap_or_default();
    format!("| `{path}` | {} | {default} | {} |", described(&key.kinds), key.text.replace('|', "\\|"))
}

fn described(kinds: &[Kind]) -> String {
    let described: Vec<String> = kinds.iter().map(one).collect();
    described.join(", ")
}

fn one(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Rate => "rate".to_owned(),
        Kind::Flag => "`true`, `false`".to_owned(),
        Kind::Integer(least, most) => format!("{least} to {most}"),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::Scalar => "text, number, boolean".to_owned(),
        Kind::Any => "anything".to_owned(),
        Kind::Word(word) => format!("`{word}`"),
        Kind::List(element) if element[..] == [Kind::Keys] => "list of maps".to_owned(),
        Kind::List(element) => format!("list of {}", described(element)),
        Kind::Map(value) if value[..] == [Kind::Keys] => "by name".to_owned(),
        Kind::Map(value) => format!("map: {}", described(value)),
        Kind::Keys => "map".to_owned(),
    }
}
