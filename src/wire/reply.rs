use std::time::UNIX_EPOCH;

use crate::domain::RetryAfter;

/// Reads a `Retry-After` header's value: seconds, or an HTTP date (RFC 9110 §10.2.3). `None` if it
/// is neither.
pub fn retry_after(value: &str) -> Option<RetryAfter> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit only say "very long"; the policy cuts it anyway.
        return Some(RetryAfter::Seconds(value.parse().unwrap_or(u64::MAX)));
    }
    let since = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(RetryAfter::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(retry_after(" 120 "), Some(RetryAfter::Seconds(120)));
        assert_eq!(retry_after("0"), Some(RetryAfter::Seconds(0)));
        assert_eq!(retry_after("99999999999999999999"), Some(RetryAfter::Seconds(u64::MAX)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::At(784_111_777_000)));
    }

    #[test]
    fn anything_else_is_no_retry_after() {
        for value in ["", "-1", "1.5", "soon", "5s", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(value), None, "{value}");
        }
    }
}
