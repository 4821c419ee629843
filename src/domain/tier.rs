use std::fmt;
use std::time::Duration;

/// A place on the broker where deliveries wait for so long (PRODUCT.md §5). All records of a tier
/// wait equally long, so the first one is always the next that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tier(u8);

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// Names and lengths, shortest first.
const TIERS: [(&str, u64); 11] = [
    ("now", 0),
    ("30s", 30 * SECOND),
    ("1m", MINUTE),
    ("2m", 2 * MINUTE),
    ("5m", 5 * MINUTE),
    ("15m", 15 * MINUTE),
    ("30m", 30 * MINUTE),
    ("1h", HOUR),
    ("2h", 2 * HOUR),
    ("6h", 6 * HOUR),
    ("12h", 12 * HOUR),
];

impl Tier {
    /// Where what is redriven waits: not at all.
    pub const NOW: Tier = Tier(0);
    /// The first wait for a target that is not answering or is paused.
    pub const ONE_MINUTE: Tier = Tier(2);
    /// The second one.
    pub const FIVE_MINUTES: Tier = Tier(4);
    /// Every further one.
    pub const FIFTEEN_MINUTES: Tier = Tier(5);
    /// The wait for a target that is not known.
    pub const ONE_HOUR: Tier = Tier(7);

    /// All tiers, shortest first.
    pub fn all() -> impl ExactSizeIterator<Item = Tier> {
        (0..TIERS.len() as u8).map(Tier)
    }

    /// Its place in [`Tier::all`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// As it stands in topics, subjects and metrics.
    pub fn name(self) -> &'static str {
        TIERS[self.index()].0
    }

    /// How long its records wait.
    pub fn length(self) -> Duration {
        Duration::from_secs(TIERS[self.index()].1)
    }

    /// The smallest one in which a record waits at least so long; the longest one if none does. Never
    /// [`Tier::NOW`].
    pub fn for_wait(wait: Duration) -> Tier {
        let long_enough = Tier::all().skip(1).find(|tier| tier.length() >= wait);
        long_enough.unwrap_or(Tier(TIERS.len() as u8 - 1))
    }

    /// The tier of this name.
    pub fn named(name: &str) -> Option<Tier> {
        Tier::all().find(|tier| tier.name() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_tier_that_is_long_enough_is_chosen() {
        for (seconds, name) in [
            (0, "30s"),
            (30, "30s"),
            (31, "1m"),
            (60, "1m"),
            (61, "2m"),
            (7201, "6h"),
            (43_200, "12h"),
            (90_000, "12h"),
        ] {
            assert_eq!(Tier::for_wait(Duration::from_secs(seconds)).name(), name, "{seconds} s");
        }
    }

    #[test]
    fn names_and_constants_agree() {
        let named = [Tier::NOW, Tier::ONE_MINUTE, Tier::FIVE_MINUTES, Tier::FIFTEEN_MINUTES, Tier::ONE_HOUR];
        assert_eq!(named.map(Tier::name), ["now", "1m", "5m", "15m", "1h"]);
        assert!(Tier::all().all(|tier| Tier::named(tier.name()) == Some(tier)));
    }
}
