//! The JSON Schema of the configuration, for editors (draft 2020-12).

use serde_json::{Map, Value, json};

use super::{Key, Kind, OF_ONE_TARGET, Reference};

/// What a reference (`${env:…}`, `${file:…}`) looks like; it may stand for any scalar.
const REFERENCE: &str = r"\$\{";

impl Reference {
    /// The JSON Schema of a configuration file. It refuses unknown keys and wrong kinds of values;
    /// what depends on several keys is left to `hookferry check`. Nothing is required, because a file may
    /// be one of several.
    pub fn schema(&self) -> Value {
        let mut schema = self.object(&[]);
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("hookferry configuration"));
        schema.insert("patternProperties".to_owned(), json!({ "^x-": {} }));
        Value::Object(schema)
    }

    /// A mapping with the keys below `path`.
    fn object(&self, path: &[String]) -> Map<String, Value> {
        let of_a_target = ["targets".to_owned(), "*".to_owned()];
        let is_defaults = matches!(path, [only] if only == "defaults");
        let below = if is_defaults { &of_a_target[..] } else { path };
        let mut properties = Map::new();
        for key in self.below(below) {
            let Some(name) = key.path.last() else { continue };
            if !(is_defaults && OF_ONE_TARGET.contains(&name.as_str())) {
                properties.insert(name.clone(), self.property(key));
            }
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("properties".to_owned(), Value::Object(properties));
        schema.insert("additionalProperties".to_owned(), json!(false));
        schema
    }

    fn property(&self, key: &Key) -> Value {
        let mut schema = match self.any_of(&key.kinds, &key.path) {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        let default = key.default.as_ref().map(|default| format!(" Default: {default}."));
        schema
            .insert("description".to_owned(), json!(format!("{}{}", key.text, default.unwrap_or_default())));
        Value::Object(schema)
    }

    fn any_of(&self, kinds: &[Kind], path: &[String]) -> Value {
        let words: Vec<&String> = kinds
            .iter()
            .filter_map(|kind| if let Kind::Word(word) = kind { Some(word) } else { None })
            .collect();
        let mut alternatives = Vec::new();
        if !words.is_empty() {
            alternatives.push(json!({ "enum": words }));
            // YAML's own reading of a word such as `2`.
            let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
            if !numbers.is_empty() {
                alternatives.push(json!({ "enum": numbers }));
            }
        }
        alternatives.extend(kinds.iter().filter_map(|kind| self.kind(kind, path)));
        let is_scalar = |kind: &Kind| !matches!(kind, Kind::List(_) | Kind::Map(_) | Kind::Keys | Kind::Any);
        if kinds.iter().any(is_scalar) && !kinds.contains(&Kind::Text) {
            alternatives.push(json!({ "type": "string", "pattern": REFERENCE }));
        }
        match alternatives.len() {
            1 => alternatives.remove(0),
            _ => json!({ "anyOf": alternatives }),
        }
    }

    fn kind(&self, kind: &Kind, path: &[String]) -> Option<Value> {
        let below = |segment: &str| [path, &[segment.to_owned()]].concat();
        Some(match kind {
            Kind::Word(_) => return None,
            // Numbers and booleans are taken as the text that stands there.
            Kind::Text | Kind::Scalar => json!({ "type": ["string", "number", "boolean"] }),
            Kind::Name => json!({ "type": ["string", "integer"], "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$" }),
            Kind::Duration => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*(ms|s|m|h|d)$" }),
            Kind::Size => {
                json!({ "type": ["string", "integer"], "pattern": r"^\s*[0-9]+\s*(B|KiB|MiB|GiB)?$" })
            }
            Kind::Rate => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*/\s*[smh]\s*$" }),
            Kind::Flag => json!({ "enum": [true, false, "true", "false"] }),
            Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
            Kind::Any => json!({}),
            Kind::List(element) => {
                let element = self.any_of(element, &below("[]"));
                json!({ "anyOf": [{ "type": "array", "items": element.clone() }, element] })
            }
            Kind::Map(value) => {
                json!({ "type": "object", "additionalProperties": self.any_of(value, &below("*")) })
            }
            Kind::Keys => Value::Object(self.object(path)),
        })
    }
}
