//! `targets`: what is read of one after its layers were laid.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use url::Url;

use crate::domain::{BreakerPolicy, Exhausted, Ordering, Rate, RetryPolicy, StatusSet, Tenant};
use crate::wire::{Blueprint, RequestSpec};

use super::auth::{OAuth2, auth};
use super::conditions::Fields;
use super::egress::{Egress, TargetUrl, egress, url};
use super::handshake::{Handshake, handshake};
use super::lane_rules;
use super::origin::Origin;
use super::presets::Presets;
use super::proxy::{Proxy, proxy};
use super::request;
use super::retry;
use super::settings::MASK;
use super::target_layers::Layered;
use super::tenants;
use super::tls::{TargetTls, tls};
use super::tree::Taint;
use super::walk::{Item, Keys};

/// One of `targets`.
#[derive(Debug)]
pub struct Target {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `id`: as receivers see it.
    pub id: String,
    /// `tenant`: whose events it gets.
    pub tenant: Option<Tenant>,
    /// `enabled`. A switched-off target receives nothing; its deliveries are not opened.
    pub enabled: bool,
    /// `description`.
    pub description: Option<String>,
    /// `labels`, in order.
    pub labels: Vec<(String, String)>,
    /// Where to.
    pub url: TargetUrl,
    /// What people may see of `id` and `url`.
    pub shown: Shown,
    /// What its requests look like, as data.
    pub request: RequestSpec,
    /// The same, compiled: what is sent.
    pub blueprint: Blueprint,
    /// Which addresses it may have.
    pub egress: Egress,
    /// `method`.
    pub method: Method,
    /// `http`: the version that is spoken.
    pub http: HttpVersion,
    /// `auth: { oauth2 }`. The other kinds are headers of the blueprint.
    pub oauth2: Option<OAuth2>,
    /// `tls`.
    pub tls: Option<TargetTls>,
    /// `proxy`.
    pub proxy: Option<Proxy>,
    /// `handshake`.
    pub handshake: Option<Handshake>,
    /// For one whole attempt: DNS, connect, TLS, headers and body.
    pub timeout: Duration,
    /// For one address of the host to take a connection, and then for what makes it ready (a
    /// proxy's answer, TLS).
    pub connect_timeout: Duration,
    /// Statuses that end a delivery well.
    pub success: StatusSet,
    /// What happens after a failure.
    pub retry: RetryPolicy,
    /// Attempts at once to this target in this process.
    pub concurrency: usize,
    /// `rate`.
    pub rate: Option<Rate>,
    /// `breaker`.
    pub breaker: Option<BreakerPolicy>,
    /// `disable_on`: an answer with one of these switches it off until a reload or restart.
    pub disable_on: StatusSet,
    /// `disable_after`: failures for so long, without a success, switch it off until a reload or restart.
    pub disable_after: Option<Duration>,
    /// `ordering`.
    pub ordering: Ordering,
    /// `key`: what `by_key` goes by, as an index into [`Plan::fields`](super::Plan::fields); the event's key without it.
    pub key: Option<usize>,
}

/// The version of HTTP that a target is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Two,
}

/// What people may see of a target: `***` stands for what a reference brought in (DESIGN.md §4.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: Box<str>,
    /// Scheme, host and port of its address.
    pub url: Box<str>,
}

/// The shortest time-out that lets any request end.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);

/// The values of `http`.
const HTTP: [(&str, HttpVersion); 2] = [("1", HttpVersion::One), ("2", HttpVersion::Two)];

/// Reads one target. `None` if a fault was found in it.
pub(super) fn target(
    item: &Item<'_>,
    name: &str,
    layered: &Layered,
    presets: &Presets,
    replicas: u32,
    fields: &mut Fields,
) -> Option<Target> {
    let mut keys = item.keys();
    keys.skip("dialect");
    let id = keys.get("id").map_or_else(String::new, |item| item.parse(String::new(), target_id));
    let mut spec = request::specification(&mut keys, id.clone(), presets, &layered.required_headers);
    let egress = keys.get("egress").map_or(Egress::Public, |item| egress(&item));
    let allow_http = keys.get("allow_http").is_some_and(|item| item.flag());
    let address = keys.require("url", "write `url: https://…`");
    let address = address.and_then(|item| url(&item, &egress, allow_http));
    let tenant = tenants::tenant(&mut keys);
    let auth = keys.get("auth").map(|item| auth(&item, &egress, allow_http)).unwrap_or_default();
    if let Some(spec) = &mut spec {
        spec.auth = auth.headers;
    }
    let tls = keys.get("tls").and_then(|item| tls_of(&item, address.as_ref()));
    let proxy = keys.get("proxy").and_then(Item::unless_off).and_then(|item| proxy(&item));
    let handshake = keys.get("handshake").and_then(Item::unless_off).and_then(|item| handshake(&item));
    let method = keys.get("method").map_or(Method::POST, |item| method(&item));
    let http = keys.get("http").map_or(HttpVersion::One, |item| item.choice(&HTTP));
    if let (HttpVersion::Two, Some(spec)) = (http, &spec) {
        refuse_headers_of_connections(item, spec);
    }
    let enabled = keys.get("enabled").is_none_or(|item| item.flag());
    let description = keys.get("description").map(|item| item.text());
    let labels = labels(&mut keys);
    let timeout = keys.get("timeout").map_or(LEAST_TIMEOUT, |item| item.duration(LEAST_TIMEOUT));
    let connect_timeout =
        keys.get("connect_timeout").map_or(LEAST_TIMEOUT, |item| item.duration(LEAST_TIMEOUT));
    let success = keys.get("success").map_or_else(StatusSet::default, |item| retry::success(&item));
    let ordering = lane_rules::ordering(&mut keys);
    let key = lane_rules::key(&mut keys, ordering, fields);
    let on_exhausted = on_exhausted(&mut keys, ordering);
    let retry = keys.get("retry").map(|item| retry::policy(&item, on_exhausted));
    let concurrency = keys.get("concurrency").map_or(1, |item| item.number(1..=10_000));
    let rate = lane_rules::rate(&mut keys, replicas);
    let breaker = lane_rules::breaker(&mut keys);
    let disable_on = keys.get("disable_on").map_or_else(StatusSet::default, |item| retry::disable_on(&item));
    let disable_after = lane_rules::disable_after(&mut keys);
    keys.done();
    let request = spec?;
    let blueprint = compiled(item, &request);
    let address = TargetUrl(address?);
    let shown = Shown {
        id: if taint(item, "id") == Taint::Clear { id.as_str().into() } else { MASK.into() },
        url: if taint(item, "url") == Taint::File { MASK.into() } else { address.to_string().into() },
    };
    Some(Target {
        name: name.into(),
        id,
        tenant,
        enabled,
        description,
        labels,
        url: address,
        shown,
        request,
        blueprint: blueprint?,
        egress,
        method,
        http,
        oauth2: auth.oauth2,
        tls,
        proxy,
        handshake,
        timeout,
        connect_timeout,
        success,
        retry: retry?,
        concurrency,
        rate,
        breaker,
        disable_on,
        disable_after,
        ordering,
        key,
    })
}

