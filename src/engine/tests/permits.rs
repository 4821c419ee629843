//! Who gets the permits of the whole process.

use super::*;

#[test]
fn targets_take_turns_when_the_whole_process_is_at_its_limit() {
    let mut desk = desk(
        "limits: { in_flight: 3 }
targets: { a: { url: 'https://a.example.com/' }, b: { url: 'https://b.example.com/' } }
routes: [{ types: [a], to: [a] }, { types: [b], to: [b] }]",
    );
    for position in 0..4 {
        desk.arrive(event(position, Some("a")));
    }
    desk.arrive(event(4, Some("b")));

    let targets: Vec<u32> = desk.attempts().iter().map(|attempt| attempt.target.0).collect();
    assert_eq!(targets, [0, 1, 0]);
}

/// Targets `a` to `d`, of which each takes the events of its type.
fn four_targets(in_flight: usize) -> Desk {
    desk(&format!(
        "limits: {{ in_flight: {in_flight} }}
targets:
  a: {{ url: 'https://a.example.com/' }}
  b: {{ url: 'https://b.example.com/' }}
  c: {{ url: 'https://c.example.com/' }}
  d: {{ url: 'https://d.example.com/' }}
routes: [{{ types: [a], to: [a] }}, {{ types: [b], to: [b] }}, {{ types: [c], to: [c] }}, {{ types: [d], to: [d] }}]"
    ))
}

impl Desk {
    /// Lets an event of each of these types arrive, and returns the targets that attempts go to.
    fn targets_of(&mut self, types: &[&str]) -> Vec<u32> {
        types.iter().for_each(|one| self.arrive(event(0, Some(one))));
        self.started().iter().map(|attempt| attempt.target.0).collect()
    }

    /// The attempts that may start now.
    fn started(&mut self) -> Vec<Attempt> {
        let attempt = |command| match command {
            Command::Attempt(attempt) => Some(attempt),
            _ => None,
        };
        self.commands().into_iter().filter_map(attempt).collect()
    }
}

#[test]
fn a_target_that_never_answers_leaves_a_permit_for_each_other_one() {
    let mut desk = four_targets(8);

    assert_eq!(desk.targets_of(&["a"; 20]), [0; 5], "three are kept for the others");
    assert_eq!(desk.targets_of(&["b", "b", "c", "c", "c"]), [1, 2], "and one for the last");
    assert_eq!(desk.targets_of(&["d", "d"]), [3]);
}

#[test]
fn a_permit_that_comes_back_goes_to_whoever_was_put_aside() {
    let mut desk = four_targets(8);
    ["a"; 20].iter().for_each(|one| desk.arrive(event(0, Some(one))));
    let mut hanging = desk.started();
    ["b", "b", "c"].iter().for_each(|one| desk.arrive(event(0, Some(one))));
    let healthy = desk.started();
    assert_eq!((hanging.len(), healthy.len()), (5, 2));

    desk.answer(&healthy[1], status(200));
    assert!(desk.started().is_empty(), "it is kept for its target again");
    desk.answer(&healthy[0], status(200));
    assert_eq!(desk.started()[0].target.0, 1, "one that has none needs not wait");
    desk.answer(&hanging.remove(0), status(200));
    assert_eq!(desk.started()[0].target.0, 0);
    // One that was put aside and has nothing to send any more stops nobody.
    desk.engine.handle(Input::Revoked(CONSUMER, FIRST), desk.now);
    desk.arrive(Event { generation: Generation(2), ..event(0, Some("d")) });
    assert_eq!(desk.started().len(), 1);
}

#[test]
fn with_more_targets_than_permits_half_of_them_are_kept() {
    let mut desk = four_targets(3);

    assert_eq!(desk.targets_of(&["a"; 20]), [0, 0]);
    assert_eq!(desk.targets_of(&["b", "c", "d"]), [1]);
}

#[test]
fn no_target_waits_for_ever_while_all_are_at_the_limit() {
    let mut desk = four_targets(5);
    for _ in 0..50 {
        ["a", "a", "b", "c"].iter().for_each(|one| desk.arrive(event(0, Some(one))));
    }

    let (mut open, mut made) = (VecDeque::new(), 0);
    loop {
        open.extend(desk.started());
        let Some(attempt) = open.pop_front() else { break };
        desk.answer(&attempt, status(200));
        made += 1;
    }
    assert_eq!((made, desk.engine.is_idle()), (200, true));
}

#[test]
fn no_permit_is_kept_for_a_target_that_was_switched_off() {
    let mut desk = four_targets(8);
    desk.arrive(event(0, Some("d")));
    let gone = desk.only_attempt();
    desk.answer(&gone, status(410));

    assert_eq!(desk.targets_of(&["a"; 20]), [0; 6], "two are kept for the two others");
}
