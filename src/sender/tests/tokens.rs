use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::receiver::{OK, Receiver};
use super::tls::{Authority, loopback};
use super::*;
use crate::plan::{Network, OAuth2, Proxy, TargetTls, TargetUrl};

/// `Basic` of `me` and `p@ss word`, each written as in a form.
const BASIC: &str = "Basic bWU6cCU0MHNzK3dvcmQ=";

fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn token(number: usize, more: &str) -> String {
    json("200 OK", &format!(r#"{{"access_token":"t{number}","token_type":"Bearer"{more}}}"#))
}

/// A token endpoint that answers its first request with `answer(1)`, and so on.
fn endpoint(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Receiver {
    let asked = AtomicUsize::new(0);
    Receiver::playing(move |mut caller| {
        while caller.request().is_some() {
            let answer = answer(asked.fetch_add(1, Ordering::SeqCst) + 1);
            if answer.is_empty() {
                return caller.hang();
            }
            caller.say(&answer);
        }
    })
}

/// A receiver that refuses these tokens.
fn refusing(refused: &'static [&'static str]) -> Receiver {
    Receiver::playing(move |mut caller| {
        while let Some(request) = caller.request() {
            let shown = request.header("authorization").unwrap_or("none").to_owned();
            match refused.iter().any(|token| shown == format!("Bearer {token}")) {
                true => caller.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
                false => caller.say(OK),
            };
        }
    })
}

fn oauth2(token_url: &str) -> OAuth2 {
    OAuth2 {
        token_url: TargetUrl(token_url.parse().unwrap()),
        shown: "***".into(),
        client_id: "me".into(),
        client_secret: "p@ss word".into(),
        scopes: vec!["read".to_owned(), "write:all".to_owned()],
        audience: Some("https://api.example".to_owned()),
    }
}

fn with_tokens(receiver: &Receiver, endpoint: &Receiver) -> Target {
    let url = format!("http://{}/token?tenant=sesame", endpoint.address);
    Target { oauth2: Some(oauth2(&url)), ..target(&receiver.url()) }
}

fn shown(receiver: &Receiver) -> Vec<String> {
    let header =
        |request: &super::receiver::Received| request.header("authorization").unwrap_or("none").to_owned();
    receiver.requests().iter().map(header).collect()
}

#[test]
fn a_hundred_deliveries_of_all_threads_and_targets_take_one_token() {
    let receiver = Receiver::answering(OK);
    let endpoint = endpoint(|number| token(number, r#","expires_in":3600"#));
    let targets = vec![with_tokens(&receiver, &endpoint), with_tokens(&receiver, &endpoint)];
    let mut rig = Rig::with(targets, 2, Dns::Fails, RootCertStore::empty());

    for attempted in rig.make_all(100, |number| number % 2) {
        assert_status(&attempted, 200);
    }

    assert_eq!(shown(&receiver), vec!["Bearer t1"; 100]);
    let asked = endpoint.requests();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].head.starts_with("POST /token?tenant=sesame HTTP/1.1\r\n"), "{}", asked[0].head);
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let form = "grant_type=client_credentials&scope=read+write%3Aall&audience=https%3A%2F%2Fapi.example";
    assert_eq!(String::from_utf8_lossy(&asked[0].body), form);
}

#[test]
fn a_token_is_fetched_anew_before_it_expires() {
    // A receiver that accepts no token after its end, by its own clock.
    const LIFE: Duration = Duration::from_secs(2);
    let issued = Arc::new(std::sync::Mutex::new(Vec::<Instant>::new()));
    let endpoint = endpoint({
        let issued = issued.clone();
        move |number| {
            issued.lock().unwrap().push(Instant::now());
            token(number, r#","expires_in":"2""#)
        }
    });
    let late = Arc::new(AtomicUsize::new(0));
    let receiver = Receiver::playing({
        let late = late.clone();
        move |mut caller| {
            while let Some(request) = caller.request() {
                let number: usize = request
                    .header("authorization")
                    .unwrap()
                    .strip_prefix("Bearer t")
                    .unwrap()
                    .parse()
                    .unwrap();
                // What was sent in time may take its time on a busy machine.
                if issued.lock().unwrap()[number - 1].elapsed() > LIFE + LIFE / 4 {
                    late.fetch_add(1, Ordering::SeqCst);
                }
                caller.say(OK);
            }
        }
    });
    let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

    let begun = Instant::now();
    while shown(&receiver).last().is_none_or(|last| last != "Bearer t3") {
        assert!(begun.elapsed() < PATIENCE, "{:?}", shown(&receiver).last());
        assert_status(&rig.make(), 200);
        std::thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(late.load(Ordering::SeqCst), 0);
    assert!(begun.elapsed() >= LIFE, "two tokens can't end sooner");
    assert!(endpoint.requests().len() <= 4, "{} requests", endpoint.requests().len());
}

#[test]
fn an_expired_token_is_replaced_before_the_next_request() {
    let receiver = Receiver::answering(OK);
    let endpoint = endpoint(|number| token(number, r#","expires_in":1"#));
    let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

    assert_status(&rig.make(), 200);
    std::thread::sleep(Duration::from_millis(1100));
    assert_status(&rig.make(), 200);

    assert_eq!(shown(&receiver), ["Bearer t1", "Bearer t2"]);
}

#[test]
fn a_refused_token_is_replaced_once_for_all() {
    let receiver = refusing(&["t1"]);
    let endpoint = endpoint(|number| token(number, ""));
    let targets = vec![with_tokens(&receiver, &endpoint), with_tokens(&receiver, &endpoint)];
    let mut rig = Rig::with(targets, 2, Dns::Fails, RootCertStore::empty());

    for attempted in rig.make_all(100, |number| number % 2) {
        assert_status(&attempted, 200);
    }

    let shown = shown(&receiver);
    assert_eq!(shown.iter().filter(|value| *value == "Bearer t2").count(), 100);
    assert!(shown.iter().all(|value| value == "Bearer t1" || value == "Bearer t2"), "{shown:?}");
    assert_eq!(endpoint.requests().len(), 2);
}

#[test]
fn a_receiver_that_refuses_every_token_is_asked_twice() {
    let receiver = refusing(&["t1", "t2", "t3", "t4"]);
    let endpoint = endpoint(|number| token(number, ""));
    let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

    let begun = Instant::now();
    assert_status(&rig.make(), 401);
    assert_eq!(shown(&receiver), ["Bearer t1", "Bearer t2"]);
    // And the endpoint is left alone for five seconds.
    for _ in 0..10 {
        assert_status(&rig.make(), 401);
    }
    let most = 2 + begun.elapsed().as_secs() as usize / 5;
    assert!(endpoint.requests().len() <= most, "{} requests", endpoint.requests().len());
}

#[test]
fn a_failed_endpoint_is_an_auth_fault_until_it_works_again() {
    for failure in [
        json("503 Service Unavailable", "{}"),
        json("400 Bad Request", r#"{"error":"invalid_scope","error_description":"sesame"}"#),
        json("302 Found", "").replace("content-type", "location: http://127.0.0.1:1/\r\ncontent-type"),
        json("200 OK", r#"{"access_token":""}"#),
        json("200 OK", r#"{"access_token":"t","token_type":"mac"}"#),
        json("200 OK", "sesame"),
        "HTTP/1.1 2".to_owned(),
    ] {
        let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let receiver = Receiver::answering(OK);
        let endpoint = Receiver::playing({
            let (broken, failure) = (broken.clone(), failure.clone());
            move |mut caller| {
                caller.request();
                match broken.load(Ordering::SeqCst) {
                    true => caller.say(&failure),
                    false => caller.say(&token(1, "")),
                };
            }
        });
        let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

        let begun = Instant::now();
        for _ in 0..5 {
            assert_fault(&rig.make(), Fault::Auth, "the token endpoint");
        }
        // Each time perhaps in both ways, and once a second.
        let most = 2 * (1 + begun.elapsed().as_secs() as usize);
        assert!(endpoint.requests().len() <= most, "it is given a pause: {}", endpoint.requests().len());
        broken.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        while !matches!(rig.make().reply, Reply::Status { status: 200, .. }) {
            assert!(begun.elapsed() < PATIENCE, "it never recovers from {failure:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(shown(&receiver), ["Bearer t1"]);
    }
}

#[test]
fn an_endpoint_that_says_nothing_delays_nobody_else() {
    let receiver = Receiver::answering(OK);
    let endpoint = endpoint(|_| String::new());
    let timeout = Duration::from_millis(500);
    let targets = vec![Target { timeout, ..with_tokens(&receiver, &endpoint) }, target(&receiver.url())];
    let mut rig = Rig::new(targets);

    let stuck = (0..10).map(|_| rig.attempt(0)).collect();
    rig.submit(stuck);
    let mut stuck = 0;
    for _ in 0..20 {
        let attempt = rig.attempt(1);
        rig.submit(vec![attempt]);
    }
    let mut answered = 0;
    while answered + stuck < 30 {
        for attempted in rig.batch().1 {
            if attempted.target == TargetId(1) {
                assert_status(&attempted, 200);
                assert_eq!(stuck, 0, "those without a token come first");
                answered += 1;
            } else {
                assert_fault(&attempted, Fault::Auth, "gave no token within 500ms");
                stuck += 1;
            }
        }
    }
    assert_eq!(endpoint.accepts(), 1);
}

#[test]
fn an_endpoint_may_want_the_secret_in_the_body() {
    let receiver = Receiver::answering(OK);
    let endpoint = Receiver::playing(|mut caller| {
        while let Some(request) = caller.request() {
            let body = String::from_utf8(request.body).unwrap();
            match body.ends_with("&client_id=me&client_secret=p%40ss+word") {
                true => caller.say(&token(1, r#","expires_in":1"#)),
                false => caller.say(&json("401 Unauthorized", r#"{"error":"invalid_client"}"#)),
            };
        }
    });
    let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

    assert_status(&rig.make(), 200);
    assert_eq!(endpoint.requests().len(), 2);
    assert_eq!(endpoint.requests()[1].header("authorization"), None);
    std::thread::sleep(Duration::from_millis(1100));
    assert_status(&rig.make(), 200);
    assert_eq!(endpoint.requests().len(), 3, "it is remembered");
}

#[test]
fn a_token_endpoint_is_judged_by_the_targets_egress() {
    let receiver = Receiver::answering(OK);
    let endpoint = endpoint(|number| token(number, ""));
    let only = crate::plan::HostPort { host: "127.0.0.1".into(), port: Some(receiver.address.port()) };
    let egress = Egress::Listed { allow: vec![Network::Host(only)], deny: Vec::new() };
    let direct = Target { egress: egress.clone(), ..with_tokens(&receiver, &endpoint) };

    assert_fault(&Rig::new(vec![direct]).make(), Fault::Auth, "egress does not allow");

    let by_name = oauth2(&endpoint.url_named("http", "id.example.com"));
    let named = Target { egress, oauth2: Some(by_name), ..with_tokens(&receiver, &endpoint) };
    let mut rig = Rig::with(vec![named], 1, loopback(), RootCertStore::empty());
    assert_fault(&rig.make(), Fault::Auth, "egress does not allow");
    assert_eq!((endpoint.accepts(), receiver.accepts()), (0, 0));
}

#[test]
fn a_token_endpoint_is_asked_at_the_address_that_was_judged() {
    let receiver = Receiver::answering(OK);
    let endpoint = endpoint(|number| token(number, ""));
    let by_name = oauth2(&endpoint.url_named("http", "id.example.com"));
    let named = Target { oauth2: Some(by_name), ..with_tokens(&receiver, &endpoint) };
    let mut rig = Rig::with(vec![named], 1, loopback(), RootCertStore::empty());

    assert_status(&rig.make(), 200);
    let host = format!("id.example.com:{}", endpoint.address.port());
    assert_eq!(endpoint.requests()[0].header("host"), Some(&*host));
}

#[test]
fn tokens_come_through_the_targets_proxy() {
    let proxy = Receiver::playing(|mut caller| {
        while let Some(request) = caller.request() {
            match request.head.starts_with("POST http://id.example.com/token HTTP/1.1\r\n") {
                true => caller.say(&token(1, "")),
                false => caller.say(OK),
            };
        }
    });
    let by = Proxy {
        host: url::Host::Ipv4([127, 0, 0, 1].into()),
        port: proxy.address.port(),
        authorization: Some("Basic YW5uOm9wZW4=".into()),
    };
    let far = Target {
        proxy: Some(by),
        oauth2: Some(oauth2("http://id.example.com/token")),
        ..target("http://hooks.example.com/hooks")
    };
    let mut rig = Rig::with(vec![far], 1, Dns::Fails, RootCertStore::empty());

    assert_status(&rig.make(), 200);
    let requests = proxy.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.header("proxy-authorization"), Some("Basic YW5uOm9wZW4="), "{}", request.head);
    }
    assert_eq!(requests[1].header("authorization"), Some("Bearer t1"));
}

/// A token endpoint behind TLS; its port.
fn secure_endpoint(server: Arc<rustls::ServerConfig>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream.unwrap()));
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
            }
            if line == "\r\n" {
                let _ = stream.get_mut().write_all(token(1, "").as_bytes());
                let _ = stream.get_mut().flush();
            }
            // What is left unread when it closes would take the last words with it.
            let _ = std::io::copy(&mut stream.get_mut().sock, &mut std::io::sink());
        }
    });
    port
}

#[test]
fn a_token_endpoint_is_trusted_by_the_targets_ca() {
    let (own, clients, other) = (Authority::new("own"), Authority::new("clients"), Authority::new("other"));
    let identity = clients.identity("hookferry");
    let server = Authority::server(&own.identity("id.example.com"), Some(&clients), &[]);
    let url = format!("https://id.example.com:{}/token", secure_endpoint(server));
    let receiver = Receiver::answering(OK);
    let with = |ca: &Authority, own: Option<(&str, &str)>| Target {
        tls: Some(TargetTls::of(Some(&ca.pem), own)),
        oauth2: Some(oauth2(&url)),
        ..target(&receiver.url())
    };
    let client = Some((&*identity.cert, &*identity.key));
    let mut rig = Rig::with(
        vec![with(&own, client), with(&other, client), with(&own, None)],
        1,
        loopback(),
        RootCertStore::empty(),
    );

    assert_status(&rig.make(), 200);
    let attempt = rig.attempt(1);
    assert_fault(&rig.make_this(attempt), Fault::Auth, "not trusted");
    let attempt = rig.attempt(2);
    assert_fault(&rig.make_this(attempt), Fault::Auth, "CertificateRequired");

    // The machine's own authorities count beside the target's.
    let mut rig = Rig::with(vec![with(&other, client)], 1, loopback(), own.roots.clone());
    assert_status(&rig.make(), 200);
}

#[test]
fn tokens_from_behind_tls_come_through_a_tunnel() {
    let own = Authority::new("own");
    let port = secure_endpoint(Authority::server(&own.identity("id.example.com"), None, &[]));
    let proxy = super::proxy::tunnelling(([127, 0, 0, 1], port).into());
    let receiver = Receiver::answering(OK);
    let url = format!("https://id.example.com:{port}/token");
    // The receiver itself is asked through the proxy too, which opens it the wrong tunnel.
    let far = Target {
        proxy: Some(super::proxy::by(&proxy)),
        oauth2: Some(oauth2(&url)),
        ..target(&receiver.url_named("https", "hooks.example.com"))
    };
    let mut rig = Rig::with(vec![far], 1, loopback(), own.roots.clone());

    assert_fault(&rig.make(), Fault::Tls, "for another host");
    let calls = proxy.requests();
    assert_eq!(calls.len(), 2);
    assert!(
        calls[0].head.starts_with(&format!("CONNECT id.example.com:{port} HTTP/1.1\r\n")),
        "{}",
        calls[0].head
    );
    assert_eq!(calls[0].header("proxy-authorization"), Some(super::proxy::KEY));
    assert!(calls[1].head.starts_with("CONNECT hooks.example.com:"), "{}", calls[1].head);
}

#[test]
fn a_token_that_was_good_is_replaced_at_once_when_it_is_refused() {
    let valid = Arc::new(AtomicUsize::new(1));
    let receiver = Receiver::playing({
        let valid = valid.clone();
        move |mut caller| {
            while let Some(request) = caller.request() {
                let wanted = format!("Bearer t{}", valid.load(Ordering::SeqCst));
                match request.header("authorization") == Some(&wanted) {
                    true => caller.say(OK),
                    false => caller.say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
                };
            }
        }
    });
    let endpoint = endpoint(|number| token(number, ""));
    let mut rig = Rig::new(vec![with_tokens(&receiver, &endpoint)]);

    for number in 1..=4 {
        valid.store(number, Ordering::SeqCst);
        assert_status(&rig.make(), 200);
        assert_eq!(endpoint.requests().len(), number);
    }
}

const AS_CHILD: &str = "HOOKFERRY_TEST_TOKEN_URLS";

#[test]
fn proxies_of_the_environment_see_no_secret() {
    if let Ok(urls) = std::env::var(AS_CHILD) {
        let (url, token_url) = urls.split_once(' ').unwrap();
        let target = Target { oauth2: Some(oauth2(token_url)), ..target(url) };
        return assert_status(&Rig::new(vec![target]).make(), 200);
    }
    let (receiver, proxy) = (Receiver::answering(OK), Receiver::answering(OK));
    let endpoint = endpoint(|number| token(number, ""));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "sender::tests::tokens::proxies_of_the_environment_see_no_secret"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, format!("http://{}", proxy.address));
    }
    let urls = format!("{} http://{}/token", receiver.url(), endpoint.address);
    let output = child.env(AS_CHILD, urls).env_remove("NO_PROXY").output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((endpoint.accepts(), receiver.accepts(), proxy.accepts()), (1, 1, 0));
}
