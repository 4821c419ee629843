//! A receiver: an HTTP/1.1 server on a thread of its own that records requests and answers by script.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::wait;

/// A request as it came in.
#[derive(Debug)]
pub struct Request {
    /// When its head and body were complete.
    pub at: Instant,
    pub path: String,
    /// In their order; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The member `event_id` of the body, by which tests tell events apart.
    pub fn event(&self) -> String {
        self.json()["event_id"].as_str().expect("the body has an event_id").to_owned()
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status with an empty body.
    Status(u16),
    /// This status with a header.
    Header(u16, &'static str, String),
    /// As the inner answer, so much later.
    After(Duration, Box<Answer>),
    /// Nothing until [`Receiver::release`], then 200.
    Hang,
    /// Nothing until [`Receiver::release`], then this status.
    HangThen(u16),
    /// Close the connection without an answer.
    Close,
    /// Reset the connection without an answer.
    Reset,
    /// 200, with a body that comes byte by byte without an end.
    Drip,
    /// 200, with a body of so many bytes.
    Flood(usize),
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Arc<Request>>>,
    connections: AtomicUsize,
    released: watch::Sender<bool>,
}

/// The running server. It ends when this is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Receiver {
    /// Starts it with a script that is asked for every request.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Receiver {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        });
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Receiver { address, shared, _stop: stop }
    }

    /// One that takes everything.
    pub fn ok() -> Receiver {
        Receiver::start(|_| Answer::Status(200))
    }

    /// One that takes the first `first` requests, a little slowly, and lets all others hang: what a
    /// bridge meets then is certain to be in the middle of its work.
    pub fn hanging_after(first: usize) -> Receiver {
        let seen = AtomicUsize::new(0);
        let slow = Answer::After(Duration::from_millis(2), Box::new(Answer::Status(200)));
        Receiver::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
            n if n < first => slow.clone(),
            _ => Answer::Hang,
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything so far, in order of arrival.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Everything so far for one path.
    pub fn requests_to(&self, path: &str) -> Vec<Arc<Request>> {
        self.requests().into_iter().filter(|request| request.path == path).collect()
    }

    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How often each event came, by the body's `event_id`.
    pub fn events(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for request in self.requests() {
            *counts.entry(request.event()).or_default() += 1;
        }
        counts
    }

    /// Lets every hanging request, and all later ones, be answered.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Waits until at least this many requests came.
    #[track_caller]
    pub fn wait_count(&self, wanted: usize) {
        wait::until(
            &format!("{wanted} requests"),
            Duration::from_secs(90),
            || format!("{} came", self.count()),
            || (self.count() >= wanted).then_some(()),
        );
    }

    /// Waits until at least this many different events came.
    #[track_caller]
    pub fn wait_events(&self, wanted: usize) {
        self.wait_count(wanted);
        wait::until(
            &format!("{wanted} different events"),
            Duration::from_secs(90),
            || format!("{} came, in {} requests", self.events().len(), self.count()),
            || (self.events().len() >= wanted).then_some(()),
        );
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(stream, shared.clone()));
    }
}

/// One connection: requests one after the other until either side closes.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let request = Arc::new(read(&mut stream, &mut buffer).await?);
        shared.requests.lock().unwrap().push(request.clone());
        let mut answer = (shared.script)(&request);
        while let Answer::After(delay, inner) = answer {
            tokio::time::sleep(delay).await;
            answer = *inner;
        }
        let reply = match answer {
            Answer::Status(status) => head(status, ""),
            Answer::Header(status, name, value) => head(status, &format!("{name}: {value}\r\n")),
            Answer::Hang => released(&shared, 200).await?,
            Answer::HangThen(status) => released(&shared, status).await?,
            Answer::Close | Answer::After(..) => return None,
            Answer::Reset => {
                stream.set_zero_linger().ok()?;
                return None;
            }
            Answer::Drip => {
                stream.write_all(&long_head(usize::MAX)).await.ok()?;
                loop {
                    stream.write_all(b"x").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Answer::Flood(bytes) => {
                stream.write_all(&long_head(bytes)).await.ok()?;
                for _ in 0..bytes.div_ceil(CHUNK.len()) {
                    stream.write_all(&CHUNK).await.ok()?;
                }
                continue;
            }
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

async fn released(shared: &Shared, status: u16) -> Option<String> {
    shared.released.subscribe().wait_for(|released| *released).await.ok()?;
    Some(head(status, ""))
}

static CHUNK: [u8; 65536] = [b'x'; 65536];

fn long_head(bytes: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 x\r\ncontent-length: {bytes}\r\n\r\n").into_bytes()
}

fn head(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n")
}

/// Reads one request; what follows it stays in the buffer.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        match buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end,
            None => fill(stream, buffer).await?,
        }
    };
    let text = String::from_utf8(buffer[..end].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let path = first.nth(1)?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Some(0), |(_, value)| value.parse().ok())?;
    while buffer.len() < end + 4 + length {
        fill(stream, buffer).await?;
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some(Request { at: Instant::now(), path, headers, body })
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}

#[test]
fn it_records_and_answers_by_script() {
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/later" => Answer::After(Duration::from_millis(50), Box::new(Answer::Status(503))),
        "/hint" => Answer::Header(429, "retry-after", "7".to_owned()),
        "/hang" => Answer::Hang,
        "/refuse" => Answer::HangThen(400),
        "/close" => Answer::Close,
        _ => Answer::Status(200),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = crate::client::builder().build().unwrap();
    let post = |path: &str| client.post(receiver.url(path)).header("X-A", "b").body("{}").send();
    runtime.block_on(async {
        assert_eq!(post("/fine").await.unwrap().status(), 200);
        let started = Instant::now();
        assert_eq!(post("/later").await.unwrap().status(), 503);
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_eq!(post("/hint").await.unwrap().headers()["retry-after"], "7");
        assert!(post("/close").await.is_err());
        let hanging = tokio::time::timeout(Duration::from_millis(100), post("/hang")).await;
        assert!(hanging.is_err());
        receiver.release();
        assert_eq!(post("/hang").await.unwrap().status(), 200);
        assert_eq!(post("/refuse").await.unwrap().status(), 400);
    });
    let first = &receiver.requests_to("/fine")[0];
    assert_eq!((first.header("x-a"), first.body.as_slice()), (Some("b"), b"{}".as_slice()));
    assert!(receiver.connections() >= 1);
}
