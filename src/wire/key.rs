use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::ZeroizeOnDrop;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Sha256, Sha512};

use super::spec::{Algorithm, Encoding, KeyForm, SignatureSpec};

/// Base64 with the standard alphabet; padding is written, and may be missing in what is read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret, ready to sign. HMAC's key schedule is computed once and cloned for each message. All
/// of them are wiped from memory when they are dropped.
pub(super) enum Key {
    HmacSha256(Box<Hmac<Sha256>>),
    HmacSha512(Box<Hmac<Sha512>>),
    Ed25519(Box<SigningKey>),
}

// That they are wiped is up to features of the libraries, of which HMAC keeps nothing but two states.
const _: () = {
    const fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Sha256>();
    is_wiped::<Sha512>();
    is_wiped::<SigningKey>();
};

/// How one secret of a signature is read: its own prefix may say so.
pub(super) fn scheme(secret: &SecretString, spec: &SignatureSpec) -> (Algorithm, KeyForm) {
    let text = secret.expose_secret();
    let says_so = text.starts_with("whsk_") || text.starts_with("whpk_");
    match spec.ed25519.is_some() && says_so {
        true => (Algorithm::Ed25519, KeyForm::Base64),
        false => (spec.algorithm, spec.key),
    }
}

impl Key {
    /// Reads a secret's text; the error says what is wrong with it and how to get a good one,
    /// without the text.
    pub(super) fn read(secret: &SecretString, spec: &SignatureSpec) -> Result<Key, &'static str> {
        let (algorithm, form) = scheme(secret, spec);
        let bytes = match form {
            KeyForm::Text if algorithm == Algorithm::Ed25519 => {
                return Err("an Ed25519 key is binary; set `signature.key: base64`");
            }
            KeyForm::Text => SecretBox::new(Box::new(secret.expose_secret().as_bytes().to_vec())),
            KeyForm::Base64 => decode(secret.expose_secret(), algorithm)?,
        };
        let bytes = bytes.expose_secret();
        if bytes.is_empty() {
            return Err("the secret is empty; give one with at least 24 random bytes");
        }
        // HMAC takes keys of any length, so these do not fail.
        let unusable = "the secret can't be used as a key; generate a new one";
        Ok(match algorithm {
            Algorithm::HmacSha256 => {
                Key::HmacSha256(Box::new(Hmac::new_from_slice(bytes).map_err(|_| unusable)?))
            }
            Algorithm::HmacSha512 => {
                Key::HmacSha512(Box::new(Hmac::new_from_slice(bytes).map_err(|_| unusable)?))
            }
            Algorithm::Ed25519 => Key::Ed25519(Box::new(ed25519(bytes)?)),
        })
    }

    /// Signs what `message` hands over, part by part.
    pub(super) fn sign<E>(
        &self,
        encoding: Encoding,
        message: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<String, E> {
        match self {
            Key::HmacSha256(key) => mac(&**key, encoding, message),
            Key::HmacSha512(key) => mac(&**key, encoding, message),
            Key::Ed25519(key) => {
                let mut whole = Vec::new();
                message(&mut |part| whole.extend_from_slice(part))?;
                Ok(encode(&key.sign(&whole).to_bytes(), encoding))
            }
        }
    }
}

fn mac<M: Mac + Clone, E>(
    key: &M,
    encoding: Encoding,
    message: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
) -> Result<String, E> {
    let mut mac = key.clone();
    message(&mut |part| mac.update(part))?;
    Ok(encode(&mac.finalize().into_bytes(), encoding))
}

fn encode(signature: &[u8], encoding: Encoding) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match encoding {
        Encoding::Hex => signature
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 0xf])
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect(),
        Encoding::Base64 => BASE64.encode(signature),
    }
}

/// A signature as the sender wrote it. `None`: it is none.
pub(super) fn decoded(signature: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64.decode(signature).ok(),
        Encoding::Hex => {
            let digit = |byte: u8| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            };
            let (pairs, rest) = signature.as_bytes().as_chunks::<2>();
            let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
            rest.is_empty().then(|| pairs.iter().map(byte).collect())?
        }
    }
}

/// An Ed25519 public key, from what stands after `whpk_`.
pub(super) fn public_key(bare: &str) -> Result<VerifyingKey, &'static str> {
    let fault = "a public key has 32 bytes, as whpk_<base64>";
    let bytes = BASE64.decode(bare).map_err(|_| fault)?;
    let bytes = bytes.as_slice().try_into().map_err(|_| fault)?;
    VerifyingKey::from_bytes(bytes).map_err(|_| "the bytes after whpk_ are no Ed25519 public key")
}

/// Standard Webhooks serialises keys as base64 after `whsec_` (HMAC) or `whsk_` (Ed25519).
fn decode(text: &str, algorithm: Algorithm) -> Result<SecretBox<Vec<u8>>, &'static str> {
    const REMEDY: &str = "it is no base64 of a key; generate one with `head -c 32 /dev/urandom | base64` \
                          (24 to 64 random bytes) and write it as whsec_<base64>";
    let symmetric = algorithm != Algorithm::Ed25519;
    let bare = match text.split_once('_') {
        Some(("whsec", bare)) if symmetric => bare,
        Some(("whsk", bare)) if !symmetric => bare,
        Some(("whsec", _)) => {
            return Err("whsec_ is an HMAC secret; give the Ed25519 key as whsk_<base64>, or set \
                        `signature.algorithm: hmac-sha256`");
        }
        Some(("whsk", _)) => {
            return Err("whsk_ is an Ed25519 key; set `signature.algorithm: ed25519` and \
                        `signature.each: 'v1a,{{signature}}'`, or give an HMAC secret as whsec_<base64>");
        }
        Some(("whpk", _)) => {
            return Err("whpk_ is a public key, which is for the receiver; give the private key as \
                        whsk_<base64>");
        }
        _ => text,
    };
    let bytes = SecretBox::new(Box::new(BASE64.decode(bare).map_err(|_| REMEDY)?));
    let length = bytes.expose_secret().len();
    if symmetric && bare.len() != text.len() && !(24..=64).contains(&length) {
        return Err("a whsec_ secret has 24 to 64 bytes; generate one with \
                    `head -c 32 /dev/urandom | base64` and write it as whsec_<base64>");
    }
    if symmetric && length < 16 {
        return Err("the key is shorter than 16 bytes after base64; generate one with \
                    `head -c 32 /dev/urandom | base64` (24 to 64 random bytes) and write it as \
                    whsec_<base64>");
    }
    Ok(bytes)
}

fn ed25519(bytes: &[u8]) -> Result<SigningKey, &'static str> {
    if let Ok(seed) = bytes.try_into() {
        return Ok(SigningKey::from_bytes(seed));
    }
    let pair = bytes.try_into().map_err(
        |_| "an Ed25519 key has 32 bytes (the seed) or 64 (seed and public key), as whsk_<base64>",
    )?;
    SigningKey::from_keypair_bytes(pair)
        .map_err(|_| "the public half of the Ed25519 key does not belong to its seed; give the seed alone")
}
