//! TLS: whom we trust, and what a failed handshake says.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// The certificate authorities of this machine (also `SSL_CERT_FILE` and `SSL_CERT_DIR`). May be
/// empty; single certificates that can't be read are left out.
pub(super) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// TLS 1.2 and 1.3 without client certificates, for HTTP/1.1.
pub(super) fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why a handshake failed, for people.
pub(super) fn text_of(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(fault)) => certificate(fault).into(),
        Some(Error::AlertReceived(alert)) => format!("the receiver ended the TLS handshake ({alert:?})"),
        Some(Error::InvalidMessage(_)) => "the receiver does not speak TLS on this port".into(),
        Some(Error::PeerIncompatible(_)) => {
            "the receiver has no TLS version or cipher in common with us".into()
        }
        Some(_) => "the TLS handshake failed".into(),
        None => format!("the connection broke in the TLS handshake: {}", error.kind()),
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
