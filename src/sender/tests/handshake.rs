//! Receivers that are asked first whether they take webhooks.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::receiver::{OK, Receiver};
use super::*;
use crate::domain::Rate;
use crate::plan::Handshake;

const GRANTS: &str = "HTTP/1.1 200 OK\r\nwebhook-allowed-origin: Hooks.example.com\r\nwebhook-allowed-rate: 60\r\ncontent-length: 0\r\n\r\n";

/// Answers the question number `n`, from 1, with `answer(n)`, or never if that is empty; and webhooks with OK.
fn asked(answer: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> Receiver {
    let count = AtomicUsize::new(0);
    Receiver::playing(move |mut caller| {
        while let Some(request) = caller.request() {
            if !request.head.starts_with("OPTIONS ") {
                caller.say(OK);
                continue;
            }
            match answer(count.fetch_add(1, Ordering::SeqCst) + 1) {
                "" => return caller.hang(),
                answer => caller.say(answer),
            };
        }
    })
}

fn asking(receiver: &Receiver) -> Target {
    Target { handshake: Some(Handshake { origin: "hooks.example.com".into() }), ..target(&receiver.url()) }
}

/// How many questions and how many webhooks came.
fn counts(receiver: &Receiver) -> (usize, usize) {
    let requests = receiver.requests();
    let questions = requests.iter().filter(|request| request.head.starts_with("OPTIONS ")).count();
    (questions, requests.len() - questions)
}

#[test]
fn one_delivery_asks_for_a_hundred_of_all_threads() {
    let receiver = asked(|_| GRANTS);
    let rate = Some(Rate { per_second: 2.0, burst: 1.0 });
    let mut rig =
        Rig::with(vec![Target { rate, ..asking(&receiver) }], 2, Dns::Fails, RootCertStore::empty());

    for attempted in rig.make_all(100, |_| 0) {
        assert_status(&attempted, 200);
    }

    assert_eq!(counts(&receiver), (1, 100));
    let question = &receiver.requests()[0];
    assert!(question.head.starts_with("OPTIONS /hooks?key=sesame HTTP/1.1\r\n"), "{}", question.head);
    assert_eq!(question.header("webhook-request-origin"), Some("hooks.example.com"));
    assert_eq!(question.header("webhook-request-rate"), Some("120"));
    assert!(question.body.is_empty());
}

#[test]
fn a_receiver_that_does_not_agree_gets_no_webhook_and_is_asked_again() {
    for (refusal, text) in [
        (
            "HTTP/1.1 405 Method Not Allowed\r\nwebhook-allowed-origin: *\r\ncontent-length: 0\r\n\r\n",
            "with 405",
        ),
        (OK, "no WebHook-Allowed-Origin"),
        (
            "HTTP/1.1 200 OK\r\nwebhook-allowed-origin: sesame.example.com\r\ncontent-length: 0\r\n\r\n",
            "from another origin",
        ),
    ] {
        let receiver = asked(move |number| if number < 3 { refusal } else { GRANTS });
        let mut rig = Rig::new(vec![asking(&receiver)]);

        for questions in 1..=2 {
            assert_fault(&rig.make(), Fault::Auth, text);
            assert_eq!(counts(&receiver), (questions, 0));
        }
        for _ in 0..2 {
            assert_status(&rig.make(), 200);
        }
        assert_eq!(counts(&receiver), (3, 2));
    }
}

#[test]
fn those_who_wait_for_the_answer_share_it() {
    let receiver = asked(|_| OK);
    let mut rig = Rig::new(vec![asking(&receiver)]);

    for attempted in rig.make_all(50, |_| 0) {
        assert_fault(&attempted, Fault::Auth, "no WebHook-Allowed-Origin");
    }
    assert_eq!(counts(&receiver), (1, 0));
}

#[test]
fn a_question_without_an_answer_costs_its_own_attempt() {
    let receiver = asked(|number| if number == 1 { "" } else { GRANTS });
    let timeout = Duration::from_millis(250);
    let mut rig = Rig::new(vec![Target { timeout, ..asking(&receiver) }]);

    assert_fault(&rig.make(), Fault::Timeout, "no answer came");
    assert_status(&rig.make(), 200);
    assert_eq!(counts(&receiver), (2, 1));
}
