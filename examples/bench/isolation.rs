//! What `scripts/bench --isolation` needs: receivers that behave badly, each in its own way, one that
//! measures how late events come, and a source that gives so many events a second.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Prints one line `NAME ADDRESS` for each receiver, and serves them all: the good one in a thread of its
/// own, so that what the bad ones do is not measured as its lateness. The bad ones stand for machines elsewhere:
/// what they need of this one's processors comes after all else.
///
/// `good` answers 200 and `GET /lateness` with `COUNT P50 P99 MAX`, in microseconds from when the event
/// was made, of all requests since the last such question.
pub fn receive() -> anyhow::Result<()> {
    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    println!("refusing {closed}");
    let bad = [
        ("hanging", Manner::Hang),
        ("dripping", Manner::Drip),
        ("resetting", Manner::Reset),
        ("flooding", Manner::Flood),
        ("limiting", Manner::Limit),
    ];
    let bad = std::thread::spawn(move || {
        // SAFETY: it only changes the priority of this thread.
        let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) } != 0;
        anyhow::ensure!(!refused, "setpriority: {}", std::io::Error::last_os_error());
        serve_all(&bad)
    });
    serve_all(&[("good", Manner::Good)])?;
    bad.join().map_err(|_| anyhow::anyhow!("the thread of the bad receivers panicked"))?
}

/// Serves these receivers for good.
fn serve_all(receivers: &[(&str, Manner)]) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let lateness = Arc::new(Mutex::new(Vec::new()));
        for (name, manner) in receivers {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{name} {}", listener.local_addr()?);
            tokio::spawn(serve(listener, *manner, lateness.clone()));
        }
        std::future::pending().await
    })
}

#[derive(Clone, Copy)]
enum Manner {
    Good,
    /// It never answers.
    Hang,
    /// Its response comes byte by byte, without an end.
    Drip,
    /// It resets the connection after the request.
    Reset,
    /// Its response has 64 MiB.
    Flood,
    /// It answers 429 without saying when to come again.
    Limit,
}

type Lateness = Arc<Mutex<Vec<u64>>>;

async fn serve(listener: TcpListener, manner: Manner, lateness: Lateness) {
    while let Ok((stream, _)) = listener.accept().await {
        let lateness = lateness.clone();
        tokio::spawn(async move {
            // Whatever ends a connection is the client's to see.
            let _ = converse(stream, manner, &lateness).await;
        });
    }
}

async fn converse(stream: TcpStream, manner: Manner, lateness: &Lateness) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let (line, body) = request(&mut stream).await?;
        match manner {
            Manner::Good if line.starts_with("GET /lateness") => {
                let text = summary(&mut lateness.lock().expect("nobody panics"));
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                stream.write_all((head + &text).as_bytes()).await?;
            }
            Manner::Good => {
                let late = now_us().saturating_sub(made_us(&body)?);
                lateness.lock().expect("nobody panics").push(late);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Manner::Hang => std::future::pending().await,
            Manner::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
                loop {
                    stream.write_all(b"x").await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Manner::Reset => {
                stream.get_ref().set_zero_linger()?;
                return Ok(());
            }
            Manner::Flood => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20);
                stream.write_all(head.as_bytes()).await?;
                for _ in 0..1024 {
                    stream.write_all(&[b'x'; 64 << 10]).await?;
                }
            }
            Manner::Limit => {
                stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await?;
            }
        }
    }
}

/// The request line, and the body.
async fn request(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        anyhow::ensure!(stream.read_line(&mut line).await? > 0, "closed");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

fn made_us(body: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(body)?;
    let at = text.split_once("\"made_us\":").context("made_us")?.1;
    Ok(at[..at.find([',', '}']).context("its end")?].parse()?)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

fn summary(lateness: &mut Vec<u64>) -> String {
    let mut all = std::mem::take(lateness);
    all.sort_unstable();
    let at = |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len().max(1) - 1)).copied();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or(0));
    format!("{} {p50} {p99} {max}\n", all.len())
}

/// Publishes `rate` events a second for `seconds`, evenly, and prints how many.
pub fn trickle(brokers: &str, topic: &str, rate: u64, seconds: u64) -> anyhow::Result<()> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create()?;
    let start = std::time::Instant::now();
    let count = rate * seconds;
    for n in 0..count {
        let due = Duration::from_micros(n * 1_000_000 / rate);
        while let Some(left) = due.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            producer.poll(left);
        }
        let body = format!(
            "{{\"event_id\":\"trickle-{n:09}\",\"type\":\"bench.made\",\"made_us\":{},\"data\":{{\"text\":\"{}\"}}}}",
            now_us(),
            "x".repeat(380)
        );
        let key = n.to_string();
        producer.send(BaseRecord::to(topic).key(&key).payload(&body)).map_err(|(fault, _)| fault)?;
    }
    producer.flush(Duration::from_secs(60)).context("not all events were confirmed")?;
    println!("{count}");
    Ok(())
}
