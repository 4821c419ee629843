//! A dialect by itself, for whoever has no configuration at hand.

use secrecy::{ExposeSecret, SecretString};

use crate::wire::RequestSpec;

use super::fault::Findings;
use super::origin::Origin;
use super::presets::Presets;
use super::request;
use super::target_layers::TargetLayers;
use super::tree::{Map, Node, Value};
use super::walk::Item;

/// The requests of a target that receivers know as `target_id`, and of which no more is said than its
/// dialect and its secrets, newest first. Headers that the dialect's receivers demand of a
/// configuration are missing.
///
/// # Errors
/// There is no such dialect; says which there are.
pub fn dialect(name: &str, target_id: &str, secrets: &[SecretString]) -> Result<RequestSpec, String> {
    let findings = Findings::default();
    let presets = Presets::read(&findings);
    let mut keys = Map::default();
    keys.set("dialect", Node::program(name));
    keys.set("id", Node::program(target_id));
    if !secrets.is_empty() {
        let secrets = secrets.iter().map(|secret| Node::program(secret.expose_secret())).collect();
        keys.set("secrets", Node { origin: Origin::Program, value: Value::List(secrets) });
    }
    let node = Node { origin: Origin::Program, value: Value::Map(keys) };
    let layered = TargetLayers::new(&presets, None, &findings).lay(&Item::new(&node, "targets.x", &findings));
    let laid = Item::new(&layered.node, "targets.x", &findings);
    let spec = request::specification(&mut laid.keys(), target_id.to_owned(), &presets, &[]);
    findings.conclude().map_err(|faults| {
        let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        messages.join("; ")
    })?;
    spec.ok_or_else(|| "its payload can't be read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Algorithm;

    #[test]
    fn a_dialect_is_read_with_its_secrets() {
        let secrets = ["whsec_one".into(), "whsec_two".into()];
        let spec = dialect("standard-webhooks", "crm", &secrets).expect("a dialect");
        let signature = spec.signature.expect("it signs");
        assert_eq!((spec.target_id.as_str(), signature.secrets.len()), ("crm", 2));
        assert_eq!(
            (signature.algorithm, signature.each.as_str()),
            (Algorithm::HmacSha256, "v1,{{signature}}")
        );
        assert!(dialect("shopify", "crm", &secrets).is_ok(), "headers of one's own are not demanded here");
    }

    #[test]
    fn an_unknown_one_is_refused_with_those_that_there_are() {
        let fault = dialect("strype", "crm", &[]).expect_err("there is none");
        assert!(fault.contains("did you mean `stripe`") && fault.contains("slack"), "{fault}");
    }
}
