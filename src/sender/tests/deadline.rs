use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio::net::TcpSocket;

use super::receiver::{OK, Receiver};
use super::*;

const SHORT: Duration = Duration::from_millis(250);

fn impatient(url: &str) -> Target {
    Target { timeout: SHORT, ..target(url) }
}

#[track_caller]
fn assert_late(attempted: &Attempted, waited_for: &str) {
    assert_fault(attempted, Fault::Timeout, waited_for);
    assert!(attempted.took >= SHORT && attempted.took < SHORT * 8, "{:?}", attempted.took);
}

#[test]
fn a_name_that_nobody_resolves() {
    let targets = vec![impatient("https://hooks.example.com/hooks?key=sesame")];
    let mut rig = Rig::with(targets, 1, Dns::Never, RootCertStore::empty());

    assert_late(&rig.make(), "the host name was not resolved within 250ms");
}

#[test]
fn a_connection_that_nobody_takes() {
    let (listener, _waiting) = full_listener();
    let url = format!("http://{}/hooks?key=sesame", listener.local_addr().unwrap());
    let mut rig = Rig::new(vec![impatient(&url)]);

    assert_late(&rig.make(), "no connection was made");
}

#[test]
fn an_address_has_so_long_to_take_the_connection() {
    let (listener, _waiting) = full_listener();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut rig = Rig::new(vec![Target { connect_timeout: SHORT, ..target(&url) }]);

    assert_late(&rig.make(), "no connection was made within 250ms");
}

#[test]
fn a_handshake_has_so_long_too() {
    let receiver = Receiver::playing(|mut caller| caller.hang());
    let url = receiver.url_named("https", "127.0.0.1");
    let mut rig = Rig::new(vec![Target { connect_timeout: SHORT, ..target(&url) }]);

    assert_late(&rig.make(), "the TLS handshake was not complete within 250ms");
}

#[test]
fn an_answer_is_waited_for_longer_than_a_connection() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        std::thread::sleep(SHORT * 2);
        caller.say(OK);
    });
    let mut rig = Rig::new(vec![Target { connect_timeout: SHORT, ..target(&receiver.url()) }]);

    assert_status(&rig.make(), 200);
}

/// A listener whose queue is full, so that the kernel drops further calls.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        socket.listen(1).unwrap().into_std().unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    (listener, waiting)
}

#[test]
fn a_handshake_that_nobody_answers() {
    let receiver = Receiver::playing(|mut caller| caller.hang());
    let mut rig = Rig::new(vec![impatient(&receiver.url_named("https", "127.0.0.1"))]);

    assert_late(&rig.make(), "the TLS handshake was not complete");
}

#[test]
fn a_request_that_nobody_answers() {
    let receiver = Receiver::playing(|mut caller| caller.hang());
    let mut rig = Rig::new(vec![impatient(&receiver.url())]);

    assert_late(&rig.make(), "no answer came");
}

#[test]
fn a_head_that_drips() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        caller.say("HTTP/1.1 200 OK\r\nx: ");
        caller.drip("y", Duration::from_millis(10));
    });
    let mut rig = Rig::new(vec![impatient(&receiver.url())]);

    assert_late(&rig.make(), "no answer came");
}

#[test]
fn a_body_that_drips() {
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 16000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let receiver = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(head);
            caller.drip("y", Duration::from_millis(10));
        });
        let mut rig = Rig::new(vec![impatient(&receiver.url())]);

        assert_late(&rig.make(), "the body of the answer was not complete");
    }
}

#[test]
fn each_attempt_has_its_own_deadline_on_a_kept_connection() {
    // Two answers take longer than one deadline, and each has time to spare on a busy machine.
    let (deadline, pause) = (Duration::from_secs(2), Duration::from_millis(1200));
    let receiver = Receiver::playing(move |mut caller| {
        for _ in 0..2 {
            caller.request();
            std::thread::sleep(pause);
            caller.say(OK);
        }
        caller.request();
        caller.hang();
    });
    let mut rig = Rig::new(vec![Target { timeout: deadline, ..target(&receiver.url()) }]);

    for _ in 0..2 {
        assert_status(&rig.make(), 200);
    }
    assert_fault(&rig.make(), Fault::Timeout, "no answer came");
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn a_silent_target_delays_no_other() {
    let silent = Receiver::playing(|mut caller| caller.hang());
    let quick = Receiver::answering(OK);
    let mut rig = Rig::new(vec![target(&silent.url()), target(&quick.url())]);

    let stuck = (0..20).map(|_| rig.attempt(0)).collect();
    rig.submit(stuck);
    for _ in 0..20 {
        let attempt = rig.attempt(1);
        assert_status(&rig.make_this(attempt), 200);
    }

    assert_eq!(rig.stop(Duration::ZERO).len(), 20);
}
