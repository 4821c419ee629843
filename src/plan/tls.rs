//! `tls` of a target: whom it trusts, and what it shows of itself.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::walk::Item;

/// How PEM text gets in.
const BY_FILE: &str = "write the text of a PEM file, for example `\"${file:/etc/hookferry/tls.pem}\"`";

/// `tls` of a target. `Debug` shows no key.
#[derive(Clone)]
pub struct TargetTls {
    /// `ca`: trusted instead of this machine's authorities.
    pub ca: Option<Arc<RootCertStore>>,
    /// `cert` and `key`: shown to a receiver that asks for it.
    pub client: Option<Arc<CertifiedKey>>,
    /// Of all that was configured; settings with the same one are the same.
    digest: [u8; 32],
}

#[cfg(test)]
impl TargetTls {
    /// With these PEM texts: an authority; a certificate and its key.
    pub(crate) fn of(ca: Option<&str>, own: Option<(&str, &str)>) -> TargetTls {
        let client = own.map(|(chain, key)| client(certificates(chain).unwrap(), key).unwrap());
        let ca_roots = ca.map(|text| Arc::new(authorities(text).unwrap()));
        let digest = Sha256::digest(format!("{ca:?}{own:?}")).into();
        TargetTls { ca: ca_roots, client: client.map(Arc::new), digest }
    }
}

impl fmt::Debug for TargetTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetTls")
            .field("ca", &self.ca.as_ref().map(|roots| roots.len()))
            .field("client", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

impl PartialEq for TargetTls {
    fn eq(&self, other: &TargetTls) -> bool {
        self.digest == other.digest
    }
}

/// Reads `tls`.
pub(super) fn tls(item: &Item<'_>) -> TargetTls {
    let mut keys = item.keys();
    let (ca, cert, key) = (keys.get("ca"), keys.get("cert"), keys.get("key"));
    match (&cert, &key) {
        (Some(_), None) => keys.missing("key", "`cert` needs the key that belongs to it"),
        (None, Some(_)) => keys.missing("cert", "`key` needs the certificate that belongs to it"),
        _ => {}
    }
    keys.done();
    let digest = digest([&ca, &cert, &key]);
    // The values are masked, and certificates are no secret.
    for item in [&ca, &cert].into_iter().flatten() {
        let text = item.node.as_scalar().map_or("", |scalar| &scalar.text);
        item.findings().content(&item.path, text);
    }
    let roots = ca.and_then(|item| item.parse(None, |text| authorities(text).map(Some)));
    let chain = cert.and_then(|item| item.parse(None, |text| certificates(text).map(Some)));
    let client = chain.zip(key).and_then(|(chain, item)| {
        item.parse(None, |text| client(chain, text).map(|client| Some(Arc::new(client))))
    });
    TargetTls { ca: roots.map(Arc::new), client, digest }
}

fn digest(items: [&Option<Item<'_>>; 3]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for item in items {
        let text = item.as_ref().and_then(|item| item.node.as_scalar()).map_or("", |scalar| &scalar.text);
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    }
    sha.finalize().into()
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("there is no certificate in it; {BY_FILE}")),
        Err(_) => Err(format!("its PEM text is damaged; {BY_FILE}")),
    }
}

fn authorities(text: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots
            .add(certificate)
            .map_err(|_| "a certificate in it can't be read as that of an authority".to_owned())?;
    }
    Ok(roots)
}

fn client(chain: Vec<CertificateDer<'static>>, key: &str) -> Result<CertifiedKey, String> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| format!("there is no private key in it (without a password); {BY_FILE}"))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate `cert`".to_owned(),
        _ => "key or certificate can't be used; RSA from 2048 bits, ECDSA P-256, P-384 and Ed25519 can"
            .to_owned(),
    })
}
