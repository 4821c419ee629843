use std::collections::{HashMap, VecDeque};

use crate::domain::{DeliveryId, Generation};

/// The deliveries of an ordered target, each behind the earlier ones that it waits for (DESIGN.md
/// §4.5).
#[derive(Debug, Default)]
pub(super) struct Chains(HashMap<Link, VecDeque<DeliveryId>>);

/// Which deliveries wait for each other: those of one partition, and of one key in it. Two keys that
/// share a number wait for each other too, which does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) generation: Generation,
    /// 0 for all keys.
    pub(super) key: u64,
}

impl Chains {
    /// Puts a delivery at the end. `true`: it waits for none.
    pub(super) fn append(&mut self, link: Link, delivery: DeliveryId) -> bool {
        let chain = self.0.entry(link).or_default();
        chain.push_back(delivery);
        chain.len() == 1
    }

    /// Takes a delivery out. The answer is the one whose turn it is now, if that has changed.
    pub(super) fn remove(&mut self, link: Link, delivery: DeliveryId) -> Option<DeliveryId> {
        let chain = self.0.get_mut(&link)?;
        let was_first = chain.front() == Some(&delivery);
        match was_first {
            true => drop(chain.pop_front()),
            false => chain.retain(|other| *other != delivery),
        }
        let next = chain.front().copied().filter(|_| was_first);
        if chain.is_empty() {
            self.0.remove(&link);
        }
        next
    }

    /// Forgets all of a generation.
    pub(super) fn forget(&mut self, generation: Generation) {
        self.0.retain(|link, _| link.generation != generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { generation: Generation(1), key: 7 };

    fn id(serial: u32) -> DeliveryId {
        DeliveryId { slot: serial, serial }
    }

    #[test]
    fn each_waits_for_the_one_before_it() {
        let mut chains = Chains::default();
        assert_eq!([1, 2, 3].map(|n| chains.append(LINK, id(n))), [true, false, false]);
        assert!(chains.append(Link { key: 8, ..LINK }, id(4)), "another key waits for nothing");
        assert_eq!(chains.remove(LINK, id(1)), Some(id(2)));
        assert_eq!(chains.remove(LINK, id(3)), None, "the first one is still there");
        assert_eq!(chains.remove(LINK, id(2)), None);
        assert!(chains.append(LINK, id(5)));
    }

    #[test]
    fn a_generation_that_is_gone_holds_nobody_up() {
        let mut chains = Chains::default();
        chains.append(LINK, id(1));
        chains.forget(Generation(1));
        assert!(chains.append(LINK, id(2)));
    }
}
