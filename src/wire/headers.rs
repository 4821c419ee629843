use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    USER_AGENT,
};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

use super::handlebars::{Facts, Language, Roots, Template};
use super::spec::{AuthHeader, HeaderSpec, JsonForm, Visibility};
use super::{SpecFault, Unrenderable};

/// What receivers see unless a dialect or a target says otherwise.
const DEFAULT_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("hookferry/", env!("CARGO_PKG_VERSION")));

/// A target's own headers, compiled.
#[derive(Debug)]
pub(super) struct Headers {
    /// Those that are the same in every request.
    fixed: HeaderMap,
    /// Those that depend on the event.
    templates: Vec<HeaderTemplate>,
}

struct HeaderTemplate {
    name: HeaderName,
    template: Template,
    visibility: Visibility,
}

/// Its text may be secret and is not shown.
impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Headers {
    /// Compiles them. Values that may be secret are marked sensitive, so that `Debug` does not show
    /// them.
    pub(super) fn compile(
        configured: &[HeaderSpec],
        auth: &[AuthHeader],
        roots: &Roots,
        signed: &HashSet<HeaderName>,
        faults: &mut Vec<SpecFault>,
    ) -> Headers {
        let mut headers = Headers { fixed: HeaderMap::new(), templates: Vec::new() };
        let mut kept = HashSet::new();
        for auth in auth {
            match auth_header(auth, signed, &mut kept) {
                Ok(Some((name, value))) => {
                    headers.fixed.insert(name, value);
                }
                Ok(None) => {}
                Err(fault) => faults.push(SpecFault { setting: auth.setting.clone(), fault }),
            }
        }
        for configured in configured {
            if let Err(fault) = headers.add(configured, roots, signed, &kept) {
                faults.push(SpecFault { setting: format!("headers.{}", configured.name), fault });
            }
        }
        headers.fixed.entry(USER_AGENT).or_insert(DEFAULT_USER_AGENT);
        headers
    }

    fn add(
        &mut self,
        configured: &HeaderSpec,
        roots: &Roots,
        signed: &HashSet<HeaderName>,
        kept: &HashSet<HeaderName>,
    ) -> Result<(), String> {
        let name = free_name(&configured.name)?;
        if kept.contains(&name) {
            return Err("`auth` writes this header; remove it here, or `auth`".to_owned());
        }
        self.refuse_second(&name, signed)?;
        let text = configured.value.expose_secret();
        if !text.contains("{{") {
            let value = value(text.as_bytes(), configured.visibility).ok_or(UNPRINTABLE)?;
            self.fixed.insert(name, value);
            return Ok(());
        }
        let template =
            Template::compile(text, &configured.literal, Language::Plain, roots).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(|fault| format!("at {fault}")).collect();
                faults.join("; ")
            })?;
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(UNPRINTABLE.to_owned());
        }
        match template.constant() {
            Some(text) => {
                let value = value(text.as_bytes(), configured.visibility).ok_or(UNPRINTABLE)?;
                self.fixed.insert(name, value);
            }
            None => {
                self.templates.push(HeaderTemplate { name, template, visibility: configured.visibility });
            }
        }
        Ok(())
    }

    fn refuse_second(&self, name: &HeaderName, signed: &HashSet<HeaderName>) -> Result<(), String> {
        if signed.contains(name) {
            return Err(
                "the signature writes this header; remove it here, or from `signature.headers`".to_owned()
            );
        }
        if self.fixed.contains_key(name) || self.templates.iter().any(|header| header.name == *name) {
            return Err("the header is set twice (names differ only in case); keep one".to_owned());
        }
        Ok(())
    }

    /// Those that are the same in every request.
    pub(super) fn fixed(&self) -> HeaderMap {
        self.fixed.clone()
    }

    /// Adds those that depend on the event. What comes to nothing is left out.
    pub(super) fn render(&self, facts: Facts<'_>, headers: &mut HeaderMap) -> Result<(), Unrenderable> {
        for header in &self.templates {
            let text = header.template.render(facts, JsonForm::Exact)?;
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let value = value(text, header.visibility).ok_or_else(|| {
                let name = &header.name;
                Unrenderable(
                    format!("the header `{name}` can't hold the control characters that the event has")
                        .into(),
                )
            })?;
            headers.insert(header.name.clone(), value);
        }
        Ok(())
    }
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
    let value = secret_value(value.expose_secret().as_bytes()).ok_or(UNPRINTABLE)?;
    Ok(Some((name, value)))
}

const UNPRINTABLE: &str = "the value has a control character, for example a line break; remove it";

fn value(text: &[u8], visibility: Visibility) -> Option<HeaderValue> {
    match visibility {
        Visibility::Receiver => secret_value(text),
        Visibility::Everybody => HeaderValue::from_bytes(text).ok(),
    }
}

/// A value that `Debug` does not show. Its clones share one memory, which is wiped with the last of them.
pub(crate) fn secret_value(text: &[u8]) -> Option<HeaderValue> {
    let wiped = Bytes::from_owner(Zeroizing::new(text.to_vec()));
    let mut value = HeaderValue::from_maybe_shared(wiped).ok()?;
    value.set_sensitive(true);
    Some(value)
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
