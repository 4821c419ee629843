use std::io::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The longest own id that is kept, in bytes.
const LONGEST: usize = 200;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// One thing that an id is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Text(&'a str),
    /// As its decimal text.
    Number(i64),
}

/// The id of an event that brings its own (DESIGN.md §4.2): itself, unless it holds a `.`, anything
/// outside 0x21 to 0x7E, or more than 200 bytes; then a hash of itself.
pub(super) fn own(id: &str) -> Arc<str> {
    let fits = id.len() <= LONGEST && id.bytes().all(|byte| byte != b'.' && (0x21..=0x7E).contains(&byte));
    if fits { Arc::from(id) } else { hashed([Part::Text(id)]) }
}

/// The id of an event without an own one: `evt_` and the first 32 hex digits of SHA-256 over its
/// parts as text, each behind its length as four big-endian bytes.
pub(super) fn hashed<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Arc<str> {
    let mut hashed = Vec::with_capacity(128);
    for part in parts {
        let start = hashed.len();
        hashed.extend_from_slice(&[0; 4]);
        match part {
            Part::Text(text) => hashed.extend_from_slice(text.as_bytes()),
            // Writing to a vector cannot fail.
            Part::Number(number) => drop(write!(hashed, "{number}")),
        }
        let length = (hashed.len() - start - 4) as u32;
        hashed[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    let mut id = String::with_capacity(36);
    id.push_str("evt_");
    for byte in Sha256::digest(&hashed).iter().take(16) {
        for half in [byte >> 4, byte & 15] {
            id.push(char::from(HEX[usize::from(half)]));
        }
    }
    Arc::from(id)
}

/// The id of an event that stands nowhere and comes once.
pub(super) fn by_chance() -> Arc<str> {
    format!("evt_{:032x}", fastrand::u128(..)).into()
}

#[cfg(test)]
mod tests {
    use super::Part::{Number, Text};
    use super::*;

    #[test]
    fn a_plain_id_is_kept() {
        assert_eq!(&*own("ord-1:2/3"), "ord-1:2/3");
        assert_eq!(&*own(&"x".repeat(200)), "x".repeat(200));
    }

    #[test]
    fn an_id_that_receivers_could_misread_is_replaced_by_a_hash_of_itself() {
        for id in ["a.b", "a b", "naïve", "line\n", &"x".repeat(201)] {
            let own = own(id);
            assert!(own.starts_with("evt_") && own.len() == 36, "{id:?} became {own:?}");
        }
        assert_eq!(own("a.b"), own("a.b"));
        assert_ne!(own("a.b"), own("a.c"));
    }

    /// Computed apart from this code: SHA-256 over `00000001 61 00000002 6262`.
    #[test]
    fn the_hash_covers_each_part_behind_its_length() {
        assert_eq!(&*hashed([Text("a"), Text("bb")]), HASH_OF_A_BB);
        assert_ne!(hashed([Text("ab"), Text("b")]), hashed([Text("a"), Text("bb")]));
        assert_eq!(hashed([Number(-12)]), hashed([Text("-12")]));
    }

    const HASH_OF_A_BB: &str = "evt_85e8e8e38944b77446e7c28f0b3e32c6";
}
