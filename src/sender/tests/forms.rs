//! Every way to write an inner address that we know of, through the plan and the senders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use url::{Host, Url};

use super::name_server::{NameServer, Record};
use super::receiver::{OK, Receiver};
use super::*;
use crate::domain::AddressKind;
use crate::plan::{Layers, Network, load_text};

/// Who keeps a form from being called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// The plan, which says this.
    Plan(&'static str),
    /// The senders: nothing but its addresses tells what a name is.
    Senders,
}

const PRIVATE: Keeper = Keeper::Plan("a private address is never called with `egress: public`");
const METADATA: Keeper =
    Keeper::Plan("the address is link-local or a cloud's metadata service and never called");
const RESERVED: Keeper = Keeper::Plan("the address is reserved and never called");
const NO_URL: Keeper = Keeper::Plan("no URL (");
const NO_HTTP: Keeper = Keeper::Plan("only `https://` is possible here");
const USER: Keeper = Keeper::Plan("a user or password in the URL is not possible");
const FRAGMENT: Keeper = Keeper::Plan("a fragment (`#…`) is never sent");

/// Hosts, each before `:<port>/hooks?key=sesame`.
const HOSTS: [(Keeper, &[&str]); 6] = [
    (
        PRIVATE,
        &[
            // Loopback: dotted, decimal, hexadecimal, octal, short, padded, mixed, with a dot at the end.
            "127.0.0.1",
            "127.0.0.2",
            "127.255.255.254",
            "2130706433",
            "0x7f000001",
            "0X7F000001",
            "0x7f.0x0.0x0.0x1",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "0000000177.0.0.1",
            "0177.01",
            "127.1",
            "127.0.1",
            "127.0x0.1",
            "0x7f.00.0.1",
            "127.0.0.1.",
            "2130706433.",
            "0x7f.1.",
            // Digits and dots that are mapped to ASCII, or to nothing.
            "１２７.０.０.１",
            "127．0．0．1",
            "127。0。0。1",
            "127｡0｡0｡1",
            "①②⑦.⓪.⓪.①",
            "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
            "𝟷𝟸𝟽.0.0.1",
            "¹²⁷.⁰.⁰.¹",
            "0ｘ7ｆ.1",
            "127.0.0\u{ad}.1",
            "127.0\u{200b}.0.1",
            "127.0.\t0.1",
            "127.0.0.\n1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
            // IPv6, and IPv4 mapped into it.
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000:0000:0000:0000:0000:0000:0000:0001]",
            "[::0.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::FFFF:7F00:0001]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            // Names that mean it wherever they are looked up.
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.b.localhost",
            "ｌｏｃａｌｈｏｓｔ",
            "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
            "localho\u{17f}t",
            "loc\u{ad}alhost",
            "lo%63alhost",
            // RFC 1918 and unique local addresses.
            "10.0.0.1",
            "167772161",
            "0xa.1",
            "012.0.0.1",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.0.1",
            "0xc0a80001",
            "192.168.257",
            "[::ffff:10.0.0.1]",
            "[fc00::1]",
            "[fd12:3456:789a::1]",
        ],
    ),
    (
        METADATA,
        &[
            "169.254.169.254",
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.16689662",
            "169.254.169.254.",
            "１６９.２５４.１６９.２５４",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ],
    ),
    (
        RESERVED,
        &[
            // "This host", which most systems take for loopback.
            "0.0.0.0",
            "0",
            "0x0",
            "[::]",
            // IPv4 inside IPv6: compatible, translated (RFC 2765, 6052, 8215), 6to4, Teredo.
            "[::127.0.0.1]",
            "[::7f00:1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::1]",
            // Set aside.
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[100::1]",
            "[2001:db8::1]",
            "[fec0::1]",
            "[ff02::1]",
        ],
    ),
    (
        NO_URL,
        &[
            // Zone ids.
            "[::1%25lo]",
            "[::1%lo]",
            "[fe80::1%25lo]",
            "[fe80::1%eth0]",
            // What other parsers read as an address.
            "127.0.0.1.1",
            "127.0.0.256",
            "127.0.0.0x100",
            "4294967297",
            "0x17f000001",
            "127..0.1",
            ".127.0.0.1",
            "0177.0.0.08",
            "127.0.0.1%00.public.example",
            "public.example%40127.0.0.1",
            "127.0.0.1 .public.example",
            "[127.0.0.1]",
            "[::1",
            "::1",
            "[::ffff:127.1]",
            "[::ffff:0x7f.0.0.1]",
        ],
    ),
    (
        USER,
        &[
            "public.example@127.0.0.1",
            "127.0.0.1@public.example",
            "public.example:80@127.0.0.1",
            "u:p@[::1]",
            "public.example%20@localhost",
            "public.example@127.0.0.1@public.example",
        ],
    ),
    (
        Keeper::Senders,
        &[
            "loopback.example",
            "LOOPBACK.example",
            "loopback.example.",
            "ｌｏｏｐｂａｃｋ.example",
            "loop\u{ad}back。example",
            "%6coopback.example",
            "127.0.0.1.nip.example",
            "0x7f.1.example",
            "2130706433.example",
            "l\u{43e}calhost",
            "localhost.localdomain",
            "ip6-localhost",
            "kubernetes.default.svc",
            "metadata.google.internal",
            "zero.example",
            "six.example",
            "unspecified.example",
            "mapped.example",
            "compatible.example",
            "translated.example",
            "six-to-four.example",
            "teredo.example",
            "mixed.example",
            "mixed-later.example",
            "mixed-six.example",
            "mixed-four.example",
            "mixed-mapped.example",
            "last-of-many.example",
            "alias.example",
            "long-alias.example",
            "mixed-alias.example",
        ],
    ),
];

