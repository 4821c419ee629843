use std::fmt::Write as _;

use super::cursor::any_number;

/// The largest number up to which every integer has its own double.
const SAFE_DIGITS: usize = 15;

/// What happens to an integer that a double can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integers {
    /// It keeps its digits.
    Kept,
    /// It becomes the nearest that a double can hold.
    Rounded,
}

/// Appends a JSON number as ECMAScript's `JSON.stringify(JSON.parse(token))` prints it, except that
/// an integer which would not survive keeps its digits where it is asked for. A number beyond the
/// range of a double is `null`, as there.
pub(super) fn write(token: &str, integers: Integers, out: &mut Vec<u8>) {
    if let Some(digits) = integer(token).filter(|digits| digits.len() <= SAFE_DIGITS) {
        return out.extend_from_slice(if digits == "0" { digits } else { token }.as_bytes());
    }
    let Ok(value) = token.parse::<f64>() else {
        return out.extend_from_slice(token.as_bytes());
    };
    if integers == Integers::Kept && is_lost(token) {
        out.extend_from_slice(token.as_bytes());
    } else if value.is_finite() {
        out.extend_from_slice(ecmascript(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Whether JSON text holds an integer that a double can't hold, so that JavaScript reads another one.
pub fn has_big_integer(raw: &[u8]) -> bool {
    // Of most bodies only every sixteenth byte is looked at.
    has_long_run(raw) && str::from_utf8(raw).is_ok_and(|raw| any_number(raw, is_lost))
}

/// Whether more digits than are safe follow each other, in a number or elsewhere: one of so many bytes in a
/// row is looked at here.
fn has_long_run(raw: &[u8]) -> bool {
    const RUN: usize = SAFE_DIGITS + 1;
    let is_long = |at: usize| {
        let (before, after) = raw.split_at(at);
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        let after = after.iter().take_while(is_digit).count();
        after > 0 && before.iter().rev().take_while(is_digit).count() + after >= RUN
    };
    (RUN - 1..raw.len()).step_by(RUN).any(is_long)
}

/// The digits of a number that is written as an integer.
fn integer(token: &str) -> Option<&str> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
}

/// Whether it is an integer, and its digits are not those of the double that is nearest to it.
fn is_lost(token: &str) -> bool {
    let Some(digits) = integer(token).filter(|digits| digits.len() > SAFE_DIGITS) else { return false };
    let Some(value) = digits.parse::<f64>().ok().filter(|value| value.is_finite()) else { return true };
    let (shortest, exponent) = shortest(value);
    let whole = usize::try_from(exponent + 1).unwrap_or_default();
    digits.len() != whole || digits.trim_end_matches('0') != shortest
}

/// Number::toString (ECMA-262 §6.1.6.1.20) with radix 10 of a finite number.
fn ecmascript(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let (digits, exponent) = shortest(value.abs());
    let mut text = String::with_capacity(26);
    if value < 0.0 {
        text.push('-');
    }
    let point = exponent + 1;
    let length = digits.len() as i32;
    if (length..=21).contains(&point) {
        text.push_str(&digits);
        text.extend(std::iter::repeat_n('0', (point - length) as usize));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(point as usize);
        text.extend([whole, ".", fraction]);
    } else if (-5..=0).contains(&point) {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', -point as usize));
        text.push_str(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        text.push_str(first);
        if !rest.is_empty() {
            text.extend([".", rest]);
        }
        // Writing to a String does not fail.
        let _ = write!(text, "e{exponent:+}");
    }
    text
}

/// The shortest decimal digits that read back as a positive `value`, and the exponent of the first
/// one. They are serde_json's: of two that are equally near it takes the even one, as JavaScript
/// engines do, and the standard library does not.
fn shortest(value: f64) -> (String, i32) {
    let text = serde_json::to_string(&value).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let padded = [whole, fraction].concat();
    let digits = padded.trim_start_matches('0');
    let first = whole.len() as i32 - 1 - (padded.len() - digits.len()) as i32;
    (digits.trim_end_matches('0').to_owned(), first + exponent.parse::<i32>().unwrap_or_default())
}
