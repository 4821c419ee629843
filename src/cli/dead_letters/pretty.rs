use serde::de::IgnoredAny;

/// A JSON document, if it is one, with a member or element on each line; every token is as it was.
pub(super) fn pretty(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut shown = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut opened = false;
    for letter in text.chars() {
        if in_string {
            shown.push(letter);
            in_string = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            continue;
        }
        if letter.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(letter, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // Nothing stands between the brackets of an empty object or array.
        if opened != closes {
            new_line(&mut shown, depth);
        }
        opened = false;
        match letter {
            '{' | '[' => {
                depth += 1;
                opened = true;
                shown.push(letter);
            }
            ',' => {
                shown.push(letter);
                new_line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            _ => shown.push(letter),
        }
        in_string = letter == '"';
    }
    Some(shown)
}

fn new_line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_stays_as_it_was() {
        let text = r#"{"a":[1.50,{"b":"x, \"{y}: z"}],"c":{},"d":[ ],"n":12345678901234567890}"#;
        let wanted = "{\n  \"a\": [\n    1.50,\n    {\n      \"b\": \"x, \\\"{y}: z\"\n    }\n  ],\n  \
                      \"c\": {},\n  \"d\": [],\n  \"n\": 12345678901234567890\n}";
        assert_eq!(pretty(text).as_deref(), Some(wanted));
        assert_eq!(pretty(wanted).as_deref(), Some(wanted));
        assert_eq!(pretty("{x"), None);
        assert_eq!(pretty(r#""\\""#).as_deref(), Some(r#""\\""#));
    }
}