/// Whole URLs; `PORT` is the listener's.
const URLS: [(Keeper, &[&str]); 4] = [
    (
        PRIVATE,
        &[
            "HTTP://127.0.0.1:PORT/hooks?key=sesame",
            "  http://127.0.0.1:PORT/hooks?key=sesame",
            "ht\ntp://127.0.0.1:PORT/hooks?key=sesame",
            "http:127.0.0.1:PORT/hooks?key=sesame",
            "http:/127.0.0.1:PORT/hooks?key=sesame",
            "http:////127.0.0.1:PORT/hooks?key=sesame",
            "http:\\\\127.0.0.1:PORT\\hooks?key=sesame",
            "http://127.0.0.1:PORT\\@public.example/hooks?key=sesame",
            "http://127.0.0.1:PORT?@public.example/hooks?key=sesame",
            "http://@127.0.0.1:PORT/hooks?key=sesame",
            "https://127.0.0.1:PORT/hooks?key=sesame",
        ],
    ),
    (FRAGMENT, &["http://127.0.0.1:PORT#@public.example/hooks?key=sesame"]),
    (
        NO_URL,
        &[
            "127.0.0.1:PORT/hooks?key=sesame",
            "//127.0.0.1:PORT/hooks?key=sesame",
            "/hooks?key=sesame",
            "http://127.0.0.1:PORT00/hooks?key=sesame",
            "http://127.0.0.1:PORT:80/hooks?key=sesame",
        ],
    ),
    (
        NO_HTTP,
        &[
            "ftp://127.0.0.1:PORT/hooks?key=sesame",
            "gopher://127.0.0.1:PORT/_hooks?key=sesame",
            "ws://127.0.0.1:PORT/hooks?key=sesame",
            "file:///etc/passwd",
            "unix:/run/docker.sock",
            "localhost:PORT/hooks?key=sesame",
            "data:text/plain,sesame",
            "jar:http://127.0.0.1:PORT/hooks?key=sesame",
        ],
    ),
];

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
const PUBLIC_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x21f, 0, 0, 0, 0, 1));
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What the name server says of the names above.
fn zone(name: &str) -> Vec<Record> {
    let ip = |text: &str| text.parse().unwrap();
    let addresses = match name {
        "alias.example" => return vec![Record::Alias("inner.example"), Record::Address(LOOPBACK)],
        "long-alias.example" => {
            let aliases = ["public.example", "alias.example", "inner.example"].map(Record::Alias);
            return aliases.into_iter().chain([Record::Address(LOOPBACK)]).collect();
        }
        "mixed-alias.example" => {
            return [Record::Alias("inner.example")]
                .into_iter()
                .chain([PUBLIC, LOOPBACK].map(Record::Address))
                .collect();
        }
        "kubernetes.default.svc" => vec![ip("10.96.0.1")],
        "metadata.google.internal" => vec![ip("169.254.169.254")],
        "zero.example" => vec![ip("0.0.0.0")],
        "six.example" | "ip6-localhost" => vec![LOOPBACK_V6],
        "unspecified.example" => vec![ip("::")],
        "mapped.example" => vec![ip("::ffff:127.0.0.1")],
        "compatible.example" => vec![ip("::127.0.0.1")],
        "translated.example" => vec![ip("64:ff9b::7f00:1")],
        "six-to-four.example" => vec![ip("2002:7f00:1::")],
        "teredo.example" => vec![ip("2001:0:7f00:1::1")],
        "mixed.example" => vec![LOOPBACK, PUBLIC],
        "mixed-later.example" => vec![PUBLIC, LOOPBACK],
        "mixed-six.example" => vec![PUBLIC, LOOPBACK_V6],
        "mixed-four.example" => vec![PUBLIC_V6, LOOPBACK],
        "mixed-mapped.example" => vec![PUBLIC, PUBLIC_V6, ip("::ffff:127.0.0.1")],
        "last-of-many.example" => {
            (1..=24).map(|n| ip(&format!("93.184.216.{n}"))).chain([LOOPBACK]).collect()
        }
        _ => vec![LOOPBACK],
    };
    addresses.into_iter().map(Record::Address).collect()
}

