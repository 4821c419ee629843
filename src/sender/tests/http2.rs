mod idle;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use h2::server::SendResponse;
use hyper::{HeaderMap, Method, Response, Uri};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

use super::receiver::Receiver;
use super::tls::{Authority, loopback};
use super::*;
use crate::domain::RetryAfter;
use crate::plan::HttpVersion;

/// What an HTTP/2 receiver does with each request.
#[derive(Clone)]
enum Plays {
    Answers(u16),
    /// Answers nobody before so many are asking at once.
    Gathers(Arc<Barrier>),
    /// Answers with a body far over the limit.
    TalksLong,
    /// Sends the head and then nothing.
    Stops,
    /// Never answers.
    Hangs,
    /// Says that it ends the connection after so many requests.
    EndsAfter(usize),
}

/// A receiver that speaks only HTTP/2.
struct Multiplexer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    accepts: AtomicUsize,
    requests: Mutex<Vec<Received>>,
}

#[derive(Debug, Clone)]
struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Multiplexer {
    fn playing(plays: Plays, tls: Option<Arc<ServerConfig>>) -> Multiplexer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let multiplexer = Multiplexer { address, seen: seen.clone() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.accepts.fetch_add(1, Ordering::SeqCst);
                    let (seen, plays, tls) = (seen.clone(), plays.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, seen, plays).await,
                            Some(tls) => {
                                if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                    serve(stream, seen, plays).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        multiplexer
    }

    fn target(&self) -> Target {
        Target { http: HttpVersion::Two, ..target(&format!("http://{}/hooks?key=sesame", self.address)) }
    }

    fn accepts(&self) -> usize {
        self.seen.accepts.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap().clone()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>, plays: Plays) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        count += 1;
        if matches!(plays, Plays::EndsAfter(last) if last == count) {
            connection.graceful_shutdown();
        }
        let (seen, plays) = (seen.clone(), plays.clone());
        tokio::spawn(async move {
            let (head, mut stream) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(data)) = stream.data().await {
                body.extend_from_slice(&data);
                let _ = stream.flow_control().release_capacity(data.len());
            }
            let (method, uri, headers) = (head.method, head.uri, head.headers);
            seen.requests.lock().unwrap().push(Received { method, uri, headers, body });
            play(plays, respond).await;
        });
    }
}

async fn play(plays: Plays, mut respond: SendResponse<Bytes>) {
    let head = |status: u16| {
        let head = Response::builder().status(status).header("retry-after", "7");
        head.header("webhook-allowed-origin", "*").body(()).unwrap()
    };
    match plays {
        Plays::Answers(status) => drop(respond.send_response(head(status), true)),
        Plays::EndsAfter(_) => drop(respond.send_response(head(200), true)),
        Plays::Gathers(barrier) => {
            barrier.wait().await;
            let _ = respond.send_response(head(200), true);
        }
        Plays::TalksLong => {
            let mut body = respond.send_response(head(200), false).unwrap();
            let _ = body.send_data(Bytes::from(vec![b'x'; 4 << 20]), true);
            let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        }
        Plays::Stops => {
            let mut body = respond.send_response(head(200), false).unwrap();
            let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        }
        Plays::Hangs => {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        }
    }
}

#[test]
fn many_attempts_share_one_connection() {
    const AT_ONCE: usize = 64;
    let receiver = Multiplexer::playing(Plays::Gathers(Arc::new(Barrier::new(AT_ONCE))), None);
    let mut rig = Rig::with(vec![receiver.target()], 2, Dns::Fails, RootCertStore::empty());

    for _ in 0..3 {
        rig.make_all(AT_ONCE, |_| 0).iter().for_each(|attempted| assert_status(attempted, 200));
    }

    assert_eq!((receiver.accepts(), receiver.requests().len()), (1, 3 * AT_ONCE));
    assert!(rig.stop(PATIENCE).is_empty());
}

