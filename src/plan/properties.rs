//! librdkafka's own properties.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};

use super::tree::Taint;
use super::walk::Item;

/// The properties that we set ourselves (DESIGN.md §5), with what to do instead.
const OURS: [(&str, &str); 21] = [
    ("group.id", "use `group`"),
    ("bootstrap.servers", "use `brokers`"),
    ("metadata.broker.list", "use `brokers`"),
    ("enable.auto.commit", "only what is settled is committed"),
    ("auto.commit.enable", "only what is settled is committed"),
    ("enable.auto.offset.store", "only what is settled is committed"),
    ("auto.offset.reset", "use `start`"),
    ("isolation.level", "aborted transactions are never read"),
    ("topic.blacklist", "use `topics`"),
    ("acks", "every dead letter is confirmed by all replicas"),
    ("request.required.acks", "every dead letter is confirmed by all replicas"),
    ("enable.idempotence", "dead letters are always written by an idempotent producer"),
    ("group.protocol", "remove it"),
    ("partition.assignment.strategy", "it is cooperative-sticky"),
    ("client.id", "it is made of `name`"),
    ("plugin.library.paths", "plug-ins are not loaded"),
    ("enable.partition.eof", "remove it"),
    ("offset.store.method", "offsets are kept by the broker"),
    ("offset.store.path", "offsets are kept by the broker"),
    ("enable.gapless.guarantee", "remove it"),
    ("transactional.id", "dead letters are written without transactions"),
];

/// Reads `properties`: each is tried alone, because librdkafka names one bad one at a time.
pub(super) fn properties(item: &Item<'_>) -> Vec<(String, SecretString)> {
    let mut properties = Vec::new();
    for named in item.entries_of_files() {
        let fault = |message: String| item.findings().fault(named.at, named.item.path.clone(), message);
        if let Some(remedy) = set_by_us(named.name) {
            fault(format!("hookferry sets this property itself; {remedy}"));
            continue;
        }
        let value = named.item.secret();
        if named.item.scalar().is_some()
            && let Err(reason) = accepted(named.name, value.expose_secret())
        {
            let clear = named.item.node.as_scalar().is_some_and(|scalar| scalar.taint == Taint::Clear);
            let reason = match clear && !is_sensitive(named.name) {
                true => reason,
                false if value.expose_secret().is_empty() => reason,
                false => reason.replace(value.expose_secret(), "(not shown)"),
            };
            fault(format!("librdkafka refuses it: {reason}"));
        }
        properties.push((named.name.to_owned(), value));
    }
    properties
}

/// What to do instead of setting a property that we set ourselves. librdkafka takes a topic's
/// property with and without `topic.` before its name.
fn set_by_us(property: &str) -> Option<&'static str> {
    let bare = property.strip_prefix("topic.");
    let ours = OURS.iter().find(|(name, _)| *name == property || bare == Some(name));
    let ours = ours.map(|(_, remedy)| *remedy);
    ours.or(property.starts_with("test.mock.").then_some("remove it"))
}

/// Whether librdkafka takes a property, and why not.
fn accepted(name: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(reason),
        Err(_) => Err("it holds a character that can't be passed on".to_owned()),
    }
}

/// Whether a property's value is a secret by its name.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["password", "secret", "token", "jaas", "credential", "username", "oauthbearer.config"];
    secret.iter().any(|word| name.contains(word)) || name.ends_with(".pem") || name.ends_with("_key")
}
