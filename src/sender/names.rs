//! Host names to addresses: the hosts file, then DNS; or what a test answers.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

/// The longest wait for one server of names before the next is asked.
const ONE_SERVER: Duration = Duration::from_secs(2);

/// A name's wrong answer is forgotten after so long at the latest, so that a repaired name works soon.
const FORGET_NEGATIVE: Duration = Duration::from_secs(10);

/// An address is asked for again after so long at the latest, whatever its time to live.
const FORGET_POSITIVE: Duration = Duration::from_secs(300);

/// How host names become addresses.
#[derive(Clone, Default)]
pub enum Resolver {
    /// As this machine is set up: its hosts file, then the name servers and search domains of
    /// `/etc/resolv.conf`. Answers are kept for their time to live, at most 5 minutes.
    #[default]
    System,
    /// From these name servers alone, without a hosts file; answers are kept as above.
    Servers(Arc<[SocketAddr]>),
    /// As this says.
    Given(Arc<dyn Lookup>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resolver::System => "System",
            Resolver::Servers(_) => "Servers",
            Resolver::Given(_) => "Given",
        })
    }
}

/// A source of addresses other than this machine's.
pub trait Lookup: Send + Sync {
    /// All addresses of `name`, in the order in which they are to be tried.
    fn lookup(&self, name: &str) -> Answer;
}

/// A lookup under way.
pub type Answer = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, LookupFault>> + Send>>;

/// Why a name has no addresses, for people. Does not hold the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupFault(pub Box<str>);

/// One sender thread's way from names to addresses.
pub(super) enum Names {
    Asked { hosts: Hosts, dns: Result<Box<TokioResolver>, LookupFault> },
    Given(Arc<dyn Lookup>),
}

impl Names {
    /// The system's files are read here, once.
    pub(super) fn new(resolver: &Resolver) -> Names {
        let asked = |hosts, dns: Result<TokioResolver, NetError>| Names::Asked {
            hosts,
            dns: dns.map(Box::new).map_err(|error| LookupFault(text_of(&error))),
        };
        match resolver {
            Resolver::System => asked(Hosts::from_system().unwrap_or_default(), asking(system_config())),
            Resolver::Servers(servers) => asked(Hosts::default(), asking(config_of(servers))),
            Resolver::Given(lookup) => Names::Given(lookup.clone()),
        }
    }

    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupFault> {
        let addresses = match self {
            Names::Given(lookup) => lookup.lookup(name).await?,
            Names::Asked { hosts, dns } => match in_hosts_file(hosts, name) {
                found if !found.is_empty() => found,
                _ => match dns {
                    Ok(dns) => ask(dns, name).await?,
                    Err(fault) => return Err(fault.clone()),
                },
            },
        };
        if addresses.is_empty() {
            return Err(LookupFault("the host name has no address".into()));
        }
        Ok(addresses)
    }
}

async fn ask(dns: &TokioResolver, name: &str) -> Result<Vec<IpAddr>, LookupFault> {
    match dns.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) => Err(LookupFault(text_of(&error))),
    }
}

type Builder = ResolverBuilder<TokioRuntimeProvider>;

/// A machine without a readable `resolv.conf` is taken to have a name server of its own, as the C
/// library does; nobody else's server is ever asked.
fn system_config() -> Builder {
    TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system's DNS configuration can't be read; asking 127.0.0.1");
        config_of(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 53))])
    })
}

fn config_of(servers: &[SocketAddr]) -> Builder {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

fn asking(mut builder: Builder) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Asked first by us: the resolver would wait for DNS about the family that the file lacks.
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(ONE_SERVER);
    options.positive_max_ttl = Some(FORGET_POSITIVE);
    options.negative_max_ttl = Some(FORGET_NEGATIVE);
    builder.build()
}

fn in_hosts_file(hosts: &Hosts, name: &str) -> Vec<IpAddr> {
    let Ok(name) = Name::from_str(name) else { return Vec::new() };
    let records = [RecordType::A, RecordType::AAAA].into_iter().filter_map(|family| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), family))?;
        Some(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
    });
    records.flatten().collect()
}

fn text_of(error: &NetError) -> Box<str> {
    if error.is_nx_domain() {
        "the host name does not exist".into()
    } else if error.is_no_records_found() {
        "the host name has no address".into()
    } else if matches!(error, NetError::Timeout) {
        "no name server answered".into()
    } else {
        "the host name could not be resolved".into()
    }
}