#[test]
fn a_request_arrives_whole() {
    let receiver = Multiplexer::playing(Plays::Answers(503), None);
    let put = Target { method: Method::PUT, ..receiver.target() };
    let mut rig = Rig::new(vec![put]);

    let attempted = rig.make();
    let retry_after = Some(RetryAfter::Seconds(7));
    assert_eq!(attempted.reply, Reply::Status { status: 503, retry_after });
    let request = &receiver.requests()[0];
    assert_eq!(request.method, Method::PUT);
    assert_eq!(request.uri.to_string(), format!("http://{}/hooks?key=sesame", receiver.address));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["content-length"], BODY.len().to_string());
    assert!(!request.headers.contains_key("host"));
    assert_eq!(request.body, BODY);

    static LARGE: [u8; 1 << 20] = [b'7'; 1 << 20];
    for body in [&LARGE[..], b""] {
        let attempt = rig.attempt_of(0, event(body, Lease::unlimited()));
        assert_status(&rig.make_this(attempt), 503);
        assert_eq!(receiver.requests().last().unwrap().body.len(), body.len());
    }
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn a_receiver_that_is_asked_first_is_asked_over_the_same_connection() {
    let receiver = Multiplexer::playing(Plays::Answers(200), None);
    let handshake = Some(crate::plan::Handshake { origin: "hooks.example.com".into() });
    let mut rig = Rig::new(vec![Target { handshake, ..receiver.target() }]);

    rig.make_all(20, |_| 0).iter().for_each(|attempted| assert_status(attempted, 200));
    let requests = receiver.requests();
    assert_eq!((receiver.accepts(), requests.len(), &requests[0].method), (1, 21, &Method::OPTIONS));
    assert!(requests[1..].iter().all(|request| request.method == Method::POST));
}

#[test]
fn over_tls_it_is_agreed_on_or_refused() {
    let authority = Authority::new("own");
    let identity = authority.identity("hooks.example.com");
    let try_with = |alpn: &[&[u8]]| {
        let server = Authority::server(&identity, None, alpn);
        let receiver = Multiplexer::playing(Plays::Answers(204), Some(server));
        let url = format!("https://hooks.example.com:{}/hooks?key=sesame", receiver.address.port());
        let secure = Target { http: HttpVersion::Two, ..target(&url) };
        Rig::with(vec![secure], 1, loopback(), authority.roots.clone()).make()
    };

    assert_status(&try_with(&[b"h2", b"http/1.1"]), 204);
    assert_fault(&try_with(&[b"http/1.1"]), Fault::Tls, "does not offer HTTP/2 (ALPN h2)");
    assert_fault(&try_with(&[]), Fault::Tls, "does not offer HTTP/2 (ALPN h2)");
}

