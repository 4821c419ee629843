//! A name server on loopback, written without the library that asks it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use super::Resolver;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// One record of an answer.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Address(IpAddr),
    Alias(&'static str),
}

/// What is said to a question: for which name, and how often it had been asked for this name before.
type Zone = dyn Fn(&str, usize) -> Vec<Record> + Send + Sync;

/// A running name server. It ends with the process.
pub(super) struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, Asked>>>,
}

/// How often a name was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) ipv4: usize,
    pub(super) ipv6: usize,
}

impl NameServer {
    /// Answers out of `zone`, to be kept for `ttl` seconds.
    pub(super) fn start(
        ttl: u32,
        zone: impl Fn(&str, usize) -> Vec<Record> + Send + Sync + 'static,
    ) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = NameServer { address: socket.local_addr().unwrap(), asked: Arc::default() };
        let asked = server.asked.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                let question = Question::read(&packet[..length]).expect("a question");
                let before = question.count(&mut asked.lock().unwrap());
                let reply = question.answer(ttl, &(&zone as &Zone)(&question.name, before));
                socket.send_to(&reply, peer).unwrap();
            }
        });
        server
    }

    pub(super) fn resolver(&self) -> Resolver {
        Resolver::Servers(Arc::new([self.address]))
    }

    pub(super) fn asked(&self, name: &str) -> Asked {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

/// A question as it came (RFC 1035 §4.1).
struct Question {
    id: [u8; 2],
    /// Name, type and class as they came.
    section: Vec<u8>,
    /// In lower case, without a dot at its end.
    name: String,
    family: u16,
}

impl Question {
    fn read(packet: &[u8]) -> Option<Question> {
        let (id, mut rest) = (packet.get(..2)?.try_into().ok()?, packet.get(12..)?);
        let mut labels = Vec::new();
        while let Some((length @ 1..=63, after)) = rest.split_first() {
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            rest = after;
        }
        let family = u16::from_be_bytes(rest.get(1..3)?.try_into().ok()?);
        let end = packet.len() - rest.len() + 5;
        Some(Question { id, section: packet.get(12..end)?.to_vec(), name: labels.join("."), family })
    }

    /// Adds it to what was asked, and says how often it had been before.
    fn count(&self, asked: &mut HashMap<String, Asked>) -> usize {
        let asked = asked.entry(self.name.clone()).or_default();
        let count = if self.family == A { &mut asked.ipv4 } else { &mut asked.ipv6 };
        *count += 1;
        *count - 1
    }

    /// The addresses of the family that was asked for, and all aliases.
    fn answer(&self, ttl: u32, records: &[Record]) -> Vec<u8> {
        let mut owner = self.name.as_str();
        let mut answers = Vec::new();
        for record in records {
            let (kind, data) = match record {
                Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
                Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
                Record::Alias(name) => (CNAME, wire_name(name)),
            };
            if kind == CNAME || kind == self.family {
                let fixed = [kind.to_be_bytes().as_slice(), &[0, 1], &ttl.to_be_bytes()].concat();
                let length = (data.len() as u16).to_be_bytes();
                answers.push([wire_name(owner), fixed, length.to_vec(), data].concat());
            }
            if let Record::Alias(name) = record {
                owner = name;
            }
        }
        // An authoritative answer to one question, without a fault.
        let counts = [0, 1, 0, answers.len() as u8, 0, 0, 0, 0];
        [self.id.as_slice(), &[0x85, 0x80], &counts, &self.section, &answers.concat()].concat()
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([vec![0]]).flatten().collect()
}
