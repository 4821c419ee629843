use jiff::Timestamp;

use crate::domain::EventTime;

/// Reads an event's time: RFC 3339, or a number of seconds, milliseconds, microseconds or
/// nanoseconds since 1970.
///
/// A number's unit follows from its size: below 10^11 it is seconds, below 10^14 milliseconds,
/// below 10^17 microseconds, else nanoseconds; so each unit reads right from 1973 to 5138 (seconds
/// from the start on). A text with date and time but without a zone is no time, because it can mean
/// any of 24 hours.
pub(super) fn parse(text: &str) -> Option<EventTime> {
    let text = text.trim();
    if let Some(unix_ms) = number(text) {
        return Some(EventTime { unix_ms, text: None });
    }
    let unix_ms = text.parse::<Timestamp>().ok()?.as_millisecond();
    Some(EventTime { unix_ms, text: is_rfc_3339(text).then(|| text.into()) })
}

fn number(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(match whole.unsigned_abs() {
            0..100_000_000_000 => whole * 1000,
            100_000_000_000..100_000_000_000_000 => whole,
            100_000_000_000_000..100_000_000_000_000_000 => whole / 1000,
            _ => whole / 1_000_000,
        });
    }
    // A digit in front keeps `inf` and `nan` out.
    if !text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let to_ms = match value.abs() {
        size if size < 1e11 => 1e3,
        size if size < 1e14 => 1.0,
        size if size < 1e17 => 1e-3,
        size if size < 9e18 => 1e-6,
        _ => return None,
    };
    Some((value * to_ms).round() as i64)
}

/// Whether a text that was read as a time is exactly in the form of RFC 3339 §5.6, which receivers
/// may rely on; the library also takes other ISO 8601 forms.
fn is_rfc_3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |from: usize, shape: &[u8]| {
        shape.iter().enumerate().all(|(index, wanted)| match (wanted, bytes.get(from + index)) {
            (b'9', Some(byte)) => byte.is_ascii_digit(),
            (wanted, Some(byte)) => wanted == byte,
            (_, None) => false,
        })
    };
    let digits = match bytes.get(19) {
        Some(b'.') => bytes.iter().skip(20).take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = if bytes.get(19) == Some(&b'.') { 20 + digits } else { 19 };
    let zoned = (shape(zone, b"Z") && bytes.len() == zone + 1)
        || ((shape(zone, b"+99:99") || shape(zone, b"-99:99")) && bytes.len() == zone + 6);
    shape(0, b"9999-99-99T99:99:99") && zoned && (zone == 19 || digits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        parse(text).map(|time| time.unix_ms)
    }

    fn kept(text: &str) -> Option<String> {
        parse(text)?.text.map(String::from)
    }

    #[test]
    fn rfc_3339_is_kept_as_it_is() {
        for text in ["2026-05-04T12:30:00Z", "2026-05-04T12:30:00.123456+02:00", "2026-05-04T12:30:00-07:30"]
        {
            assert_eq!(kept(text).as_deref(), Some(text));
        }
        assert_eq!(ms("1970-01-01T01:00:00.5+01:00"), Some(500));
    }

    #[test]
    fn other_forms_with_a_zone_are_read_but_not_kept() {
        for text in
            ["2026-05-04 12:30:00Z", "2026-05-04T12:30Z", "20260504T123000Z", "2026-05-04T12:30:00+02"]
        {
            assert!(ms(text).is_some(), "{text}");
            assert_eq!(kept(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_without_a_zone_is_no_time() {
        for text in ["2026-05-04T12:30:00", "2026-05-04", "soon", "", "nan", "inf", "-", "1e40"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_size_of_a_number_says_its_unit() {
        let wanted = Some(1_777_898_400_123);
        assert_eq!(ms("1777898400"), Some(1_777_898_400_000));
        assert_eq!(ms("1777898400.123"), wanted);
        assert_eq!(ms("1777898400123"), wanted);
        assert_eq!(ms("1777898400123456"), wanted);
        assert_eq!(ms("1777898400123456789"), wanted);
        assert_eq!(ms("1.777898400123e12"), wanted);
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("-1"), Some(-1000));
        assert_eq!(ms("-9223372036854775808"), Some(-9_223_372_036_854));
    }
}
