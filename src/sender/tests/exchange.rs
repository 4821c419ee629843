use std::sync::mpsc;
use std::time::Duration;

use super::receiver::{OK, Receiver};
use super::*;
use crate::domain::RetryAfter;

#[test]
fn a_request_says_where_it_goes_and_how_long_it_is() {
    let receiver = Receiver::answering(OK);
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    let attempted = rig.make();
    let empty = rig.attempt_of(0, event(b"", Lease::unlimited()));
    assert_status(&rig.make_this(empty), 200);

    assert_status(&attempted, 200);
    assert!(attempted.took > Duration::ZERO && attempted.took < PATIENCE);
    let requests = receiver.requests();
    assert!(requests[0].head.starts_with("POST /hooks?key=sesame HTTP/1.1\r\n"), "{}", requests[0].head);
    assert_eq!(requests[0].header("host"), Some(receiver.address.to_string().as_str()));
    assert_eq!(requests[0].header("content-length"), Some(BODY.len().to_string().as_str()));
    assert_eq!(requests[0].body, BODY);
    assert_eq!(requests[1].header("content-length"), Some("0"));
    assert_eq!(requests[1].header("transfer-encoding"), None);
}

#[test]
fn a_large_body_arrives_whole() {
    static LARGE: [u8; 4 << 20] = [b'7'; 4 << 20];
    let receiver = Receiver::answering(OK);
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    let attempt = rig.attempt_of(0, event(&LARGE, Lease::unlimited()));
    assert_status(&rig.make_this(attempt), 200);

    assert_eq!(receiver.requests()[0].body, LARGE);
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let cases = [
        ("retry-after: 120\r\n", Some(RetryAfter::Seconds(120))),
        ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some(RetryAfter::At(784_111_777_000))),
        ("retry-after: soon\r\n", None),
        ("retry-after: \u{fc}\r\n", None),
        ("", None),
    ];
    for (header, wanted) in cases {
        let receiver = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(&format!("HTTP/1.1 503 Busy\r\n{header}content-length: 4\r\n\r\nbusy"));
            caller.hang();
        });
        let mut rig = Rig::new(vec![target(&receiver.url())]);

        assert_eq!(rig.make().reply, Reply::Status { status: 503, retry_after: wanted }, "{header}");
    }
}

#[test]
fn a_redirect_is_a_status_and_not_followed() {
    let elsewhere = Receiver::answering(OK);
    let location = elsewhere.url();
    let receiver = Receiver::playing(move |mut caller| {
        caller.request();
        caller.say(&format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        caller.hang();
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_status(&rig.make(), 302);
    assert!(rig.stop(PATIENCE).is_empty());
    assert_eq!((receiver.requests().len(), elsewhere.accepts()), (1, 0));
}

#[test]
fn informational_answers_are_skipped() {
    let receiver = Receiver::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
    );
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_status(&rig.make(), 204);
    assert_status(&rig.make(), 204);
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn bodies_may_be_chunked_or_end_with_the_connection() {
    let chunked = Receiver::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nx-trailer: 1\r\n\r\n",
    );
    let mut rig = Rig::new(vec![target(&chunked.url())]);
    assert_status(&rig.make(), 200);
    assert_status(&rig.make(), 200);
    assert_eq!(chunked.accepts(), 1);

    let until_close = Receiver::playing(|mut caller| {
        caller.request();
        caller.say("HTTP/1.0 202 Accepted\r\n\r\nthank you");
    });
    let mut rig = Rig::new(vec![target(&until_close.url())]);
    assert_status(&rig.make(), 202);
    assert_status(&rig.make(), 202);
    assert_eq!(until_close.accepts(), 2);
}

#[test]
fn a_huge_answer_is_cut_off_and_its_status_counts() {
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (report, written) = mpsc::channel();
        let receiver = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(head);
            let mebibyte = "x".repeat(1 << 20);
            let said = (0..64).take_while(|_| caller.say(&mebibyte)).count();
            report.send(said).unwrap();
        });
        let mut rig = Rig::new(vec![target(&receiver.url())]);

        assert_status(&rig.make(), 200);
        // What the kernel buffers on both sides is a few MiB; a sender that reads on takes all 64.
        assert!(written.recv_timeout(PATIENCE).unwrap() < 32);
    }
}

#[test]
fn sixteen_kibibytes_of_a_body_are_read_and_no_more() {
    for (length, connections) in [(16 * 1024, 1), (16 * 1024 + 1, 2)] {
        let receiver = Receiver::playing(move |mut caller| {
            let body = "x".repeat(length);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            );
            while caller.request().is_some() && caller.say(&answer) {}
        });
        let mut rig = Rig::new(vec![target(&receiver.url())]);

        assert_status(&rig.make(), 200);
        assert_status(&rig.make(), 200);
        assert_eq!(receiver.accepts(), connections, "{length}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_a_network_fault() {
    let cases = [
        ("HTTP/1.1 200 O", "closed the connection"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this", "closed the connection"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "closed the connection"),
        ("", "closed the connection"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP/1.1"),
    ];
    for (text, said) in cases {
        let receiver = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(text);
        });
        let mut rig = Rig::new(vec![target(&receiver.url())]);

        assert_fault(&rig.make(), Fault::Network, said);
        assert_eq!(receiver.requests().len(), 1, "{text}");
    }
}

#[test]
fn a_reset_in_the_answer_is_a_network_fault() {
    let receiver = Receiver::playing(|caller| {
        // Closing with unread bytes makes the kernel send a reset.
        let mut stream = caller.stream();
        std::io::Read::read_exact(&mut stream, &mut [0; 4]).unwrap();
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_fault(&rig.make(), Fault::Network, "the connection");
}

#[test]
fn an_endless_head_is_cut_off() {
    let receiver = Receiver::playing(|mut caller| {
        caller.request();
        caller.say("HTTP/1.1 200 OK\r\nx-long: ");
        caller.drip(&"x".repeat(8192), Duration::ZERO);
    });
    let mut rig = Rig::new(vec![target(&receiver.url())]);

    assert_fault(&rig.make(), Fault::Network, "64 KiB");
}

#[test]
fn nobody_listening_is_a_network_fault() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = Rig::new(vec![target(&format!("http://{address}/hooks?key=sesame"))]);

    assert_fault(&rig.make(), Fault::Network, "connection refused");
}

#[test]
fn a_target_chooses_its_method() {
    let receiver = Receiver::answering(OK);
    let put = Target { method: hyper::Method::PUT, ..target(&receiver.url()) };
    let mut rig = Rig::new(vec![put]);

    assert_status(&rig.make(), 200);
    let request = &receiver.requests()[0];
    assert!(request.head.starts_with("PUT /hooks?key=sesame HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.body, BODY);
}
