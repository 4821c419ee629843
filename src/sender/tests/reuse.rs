use super::receiver::{OK, Receiver};
use super::*;

#[test]
fn one_connection_serves_attempts_one_after_another() {
    let receiver = Receiver::answering(OK);
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    for _ in 0..50 {
        assert_status(&rig.make(), 200);
    }

    assert_eq!((receiver.accepts(), receiver.requests().len()), (1, 50));
}

#[test]
fn a_connection_that_the_receiver_gives_up_is_not_used_again() {
    for answer in ["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", OK] {
        let receiver = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(answer);
        });
        let mut rig = Rig::new(vec![target(&receiver.url())]);

        for _ in 0..20 {
            assert_status(&rig.make(), 200);
        }

        assert_eq!(receiver.accepts(), 20);
    }
}

#[test]
fn a_stale_connection_costs_one_more_request_and_no_attempt() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        caller.say(OK);
        // The second request on a connection is read and never answered.
        caller.request();
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_status(&rig.make(), 200);
    assert_status(&rig.make(), 200);

    assert_eq!((receiver.accepts(), receiver.requests().len()), (2, 3));
}

#[test]
fn a_fresh_connection_is_tried_once_only() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        if caller.number == 0 {
            caller.say(OK);
            caller.request();
        }
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_status(&rig.make(), 200);
    assert_fault(&rig.make(), Fault::Network, "closed the connection");

    assert_eq!((receiver.accepts(), receiver.requests().len()), (2, 3));
}

#[test]
fn an_answer_that_had_begun_is_not_asked_for_again() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        caller.say(OK);
        caller.request();
        caller.say("HTTP/1.1 2");
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_status(&rig.make(), 200);
    assert_fault(&rig.make(), Fault::Network, "closed the connection");

    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn an_answer_before_the_request_ends_is_not_followed_by_another_request() {
    static LARGE: [u8; 16 << 20] = [b'7'; 16 << 20];
    let receiver = Receiver::playing(|mut caller| {
        // Answers at the first byte, while most of the request is still to come.
        caller.wait_for_a_byte();
        caller.say("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
        caller.hold();
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    for _ in 0..2 {
        let attempt = rig.attempt_of(0, event(&LARGE, Lease::unlimited()));
        assert_status(&rig.make_this(attempt), 413);
    }

    assert_eq!(receiver.accepts(), 2);
}

#[test]
fn a_reload_keeps_the_connections_of_what_did_not_change_and_no_others() {
    let (same, moved, added) = (Receiver::answering(OK), Receiver::answering(OK), Receiver::answering(OK));
    let other = Receiver::answering(OK);
    let old = plan(vec![target(&same.url()), target(&moved.url())]);
    let mut rig = Rig::new(Vec::new());
    rig.senders.adopt(Contacts::new(&old, None, 1).expect("usable"));
    for number in [0, 1] {
        let attempt = rig.attempt(number);
        assert_status(&rig.make_this(attempt), 200);
    }

    let mut new = plan(vec![target(&same.url()), target(&other.url()), target(&added.url())]);
    new.targets[0] = old.targets[0].clone();
    rig.senders.adopt(Contacts::new(&new, Some(&old), 1).expect("usable"));
    for number in [0, 1, 2] {
        let attempt = rig.attempt(number);
        assert_status(&rig.make_this(attempt), 200);
    }

    assert_eq!((same.accepts(), same.requests().len()), (1, 2), "over the same connection");
    assert_eq!((moved.requests().len(), other.requests().len(), added.requests().len()), (1, 1, 1));
}
