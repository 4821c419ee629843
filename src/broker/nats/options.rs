use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

use crate::plan::{Nats, NatsLogin, NatsMode};

/// A server that is silent for two of these counts as gone.
const PING_EVERY: Duration = Duration::from_secs(10);
/// After so many attempts to reconnect the client gives up, and one is made anew: with what the
/// credentials file holds by then.
const RECONNECTS: usize = 20;
/// A pause between two attempts to reconnect is at most this long.
const LONGEST_PAUSE_MS: u64 = 4000;
/// At most so many messages wait between the connection and the source's thread.
const WAITING: usize = 1 << 20;

/// How a client of ours reaches a source's servers.
///
/// # Errors
/// What can't be used: a server's address, or a credentials file. Holds no secret.
pub(crate) fn options(client_name: &str, nats: &Nats) -> Result<(ConnectOptions, Vec<ServerAddr>), String> {
    let servers = nats.servers.iter().map(|server| {
        let address = server.parse::<ServerAddr>();
        address.map_err(|error| format!("the server {server} can't be used: {error}"))
    });
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    let mut options = ConnectOptions::new()
        .name(client_name)
        .ping_interval(PING_EVERY)
        // What is pulled is bounded by the window, so nothing of it may be dropped here.
        .subscription_capacity(WAITING)
        .max_reconnects(RECONNECTS)
        .reconnect_delay_callback(pause);
    if let NatsMode::Core { .. } = nats.mode {
        options = options.subscription_capacity(CORE_WAITING);
    }
    if let Some(tls) = &nats.tls {
        options = options.require_tls(true);
        if let Some(ca) = &tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &tls.client {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if tls.first {
            options = options.tls_first();
        }
    }
    let options = login(options, &nats.login)?;
    Ok((options, servers))
}

/// Core NATS: what the source's thread does not take in time is dropped, and counted as lost; the
/// window is its buffer, not this.
pub(crate) const CORE_WAITING: usize = 4096;

fn login(options: ConnectOptions, login: &NatsLogin) -> Result<ConnectOptions, String> {
    match login {
        NatsLogin::Anonymous => Ok(options),
        NatsLogin::CredentialsFile(path) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .map(Zeroizing::new)
                .map_err(|error| format!("the credentials file {shown} can't be read: {error}"))?;
            credentials(options, &text, &format!("the credentials file {shown}"))
        }
        NatsLogin::Credentials(text) => credentials(options, text.expose_secret(), "the text of `creds`"),
        NatsLogin::Nkey(seed) => Ok(options.nkey(seed.expose_secret().to_owned())),
        NatsLogin::User { user, password } => {
            let (user, password) = (user.expose_secret(), password.expose_secret());
            Ok(options.user_and_password(user.to_owned(), password.to_owned()))
        }
        NatsLogin::Token(token) => Ok(options.token(token.expose_secret().to_owned())),
    }
}

fn credentials(options: ConnectOptions, text: &str, what: &str) -> Result<ConnectOptions, String> {
    // A reference drops the last line's end, and the library does not find that line without it.
    let text = format!("{}\n", text.trim_end());
    options
        .credentials(&text)
        .map_err(|_| format!("{what} holds no user JWT and seed; `nats auth user credential` writes one"))
}

fn pause(attempts: usize) -> Duration {
    let doubled = 100u64.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    match attempts {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(doubled.min(LONGEST_PAUSE_MS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats(login: NatsLogin) -> Nats {
        Nats {
            servers: vec!["nats://one:4222".to_owned(), "tls://two:4223".to_owned()],
            subjects: Vec::new(),
            mode: NatsMode::Core { queue: "q".to_owned() },
            tls: None,
            login,
        }
    }

    #[test]
    fn pauses_grow_up_to_their_end() {
        let pauses: Vec<u64> = (0..9).map(|attempts| pause(attempts).as_millis() as u64).collect();
        assert_eq!(pauses, [0, 0, 200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(pause(usize::MAX), Duration::from_secs(4));
    }

    #[test]
    fn credentials_that_are_none_are_named_without_their_text() {
        let fault = options("c", &nats(NatsLogin::Credentials("s3cret-nonsense".into()))).err();
        let fault = fault.expect("no credentials");
        assert!(fault.contains("`creds`") && !fault.contains("s3cret"), "{fault}");
        let fault = options("c", &nats(NatsLogin::CredentialsFile("/no/such/file".into()))).err();
        assert!(fault.expect("no file").contains("/no/such/file can't be read"));
        let (_, servers) = options("c", &nats(NatsLogin::Anonymous)).expect("good options");
        assert_eq!(servers.len(), 2);
    }
}
