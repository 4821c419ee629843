//! No secret is ever printed, wherever in a configuration it stands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::arguments::Question;
use super::*;

const SECRET: &str = "hunter2-hunter2";

/// Where a secret can stand in a valid configuration, as the path and the value of a key.
const SPOTS: [(&str, &str); 23] = [
    ("s.kafka.properties", "{ sasl.username: '@' }"),
    ("s.event.type", "[body:none, 'const:@']"),
    ("s.event.subject", "['const:@']"),
    ("s.event.source", "['const:@']"),
    ("s.event.priority", "['const:@']"),
    ("s.event.data", "['const:@']"),
    ("t.id", "'@'"),
    ("t.url", "'https://x.example/@'"),
    ("t.url", "'https://x.example/?a=@'"),
    ("t.description", "'@'"),
    ("t.labels", "{ name: '@', url: '@', topics: '@', a.b: '@' }"),
    ("t.secrets", "['@', '@']"),
    ("t.headers", "{ X-A: 'a @ b', name: '@' }"),
    ("t.payload", "{ preset: dcision, content_type: 'a/@' }"),
    ("t.payload", "{ preset: dcision, extra: { a: '@', b: [{ c: 'x@y' }] } }"),
    ("t.signature", "{ message: '@{{body}}', headers: { X-S: 't @ {{signature}}' } }"),
    ("t.signature", "{ message: '{{body}}', each: 'a@{{signature}}', headers: { X-S: '{{signatures}}' } }"),
    ("r.types", "['**', '@']"),
    ("r.types", "['@', '@.*']"),
    ("r.types", "['**', '!@']"),
    ("r.where", "{ user.name: '@', name: [a, '@'] }"),
    ("r.where", "{ a: { gte: '@', prefix: '@', not_in: ['@'], missing: pass } }"),
    ("r.where", "{ a: { ne: '@' } }"),
];

/// A configuration with the chosen spots set; the last of those that set the same key counts.
fn config(spots: &[usize]) -> String {
    let mut keys = BTreeMap::from([
        ("s.kafka.brokers".to_owned(), "b:9092".to_owned()),
        ("s.kafka.topics".to_owned(), "[t]".to_owned()),
        ("t.url".to_owned(), "https://x.example/".to_owned()),
        ("t.dialect".to_owned(), "ops-center".to_owned()),
        ("r.name".to_owned(), "r".to_owned()),
        ("r.to".to_owned(), "[t]".to_owned()),
    ]);
    for spot in spots {
        let (path, value) = SPOTS[*spot];
        keys.insert(path.to_owned(), value.replace('@', "${env:S}"));
    }
    let below = |prefix: &str| {
        let of = keys.iter().filter_map(|(path, value)| Some((path.strip_prefix(prefix)?, value)));
        of.filter(|(key, _)| !key.contains('.'))
            .map(|(key, value)| format!("{key}: {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "sources: {{ s: {{ kafka: {{ {} }}, event: {{ {} }} }} }}\ntargets: {{ t: {{ {} }} }}\nroutes: [{{ {} }}]\n",
        below("s.kafka."),
        below("s.event."),
        below("t."),
        below("r."),
    )
}

/// Everything that `check` and `explain` say of it.
fn said(config: &str) -> Result<String, String> {
    let environment = BTreeMap::from([("S".to_owned(), SECRET.to_owned())]);
    let layers = Layers { environment, ..Layers::default() };
    let examined = plan::examine_text("h.yaml", config, &layers);
    let mut said = Vec::new();
    for format in [Format::Text, Format::Json] {
        check::write(&examined, &[], None, format, &mut said).map_err(|cause| cause.to_string())?;
        let examined = examined.as_ref().map_err(|faults| format!("{config}\n{faults}"))?;
        for body in [r#"{"type":"a.b","event_id":"e","a":"b","data":{}}"#, "{}", "not JSON"] {
            let question =
                Question { event: "-".into(), source: None, headers: Vec::new(), key: None, subject: None };
            said.extend(explain::explained(examined, &question, body.as_bytes(), format)?.into_bytes());
        }
    }
    String::from_utf8(said).map_err(|fault| fault.to_string())
}

#[test]
fn every_spot_is_a_valid_configuration() {
    for (spot, written) in SPOTS.iter().enumerate() {
        assert_eq!(said(&config(&[spot])).map(|_| ()), Ok(()), "{written:?}");
    }
}

proptest! {
    #[test]
    fn no_secret_is_printed(spots in prop::collection::vec(0..SPOTS.len(), 1..5)) {
        let config = config(&spots);
        let said = said(&config).map_err(TestCaseError::fail)?;
        prop_assert!(!said.contains(SECRET), "{config}\n{said}");
    }
}
