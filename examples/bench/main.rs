//! The two ends of `scripts/bench`: a receiver that costs next to nothing, and what fills a topic or a
//! stream.
//!
//! ```text
//! bench receive                                  prints its address and answers 200 to everything
//! bench fill BROKERS TOPIC PARTITIONS EVENTS     creates the topic and fills it with 500-byte events
//! bench fill-nats SERVERS STREAM EVENTS          makes a stream for STREAM.> and fills it with the same
//! bench event                                    prints one such event
//! bench receive-badly                            receivers that behave badly, and one that measures
//! bench routes                                   what routing costs with few and with many routes
//! bench trickle BROKERS TOPIC RATE SECONDS       publishes so many events a second
//! ```
//!
//! `GET /stats` answers `COUNT NANOSECONDS`: the requests other than this one since the last such
//! question, and the time from the first to the last of them.

mod isolation;
mod routing;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const EVENT_BYTES: usize = 500;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["receive"] => receive(),
        ["fill", brokers, topic, partitions, events] => {
            fill(brokers, topic, partitions.parse()?, events.parse()?)
        }
        ["fill-nats", servers, stream, events] => fill_nats(servers, stream, events.parse()?),
        ["receive-badly"] => isolation::receive(),
        ["routes"] => routing::compare(),
        ["trickle", brokers, topic, rate, seconds] => {
            isolation::trickle(brokers, topic, rate.parse()?, seconds.parse()?)
        }
        ["event"] => {
            println!("{}", event(0));
            Ok(())
        }
        _ => bail!(
            "usage: bench receive | bench fill BROKERS TOPIC PARTITIONS EVENTS | bench fill-nats SERVERS STREAM EVENTS \
             | bench event | bench receive-badly | bench routes | bench trickle BROKERS TOPIC RATE SECONDS"
        ),
    }
}

/// A JSON event of exactly [`EVENT_BYTES`].
fn event(n: usize) -> String {
    let head = format!(
        "{{\"event_id\":\"bench-{n:09}\",\"type\":\"bench.made\",\"severity\":\"high\",\"n\":{n},\"data\":{{\"text\":\""
    );
    let tail = "\"}}";
    format!("{head}{}{tail}", "x".repeat(EVENT_BYTES - head.len() - tail.len()))
}

fn fill(brokers: &str, topic: &str, partitions: i32, events: usize) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for created in runtime.block_on(admin.create_topics([&new], &options))? {
        created.map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
    }
    let producer: BaseProducer =
        config.set("linger.ms", "20").set("queue.buffering.max.kbytes", "65536").create()?;
    for n in 0..events {
        let body = event(n);
        let mut record = BaseRecord::<(), str>::to(topic).partition(n as i32 % partitions).payload(&body);
        while let Err((fault, refused)) = producer.send(record) {
            let KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) = fault else { bail!(fault) };
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(Duration::from_secs(60)).context("not all events were confirmed")
}

/// Several publications are under way at once; each is acknowledged.
fn fill_nats(servers: &str, stream: &str, events: usize) -> anyhow::Result<()> {
    const TOGETHER: usize = 500;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(servers).await?);
        let subjects = vec![format!("{stream}.>")];
        let config =
            async_nats::jetstream::stream::Config { name: stream.to_owned(), subjects, ..Default::default() };
        context.create_stream(config).await?;
        let mut answers = std::collections::VecDeque::with_capacity(TOGETHER);
        for n in 0..events {
            if answers.len() == TOGETHER {
                answers.pop_front().context("an answer")?.await?;
            }
            answers
                .push_back(context.publish(format!("{stream}.made"), event(n).into()).await?.into_future());
        }
        for answer in answers {
            answer.await?;
        }
        Ok(())
    })
}

/// What came since the last question.
#[derive(Default)]
struct Stats {
    count: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// One thread, one epoll, and no more parsing than it takes to find the end of each request.
fn receive() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.add(listener.as_raw_fd(), 0)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut stats = Stats::default();
    let mut ready = Vec::new();
    loop {
        poll.wait(&mut ready)?;
        for &token in &ready {
            if token == 0 {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[token as usize - 1];
            if slot.as_mut().is_some_and(|connection| connection.serve(&mut stats).is_err()) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, open: &mut Vec<Option<Connection>>) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poll.add(stream.as_raw_fd(), open.len() as u64 + 1)?;
        open.push(Some(Connection { stream, buffer: vec![0; 64 * 1024], filled: 0 }));
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Reads once and answers every complete request. An error means that it is over.
    fn serve(&mut self, stats: &mut Stats) -> anyhow::Result<()> {
        let read = match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("closed"),
            Ok(read) => read,
            Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        self.filled += read;
        let mut at = 0;
        while let Some(length) = request_length(&self.buffer[at..self.filled])? {
            self.answer(at, stats)?;
            at += length;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn answer(&mut self, at: usize, stats: &mut Stats) -> anyhow::Result<()> {
        let is = |start: &[u8]| self.buffer[at..self.filled].starts_with(start);
        if is(b"GET /stats") || is(b"GET /count") {
            let Stats { count, first, last } = *stats;
            if is(b"GET /stats") {
                *stats = Stats::default();
            }
            let span = first.zip(last).map_or(0, |(first, last)| (last - first).as_nanos());
            let text = format!("{count} {span}\n");
            write!(self.stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
            return Ok(());
        }
        let now = Instant::now();
        stats.count += 1;
        stats.first.get_or_insert(now);
        stats.last = Some(now);
        Ok(self.stream.write_all(OK)?)
    }
}

/// The bytes of the first request in `input`, once it is complete.
fn request_length(input: &[u8]) -> anyhow::Result<Option<usize>> {
    const LENGTH: &[u8] = b"\ncontent-length:";
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &input[..end];
    let named = head.windows(LENGTH.len()).position(|name| name.eq_ignore_ascii_case(LENGTH));
    let body = match named {
        None => 0,
        Some(at) => {
            let value = head[at + LENGTH.len()..].split(|byte| *byte == b'\r').next().unwrap_or_default();
            std::str::from_utf8(value)?.trim().parse()?
        }
    };
    let length = end + 4 + body;
    Ok((input.len() >= length).then_some(length))
}

/// epoll, level-triggered.
struct Poll(i32);

impl Poll {
    fn new() -> std::io::Result<Poll> {
        // SAFETY: no memory is involved.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 { Err(std::io::Error::last_os_error()) } else { Ok(Poll(descriptor)) }
    }

    fn add(&self, descriptor: i32, token: u64) -> std::io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: `event` lives for the call; the kernel copies it.
        let done = unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, descriptor, &mut event) };
        if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }

    fn wait(&self, ready: &mut Vec<u64>) -> std::io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the kernel writes at most `events.len()` entries.
        let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, -1) };
        ready.clear();
        ready.extend(events.iter().take(count.max(0) as usize).map(|event| event.u64));
        let fault = std::io::Error::last_os_error();
        if count < 0 && fault.kind() != std::io::ErrorKind::Interrupted { Err(fault) } else { Ok(()) }
    }
}
