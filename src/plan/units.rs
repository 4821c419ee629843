//! Durations, sizes, rates, names: the small notations of the configuration.

use std::time::Duration;

/// The longest duration that makes sense (about 10 years); keeps all sums of times in range.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Reads `250ms`, `5s`, `1m`, `2h` or `3d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds)?);
    (duration <= LONGEST).then_some(duration)
}

/// Reads `64KiB`, `2MiB`, `1GiB`, `100B` or a plain number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// Reads `10/s`, `100/m` or `5/h`, as so many a second.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: u32 = number.trim().parse().ok().filter(|number| *number > 0)?;
    Some(f64::from(number) / seconds)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let number = text.strip_suffix(unit)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration as it is written in a configuration.
pub(super) fn written(duration: Duration) -> String {
    match duration.as_millis() {
        whole if whole % 1_000 == 0 => format!("{}s", whole / 1_000),
        milliseconds => format!("{milliseconds}ms"),
    }
}

/// Judges a name: `[a-z0-9][a-z0-9_-]{0,62}` (PRODUCT.md §1).
pub(super) fn name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match text.bytes().next().is_some_and(first) && text.bytes().all(inner) && text.len() <= 63 {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 63 of `a-z 0-9 _ -` and starts with a letter or digit".to_owned()),
    }
}

/// Judges the name of a Kafka topic: 1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` and not `..`.
pub(super) fn topic(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let long = text.is_empty() || text.len() > 249;
    match !long && text.bytes().all(legal) && !matches!(text, "." | "..") {
        true => Ok(text.to_owned()),
        false => {
            Err("a Kafka topic's name has 1 to 249 of `a-z A-Z 0-9 . _ -`; a regular expression starts \
                      with `^`"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_an_end() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("3d"), Some(Duration::from_secs(3 * 86_400)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in ["5", "s", "", "1.5s", "-1s", "1 year", "99999999999999999999s", "9999999999d", "5S"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("2MiB"), Some(2_097_152));
        assert_eq!(size("100"), Some(100));
        for wrong in ["64KB", "MiB", "1.5MiB", "99999999999999GiB", "-1"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates_are_so_many_in_a_second_a_minute_or_an_hour() {
        assert_eq!(rate("10/s"), Some(10.0));
        assert_eq!(rate("90/m"), Some(1.5));
        assert_eq!(rate("1800 / h"), Some(0.5));
        for wrong in ["", "10", "10/d", "0/s", "-1/s", "1.5/s", "10/s/s", "/s", "99999999999/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_bounded() {
        assert!(name("a").is_ok() && name("0-a_b").is_ok() && name(&"a".repeat(63)).is_ok());
        for wrong in ["", "-a", "_a", "A", "a.b", "ü", &"a".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert!(topic("Orders.v1_x-y").is_ok());
        assert!(topic("..").is_err() && topic("a b").is_err() && topic(&"a".repeat(250)).is_err());
    }
}
