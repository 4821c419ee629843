//! TLS: whom we trust, what we show of ourselves, and what a failed handshake says.

use std::io;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use crate::plan::{HttpVersion, Plan, Target};

/// HTTP/2, as ALPN names it.
pub(super) const H2: &[u8] = b"h2";

/// What is said of a receiver that does not choose it.
pub(super) const NO_HTTP2: &str = "the receiver does not offer HTTP/2 (ALPN h2); write `http: 1`";

/// The certificate authorities of this machine (also `SSL_CERT_FILE` and `SSL_CERT_DIR`). May be
/// empty; single certificates that can't be read are left out.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Whether this machine's authorities are asked about a target or its token endpoint.
pub(super) fn uses_system(target: &Target) -> bool {
    let secure = |url: &url::Url| url.scheme() == "https";
    let has_own = target.tls.as_ref().is_some_and(|tls| tls.ca.is_some());
    let token = target.oauth2.as_ref().is_some_and(|oauth2| secure(&oauth2.token_url.0));
    token || (secure(&target.url.0) && !has_own)
}

/// Whether nobody else can be asked about it.
pub(super) fn needs_system(target: &Target) -> bool {
    uses_system(target) && target.tls.as_ref().is_none_or(|tls| tls.ca.is_none())
}

/// How the receivers of a plan are spoken to: by target. Targets without `tls` share their sessions.
pub(super) fn receivers(roots: &Arc<RootCertStore>, plan: &Plan) -> Result<Vec<Arc<ClientConfig>>, Error> {
    let shared = |version| client(roots.clone(), None, version).map(Arc::new);
    let (one, two) = (shared(HttpVersion::One)?, shared(HttpVersion::Two)?);
    let of = |target: &Target| match (&target.tls, target.http) {
        (Some(tls), version) => {
            let roots = tls.ca.as_ref().unwrap_or(roots).clone();
            client(roots, tls.client.clone(), version).map(Arc::new)
        }
        (None, HttpVersion::One) => Ok(one.clone()),
        (None, HttpVersion::Two) => Ok(two.clone()),
    };
    plan.targets.iter().map(|target| of(target)).collect()
}

/// How a target's token endpoint is spoken to: a `ca` of the target counts beside the machine's
/// authorities, because such endpoints are often other people's.
pub(super) fn token_endpoint(roots: &RootCertStore, target: &Target) -> Result<ClientConfig, Error> {
    let mut roots = roots.clone();
    let tls = target.tls.as_ref();
    if let Some(own) = tls.and_then(|tls| tls.ca.as_ref()) {
        roots.extend(own.roots.iter().cloned());
    }
    client(Arc::new(roots), tls.and_then(|tls| tls.client.clone()), HttpVersion::One)
}

/// TLS 1.2 and 1.3, for one version of HTTP.
pub(crate) fn client(
    roots: Arc<RootCertStore>,
    own: Option<Arc<CertifiedKey>>,
    version: HttpVersion,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    };
    config.alpn_protocols = match version {
        HttpVersion::One => vec![b"http/1.1".to_vec()],
        HttpVersion::Two => vec![H2.to_vec()],
    };
    Ok(config)
}

/// Why a handshake failed, for people.
pub(super) fn text_of(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(fault) => fault_text(fault),
        None => format!("the connection broke in the TLS handshake: {}", error.kind()),
    }
}

/// What TLS has against a connection, if that is what an error comes from. What an I/O error holds
/// is not among its sources.
pub(crate) fn fault_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    if let Some(fault) = error.downcast_ref() {
        return Some(fault);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => fault_in(inner),
        None => fault_in(error.source()?),
    }
}

/// What TLS has against a connection, for people.
pub(crate) fn fault_text(fault: &Error) -> String {
    match fault {
        Error::InvalidCertificate(fault) => certificate(fault).into(),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => NO_HTTP2.into(),
        Error::AlertReceived(alert) => format!("the receiver ended the TLS handshake ({alert:?})"),
        Error::InvalidMessage(_) => "the receiver does not speak TLS on this port".into(),
        Error::PeerIncompatible(_) => "the receiver has no TLS version or cipher in common with us".into(),
        _ => "the TLS handshake failed".into(),
    }
}

fn certificate(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::UnknownIssuer => "its certificate comes from an authority that is not trusted here",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host"
        }
        CertificateError::Revoked => "its certificate is revoked",
        _ => "its certificate is not valid",
    }
}
