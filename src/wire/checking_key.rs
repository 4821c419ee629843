use ed25519_dalek::VerifyingKey;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Sha256, Sha512};

use super::key::{Key, public_key, scheme};
use super::spec::{Algorithm, SignatureSpec};
use super::template::NoType;

/// A secret as a receiver uses it: the sender's own for HMAC, the public half for Ed25519.
pub(super) enum CheckingKey {
    HmacSha256(Box<Hmac<Sha256>>),
    HmacSha512(Box<Hmac<Sha512>>),
    Ed25519(Box<VerifyingKey>),
}

impl CheckingKey {
    /// Reads a secret's text as the sender does; for Ed25519 also a `whpk_` public key.
    pub(super) fn read(secret: &SecretString, spec: &SignatureSpec) -> Result<CheckingKey, &'static str> {
        let public = secret.expose_secret().strip_prefix("whpk_");
        if let ((Algorithm::Ed25519, _), Some(bare)) = (scheme(secret, spec), public) {
            return public_key(bare).map(Box::new).map(CheckingKey::Ed25519);
        }
        Ok(match Key::read(secret, spec)? {
            Key::HmacSha256(key) => CheckingKey::HmacSha256(key),
            Key::HmacSha512(key) => CheckingKey::HmacSha512(key),
            Key::Ed25519(key) => CheckingKey::Ed25519(Box::new(key.verifying_key())),
        })
    }

    /// Whether one of these signatures is this key's over what `message` hands over. How long it takes
    /// says nothing of how much of a signature is right.
    pub(super) fn made_one_of(
        &self,
        signatures: &[Vec<u8>],
        message: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), NoType>,
    ) -> Result<bool, NoType> {
        match self {
            CheckingKey::HmacSha256(key) => mac(&**key, signatures, message),
            CheckingKey::HmacSha512(key) => mac(&**key, signatures, message),
            CheckingKey::Ed25519(key) => {
                let mut whole = Vec::new();
                message(&mut |part| whole.extend_from_slice(part))?;
                let is_mine = |signature: &Vec<u8>| {
                    ed25519_dalek::Signature::from_slice(signature)
                        .is_ok_and(|signature| key.verify_strict(&whole, &signature).is_ok())
                };
                Ok(signatures.iter().any(is_mine))
            }
        }
    }
}

/// The message is read once, however many signatures there are. `verify_slice` compares in constant
/// time.
fn mac<M: Mac + Clone>(
    key: &M,
    signatures: &[Vec<u8>],
    message: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), NoType>,
) -> Result<bool, NoType> {
    let mut mac = key.clone();
    message(&mut |part| mac.update(part))?;
    Ok(signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()))
}
