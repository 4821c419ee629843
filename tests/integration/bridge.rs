//! The hookferry binary as a running bridge: its probes, its log, its signals.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client;
use crate::process::{Folder, command};
use crate::wait;

const LOG_SHOWN: usize = 60;

/// A port of the loopback address that the kernel just gave out and nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running bridge. Dropping it kills the process; if the test is failing, its log's end is shown.
pub struct Bridge {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    http: Http,
    /// Kept until it has ended.
    folder: Option<Folder>,
}

impl Bridge {
    /// Starts `run` with this configuration, which must not set `admin`.
    pub fn start(config: &str) -> Bridge {
        Bridge::start_with(config, &[], &[])
    }

    /// As [`Bridge::start`], in an environment with these variables.
    pub fn start_in(variables: &[(&str, &str)], config: &str) -> Bridge {
        Bridge::start_with(config, &[], variables)
    }

    /// As [`Bridge::start`], with waits of retries and tiers that are so many times shorter.
    pub fn rehearsing(config: &str, time_scale: u32) -> Bridge {
        let bridge = Bridge::start_with(config, &["--time-scale", &time_scale.to_string()], &[]);
        bridge.wait_ready();
        bridge
    }

    /// As [`Bridge::start_in`], with a second file laid over the first.
    pub fn overlaid(config: &str, over: &Path, variables: &[(&str, &str)]) -> Bridge {
        let over = over.to_str().expect("a path");
        let bridge = Bridge::start_with(config, &["-c", over], variables);
        bridge.wait_ready();
        bridge
    }

    fn start_with(config: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Bridge {
        let folder = Folder::new("bridge");
        let config = folder.file("hookferry.yaml", &format!("admin: {{ listen: '127.0.0.1:0' }}\n{config}"));
        let mut bridge = Bridge::spawn(&config, arguments, variables);
        bridge.folder = Some(folder);
        bridge
    }

    /// Starts `run` with this file or folder.
    pub fn run(config: &Path) -> Bridge {
        Bridge::spawn(config, &[], &[])
    }

    fn spawn(config: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Bridge {
        let mut command = command();
        command.args(["run", "-c"]).arg(config).args(arguments).envs(variables.iter().copied());
        Bridge::of(command)
    }

    /// Starts this command, which is `run` with whatever configuration it finds.
    pub fn of(mut command: Command) -> Bridge {
        let mut child = command.spawn().unwrap();
        let log = Arc::default();
        follow(child.stdout.take().unwrap(), &log);
        follow(child.stderr.take().unwrap(), &log);
        Bridge { child, log, http: Http::new(), folder: None }
    }

    /// Starts it and waits until it is ready.
    pub fn ready(config: &str) -> Bridge {
        let bridge = Bridge::start(config);
        bridge.wait_ready();
        bridge
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        wait::until(
            "/readyz answers 200",
            Duration::from_secs(60),
            || format!("{:?}\n{}", self.get("/readyz"), self.log_end()),
            || self.get("/readyz").filter(|(status, _)| *status == 200),
        );
    }

    /// Waits until `/readyz` answers 503 with a text that contains `reason`.
    #[track_caller]
    pub fn wait_not_ready(&self, reason: &str) {
        wait::until(
            &format!("/readyz answers 503 and says {reason:?}"),
            Duration::from_secs(30),
            || format!("{:?}\n{}", self.get("/readyz"), self.log_end()),
            || self.get("/readyz").filter(|(status, text)| *status == 503 && text.contains(reason)),
        );
    }

    /// Status and body of an admin path; `None` if nothing answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.http.get(&format!("http://{}{path}", self.admin()?))
    }

    /// As [`Bridge::get`], by POST without a body.
    pub fn post(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.admin()?);
        self.http.answer(self.http.client.post(url))
    }

    /// What the list of processes shows of it.
    pub fn command_line(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cmdline", self.child.id())).unwrap()
    }

