//! Times in templates.

use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::value::Value;

/// Numbers from here on are milliseconds since 1970, below seconds (that is until the year 5138).
const LEAST_MILLISECONDS: f64 = 1e11;

/// What is wrong with a format.
pub(super) fn format_fault(format: &str) -> Option<String> {
    formatted(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), format).is_none().then(|| {
        "no format of a date; write `rfc3339`, `unix`, `unix_ms`, or for example `%Y-%m-%d %H:%M`".to_owned()
    })
}

/// What is wrong with an offset.
pub(super) fn offset_fault(text: &str) -> Option<String> {
    offset(text).is_none().then(|| "an `offset` from UTC is written like `+02:00`".to_owned())
}

/// A time (RFC 3339, or a number since 1970) in a format; `None` if it is no time.
pub(super) fn written(value: &Value<'_>, format: Option<&str>, shift: Option<&str>) -> Option<String> {
    let zone = shift.map_or(Some(TimeZone::UTC), |text| offset(text).map(TimeZone::fixed))?;
    formatted(&timestamp(value)?.to_zoned(zone), format.unwrap_or("rfc3339"))
}

fn timestamp(value: &Value<'_>) -> Option<Timestamp> {
    if let Some(number) = value.numeric() {
        let number: f64 = number.parse().ok()?;
        let milliseconds = if number.abs() < LEAST_MILLISECONDS { number * 1000.0 } else { number };
        return Timestamp::from_millisecond(milliseconds as i64).ok();
    }
    value.as_text()?.trim().parse().ok()
}

fn formatted(time: &Zoned, format: &str) -> Option<String> {
    match format {
        "rfc3339" if time.offset() == Offset::UTC => Some(time.timestamp().to_string()),
        "rfc3339" => Some(time.timestamp().display_with_offset(time.offset()).to_string()),
        "unix" => Some(time.timestamp().as_second().to_string()),
        "unix_ms" => Some(time.timestamp().as_millisecond().to_string()),
        _ => strtime::format(format, time).ok(),
    }
}

fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| Some(text).filter(|text| text.len() == 2)?.parse::<i32>().ok();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}
