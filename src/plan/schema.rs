//! `schema` and `schema_file` of a declared event type: JSON Schema.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::domain::{Data, Event};

use super::presets::json_text;
use super::walk::{Item, Keys};

/// More of what is wrong with an event is not told: member names of its own may be part of it.
const LONGEST_REASON: usize = 300;

/// What the data of a type's events has to be.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// References lead nowhere but into the schema itself, and patterns take linear time.
    fn compile(document: &Value) -> Result<Schema, ValidationError<'static>> {
        let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
        options.build(document).map(Schema)
    }

    /// What is wrong with the data of an event, without its values. No data counts as `null`.
    pub(super) fn broken_by(&self, event: &Event) -> Option<String> {
        let text = match &event.data {
            Data::Slice(range) => event.body.get(range.clone()).unwrap_or_default(),
            Data::Text(text) => text.as_bytes(),
            Data::Absent => b"null",
        };
        let data: Value = match serde_json::from_slice(text) {
            Ok(data) => data,
            // It is JSON, but for example nested too deeply.
            Err(fault) => return Some(fault.to_string()),
        };
        let fault = self.0.validate(&data).err()?;
        let mut reason = said(&fault);
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        Some(reason)
    }
}

/// Reads `schema` or `schema_file`.
pub(super) fn schema(keys: &mut Keys<'_>) -> Option<Schema> {
    match (keys.get("schema"), keys.get("schema_file")) {
        (Some(_), Some(file)) => {
            file.fault("a type has one schema; remove this, or `schema`");
            None
        }
        (Some(item), None) => written_here(&item),
        (None, Some(item)) => in_file(&item),
        (None, None) => None,
    }
}

fn written_here(item: &Item<'_>) -> Option<Schema> {
    // What breaks a schema is told with parts of it.
    if !item.node.is_clear() {
        item.fault("a schema takes no references; write it out, or into a `schema_file`");
        return None;
    }
    let document = serde_json::from_str(&json_text(item)).unwrap_or_default();
    Schema::compile(&document)
        .map_err(|fault| {
            let place = fault.instance_path().as_str();
            let path = place.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
            let path: Vec<String> = path.collect();
            let node = item.node.nearest(path.iter().map(String::as_str));
            Item::new(node, format!("{}{}", item.path, place.replace('/', ".")), item.findings())
                .fault(format!("this is no JSON Schema: {fault}"));
        })
        .ok()
}

fn in_file(item: &Item<'_>) -> Option<Schema> {
    let text = item.file_text()?;
    let document = serde_json::from_str(&text).map_err(|fault| fault.to_string());
    document
        .and_then(|document| Schema::compile(&document).map_err(|fault| said(&fault)))
        .map_err(|fault| item.fault(format!("there is no JSON Schema in the file: {fault}")))
        .ok()
}

/// Where it is wrong, and why, without the value itself.
fn said(fault: &ValidationError<'_>) -> String {
    let place = fault.instance_path().as_str();
    let at = if place.is_empty() { String::new() } else { format!("at {place}: ") };
    format!("{at}{}", fault.masked_with("the value"))
}