/// A receiver on every address of this machine.
struct Everywhere {
    receiver: Receiver,
    has_ipv6: bool,
}

impl Everywhere {
    fn listen() -> Everywhere {
        // `::` takes IPv4 too, unless this machine has no IPv6.
        let both = TcpListener::bind("[::]:0");
        let has_ipv6 = both.is_ok();
        let listener = both.or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
        let script = |mut caller: receiver::Caller| while caller.request().is_some() && caller.say(OK) {};
        Everywhere { receiver: Receiver::on(listener, script), has_ipv6 }
    }

    fn port(&self) -> u16 {
        self.receiver.address.port()
    }

    fn accepts(&self) -> usize {
        self.receiver.accepts()
    }

    /// Whether a URL would reach it, if nobody kept it from that.
    fn is_meant_by(&self, url: &Url) -> bool {
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => addresses_of(name.trim_end_matches('.')),
            None => Vec::new(),
        };
        let is_ours = |address: &IpAddr| {
            let plain = address.to_canonical();
            (plain.is_loopback() || plain.is_unspecified()) && (self.has_ipv6 || address.is_ipv4())
        };
        !addresses.is_empty() && addresses.iter().all(is_ours) && url.scheme() == "http"
    }
}

fn addresses_of(name: &str) -> Vec<IpAddr> {
    let address = |record| if let Record::Address(address) = record { Some(address) } else { None };
    zone(name).into_iter().filter_map(address).collect()
}

/// Each form with who has to keep it.
fn forms(port: u16) -> Vec<(Keeper, String)> {
    let by_host = |host: &&str| format!("http://{host}:{port}/hooks?key=sesame");
    let hosts = HOSTS.iter().flat_map(|(keeper, hosts)| hosts.iter().map(|host| (*keeper, by_host(host))));
    let whole = |url: &&str| url.replace("PORT", &port.to_string());
    let urls = URLS.iter().flat_map(|(keeper, urls)| urls.iter().map(|url| (*keeper, whole(url))));
    hosts.chain(urls).collect()
}

/// The plan's target for this URL, or the faults.
fn planned(url: &str) -> Result<Target, String> {
    let quoted = serde_json::Value::from(url);
    let text = format!(
        "sources: {{ s: {{ kafka: {{ brokers: 'b:9092', topics: [t] }} }} }}
targets:
  crm:
    url: {quoted}
    allow_http: true
routes: [{{ to: [crm] }}]
"
    );
    let plan = load_text("h.yaml", &text, &Layers::default()).map_err(|faults| faults.to_string())?;
    Ok(plan.into_target())
}

/// Whether this is the only fault, at its place, and shows nothing of path and query.
fn says_only(faults: &str, wanted: &str) -> bool {
    let wanted = format!("h.yaml:4:10: targets.crm.url: {wanted}");
    faults.starts_with(&wanted) && faults.lines().count() == 1 && !faults.contains("sesame")
}

/// Makes one attempt to each target, at once, and returns what came of them, in their order.
fn attempt_all(targets: Vec<Target>, resolver: Resolver) -> Vec<Attempted> {
    let count = targets.len();
    let mut rig = Rig::resolving(targets, 1, resolver, RootCertStore::empty());
    let attempts = (0..count).map(|target| rig.attempt(target as u32)).collect();
    rig.submit(attempts);
    let mut answers = Vec::with_capacity(count);
    while answers.len() < count {
        answers.extend(rig.batch().1);
    }
    answers.sort_by_key(|attempted: &Attempted| attempted.target.0);
    answers
}

