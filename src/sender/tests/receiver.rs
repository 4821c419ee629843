use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A receiver on loopback that follows a script, one thread for each connection.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    accepts: AtomicUsize,
    requests: Mutex<Vec<Received>>,
    changed: Condvar,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// One connection, from the receiver's side.
pub(super) struct Caller {
    /// Counted from 0 over the receiver's life.
    pub(super) number: usize,
    reader: BufReader<TcpStream>,
    seen: Arc<Seen>,
}

impl Receiver {
    /// Answers each request with `answer`.
    pub(super) fn answering(answer: &'static str) -> Receiver {
        Receiver::playing(move |mut caller| while caller.request().is_some() && caller.say(answer) {})
    }

    pub(super) fn playing(script: impl Fn(Caller) + Send + Sync + 'static) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(super) fn on(listener: TcpListener, script: impl Fn(Caller) + Send + Sync + 'static) -> Receiver {
        let address = listener.local_addr().unwrap();
        let (seen, script) = (Arc::new(Seen::default()), Arc::new(script));
        let receiver = Receiver { address, seen: seen.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = seen.accepts.fetch_add(1, Ordering::SeqCst);
                let caller = Caller { number, reader: BufReader::new(stream), seen: seen.clone() };
                let script = script.clone();
                std::thread::spawn(move || script(caller));
            }
        });
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks?key=sesame", self.address)
    }

    pub(super) fn url_named(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}/hooks?key=sesame", self.address.port())
    }

    pub(super) fn accepts(&self) -> usize {
        self.seen.accepts.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(super) fn wait_for_requests(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        let mut requests = self.seen.requests.lock().unwrap();
        while requests.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "{} of {count} requests came", requests.len());
            requests = self.seen.changed.wait_timeout(requests, left).unwrap().0;
        }
    }
}

impl Caller {
    /// Reads one request; `None` once the sender has closed.
    pub(super) fn request(&mut self) -> Option<Received> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut received = Received { head, body: Vec::new() };
        let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
        received.body.resize(length, 0);
        self.reader.read_exact(&mut received.body).ok()?;
        self.seen.requests.lock().unwrap().push(received.clone());
        self.seen.changed.notify_all();
        Some(received)
    }

    /// Whether it could be written.
    pub(super) fn say(&mut self, text: &str) -> bool {
        self.reader.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// Says `text` again and again until the sender closes; returns how often it could.
    pub(super) fn drip(&mut self, text: &str, pause: Duration) -> usize {
        let mut said = 0;
        while self.say(text) {
            said += 1;
            std::thread::sleep(pause);
        }
        said
    }

    /// Waits, without reading a request, until the sender closes.
    pub(super) fn hang(&mut self) {
        let mut sink = Vec::new();
        let _ = self.reader.read_to_end(&mut sink);
    }

    pub(super) fn wait_for_a_byte(&mut self) {
        let _ = self.reader.fill_buf();
    }

    /// Keeps the connection open and unread for as long as the tests run.
    pub(super) fn hold(self) {
        loop {
            std::thread::park();
        }
    }

    pub(super) fn stream(self) -> TcpStream {
        self.reader.into_inner()
    }
}
