use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The longest own id that is kept, in bytes.
const LONGEST: usize = 200;

/// The id of an event that brings its own (DESIGN.md §4.2): itself, unless it holds a `.`, anything
/// outside 0x21 to 0x7E, or more than 200 bytes; then a hash of itself.
pub(super) fn own(id: &str) -> Arc<str> {
    let fits = id.len() <= LONGEST && id.bytes().all(|byte| byte != b'.' && (0x21..=0x7E).contains(&byte));
    if fits { Arc::from(id) } else { hashed([id]) }
}

/// The id of an event without an own one: `evt_` and the first 32 hex digits of SHA-256 over its
/// parts as text, each behind its length as four big-endian bytes.
pub(super) fn hashed<'a>(parts: impl IntoIterator<Item = &'a str>) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    let mut id = String::with_capacity(36);
    id.push_str("evt_");
    for byte in hash.finalize().iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    Arc::from(id)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(&*hashed(["a", "bb"]), HASH_OF_A_BB);
        assert_ne!(hashed(["ab", "b"]), hashed(["a", "bb"]));
    }

    const HASH_OF_A_BB: &str = "evt_85e8e8e38944b77446e7c28f0b3e32c6";
}