#[test]
fn no_form_of_an_inner_address_gets_a_packet() {
    let listener = Everywhere::listen();
    let names = NameServer::start(0, |name, _| zone(name));
    let forms = forms(listener.port());
    assert!(forms.len() >= 180, "{} forms", forms.len());
    let mut planned_ones = Vec::new();
    // What a plan that judges nothing would hand to the senders.
    let mut unjudged = Vec::new();
    let mut wrong = Vec::new();
    for (keeper, form) in &forms {
        match (planned(form), keeper) {
            (Ok(target), Keeper::Senders) => planned_ones.push(target),
            (Err(faults), Keeper::Plan(wanted)) if says_only(&faults, wanted) => {}
            (found, _) => wrong.push(format!("{form:?}: {:?}", found.map(|_| "accepted"))),
        }
        let url = Url::parse(form).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        unjudged.extend(url);
    }
    assert_eq!(wrong, [""; 0]);
    unjudged.retain(|url| url.host_str() != Some("public.example"));

    let public = |url: &Url| Target { egress: Egress::Public, ..target(url.as_str()) };
    for attempted in attempt_all(planned_ones, names.resolver()) {
        assert_fault(&attempted, Fault::Blocked, "which the target's egress does not allow");
    }
    let answers = attempt_all(unjudged.iter().map(public).collect(), names.resolver());
    for (attempted, url) in answers.iter().zip(&unjudged) {
        assert!(
            matches!(&attempted.reply, Reply::Fault { fault: Fault::Blocked, .. }),
            "{url}: {attempted:?}"
        );
    }
    assert_eq!(listener.accepts(), 0);

    // The listener does hear those forms that mean this machine, once nothing keeps them.
    unjudged.retain(|url| listener.is_meant_by(url));
    let anywhere = ["0.0.0.0/0", "::/0"].map(|range| Network::Range(range.parse().unwrap()));
    let egress = Egress::Listed { allow: anywhere.to_vec(), deny: Vec::new() };
    let open = |url: &Url| Target { egress: egress.clone(), ..target(url.as_str()) };
    let answers = attempt_all(unjudged.iter().map(open).collect(), names.resolver());
    for (attempted, url) in answers.iter().zip(&unjudged) {
        assert!(matches!(attempted.reply, Reply::Status { status: 200, .. }), "{url}: {attempted:?}");
    }
    assert_eq!(listener.accepts(), unjudged.len());
    assert!(unjudged.len() >= if listener.has_ipv6 { 75 } else { 60 }, "{} forms", unjudged.len());
}

#[test]
fn a_look_alike_of_an_allowed_name_is_another_name() {
    let names = NameServer::start(0, |_, _| vec![Record::Address(LOOPBACK)]);
    let receiver = Receiver::answering(OK);
    let host = |host: &str| Network::Host(crate::plan::HostPort { host: host.into(), port: None });
    let allowing = |name: &str| Target {
        egress: Egress::Listed { allow: vec![host("intranet.example")], deny: Vec::new() },
        ..target(&receiver.url_named("http", name))
    };
    let others = [
        // Cyrillic, Greek, a dotless i, and names around the one that is meant.
        "\u{456}ntranet.example",
        "intr\u{3b1}net.example",
        "\u{131}ntranet.example",
        "intranet.example.example",
        "x.intranet.example",
        "intranet-example",
    ];
    for attempted in attempt_all(others.map(allowing).into(), names.resolver()) {
        assert_fault(&attempted, Fault::Blocked, "127.0.0.1 is private");
    }
    assert_eq!(receiver.accepts(), 0);
    // The same name, written otherwise, is allowed as it is, and denied as it is.
    let same = ["intranet.example", "INTRANET.example.", "ｉntranet。example", "int\u{ad}ranet.example"];
    for attempted in attempt_all(same.map(allowing).into(), names.resolver()) {
        assert_status(&attempted, 200);
    }
    let denying = |name: &str| Target {
        egress: Egress::Listed { allow: Vec::new(), deny: vec![host("intranet.example")] },
        ..target(&receiver.url_named("http", name))
    };
    for attempted in attempt_all(same.map(denying).into(), names.resolver()) {
        assert_fault(&attempted, Fault::Blocked, "egress.deny names this host");
    }
    assert_eq!(receiver.accepts(), same.len());
    assert_eq!(AddressKind::of(PUBLIC), AddressKind::Global, "mixed answers mix in what is public");
    assert_eq!(AddressKind::of(PUBLIC_V6), AddressKind::Global, "mixed answers mix in what is public");
}
