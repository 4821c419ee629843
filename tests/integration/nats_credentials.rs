//! A server that trusts an operator's accounts, and the credentials of a user in one of them.

use async_nats::ConnectOptions;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator, an account that may use JetStream, and a user of it.
pub struct Realm {
    operator: KeyPair,
    /// The servers' own, without which there is no JetStream for others.
    system: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Realm {
    pub fn new() -> Realm {
        Realm {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    /// What a server needs in its configuration to trust it.
    pub fn server_config(&self) -> String {
        let operator = self.operator.public_key();
        let trusted = claim(&self.operator, &operator, json!({ "type": "operator", "version": 2 }));
        let (system, account) = (self.system.public_key(), self.account.public_key());
        let (known, of_servers) = (self.account_claim(&account, -1), self.account_claim(&system, 0));
        format!(
            "operator: {trusted}
system_account: {system}
resolver: MEMORY
resolver_preload: {{
  {system}: {of_servers}
  {account}: {known}
}}"
        )
    }

    /// What the operator says of an account, which may store so much; -1 is without a limit.
    fn account_claim(&self, account: &str, storage: i64) -> String {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage
        });
        let permissions = json!({ "pub": {}, "sub": {} });
        let says = json!({
            "type": "account", "version": 2, "limits": limits, "default_permissions": permissions
        });
        claim(&self.operator, account, says)
    }

    /// The text of the user's credentials file.
    pub fn credentials(&self) -> String {
        let rights = json!({
            "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1
        });
        let token = claim(&self.account, &self.user.public_key(), rights);
        let seed = self.user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"
        )
    }

    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::with_credentials(&self.credentials()).unwrap()
    }
}

/// A token of NATS: what `issuer` says of `subject`.
fn claim(issuer: &KeyPair, subject: &str, says: Value) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test", "sub": subject,
        "nats": says
    });
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}
