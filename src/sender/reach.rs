//! At which addresses a host is reached, judged by the egress of the target that asks for it.

use std::net::IpAddr;
use std::time::Duration;

use url::Host;

use super::dial::fault;
use super::egress;
use super::names::Names;
use crate::domain::{Fault, Reply};
use crate::plan::Egress;

/// The addresses of a host that is connected to directly; those that were judged are those that
/// are to be connected to, without a second look-up between.
pub(super) async fn allowed(
    names: &Names,
    egress: &Egress,
    host: &Host<String>,
    port: u16,
) -> Result<Vec<IpAddr>, Reply> {
    if matches!(host, Host::Domain(_)) {
        judged(egress, host, port, &[])?;
    }
    let addresses = found(names, host).await?;
    judged(egress, host, port, &addresses)?;
    Ok(addresses)
}

/// Judges a host that a proxy connects to, as far as that is possible here: a name that has no
/// address here, or none within `patience`, is left to the proxy.
pub(super) async fn beyond_proxy(
    names: &Names,
    egress: &Egress,
    host: &Host<String>,
    port: u16,
    patience: Duration,
) -> Result<(), Reply> {
    if matches!(host, Host::Domain(_)) {
        judged(egress, host, port, &[])?;
    }
    match tokio::time::timeout(patience, found(names, host)).await {
        Ok(Ok(addresses)) => judged(egress, host, port, &addresses),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// All addresses of a host, whatever they are.
pub(super) async fn found(names: &Names, host: &Host<String>) -> Result<Vec<IpAddr>, Reply> {
    match host {
        Host::Ipv4(address) => Ok(vec![IpAddr::V4(*address)]),
        Host::Ipv6(address) => Ok(vec![IpAddr::V6(*address)]),
        Host::Domain(name) => names.lookup(name).await.map_err(|error| fault(Fault::Dns, error.to_string())),
    }
}

fn judged(egress: &Egress, host: &Host<String>, port: u16, addresses: &[IpAddr]) -> Result<(), Reply> {
    egress::judge(egress, host, port, addresses).map_err(|refusal| {
        let text = match host {
            Host::Domain(_) => refusal.to_string(),
            // It stands in the URL, which may be secret.
            Host::Ipv4(_) | Host::Ipv6(_) => refusal.without_address(),
        };
        fault(Fault::Blocked, text)
    })
}
