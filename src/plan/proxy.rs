//! `proxy` of a target.

use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::auth;
use super::tree::Unset;
use super::walk::Item;

/// An HTTP proxy. `Debug` and `Display` show host and port only.
#[derive(Clone)]
pub struct Proxy {
    /// Its host.
    pub host: Host<String>,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<SecretString>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Proxy) -> bool {
        let secret =
            |proxy: &Proxy| proxy.authorization.as_ref().map(|value| value.expose_secret().to_owned());
        (&self.host, self.port, secret(self)) == (&other.host, other.port, secret(other))
    }
}

/// Reads `proxy`. Faults never show it: it may hold a password.
pub(super) fn proxy(item: &Item<'_>) -> Option<Proxy> {
    let is_unset = item.node.as_scalar().is_some_and(|scalar| scalar.unset == Unset::Yes);
    if is_unset {
        return None;
    }
    item.parse(None, |text| read(text).map(Some))
}

fn read(text: &str) -> Result<Proxy, String> {
    const FORM: &str = "write `http://host:port` or `http://user:password@host:port`, or `off`";
    let url = Url::parse(text).map_err(|reason| format!("no URL ({reason}); {FORM}"))?;
    if url.scheme() != "http" {
        return Err(format!("only an `http://` proxy is possible; {FORM}"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("a proxy has no path; {FORM}"));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(format!("a host is missing; {FORM}"));
    };
    Ok(Proxy { host: host.to_owned(), port, authorization: authorization(&url)? })
}

fn authorization(url: &Url) -> Result<Option<SecretString>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text| {
        let text = percent_decode_str(text).decode_utf8();
        text.map_err(|_| "user or password is not UTF-8 once its `%` are decoded".to_owned())
    };
    let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
    match user.contains(':') {
        true => Err("a user's name has no `:` here, because it ends at the first one".to_owned()),
        false => Ok(Some(auth::basic(&user, &password))),
    }
}
