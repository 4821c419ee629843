//! One request to a token endpoint. It is made as those to the target are: under its egress, through
//! its proxy, with its `tls`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response};
use rustls::ClientConfig;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use url::{Host, Url};

use super::dial::detail;
use super::endpoint::sensitive;
use super::names::Names;
use super::reach;
use super::token::{Grant, USUAL_LIFE};
use super::trust;
use crate::domain::Reply;
use crate::plan::{self, Egress, OAuth2, Proxy, Target};

/// A token endpoint has so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// So much of its answer is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// The longest life that a token is believed to have.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Where the client's id and secret stand in the request (RFC 6749 §2.3.1). Every endpoint should know
/// the first, but not all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Style {
    #[default]
    Header,
    Body,
}

/// How tokens are asked for. `Display` shows at most the endpoint's scheme, host and port.
pub(super) struct TokenRequest {
    oauth2: OAuth2,
    host: Host<String>,
    port: u16,
    egress: Egress,
    proxy: Option<Proxy>,
    tls: ClientConfig,
    connect_timeout: Duration,
}

impl fmt::Display for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.oauth2.shown)
    }
}

/// Why there is no token, for people; and whether the endpoint refuses this way to name the client.
struct Refused {
    text: Box<str>,
    is_style: bool,
}

impl TokenRequest {
    /// `None`: the target needs no tokens.
    pub(super) fn of(target: &Target, tls: Option<ClientConfig>) -> Option<TokenRequest> {
        let oauth2 = target.oauth2.clone()?;
        let url = &oauth2.token_url.0;
        Some(TokenRequest {
            host: url.host()?.to_owned(),
            port: url.port_or_known_default()?,
            egress: target.egress.clone(),
            proxy: target.proxy.clone(),
            tls: tls?,
            connect_timeout: target.connect_timeout,
            oauth2,
        })
    }

    /// Asks for a token; if the endpoint does not take the client's credentials in this way, in the
    /// other way too. Tells which way worked. The text of a failure holds no secret and no URL.
    pub(super) async fn make(&self, names: &Names, style: Style) -> Result<(Grant, Style), Box<str>> {
        let work = async {
            let first = match self.ask(names, style).await {
                Ok(grant) => return Ok((grant, style)),
                Err(refused) if refused.is_style => refused,
                Err(refused) => return Err(refused.text),
            };
            let other = if style == Style::Header { Style::Body } else { Style::Header };
            self.ask(names, other).await.map(|grant| (grant, other)).map_err(|_| first.text)
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("the token endpoint gave no token within {PATIENCE:?}").into()),
        }
    }

    async fn ask(&self, names: &Names, style: Style) -> Result<Grant, Refused> {
        let client = self.client(names).await?;
        let response =
            self.written(&client, style).send().await.map_err(|error| refused(unreachable(&error)))?;
        let status = response.status();
        let body = read(response).await?;
        if status != StatusCode::OK {
            let is_style = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
            let text = format!("the token endpoint answered {}{}", status.as_u16(), error_code(&body));
            return Err(Refused { text: text.into(), is_style });
        }
        granted(&body).ok_or_else(|| refused("the answer of the token endpoint holds no bearer token"))
    }

    /// A client that connects only to what was judged: made anew for each request, since tokens are
    /// rare and addresses change.
    async fn client(&self, names: &Names) -> Result<Client, Refused> {
        let judged = |reply: Reply| refused(format!("the token endpoint can't be asked: {}", detail(reply)));
        let builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(self.tls.clone())
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(0);
        let builder = match &self.proxy {
            None => {
                let found =
                    reach::allowed(names, &self.egress, &self.host, self.port).await.map_err(judged)?;
                builder.dns_resolver(Pinned(found))
            }
            Some(proxy) => {
                let patience = self.connect_timeout;
                reach::beyond_proxy(names, &self.egress, &self.host, self.port, patience)
                    .await
                    .map_err(judged)?;
                let found = reach::found(names, &proxy.host).await.map_err(judged)?;
                builder.dns_resolver(Pinned(found)).proxy(through(proxy).ok_or_else(unusable)?)
            }
        };
        builder.build().map_err(|_| unusable())
    }

    fn written(&self, client: &Client, style: Style) -> RequestBuilder {
        let OAuth2 { token_url, client_id, client_secret, scopes, audience, .. } = &self.oauth2;
        // Large enough, so that no copy is left behind where it grew.
        let most = 3 * (client_id.expose_secret().len() + client_secret.expose_secret().len());
        let others = scopes.iter().chain(audience).map(|text| 3 * text.len() + 1).sum::<usize>();
        let mut form = Serializer::new(String::with_capacity(128 + most + others));
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        if let Some(audience) = audience {
            form.append_pair("audience", audience);
        }
        if style == Style::Body {
            form.append_pair("client_id", client_id.expose_secret());
            form.append_pair("client_secret", client_secret.expose_secret());
        }
        let request = client
            .post(token_url.0.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(hyper::header::ACCEPT, "application/json")
            .body(Bytes::from_owner(Zeroizing::new(form.finish())));
        match (style, basic(client_id, client_secret)) {
            (Style::Header, Some(value)) => request.header(AUTHORIZATION, value),
            _ => request,
        }
    }
}

