//! Where a target's requests go, taken apart once.

use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Method, Uri};
use rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::wire;

/// A target's address, ready for use by one thread.
pub(super) struct Endpoint {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// Whom the certificate must name; `None` is plain HTTP.
    pub(super) tls_name: Option<ServerName<'static>>,
    /// Path and query, the form in which an origin server is asked (RFC 9112 §3.2.1).
    path: Uri,
    host_header: HeaderValue,
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
    pub(super) fn new(url: &Url) -> Result<Endpoint, AddressFault> {
        let host = url.host().ok_or(AddressFault::Host)?.to_owned();
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressFault::Scheme),
        };
        let port = url.port_or_known_default().ok_or(AddressFault::Scheme)?;
        let tls_name = if secure { Some(tls_name(&host)?) } else { None };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Endpoint {
            host,
            port,
            tls_name,
            path: path.parse().map_err(|_| AddressFault::Path)?,
            host_header: HeaderValue::from_str(&authority).map_err(|_| AddressFault::Host)?,
        })
    }

    /// The finished request. hyper writes `content-length` itself, except for an empty body.
    pub(super) fn request(&self, rendered: wire::Request) -> hyper::Request<Full<bytes::Bytes>> {
        let wire::Request { headers, body } = rendered;
        let empty = body.is_empty();
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.host_header.clone());
        if empty {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        request
    }
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