fn taint(target: &Item<'_>, key: &str) -> Taint {
    let scalar = target.node.as_map().and_then(|keys| keys.get(key)?.as_scalar());
    scalar.map_or(Taint::Clear, |scalar| scalar.taint)
}

fn method(item: &Item<'_>) -> Method {
    // Those whose requests have a body.
    let choices = [("POST", 0), ("PUT", 1), ("PATCH", 2), ("DELETE", 3)];
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE][item.choice(&choices)].clone()
}

/// Headers about one connection have no place in HTTP/2 (RFC 9113 §8.2.2).
fn refuse_headers_of_connections(target: &Item<'_>, spec: &RequestSpec) {
    const NAMES: [&str; 4] = ["keep-alive", "proxy-connection", "te", "upgrade"];
    let own = spec.headers.iter().map(|header| (format!("headers.{}", header.name), &header.name));
    let auth = spec.auth.iter().map(|header| (header.setting.clone(), &header.name));
    let signed = spec.signature.iter().flat_map(|signature| &signature.headers);
    let signed = signed.map(|(name, _)| (format!("signature.headers.{name}"), name));
    let is_refused = |name: &str| NAMES.iter().any(|one| name.eq_ignore_ascii_case(one));
    for (setting, _) in own.chain(auth).chain(signed).filter(|(_, name)| is_refused(name)) {
        let node = target.node.nearest(setting.split('.'));
        let header = Item::new(node, format!("{}.{setting}", target.path), target.findings());
        header.fault("HTTP/2 has no such header; remove it, or write `http: 1`");
    }
}

/// `tls`, which only an `https://` target has; in `defaults` it is for those.
fn tls_of(item: &Item<'_>, address: Option<&Url>) -> Option<TargetTls> {
    let settings = tls(item);
    let is_plain = address.is_some_and(|url| url.scheme() == "http");
    if is_plain && !matches!(item.node.origin, Origin::Defaults(_)) {
        item.fault("there is no TLS to an `http://` URL; remove this, or write `https://`");
    }
    (!is_plain).then_some(settings)
}

/// Compiles the requests; each fault goes to the setting that it names, or to the nearest above.
fn compiled(target: &Item<'_>, spec: &RequestSpec) -> Option<Blueprint> {
    let faults = match Blueprint::compile(spec) {
        Ok(blueprint) => return Some(blueprint),
        Err(faults) => faults,
    };
    for fault in faults {
        let node = target.node.nearest(fault.setting.split('.'));
        let path = format!("{}.{}", target.path, fault.setting);
        // Only of secrets is it certain that a fault repeats no part of them.
        let repeatable =
            fault.setting.starts_with("secrets") || fault.setting.starts_with("auth") || node.is_clear();
        let message = match repeatable {
            true => fault.fault,
            false => "the value (not shown) can't be used here".to_owned(),
        };
        Item::new(node, path, target.findings()).fault(message);
    }
    None
}

fn target_id(id: &str) -> Result<String, String> {
    match (1..=200).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(id.to_owned()),
        false => Err("an id has 1 to 200 visible ASCII characters, because headers carry it".to_owned()),
    }
}

fn on_exhausted(keys: &mut Keys<'_>, ordering: Ordering) -> Exhausted {
    let choices = [
        ("dead_letter", Exhausted::DeadLetter),
        ("discard", Exhausted::Discard),
        ("block", Exhausted::Block),
    ];
    let Some(item) = keys.get("on_exhausted") else { return Exhausted::DeadLetter };
    let chosen = item.choice(&choices);
    if chosen == Exhausted::Block && ordering == Ordering::None {
        item.fault(
            "`block` is for ordered targets; set `ordering: by_key` or `strict`, or write `dead_letter` or `discard`",
        );
    }
    chosen
}

fn labels(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let labels = keys.get("labels").map(|item| item.entries()).unwrap_or_default();
    labels.into_iter().map(|label| (label.name.to_owned(), label.item.text())).collect()
}
