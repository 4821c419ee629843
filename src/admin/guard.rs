use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use url::{Host, Url};

use crate::plan;

/// Who may see everything except `/metrics` and the probes (PRODUCT.md §3).
#[derive(Debug)]
pub(super) enum Guard {
    /// Whoever knows the token, of which this is the SHA-256.
    Token([u8; 32]),
    /// Whoever sits at the machine: it listens on a loopback address.
    Local,
    /// Nobody: anybody could come.
    Closed,
}

impl Guard {
    pub(super) fn new(settings: &plan::Admin) -> Guard {
        match &settings.token {
            Some(token) => Guard::Token(digest(token.expose_secret().as_bytes())),
            None if settings.listen.ip().is_loopback() => Guard::Local,
            None => Guard::Closed,
        }
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        match self {
            Guard::Token(token) if carries(headers, token) => None,
            Guard::Token(_) => Some((
                StatusCode::UNAUTHORIZED,
                "`Authorization: Bearer …` with the `admin.token` is needed here",
            )),
            Guard::Local => refusal(headers).map(|reason| (StatusCode::FORBIDDEN, reason)),
            Guard::Closed => Some((
                StatusCode::FORBIDDEN,
                "admin.listen is no loopback address and there is no admin.token, so this is answered to nobody; \
                 set `admin.token`",
            )),
        }
    }
}

/// The guard on duty. A reload may bring another token.
#[derive(Debug, Clone)]
pub struct Admission(Arc<RwLock<Guard>>);

impl Admission {
    pub(super) fn new(settings: &plan::Admin) -> Admission {
        Admission(Arc::new(RwLock::new(Guard::new(settings))))
    }

    /// Goes by these settings from now on.
    pub fn adopt(&self, settings: &plan::Admin) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Guard::new(settings);
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).refusal(headers)
    }
}

/// Lets through what the guard does not refuse.
pub(super) async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let Some((status, reason)) = admission.refusal(request.headers()) else { return next.run(request).await };
    let mut response = super::refuse(status, reason);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Whether the request carries the token. Digests are compared, all of their bytes, so the time that
/// it takes says nothing of the token.
fn carries(headers: &HeaderMap, token: &[u8; 32]) -> bool {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.as_bytes().split_at_checked(7));
    let Some((scheme, given)) = header else { return false };
    let differences = digest(given).iter().zip(token).fold(0, |all, (given, token)| all | (given ^ token));
    scheme.eq_ignore_ascii_case(b"bearer ") && differences == 0
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Without a token only requests are answered that name this machine by a loopback name and come from
/// no foreign web page. A page that points its own name at 127.0.0.1 sends that name.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| is_loopback(&format!("http://{host}"))) {
        return Some("only requests for a loopback host (localhost, 127.0.0.1, [::1]) are answered");
    }
    match headers.get(ORIGIN) {
        None => None,
        Some(origin) if origin.to_str().is_ok_and(is_loopback) => None,
        Some(_) => Some("requests from foreign origins are not answered"),
    }
}

/// Judges the parsed host, never the text.
fn is_loopback(url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::host) {
        Ok(Some(Host::Domain(name))) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Ok(Some(Host::Ipv4(address))) => address.is_loopback(),
        Ok(Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: Option<&'static str>, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        host.map(|host| headers.insert(HOST, HeaderValue::from_static(host)));
        origin.map(|origin| headers.insert(ORIGIN, HeaderValue::from_static(origin)));
        refusal(&headers).is_some()
    }

    #[test]
    fn loopback_names_are_answered() {
        for host in
            ["localhost", "LOCALHOST:9477", "127.0.0.1:9477", "127.9.9.9", "[::1]:9477", "a.localhost"]
        {
            assert!(!refused(Some(host), None), "{host}");
        }
        assert!(!refused(Some("localhost:9477"), Some("http://localhost:9477")));
    }

    #[test]
    fn other_names_and_foreign_pages_are_not() {
        for host in
            ["example.com", "127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "x@example.com"]
        {
            assert!(refused(Some(host), None), "{host}");
        }
        assert!(refused(None, None));
        assert!(refused(Some("localhost"), Some("https://example.com")));
        assert!(refused(Some("localhost"), Some("null")));
    }

    #[test]
    fn a_token_opens_for_whoever_has_it_and_for_nobody_else() {
        let guard = Guard::Token(digest(b"hunter2"));
        let status = |header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            header.map(|text| headers.insert(AUTHORIZATION, HeaderValue::from_static(text)));
            guard.refusal(&headers).map(|(status, _)| status)
        };
        for right in ["Bearer hunter2", "bearer hunter2"] {
            assert_eq!(status(Some(right)), None, "{right}");
        }
        for wrong in ["Bearer hunter3", "Bearer hunter", "Bearer ", "Basic hunter2", "hunter2", ""] {
            assert_eq!(status(Some(wrong)), Some(StatusCode::UNAUTHORIZED), "{wrong}");
        }
        assert_eq!(status(None), Some(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn a_reload_may_bring_another_token() {
        let settings = |token: &str| plan::Admin {
            listen: "0.0.0.0:1".parse().expect("an address"),
            token: Some(token.to_owned().into()),
        };
        let admission = Admission::new(&settings("first"));
        let on_duty = admission.clone();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer second"));
        assert!(on_duty.refusal(&headers).is_some());
        admission.adopt(&settings("second"));
        assert!(on_duty.refusal(&headers).is_none());
    }

    #[test]
    fn without_a_token_nothing_is_open_to_the_network() {
        let settings =
            |listen: &str| plan::Admin { listen: listen.parse().expect("an address"), token: None };
        assert!(matches!(Guard::new(&settings("127.0.0.1:1")), Guard::Local));
        let closed = Guard::new(&settings("0.0.0.0:1"));
        let refusal = closed.refusal(&HeaderMap::new());
        assert_eq!(refusal.map(|(status, _)| status), Some(StatusCode::FORBIDDEN));
    }
}