#[test]
fn a_receiver_of_http_1_is_named() {
    let receiver = Receiver::playing(|mut caller| {
        caller.say("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        caller.hang();
    });
    let old = Target { http: HttpVersion::Two, ..target(&receiver.url()) };

    assert_fault(&Rig::new(vec![old]).make(), Fault::Network, "write `http: 1` if it can't");
}

#[test]
fn a_long_answer_costs_its_own_stream_only() {
    let receiver = Multiplexer::playing(Plays::TalksLong, None);
    let mut rig = Rig::new(vec![receiver.target()]);

    for _ in 0..20 {
        assert_status(&rig.make(), 200);
    }
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn each_attempt_has_its_deadline() {
    let timeout = Duration::from_millis(250);
    for (plays, text) in [
        (Plays::Hangs, "no answer came within 250ms"),
        (Plays::Stops, "the body of the answer was not complete within 250ms"),
    ] {
        let receiver = Multiplexer::playing(plays, None);
        let mut rig = Rig::new(vec![Target { timeout, ..receiver.target() }]);

        for attempted in rig.make_all(5, |_| 0) {
            assert_fault(&attempted, Fault::Timeout, text);
            assert!(attempted.took >= timeout && attempted.took < timeout * 8, "{:?}", attempted.took);
        }
    }
}

/// Nothing tells a connection whose other end has vanished from one that is slow.
#[test]
fn a_connection_without_a_sign_of_life_is_given_up() {
    let receiver = Receiver::playing(|caller| caller.hold());
    let timeout = Duration::from_millis(250);
    let mute = Target { http: HttpVersion::Two, timeout, ..target(&receiver.url()) };
    let mut rig = Rig::new(vec![mute]);

    for _ in 0..2 {
        assert_fault(&rig.make(), Fault::Timeout, "no answer came");
    }
    assert_eq!(receiver.accepts(), 2);
}

#[test]
fn a_connection_that_the_receiver_ends_is_followed_by_another() {
    const EACH: usize = 5;
    let receiver = Multiplexer::playing(Plays::EndsAfter(EACH), None);
    let mut rig = Rig::new(vec![receiver.target()]);

    for _ in 0..4 {
        rig.make_all(2 * EACH, |_| 0).iter().for_each(|attempted| assert_status(attempted, 200));
    }
    assert!(receiver.accepts() > 1, "{} connections", receiver.accepts());
}

/// Frames of HTTP/2 (RFC 9113 §4.1) by hand: what a library's receiver does not say on request.
struct Frames(TcpStream);

impl Frames {
    fn accept(stream: TcpStream) -> Frames {
        let mut frames = Frames(stream);
        frames.0.read_exact(&mut [0; 24]).unwrap();
        frames.say(4, 0, 0, &[]);
        frames
    }

    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.0.write_all(&frame);
    }

    /// The stream of the next request that is whole.
    fn request(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            self.0.read_exact(&mut vec![0; length as usize]).ok()?;
            let (kind, flags) = (head[3], head[4]);
            match kind {
                // SETTINGS without ACK.
                4 if flags & 1 == 0 => self.say(4, 1, 0, &[]),
                // HEADERS or DATA with END_STREAM.
                0 | 1 if flags & 1 == 1 => {
                    return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
                }
                _ => {}
            }
        }
    }

    /// HEADERS with END_STREAM and END_HEADERS; `:status: 200` is entry 8 of HPACK's table.
    fn answer(&mut self, stream: u32) {
        self.say(1, 5, stream, &[0x88]);
    }

    fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        self.say(7, 0, 0, &payload);
    }
}

#[test]
fn what_a_receiver_had_not_looked_at_is_sent_again_as_the_same_attempt() {
    // REFUSED_STREAM, and GOAWAY with an earlier stream as the last one.
    let refuse = |frames: &mut Frames, stream| frames.say(3, 0, stream, &7_u32.to_be_bytes());
    let leave = |frames: &mut Frames, stream| frames.go_away(stream - 2);
    for (say, accepts) in [(refuse as fn(&mut Frames, u32), 1), (leave, 2)] {
        let whole = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
        let receiver = Receiver::playing({
            let whole = whole.clone();
            move |caller| {
                let number = caller.number;
                let mut frames = Frames::accept(caller.stream());
                let mut refused = false;
                while let Some(stream) = frames.request() {
                    *whole.lock().unwrap().entry(number).or_default() += 1;
                    if stream > 1 && number == 0 && !refused {
                        refused = true;
                        say(&mut frames, stream);
                    } else {
                        frames.answer(stream);
                    }
                }
            }
        });
        let mut rig = Rig::new(vec![Target { http: HttpVersion::Two, ..target(&receiver.url()) }]);

        for _ in 0..3 {
            assert_status(&rig.make(), 200);
        }
        assert_eq!(receiver.accepts(), accepts);
        assert_eq!(whole.lock().unwrap().values().sum::<usize>(), 4);
    }
}

