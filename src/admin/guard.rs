use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use url::{Host, Url};

/// Answers only requests that name this machine by a loopback name and come from no foreign web
/// page: without a token, everything except `/metrics` and the probes is for whoever sits at the
/// machine (PRODUCT.md §3). A web page that points its own name at 127.0.0.1 sends that name.
pub(super) async fn local_only(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        None => next.run(request).await,
        Some(reason) => super::answer(StatusCode::FORBIDDEN, reason),
    }
}

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
    use axum::http::HeaderValue;

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
}
