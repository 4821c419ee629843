//! The seeded simulation: the real engine and the real frontier with a fake broker (partitions, retry
//! tiers, groups), fake targets, a fake store and a fake clock, through crashes, rebalances, reloads, frozen processes and lost replies.
//!
//! A seed decides everything. `HOOKFERRY_SEED=N cargo test --lib simulation` replays one alone and
//! prints what happens; `HOOKFERRY_SEEDS=N` changes how many are run.

mod book;
mod broker;
mod commands;
mod fault;
mod groups;
mod receivers;
mod replica;
mod rules;
mod truth;
mod world;

use std::panic::{UnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::domain::TargetId;
use crate::engine::Sabotage;
use fault::Fault;
use world::World;

/// The targets of the simulated plan, in the order of their names.
const DEAD: TargetId = TargetId(0);
const FIRST: TargetId = TargetId(1);
const HEALTHY: TargetId = TargetId(2);
const LIMITED: TargetId = TargetId(3);
const ORDERED: TargetId = TargetId(4);
const SECOND: TargetId = TargetId(5);
/// The target of some records, which is not in the plan.
const UNKNOWN: TargetId = TargetId(u32::MAX);

const SEEDS: u64 = 10_000;

/// Runs one seed; `Err` is the rule that was broken.
fn run(seed: u64, fault: Option<Fault>, trace: bool) -> Result<(), String> {
    caught(|| World::new(seed, fault, trace).run())
}

/// A panic breaks a rule too, so that the seed that it came from is named.
fn caught(run: impl FnOnce() -> Result<(), String> + UnwindSafe) -> Result<(), String> {
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("it panicked: {}", text.unwrap_or("without a text")))
    })
}

/// The first broken rule among the seeds, with its seed.
fn first_violation(seeds: u64, fault: Option<Fault>) -> Option<(u64, String)> {
    let next = AtomicU64::new(0);
    let found = AtomicBool::new(false);
    let search = || {
        while !found.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            if let Err(broken) = run(seed, fault, false) {
                found.store(true, Ordering::Relaxed);
                return Some((seed, broken));
            }
        }
        None
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(1, usize::from))
            .map(|_| scope.spawn(search))
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("panics are caught")).min()
    })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn no_seed_breaks_the_contract() {
    if let Some(seed) = variable("HOOKFERRY_SEED") {
        return run(seed, None, true).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    let seeds = variable("HOOKFERRY_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, broken)) = first_violation(seeds, None) {
        panic!(
            "seed {seed}: {broken}\nreplay it: HOOKFERRY_SEED={seed} cargo test --lib simulation -- --nocapture"
        );
    }
}

/// The simulation notices a fault that is put in on purpose.
fn assert_caught(fault: Fault, rule: &str) {
    let (seed, broken) =
        first_violation(2_000, Some(fault)).unwrap_or_else(|| panic!("{fault:?} went unnoticed"));
    assert!(broken.contains(rule), "seed {seed} broke another rule than expected: {broken}");
}

#[test]
fn committing_the_highest_offset_is_caught() {
    assert_caught(Fault::CommitHighest, "committed although");
}

#[test]
fn settling_before_the_dead_letter_is_confirmed_is_caught() {
    assert_caught(Fault::Engine(Sabotage::SkipDeadLetterConfirmation), "committed although");
}

#[test]
fn ignoring_the_generation_is_caught() {
    assert_caught(Fault::Engine(Sabotage::IgnoreGeneration), "of a generation that is gone");
}

#[test]
fn losing_a_held_retry_is_caught() {
    assert_caught(Fault::Engine(Sabotage::LoseHeldRetry), "has not healed");
}

#[test]
fn starting_requests_without_a_lease_is_caught() {
    assert_caught(Fault::IgnoreLease, "another replica owns it");
}

#[test]
fn writing_dead_letters_without_a_lease_is_caught() {
    assert_caught(Fault::WriteWithoutLease, "another replica owns it");
}

#[test]
fn discarding_before_the_last_attempt_is_caught() {
    assert_caught(Fault::Engine(Sabotage::DiscardEarly), "was discarded although");
}

#[test]
fn settling_before_a_move_is_confirmed_is_caught() {
    assert_caught(Fault::Engine(Sabotage::SkipMoveConfirmation), "committed although");
}

#[test]
fn ignoring_the_order_is_caught() {
    assert_caught(Fault::Engine(Sabotage::IgnoreOrder), "out of its order");
}

#[test]
fn ignoring_the_rate_is_caught() {
    assert_caught(Fault::Engine(Sabotage::IgnoreRate), "over the rate");
}

#[test]
fn forgetting_the_attempts_of_a_record_is_caught() {
    assert_caught(Fault::Engine(Sabotage::ForgetAttempts), "attempts, and");
}

#[test]
fn keeping_in_memory_what_waits_for_long_is_caught() {
    assert_caught(Fault::Engine(Sabotage::KeepAll), "more than half of its window");
}

#[test]
fn losing_what_comes_back_from_a_tier_is_caught() {
    assert_caught(Fault::Engine(Sabotage::LoseResumed), "committed although");
}

#[test]
fn dead_lettering_an_unknown_target_at_once_is_caught() {
    assert_caught(Fault::Engine(Sabotage::ForgetUnknown), "was not waited for");
}

#[test]
fn keeping_an_unknown_target_for_ever_is_caught() {
    assert_caught(Fault::Engine(Sabotage::KeepUnknown), "longer than a day");
}

#[test]
fn sending_to_a_target_that_is_switched_off_is_caught() {
    assert_caught(Fault::Engine(Sabotage::IgnoreDisabled), "is switched off");
}

#[test]
fn waiting_while_another_target_is_down_is_caught() {
    assert_caught(Fault::Engine(Sabotage::WaitTogether), "the healthy target's");
}

#[test]
fn moving_twice_is_caught() {
    assert_caught(Fault::Engine(Sabotage::MoveTwice), "was moved twice");
}

#[test]
fn losing_what_waits_for_a_target_that_a_reload_removed_is_caught() {
    assert_caught(Fault::Engine(Sabotage::LoseRemoved), "committed although");
}

#[test]
fn a_panic_is_a_broken_rule() {
    assert_eq!(
        caught(|| panic!("on purpose, by {}", "a test")),
        Err("it panicked: on purpose, by a test".into())
    );
    assert_eq!(caught(|| panic!("plain")), Err("it panicked: plain".into()));
    assert_eq!(caught(|| Ok(())), Ok(()));
}
