//! `handshake` of a target: whether its receiver is asked first if it takes webhooks from us.

use super::egress::is_host_name;
use super::walk::Item;

/// `handshake`: the question of CloudEvents' web hooks (HTTP 1.1 Web Hooks for Event Delivery, §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// `origin`: the name under which we ask.
    pub origin: Box<str>,
}

/// Reads `handshake`.
pub(super) fn handshake(item: &Item<'_>) -> Option<Handshake> {
    if item.node.as_map().is_none() {
        item.fault("write `off`, or for example `{ origin: hooks.example.com }`");
        return None;
    }
    let mut keys = item.keys();
    let origin = keys.require("origin", "write your own name, for example `origin: hooks.example.com`");
    keys.done();
    let origin = origin?.parse(String::new(), |text| match is_host_name(text) {
        true => Ok(text.to_owned()),
        false => Err("an origin is a host name, for example `hooks.example.com`".to_owned()),
    });
    Some(Handshake { origin: origin.into() })
}
