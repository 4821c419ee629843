use std::path::Path;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::arguments::{Format, Verify};
use super::publish::read_bytes;
use super::signatory::{Signer, SignerFault, StandardInput};
use super::{Exit, answer, complain};
use crate::domain::Moment;
use crate::plan::Layers;
use crate::wire::verify::{Refusal, Verified, Verifier};

/// A judgement, with what else there is to say.
pub(super) struct Verdict {
    result: Result<Verified, Refusal>,
    now_ms: i64,
    /// How many secrets are live.
    secrets: usize,
    /// What would have been right.
    hint: Option<&'static str>,
}

/// Judges a captured request and says why it is refused.
pub(super) fn verify(asked: &Verify, layers: impl FnOnce() -> Layers, format: Format) -> Exit {
    let verdict = match verdict(asked, layers) {
        Ok(verdict) => verdict,
        Err(fault) => {
            complain(&fault);
            return Exit::BadInput;
        }
    };
    let written = match format {
        Format::Text => answer(&format!("{}\n", verdict.text())),
        Format::Json => answer(&format!("{}\n", verdict.document())),
    };
    if verdict.result.is_err() { Exit::Failed } else { written }
}

fn verdict(asked: &Verify, layers: impl FnOnce() -> Layers) -> Result<Verdict, SignerFault> {
    let signer = Signer::required(&asked.signatory, layers, StandardInput::of(&asked.body))?;
    let verifier = signer.verifier().map_err(SignerFault::Choice)?.tolerating(asked.tolerance);
    let read = |file: &Path| {
        read_bytes(file)
            .map_err(|cause| SignerFault::Choice(format!("{}: can't be read: {cause}", file.display())))
    };
    let headers = headers(&read(&asked.headers)?)
        .map_err(|fault| SignerFault::Choice(format!("{}:{fault}", asked.headers.display())))?;
    let body = read(&asked.body)?;
    let now_ms = asked.at.unwrap_or_else(|| Moment::now().wall_ms);
    Ok(Verdict::of(&verifier, signer.secrets(), &headers, &body, now_ms))
}

/// The headers of a captured request: a line of its start may come first, and an empty line ends them.
fn headers(bytes: &[u8]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let is_start = index == 0
            && line.split(|byte| *byte == b' ').next_back().is_some_and(|last| last.starts_with(b"HTTP/"));
        if is_start {
            continue;
        }
        let fault = || format!("{}: this is no header; write `Name: value`", index + 1);
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(fault)?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| fault())?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| fault())?);
    }
    Ok(headers)
}

impl Verdict {
    /// Judges a request that came at `now_ms`.
    pub(super) fn of(
        verifier: &Verifier,
        secrets: usize,
        headers: &HeaderMap,
        body: &[u8],
        now_ms: i64,
    ) -> Verdict {
        let result = verifier.verify(headers, body, now_ms);
        let without_newline = body.strip_suffix(b"\n").map(|body| body.strip_suffix(b"\r").unwrap_or(body));
        let fits = |body: &[u8]| verifier.verify(headers, body, now_ms).is_ok();
        let hint = (matches!(result, Err(Refusal::NoMatch { .. })) && without_newline.is_some_and(fits))
            .then_some(
                "without the newline at the end of the body it matches: was that added when it was captured?",
            );
        Verdict { result, now_ms, secrets, hint }
    }

    /// Whether the signature holds.
    pub(super) fn holds(&self) -> bool {
        self.result.is_ok()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match &self.result {
            Ok(verified) => {
                let age = verified.signed_ms.map(|signed_ms| {
                    let seconds = (self.now_ms - signed_ms) / 1000;
                    if seconds < 0 { format!(", {} s ahead", -seconds) } else { format!(", {seconds} s ago") }
                });
                let secret = format!("signed with secret {} of {}", verified.secret + 1, self.secrets);
                format!("ok: {secret}{}", age.unwrap_or_default())
            }
            Err(refusal) => {
                let hint = self.hint.map(|hint| format!("; {hint}"));
                format!("refused: {refusal}{}", hint.unwrap_or_default())
            }
        }
    }

    /// For programs.
    pub(super) fn document(&self) -> serde_json::Value {
        match &self.result {
            Ok(verified) => json!({
                "ok": true,
                "secret": verified.secret + 1,
                "secrets": self.secrets,
                "id": verified.id,
                "signed_ms": verified.signed_ms,
            }),
            Err(refusal) => json!({
                "ok": false,
                "reason": refusal.code(),
                "detail": refusal.to_string(),
                "hint": self.hint,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_headers_end_with_an_empty_line() {
        let text = b"POST /hooks HTTP/1.1\r\nX-A: 1\r\nx-b:  two: parts \r\nX-A: 3\r\n\r\nX-C: body\n";
        let headers = headers(text).expect("headers");
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(headers["x-b"], "two: parts");
        assert!(!headers.contains_key("x-c"));
    }

    #[test]
    fn a_line_that_is_no_header_is_named() {
        assert_eq!(
            super::headers(b"X-A: 1\nno header\n"),
            Err("2: this is no header; write `Name: value`".into())
        );
        assert!(super::headers(b"two words: 1").is_err());
    }
}