    /// Where the bridge says that its admin paths are; `None` before it has started.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.log.lock().unwrap().iter().find_map(|line| admin_of(line))
    }

    /// The sum of all series of a metric that have these labels; `None` if there is no such series.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (_, page) = self.get("/metrics")?;
        let series: Vec<f64> =
            page.lines().filter(|line| is_series(line, name, labels)).filter_map(value).collect();
        (!series.is_empty()).then(|| series.iter().sum())
    }

    /// Waits until a metric has exactly this value.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        wait::until(
            &format!("{name}{labels:?} = {wanted}"),
            Duration::from_secs(60),
            || format!("it is {:?}\n{}", self.metric(name, labels), self.log_end()),
            || (self.metric(name, labels) == Some(wanted)).then_some(()),
        );
    }

    /// Waits for a log line that contains all these texts.
    #[track_caller]
    pub fn wait_log(&self, texts: &[&str]) -> String {
        wait::until(
            &format!("a log line with {texts:?}"),
            Duration::from_secs(60),
            || self.log_end(),
            || self.log_lines(texts).into_iter().next(),
        )
    }

    /// All log lines so far that contain all these texts.
    pub fn log_lines(&self, texts: &[&str]) -> Vec<String> {
        let has_all = |line: &&String| texts.iter().all(|text| line.contains(text));
        self.log.lock().unwrap().iter().filter(has_all).cloned().collect()
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn log_end(&self) -> String {
        let log = self.log.lock().unwrap();
        let skipped = log.len().saturating_sub(LOG_SHOWN);
        log.iter().skip(skipped).map(|line| format!("  | {line}\n")).collect()
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill has no memory effects; the id is that of our own child, not yet waited for.
        let sent = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", std::io::Error::last_os_error());
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let log = self.log.clone();
        let child = &mut self.child;
        wait::until(
            "the process ends",
            limit,
            || log.lock().unwrap().iter().rev().take(LOG_SHOWN).map(|line| format!("  | {line}\n")).collect(),
            || child.try_wait().unwrap(),
        )
    }

    /// Ends it as an operator does and asserts that it drained in time (exit code 0).
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let status = self.wait_exit(Duration::from_secs(40));
        assert_eq!(status.code(), Some(0), "{}", self.log_end());
    }

    /// Ends it at once, as a crash does.
    pub fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the bridge's log ends with:\n{}", self.log_end());
        }
    }
}

/// An HTTP client for probes: every request is bounded.
pub struct Http {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Http {
    pub fn new() -> Http {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        Http { runtime, client }
    }

    /// Status and body; `None` if nothing answers.
    pub fn get(&self, url: &str) -> Option<(u16, String)> {
        self.answer(self.client.get(url))
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> Option<(u16, String)> {
        self.runtime.block_on(async {
            let reply = request.send().await.ok()?;
            Some((reply.status().as_u16(), reply.text().await.ok()?))
        })
    }
}

fn follow(stream: impl Read + Send + 'static, log: &Arc<Mutex<VecDeque<String>>>) {
    let log = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push_back(line);
        }
    });
}

/// The address in the line `started admin=…`, or in the same line as JSON.
fn admin_of(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("admin").filter(|_| line.contains("started"))?;
    let address = after.trim_start_matches(['=', '"', ':']);
    address.split(|c: char| !c.is_ascii_digit() && !".:".contains(c)).next()?.parse().ok()
}

fn is_series(line: &str, name: &str, labels: &[(&str, &str)]) -> bool {
    let Some(rest) = line.strip_prefix(name) else { return false };
    let has = |(label, value): &(&str, &str)| {
        let pair = format!("{label}=\"{value}\"");
        rest.contains(&format!("{{{pair}")) || rest.contains(&format!(",{pair}"))
    };
    rest.starts_with(['{', ' ']) && labels.iter().all(has)
}

fn value(line: &str) -> Option<f64> {
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn series_are_found_by_name_and_labels() {
    let line = r#"hookferry_deliveries_total{outcome="delivered",target="crm"} 12"#;
    assert!(is_series(line, "hookferry_deliveries_total", &[("target", "crm"), ("outcome", "delivered")]));
    assert!(!is_series(line, "hookferry_deliveries_total", &[("target", "cr")]));
    assert!(!is_series(line, "hookferry_deliveries", &[]));
    assert_eq!(value(line), Some(12.0));
}

#[test]
fn the_admin_address_is_read_from_the_log() {
    let address = Some(SocketAddr::from(([127, 0, 0, 1], 4321)));
    assert_eq!(admin_of("2026-01-31T12:00:00Z  INFO started admin=127.0.0.1:4321"), address);
    assert_eq!(admin_of(r#"{"level":"INFO","message":"started","admin":"127.0.0.1:4321"}"#), address);
    assert_eq!(admin_of("2026-01-31T12:00:00Z  INFO asked to stop signal=SIGTERM"), None);
}
