use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::listing::{age, plain, summary, time};
use super::pretty::pretty;
use crate::cli::arguments::Format;
use crate::cli::{Exit, answer};
use crate::store::{DeadLetterRecord, LetterState, LetterValue};

/// Writes all that is known of a letter.
pub(super) fn show(letter: &DeadLetterRecord, now_ms: i64, format: Format) -> Exit {
    answer(&match format {
        Format::Text => text(letter, now_ms),
        Format::Json => document(letter),
    })
}

fn text(letter: &DeadLetterRecord, now_ms: i64) -> String {
    let ago = |unix_ms: i64| format!("{} ({} ago)", time(unix_ms), age(now_ms.saturating_sub(unix_ms)));
    let failure = letter.failure.as_ref();
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut lines = vec![
        ("position", letter.position.to_string()),
        ("state", letter.state.as_str().to_owned()),
        ("written", ago(letter.written_ms)),
        ("event", letter.event_id.to_string()),
        ("type", or_none(letter.event_type.as_deref())),
        ("target", or_none(letter.target.as_deref())),
        ("routes", letter.routes.join(", ") + if letter.more_routes { ", …" } else { "" }),
        ("reason", letter.reason.to_string()),
        ("last error", or_none(letter.last_error.as_deref())),
        ("attempts", letter.attempts.to_string()),
    ];
    for failed in failure.iter().flat_map(|failure| &failure.history) {
        lines.push(("  failed", format!("{} {}", time(failed.at_ms), failed.result)));
    }
    lines.push(("source", or_none(letter.source.as_deref())));
    lines.push(("origin", letter.origin.to_string()));
    lines.extend(letter.subject.as_deref().map(|subject| ("subject", subject.to_owned())));
    lines.extend(letter.stored_ms.map(|stored_ms| ("stored", ago(stored_ms))));
    lines.extend(letter.key.as_ref().map(|key| ("key", in_words(key))));
    for (name, value) in &letter.headers {
        lines.push(("header", format!("{name}: {}", in_words(value))));
    }
    lines.extend(letter.headers_kept.as_deref().map(|kept| ("headers", kept.to_owned())));
    if let (LetterState::Pending, Err(why)) = (letter.state, letter.redrive(now_ms, 0)) {
        lines.push(("redrive", format!("not possible: {why}")));
    }
    let value = match &letter.value {
        LetterValue::Kept(value) => {
            let shown = std::str::from_utf8(value).ok().and_then(pretty).unwrap_or_else(|| in_words(value));
            lines.push(("value", format!("{} bytes", value.len())));
            shown + "\n"
        }
        LetterValue::Absent => {
            lines.push(("value", "the message had none".to_owned()));
            String::new()
        }
        LetterValue::Omitted => {
            lines.push(("value", "left out for its size".to_owned()));
            String::new()
        }
    };
    let lines: String = lines.iter().map(|(name, text)| format!("{name:<11} {text}\n")).collect();
    plain(&format!("{lines}{value}\n"))
}

fn in_words(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64 {}", BASE64.encode(bytes)),
    }
}

/// One JSON document. A value that is JSON stands in it exactly as it is.
fn document(letter: &DeadLetterRecord) -> String {
    let bytes = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    };
    let mut members = summary(letter);
    let history = letter.failure.iter().flat_map(|failure| &failure.history);
    let history: Vec<Value> =
        history.map(|failed| json!({ "at": time(failed.at_ms), "result": failed.result })).collect();
    let headers: Vec<Value> =
        letter.headers.iter().map(|(name, value)| json!([name, bytes(value)])).collect();
    members.insert("history".to_owned(), json!(history));
    members.insert("key".to_owned(), json!(letter.key.as_ref().map(bytes)));
    members.insert("headers".to_owned(), json!(headers));
    let value = match &letter.value {
        LetterValue::Kept(value) => match std::str::from_utf8(value) {
            Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => text.to_owned(),
            _ => bytes(value).to_string(),
        },
        LetterValue::Absent | LetterValue::Omitted => "null".to_owned(),
    };
    let members = Value::Object(members).to_string();
    format!("{},\"value\":{value}}}\n", members.trim_end_matches('}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::listing::tests::letter;

    #[test]
    fn people_see_all_of_it() {
        let shown = text(&letter(), 70_000);
        for part in [
            "position    x.dlq/0/17\n",
            "written     1970-01-01T00:00:10Z (60s ago)\n",
            "  failed    1970-01-01T00:00:09Z timeout\n",
            "key         k\n",
            "header      trace: t\n",
            "value       10 bytes\n{\n  \"a\": 1.50\n}\n",
        ] {
            assert!(shown.contains(part), "{part:?} in:\n{shown}");
        }
        assert!(!shown.contains("redrive"), "{shown}");
        let omitted = DeadLetterRecord { value: LetterValue::Omitted, ..letter() };
        assert!(text(&omitted, 0).contains("redrive     not possible: its value was left out"));
    }

    #[test]
    fn programs_get_the_value_as_it_was() {
        let shown = document(&letter());
        assert!(shown.ends_with(",\"headers\":[[\"trace\",\"t\"]],\"value\":{\"a\":1.50}}\n"), "{shown}");
        assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
        let bytes = DeadLetterRecord { value: LetterValue::Kept(Bytes::from_static(b"\xff")), ..letter() };
        assert!(document(&bytes).contains("\"value\":{\"base64\":\"/w==\"}"));
    }
}