#[test]
fn what_a_receiver_may_have_looked_at_is_not_sent_again() {
    let receiver = Receiver::playing(|caller| {
        let mut frames = Frames::accept(caller.stream());
        if let Some(stream) = frames.request() {
            // INTERNAL_ERROR.
            frames.say(3, 0, stream, &2_u32.to_be_bytes());
            frames.request();
        }
    });
    let mut rig = Rig::new(vec![Target { http: HttpVersion::Two, ..target(&receiver.url()) }]);

    assert_fault(&rig.make(), Fault::Network, "gave up the request (INTERNAL_ERROR)");
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn no_more_is_asked_at_once_than_the_receiver_takes() {
    const MOST: usize = 3;
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let receiver = Receiver::playing({
        let (open, most) = (open.clone(), most.clone());
        move |caller| {
            let mut frames = Frames::accept(caller.stream());
            // SETTINGS_MAX_CONCURRENT_STREAMS.
            frames.say(4, 0, 0, &[0, 3, 0, 0, 0, MOST as u8]);
            let mut waiting = Vec::new();
            while let Some(stream) = frames.request() {
                waiting.push(stream);
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The first request alone, so that the limit is known; then in full groups.
                if waiting.len() == MOST || stream == 1 {
                    open.store(0, Ordering::SeqCst);
                    waiting.drain(..).for_each(|stream| frames.answer(stream));
                }
            }
        }
    });
    let mut rig = Rig::new(vec![Target { http: HttpVersion::Two, ..target(&receiver.url()) }]);

    assert_status(&rig.make(), 200);
    rig.make_all(10 * MOST, |_| 0).iter().for_each(|attempted| assert_status(attempted, 200));
    assert_eq!((receiver.accepts(), most.load(Ordering::SeqCst)), (1, MOST));
}

#[test]
fn nothing_is_sent_under_an_ended_lease() {
    let receiver = Multiplexer::playing(Plays::Answers(200), None);
    let mut rig = Rig::new(vec![receiver.target()]);
    for kept in [0, 1] {
        let ended = Lease::unlimited();
        ended.end();
        let attempt = rig.attempt_of(0, event(BODY, ended));
        assert_eq!(rig.make_this(attempt).reply, Reply::Withheld);
        assert_eq!((receiver.accepts(), receiver.requests().len()), (kept, kept));
        assert_status(&rig.make(), 200);
    }
}

#[test]
fn a_lease_that_ends_while_the_receiver_takes_no_more_withholds_the_request() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let asked = Arc::new(AtomicUsize::new(0));
    let full = Receiver::playing({
        let asked = asked.clone();
        move |caller| {
            let mut frames = Frames::accept(caller.stream());
            frames.say(4, 0, 0, &[0, 3, 0, 0, 0, 1]);
            while let Some(stream) = frames.request() {
                if asked.fetch_add(1, Ordering::SeqCst) == 1 {
                    let _ = gate.lock().unwrap().recv();
                }
                frames.answer(stream);
            }
        }
    });
    let quick = Receiver::answering(super::receiver::OK);
    let targets = vec![Target { http: HttpVersion::Two, ..target(&full.url()) }, target(&quick.url())];
    let mut rig = Rig::new(targets);
    assert_status(&rig.make(), 200);

    let lease = Lease::unlimited();
    let holder = rig.attempt(0);
    let waiting = rig.attempt_of(0, event(BODY, lease));
    let (event, waits) = (waiting.event.clone(), waiting.delivery);
    rig.submit(vec![holder, waiting]);
    // The thread has begun with those before it answers for what came later.
    let attempt = rig.attempt(1);
    assert_status(&rig.make_this(attempt), 200);
    event.lease.end();
    release.send(()).unwrap();

    let mut answers = Vec::new();
    while answers.len() < 2 {
        answers.extend(rig.batch().1);
    }
    for attempted in answers {
        match attempted.delivery == waits {
            true => assert_eq!(attempted.reply, Reply::Withheld),
            false => assert_status(&attempted, 200),
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn those_who_wait_for_a_connection_share_its_failure() {
    struct Counting(AtomicUsize);
    impl Lookup for Counting {
        fn lookup(&self, _name: &str) -> Answer {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
        }
    }
    let dns = Arc::new(Counting(AtomicUsize::new(0)));
    // Nobody listens there any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://hooks.example.com:{port}/");
    let gone = Target { http: HttpVersion::Two, ..target(&url) };
    let mut rig = Rig::resolving(vec![gone], 1, Resolver::Given(dns.clone()), RootCertStore::empty());

    for tries in 1..=2 {
        for attempted in rig.make_all(20, |_| 0) {
            assert_fault(&attempted, Fault::Network, "could not connect");
        }
        assert_eq!(dns.0.load(Ordering::SeqCst), tries);
    }
}
