//! An HTTP/1.1 server behind TLS, with an authority of its own, that answers by script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A private authority.
pub struct Authority {
    pub pem: String,
    roots: RootCertStore,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Authority { pem: certificate.pem(), roots, issuer: Issuer::new(params, key) }
    }

    /// The PEM texts of a certificate for `name` and of its key.
    pub fn identity(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = Arc::new(clients.roots.clone());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(vec![leaf.der().clone()], key).unwrap())
    }
}

/// The running server, at 127.0.0.1.
pub struct Secure {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Secure {
    /// `answer` gets the head of a request and gives status line and body. With `clients`, callers have
    /// to show a certificate of that authority.
    pub fn start(
        authority: &Authority,
        clients: Option<&Authority>,
        answer: impl Fn(&str) -> (&'static str, String) + Send + Sync + 'static,
    ) -> Secure {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let secure = Secure { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let (tls, heads, answer) = (authority.server(clients), secure.heads.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, heads, answer) = (tls.clone(), heads.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, tls, &heads, &*answer));
            }
        });
        secure
    }

    #[cfg(feature = "real-brokers")]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The heads of all requests so far whose line begins so.
    pub fn heads(&self, start: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().filter(|head| head.starts_with(start)).cloned().collect()
    }
}

fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    heads: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str) -> (&'static str, String),
) {
    let connection = ServerConnection::new(tls).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                // What is left unread when it closes would take the last words with it.
                let _ = std::io::copy(&mut stream.get_mut().sock, &mut std::io::sink());
                return;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
        });
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
        heads.lock().unwrap().push(head.clone());
        let (status, body) = answer(&head);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}
