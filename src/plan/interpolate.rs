//! `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}` and `$${`, resolved inside scalars after
//! parsing, so that no value can change the structure.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use super::fault::Findings;
use super::read::join;
use super::settings::is_shown;
use super::tree::{Node, Scalar, Taint, Unset, Value};

/// What happens to a reference without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnset {
    /// It is a fault.
    #[default]
    Fault,
    /// It is let through, with a stand-in for its value (`check --allow-unset`).
    Allow,
}

/// Stands for the value of a reference that has none.
const STAND_IN: &str = "unset";

/// Resolves references.
pub(super) struct Interpolation<'a> {
    /// The environment.
    pub variables: &'a BTreeMap<String, String>,
    /// What to do without a value.
    pub when_unset: WhenUnset,
    /// Where faults go.
    pub findings: &'a Findings,
}

impl Interpolation<'_> {
    /// Resolves all references in `node` and below.
    pub(super) fn resolve(&self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => {
                if scalar.text.contains("${") {
                    match self.scalar(&scalar.text, path) {
                        Ok(resolved) => *scalar = resolved,
                        Err(message) => {
                            self.findings.fault(&node.origin, path, message);
                            // Reported here; what reads it must not report it again.
                            *scalar = Scalar { unset: Unset::Yes, ..Scalar::text(STAND_IN) };
                        }
                    }
                }
            }
            Value::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.resolve(element, &join(path, index));
                }
            }
            Value::Map(map) => {
                for entry in &mut map.0 {
                    self.resolve(&mut entry.node, &join(path, &entry.key));
                }
            }
        }
    }

    fn scalar(&self, text: &str, path: &str) -> Result<Scalar, String> {
        let mut resolved = Scalar::text("");
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            if let Some(literal) = before.strip_suffix('$') {
                resolved.push(literal);
                resolved.push("${");
                rest = &reference[2..];
                continue;
            }
            resolved.push(before);
            let (reference, after) = reference[2..]
                .split_once('}')
                .ok_or("a `${` is not closed; write `${env:NAME}`, or `$${` for the text itself")?;
            self.reference(reference, path, &mut resolved)?;
            rest = after;
        }
        resolved.push(rest);
        Ok(resolved)
    }

    fn reference(&self, reference: &str, path: &str, resolved: &mut Scalar) -> Result<(), String> {
        if let Some((before, _)) = reference.split_once("${") {
            return Err(match before.contains(":-") {
                true => {
                    "a default can't hold another reference; write its text after `:-`, or set the variable"
                }
                false => "a `${` is not closed before the next one; write `${env:NAME}`",
            }
            .to_owned());
        }
        let (found, taint, problem) = if let Some(variable) = reference.strip_prefix("env:") {
            let (name, default) = match variable.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (variable, None),
            };
            let value = self.variables.get(name).filter(|value| !value.is_empty()).cloned();
            let problem = format!("the environment variable {name} is unset or empty");
            (value.or(default.map(str::to_owned)).map(Zeroizing::new), Taint::Environment, problem)
        } else if let Some(path) = reference.strip_prefix("file:") {
            self.findings.refer(Path::new(path));
            let (value, problem) = read_file(path);
            (value, Taint::File, problem)
        } else {
            return Err("`${` starts a reference; write `${env:NAME}`, `${env:NAME:-default}` or \
                        `${file:PATH}`, or `$${` for the text itself"
                .to_owned());
        };
        resolved.taint = resolved.taint.max(taint);
        match (found, self.when_unset) {
            (Some(value), _) => {
                let segments: Vec<&str> = path.split('.').collect();
                if taint == Taint::File || !is_shown(&segments) {
                    self.findings.conceal(&value);
                }
                let start = resolved.text.len();
                resolved.push(&value);
                resolved.foreign.push(start..resolved.text.len());
            }
            (None, WhenUnset::Fault) => return Err(problem),
            (None, WhenUnset::Allow) => {
                resolved.push(STAND_IN);
                resolved.unset = Unset::Yes;
            }
        }
        Ok(())
    }
}

/// The file's text without one trailing newline; the second is what to say if there is none.
fn read_file(path: &str) -> (Option<Zeroizing<String>>, String) {
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            let text = (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()));
            (text, format!("the file {path} is empty"))
        }
        Err(error) => (None, format!("the file {path} can't be read: {error}")),
    }
}