/// Each part is written as in a form before they are joined (RFC 6749 §2.3.1).
fn basic(id: &SecretString, secret: &SecretString) -> Option<HeaderValue> {
    let form =
        |text: &SecretString| Zeroizing::new(byte_serialize(text.expose_secret().as_bytes()).collect());
    let (id, secret): (Zeroizing<String>, Zeroizing<String>) = (form(id), form(secret));
    sensitive(&plan::basic(&id, &secret))
}

/// Whatever is looked up has these addresses.
struct Pinned(Vec<IpAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _name: Name) -> Resolving {
        // The port is that of the URL.
        let found: Vec<_> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(async { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

fn through(proxy: &Proxy) -> Option<reqwest::Proxy> {
    let url = Url::parse(&format!("http://{proxy}")).ok()?;
    let through = reqwest::Proxy::all(url).ok()?;
    Some(match &proxy.authorization {
        Some(value) => through.custom_http_auth(sensitive(value)?),
        None => through,
    })
}

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    while let Some(part) = response.chunk().await.map_err(|error| refused(unreachable(&error)))? {
        if body.len() + part.len() > ANSWER_LIMIT {
            return Err(refused("the answer of the token endpoint is too large"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// An access token (RFC 6749 §5.1). The life is a text in some places.
fn granted(body: &[u8]) -> Option<Grant> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        token_type: Option<String>,
        expires_in: Option<serde_json::Value>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let is_bearer = answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let token = Zeroizing::new(answer.access_token);
    if !is_bearer || token.is_empty() {
        return None;
    }
    let seconds = match answer.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_f64(),
        Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(USUAL_LIFE);
    let header = sensitive(&SecretString::from(format!("Bearer {}", *token)))?;
    // Whatever its life, it is good for the attempt that waits for it.
    Some(Grant { header, life: life.clamp(Duration::from_secs(1), LONGEST_LIFE) })
}

/// The code of an error (RFC 6749 §5.2), if it is one: descriptions may repeat what was sent.
fn error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: String,
    }
    let code = serde_json::from_slice::<Answer>(body).map(|answer| answer.error).unwrap_or_default();
    let known =
        (1..=40).contains(&code.len()) && code.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    if known { format!(" ({code})") } else { String::new() }
}

/// An error's own text would hold the URL.
fn unreachable(error: &reqwest::Error) -> String {
    if let Some(fault) = trust::fault_in(error) {
        format!("no trust between us and the token endpoint: {}", trust::fault_text(fault))
    } else if error.is_timeout() {
        "the token endpoint did not answer in time".to_owned()
    } else if error.is_connect() {
        "no connection to the token endpoint".to_owned()
    } else {
        "the token endpoint closed the connection before its answer was complete".to_owned()
    }
}

fn refused(text: impl Into<Box<str>>) -> Refused {
    Refused { text: text.into(), is_style: false }
}

fn unusable() -> Refused {
    refused("the token endpoint can't be asked with these settings")
}
