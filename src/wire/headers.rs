use std::collections::HashSet;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    USER_AGENT,
};
use secrecy::ExposeSecret;

use super::SpecFault;
use super::spec::{AuthHeader, StaticHeader, Visibility};

/// What receivers see unless a dialect or a target says otherwise.
const DEFAULT_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("hookferry/", env!("CARGO_PKG_VERSION")));

/// Prepares a target's static headers and those of `auth`. Values that may be secret are marked
/// sensitive, so that `Debug` does not show them.
pub(super) fn prepare(
    configured: &[StaticHeader],
    auth: &[AuthHeader],
    signed: &HashSet<HeaderName>,
    faults: &mut Vec<SpecFault>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut kept = HashSet::new();
    for auth in auth {
        match auth_header(auth, signed, &mut kept) {
            Ok(Some((name, value))) => {
                headers.insert(name, value);
            }
            Ok(None) => {}
            Err(fault) => faults.push(SpecFault { setting: auth.setting.clone(), fault }),
        }
    }
    for configured in configured {
        match header(configured, signed, &kept, &headers) {
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err(fault) => faults.push(SpecFault { setting: format!("headers.{}", configured.name), fault }),
        }
    }
    headers.entry(USER_AGENT).or_insert(DEFAULT_USER_AGENT);
    headers
}

/// `None`: the sender writes it.
fn auth_header(
    auth: &AuthHeader,
    signed: &HashSet<HeaderName>,
    kept: &mut HashSet<HeaderName>,
) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let name = free_name(&auth.name)?;
    if signed.contains(&name) {
        return Err(format!(
            "the signature writes the header `{name}` too; remove this, or the header from `signature.headers`"
        ));
    }
    if !kept.insert(name.clone()) {
        return Err("the header is set twice (names differ only in case); keep one".to_owned());
    }
    let Some(value) = &auth.value else { return Ok(None) };
    let mut value = HeaderValue::from_bytes(value.expose_secret().as_bytes())
        .map_err(|_| "the value has a control character, for example a line break; remove it".to_owned())?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

fn header(
    configured: &StaticHeader,
    signed: &HashSet<HeaderName>,
    kept: &HashSet<HeaderName>,
    earlier: &HeaderMap,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = free_name(&configured.name)?;
    if kept.contains(&name) {
        return Err("`auth` writes this header; remove it here, or `auth`".to_owned());
    }
    if signed.contains(&name) {
        return Err(
            "the signature writes this header; remove it here, or from `signature.headers`".to_owned()
        );
    }
    if earlier.contains_key(&name) {
        return Err("the header is set twice (names differ only in case); keep one".to_owned());
    }
    let mut value = HeaderValue::from_bytes(configured.value.expose_secret().as_bytes())
        .map_err(|_| "the value has a control character, for example a line break; remove it".to_owned())?;
    value.set_sensitive(configured.visibility == Visibility::Receiver);
    Ok((name, value))
}

/// A header name that configuration may set.
pub(super) fn free_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "this is no header name; write letters, digits and `-`".to_owned())?;
    if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&parsed) {
        return Err("the sender writes this header itself; remove it".to_owned());
    }
    if parsed == CONTENT_TYPE {
        return Err("set `payload.content_type` instead".to_owned());
    }
    Ok(parsed)
}
