//! `secrets`, `signature` and `headers` of a target: with its `payload`, what its requests look like.

use secrecy::SecretString;

use crate::wire::{
    Algorithm, Encoding, HeaderSpec, KeyForm, PayloadSpec, RequestSpec, SignatureSpec, TimestampForm,
    Visibility,
};

use super::origin::Origin;
use super::payload::payload;
use super::presets::Presets;
use super::tree::Unset;
use super::walk::{Item, Keys, Named};

/// Reads the keys of a target that decide the bytes of its requests. `None` if the payload has a
/// fault.
pub(super) fn specification(
    keys: &mut Keys<'_>,
    target_id: String,
    presets: &Presets,
    required_headers: &[String],
) -> Option<RequestSpec> {
    let secrets = keys.get("secrets").map(|item| item.elements()).unwrap_or_default();
    let signature = signature(keys, &secrets);
    let headers = headers(keys, required_headers);
    let payload = keys.get("payload").map(|item| payload(&item, presets));
    let payload = payload.unwrap_or(Some(PayloadSpec::raw()))?;
    Some(RequestSpec { target_id, payload, signature, headers, auth: Vec::new() })
}

/// The secrets themselves; those that are let through without a value sign nothing.
fn live(secrets: &[Item<'_>]) -> Vec<SecretString> {
    let is_set = |item: &&Item<'_>| item.node.as_scalar().is_none_or(|scalar| scalar.unset == Unset::No);
    secrets.iter().filter(is_set).map(Item::secret).collect()
}

fn headers(keys: &mut Keys<'_>, required: &[String]) -> Vec<HeaderSpec> {
    let item = keys.get("headers");
    let named = item.as_ref().map(Item::entries_of_files).unwrap_or_default();
    for name in required {
        if !named.iter().any(|header| header.name.eq_ignore_ascii_case(name)) {
            keys.missing("headers", &format!("the receivers of this dialect demand the header {name}"));
        }
    }
    let header = |header: &Named<'_>| HeaderSpec {
        name: header.name.to_owned(),
        value: header.item.secret(),
        literal: header.item.foreign(),
        visibility: match header.item.node.origin {
            Origin::Dialect(_) => Visibility::Everybody,
            _ => Visibility::Receiver,
        },
    };
    named.iter().map(header).collect()
}

fn signature(keys: &mut Keys<'_>, secrets: &[Item<'_>]) -> Option<SignatureSpec> {
    let item = keys.get("signature")?;
    if item.is("none") {
        if !secrets.is_empty() {
            let text = format!("{}: {}: `none`, so its `secrets` are not used", item.node.origin, item.path);
            item.findings().notice(text);
        }
        return None;
    }
    if item.node.as_scalar().is_some() {
        item.fault("write `none`, or a map with `message` and `headers`");
        return None;
    }
    let mut keys_below = item.keys();
    let signature = general(&mut keys_below, live(secrets));
    keys_below.done();
    if secrets.is_empty() {
        let text =
            format!("{}: {}: without `secrets` its requests carry no signature", keys.at(), keys.path());
        item.findings().notice(text);
    }
    Some(signature)
}

fn general(keys: &mut Keys<'_>, secrets: Vec<SecretString>) -> SignatureSpec {
    const ALGORITHMS: [(&str, Algorithm); 3] = [
        ("hmac-sha256", Algorithm::HmacSha256),
        ("hmac-sha512", Algorithm::HmacSha512),
        ("ed25519", Algorithm::Ed25519),
    ];
    const TIMESTAMPS: [(&str, TimestampForm); 3] = [
        ("seconds", TimestampForm::Seconds),
        ("milliseconds", TimestampForm::Milliseconds),
        ("rfc3339", TimestampForm::Rfc3339),
    ];
    let message = keys.require("message", "write for example `message: '{{timestamp}}.{{body}}'`");
    let headers = keys.require("headers", "write for example `headers: { X-Signature: '{{signature}}' }`");
    let headers = headers.map(|item| item.entries_of_files()).unwrap_or_default();
    let key_forms = [("text", KeyForm::Text), ("base64", KeyForm::Base64)];
    let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
    let text = |item: Option<Item<'_>>| item.map(|item| item.text()).unwrap_or_default();
    SignatureSpec {
        secrets,
        message: text(message),
        algorithm: keys.get("algorithm").map_or(Algorithm::HmacSha256, |item| item.choice(&ALGORITHMS)),
        key: keys.get("key").map_or(KeyForm::Text, |item| item.choice(&key_forms)),
        encoding: keys.get("encoding").map_or(Encoding::Hex, |item| item.choice(&encodings)),
        each: text(keys.get("each")),
        ed25519: keys.get("ed25519").map(|item| item.text()),
        join: text(keys.get("join")),
        timestamp: keys.get("timestamp").map_or(TimestampForm::Seconds, |item| item.choice(&TIMESTAMPS)),
        headers: headers.iter().map(|header| (header.name.to_owned(), header.item.text())).collect(),
    }
}
