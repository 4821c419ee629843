//! `auth` of a target: how it proves to the receiver who we are.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::wire::AuthHeader;

use super::egress;
use super::egress::{Egress, TargetUrl};
use super::settings::MASK;
use super::walk::{Item, Keys};

const ONE_OF: &str = "write one of `bearer`, `basic`, `header` or `oauth2`";

/// What `auth` comes to.
#[derive(Default)]
pub(super) struct Auth {
    /// What it writes into each request.
    pub headers: Vec<AuthHeader>,
    /// Where the value of `Authorization` comes from, if it is fetched.
    pub oauth2: Option<OAuth2>,
}

/// `auth.oauth2`: client credentials (RFC 6749 §4.4). `Debug` shows only where tokens come from.
#[derive(Clone)]
pub struct OAuth2 {
    /// `token_url`.
    pub token_url: TargetUrl,
    /// What people may see of it: scheme, host and port.
    pub shown: Box<str>,
    /// `client_id`.
    pub client_id: SecretString,
    /// `client_secret`.
    pub client_secret: SecretString,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// `audience`.
    pub audience: Option<String>,
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2").field("token_url", &self.shown).finish_non_exhaustive()
    }
}

impl PartialEq for OAuth2 {
    fn eq(&self, other: &OAuth2) -> bool {
        self.token_url == other.token_url
            && self.client_id.expose_secret() == other.client_id.expose_secret()
            && self.client_secret.expose_secret() == other.client_secret.expose_secret()
            && self.scopes == other.scopes
            && self.audience == other.audience
    }
}

/// Reads `auth`. Tokens are fetched under the target's own `egress` and `allow_http`.
pub(super) fn auth(item: &Item<'_>, egress: &Egress, allow_http: bool) -> Auth {
    if item.node.as_map().is_none() {
        item.fault(format!("a map is expected here; {ONE_OF}"));
        return Auth::default();
    }
    let mut keys = item.keys();
    let (bearer, basic) = (keys.get("bearer"), keys.get("basic"));
    let (header, oauth2) = (keys.get("header"), keys.get("oauth2"));
    keys.done();
    let kinds = [&bearer, &basic, &header, &oauth2].into_iter().flatten().count();
    if kinds != 1 {
        item.fault(match kinds {
            0 => ONE_OF.to_owned(),
            _ => format!("there is more than one way here; {ONE_OF}"),
        });
        return Auth::default();
    }
    if let Some(item) = bearer {
        return Auth { headers: vec![authorization("auth.bearer", Some(bearer_value(&item)))], oauth2: None };
    }
    if let Some(item) = basic {
        return Auth { headers: vec![authorization("auth.basic", Some(basic_value(&item)))], oauth2: None };
    }
    if let Some(item) = header {
        return Auth { headers: own_headers(&item), oauth2: None };
    }
    let oauth2 = oauth2.and_then(|item| client_credentials(&item, egress, allow_http));
    Auth { headers: vec![authorization("auth.oauth2", None)], oauth2 }
}

fn authorization(setting: &str, value: Option<SecretString>) -> AuthHeader {
    AuthHeader { setting: setting.to_owned(), name: "authorization".to_owned(), value }
}

fn bearer_value(item: &Item<'_>) -> SecretString {
    item.parse(SecretString::default(), |text| match text {
        _ if text.trim().is_empty() => Err("it is empty".to_owned()),
        _ if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) => {
            Err("write only the token; `Bearer` is put before it".to_owned())
        }
        _ => Ok(format!("Bearer {text}").into()),
    })
}

fn basic_value(item: &Item<'_>) -> SecretString {
    let mut keys = item.keys();
    let user = keys.require("username", "write `username: …`").map(|item| {
        item.parse(String::new(), |text| match text.contains(':') {
            true => Err("a user's name has no `:` here, because it ends at the first one".to_owned()),
            false => Ok(text.to_owned()),
        })
    });
    let password = keys.require("password", "write `password: …`; it may be empty").map(|item| item.secret());
    keys.done();
    basic(&user.unwrap_or_default(), password.unwrap_or_default().expose_secret())
}

/// The value of a header for Basic authentication (RFC 7617). Leaves no copy of the password behind.
pub(crate) fn basic(user: &str, password: &str) -> SecretString {
    let both = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(both.as_bytes()));
    format!("Basic {}", *encoded).into()
}

fn own_headers(item: &Item<'_>) -> Vec<AuthHeader> {
    let headers = item.entries_of_files();
    if headers.is_empty() {
        item.fault("write for example `header: { X-Api-Key: \"${env:API_KEY}\" }`");
    }
    let header = |name: &str, item: &Item<'_>| AuthHeader {
        setting: format!("auth.header.{name}"),
        name: name.to_owned(),
        value: Some(item.parse(SecretString::default(), |text| match text.trim().is_empty() {
            true => Err("it is empty".to_owned()),
            false => Ok(text.into()),
        })),
    };
    headers.iter().map(|named| header(named.name, &named.item)).collect()
}

fn client_credentials(item: &Item<'_>, egress: &Egress, allow_http: bool) -> Option<OAuth2> {
    let mut keys = item.keys();
    let token_url = keys.require("token_url", "write `token_url: https://…`");
    let token_url = token_url.and_then(|item| {
        let url = TargetUrl(egress::url(&item, egress, allow_http)?);
        let shown = if item.is_from_file() { MASK.into() } else { url.to_string().into() };
        Some((url, shown))
    });
    let client_id = required(&mut keys, "client_id");
    let client_secret = required(&mut keys, "client_secret");
    let scopes = keys.get("scopes").map(|item| item.elements()).unwrap_or_default();
    // OAuth itself separates scopes by spaces, and so do those who copy them.
    let words = |item: &Item<'_>| item.nonempty().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let scopes = scopes.iter().flat_map(words).collect();
    let audience = keys.get("audience").map(|item| item.nonempty());
    keys.done();
    let (token_url, shown) = token_url?;
    Some(OAuth2 { token_url, shown, client_id: client_id?, client_secret: client_secret?, scopes, audience })
}

fn required(keys: &mut Keys<'_>, key: &'static str) -> Option<SecretString> {
    let item =
        keys.require(key, "the token endpoint gave it to you; write it by `${env:…}` or `${file:…}`")?;
    Some(item.nonempty().into())
}
