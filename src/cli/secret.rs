use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::arguments::{Format, Secret};
use super::sign::hex;
use super::{Exit, answer, complain};
use crate::plan;
use crate::wire::KeyForm;

/// Bytes of a new secret: 256 bits.
const BYTES: usize = 32;

/// Prints a new secret.
pub(super) fn secret(asked: &Secret, format: Format) -> Exit {
    let request = match plan::dialect(&asked.dialect, "new", &[]) {
        Ok(request) => request,
        Err(fault) => {
            complain(&format!("--dialect: {fault}"));
            return Exit::BadInput;
        }
    };
    let form = request.signature.map_or(KeyForm::Base64, |signature| signature.key);
    if asked.ed25519 && form != KeyForm::Base64 {
        complain(&"--ed25519: the receivers of this dialect know HMAC only; leave it out");
        return Exit::BadInput;
    }
    let bytes = match random::<BYTES>() {
        Ok(bytes) => bytes,
        Err(fault) => {
            complain(&fault);
            return Exit::Failed;
        }
    };
    let (secret, public) = match form {
        KeyForm::Base64 if asked.ed25519 => {
            let public = SigningKey::from_bytes(&bytes).verifying_key();
            (
                format!("whsk_{}", BASE64.encode(bytes)),
                Some(format!("whpk_{}", BASE64.encode(public.to_bytes()))),
            )
        }
        KeyForm::Base64 => (format!("whsec_{}", BASE64.encode(bytes)), None),
        KeyForm::Text => (hex(&bytes), None),
    };
    match (format, public) {
        (Format::Json, public) => answer(&format!("{}\n", json!({ "secret": secret, "public": public }))),
        (Format::Text, None) => answer(&format!("{secret}\n")),
        (Format::Text, Some(public)) => answer(&format!("{secret}\n{public}\n")),
    }
}

/// From the system's own source of randomness.
pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| format!("the system gives no random bytes: {cause}"))?;
    Ok(bytes)
}
