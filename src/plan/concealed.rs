//! What references brought in, so that it can be kept out of a text that is made of it.

use secrecy::{ExposeSecret, SecretString};

use super::settings::MASK;

/// Shorter texts are no secrets, and are found everywhere.
const SHORTEST: usize = 4;

/// The values of all references (`${env:…}`, `${file:…}`, `HOOKFERRY__…`) that may not be shown
/// (DESIGN.md §4.11).
#[derive(Debug, Default)]
pub struct Concealed(Vec<SecretString>);

impl Concealed {
    /// Adds one.
    pub(super) fn add(&mut self, text: &str) {
        let escaped = serde_json::Value::from(text).to_string();
        // As it would stand inside a JSON string.
        let escaped = escaped.get(1..escaped.len().saturating_sub(1)).unwrap_or_default();
        for text in [text, escaped] {
            let known = self.0.iter().any(|known| known.expose_secret() == text);
            if text.len() >= SHORTEST && !known {
                self.0.push(text.into());
            }
        }
        // The longest first: one may be a part of another.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.expose_secret().len()));
    }

    /// The text with `***` for each of them.
    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_concealed_is_found_plain_escaped_and_inside_others() {
        let mut concealed = Concealed::default();
        for text in ["hunter2", "hunter2-long", "qu\"ote", "abc"] {
            concealed.add(text);
        }
        assert_eq!(concealed.mask("a hunter2-long hunter2"), "a *** ***");
        assert_eq!(concealed.mask(r#"{"a":"qu\"ote","b":"abc"}"#), r#"{"a":"***","b":"abc"}"#);
    }
}
