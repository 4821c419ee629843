//! Where a target's requests go, taken apart once.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::plan::{self, HttpVersion, Target};
use crate::wire;

/// A target's address, ready for use by one thread.
pub(super) struct Endpoint {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// `None` is plain HTTP.
    pub(super) secure: Option<Secure>,
    pub(super) proxy: Option<Proxy>,
    method: Method,
    /// In the form in which whoever is connected to is asked (RFC 9112 §3.2, RFC 9113 §8.3.1).
    uri: Uri,
    /// HTTP/2 has no such header.
    host_header: Option<HeaderValue>,
}

/// How a receiver is spoken to over TLS.
pub(super) struct Secure {
    /// Whom its certificate must name.
    pub(super) name: ServerName<'static>,
    pub(super) config: Arc<ClientConfig>,
}

/// The proxy before a receiver.
pub(super) struct Proxy {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// What opens a tunnel; `None`: the proxy itself is asked for the receiver's answer.
    pub(super) connect: Option<SecretString>,
    /// Of requests that it is asked itself.
    authorization: Option<HeaderValue>,
}

/// What makes an address unusable. Holds nothing of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Neither `http` nor `https`.
    #[error("the URL must start with https:// or http://")]
    Scheme,
    /// No host, or one that neither DNS nor TLS can hold.
    #[error("the URL's host can't be used")]
    Host,
    /// The path or query has characters that HTTP can't send.
    #[error("the URL's path or query has characters that must be percent-encoded")]
    Path,
}

impl Endpoint {
    /// `tls` is how it is spoken to if its URL is `https`.
    pub(super) fn new(target: &Target, tls: &Arc<ClientConfig>) -> Result<Endpoint, AddressFault> {
        let url = &target.url.0;
        let host = url.host().ok_or(AddressFault::Host)?.to_owned();
        let secure = match url.scheme() {
            "https" => Some(Secure { name: tls_name(&host)?, config: tls.clone() }),
            "http" => None,
            _ => return Err(AddressFault::Scheme),
        };
        let port = url.port_or_known_default().ok_or(AddressFault::Scheme)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let tunnels = secure.is_some() || target.http == HttpVersion::Two;
        let whole = target.http == HttpVersion::Two || (target.proxy.is_some() && !tunnels);
        let path = path(url);
        let uri = if whole { format!("{}://{authority}{path}", url.scheme()) } else { path };
        let proxy = target.proxy.as_ref().map(|proxy| {
            let connect = tunnels.then(|| connect(&host, port, proxy.authorization.as_ref()));
            before(proxy, connect)
        });
        let host_header = HeaderValue::from_str(&authority).map_err(|_| AddressFault::Host)?;
        Ok(Endpoint {
            host,
            port,
            secure,
            proxy,
            method: target.method.clone(),
            uri: uri.parse().map_err(|_| AddressFault::Path)?,
            host_header: (target.http == HttpVersion::One).then_some(host_header),
        })
    }

    /// The finished request. hyper writes `content-length` itself, except for an empty body.
    pub(super) fn request(&self, rendered: wire::Request) -> Request<Bytes> {
        self.written(self.method.clone(), rendered.headers, rendered.body)
    }

    /// A request about the target's address, without an event.
    pub(super) fn options(&self, headers: HeaderMap) -> Request<Bytes> {
        self.written(Method::OPTIONS, headers, Bytes::new())
    }

    fn written(&self, method: Method, headers: HeaderMap, body: Bytes) -> Request<Bytes> {
        let empty = body.is_empty();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        if let Some(host) = &self.host_header {
            request.headers_mut().insert(HOST, host.clone());
        }
        if let Some(authorization) = self.proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        if empty {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request
    }
}

fn path(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// With a tunnel only the request that opens it authorises itself to the proxy.
fn before(proxy: &plan::Proxy, connect: Option<SecretString>) -> Proxy {
    let authorization = proxy.authorization.as_ref().filter(|_| connect.is_none());
    Proxy {
        host: proxy.host.clone(),
        port: proxy.port,
        connect,
        authorization: authorization.and_then(sensitive),
    }
}

/// `None` can't happen: the plan wrote it in Base64.
pub(super) fn sensitive(value: &SecretString) -> Option<HeaderValue> {
    wire::secret_value(value.expose_secret().as_bytes())
}

fn connect(host: &Host<String>, port: u16, authorization: Option<&SecretString>) -> SecretString {
    let call = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    match authorization {
        None => format!("{call}\r\n"),
        Some(value) => format!("{call}Proxy-Authorization: {}\r\n\r\n", value.expose_secret()),
    }
    .into()
}

fn tls_name(host: &Host<String>) -> Result<ServerName<'static>, AddressFault> {
    match host {
        Host::Domain(name) => {
            ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(|_| AddressFault::Host)
        }
        Host::Ipv4(address) => Ok(ServerName::from(std::net::IpAddr::V4(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(std::net::IpAddr::V6(*address))),
    }
}
