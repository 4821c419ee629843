//! `docker-compose.yml`, and the same processes on this machine, from the same files: only addresses and
//! names are others.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use serde_json::{Map, Value};

use crate::bridge::Bridge;
use crate::kafka::Cluster;
use crate::nats::Server;
use crate::process::{command, fresh};
use crate::prometheus::Prometheus;

/// How long a receiver may take to say where it listens, on a machine that is busy.
const START: Duration = Duration::from_secs(60);
const SOURCE: &str = "deploy/compose/hookferry";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the checkout.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

pub fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// A list of texts; none if it is none.
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text")).collect()
}

/// The composition, as it is written.
pub struct Composition(Value);

impl Composition {
    pub fn read() -> Composition {
        Composition(yaml("docker-compose.yml"))
    }

    pub fn services(&self) -> &Map<String, Value> {
        self.0["services"].as_object().expect("services")
    }

    pub fn service(&self, name: &str) -> &Value {
        self.services().get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }

    pub fn volumes(&self) -> impl Iterator<Item = &String> {
        self.0["volumes"].as_object().into_iter().flat_map(Map::keys)
    }

    /// What `listen` services listen on, each with its arguments.
    pub fn receivers(&self) -> Vec<Vec<&str>> {
        let commands = self.services().values().map(|service| texts(&service["command"]));
        commands.filter(|command| command.first() == Some(&"listen")).collect()
    }

    fn variables(&self, service: &str) -> Vec<(String, String)> {
        let variables = self.service(service)["environment"].as_object().into_iter().flatten();
        variables.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    }

    /// The file of the checkout that a service sees at a path.
    fn mounted(&self, service: &str, path: &str) -> PathBuf {
        let binds = texts(&self.service(service)["volumes"]);
        let here = binds.into_iter().find_map(|bind| {
            let mut parts = bind.split(':');
            let (here, there) = (parts.next()?, parts.next()?);
            (there == path).then_some(here)
        });
        root().join(here.unwrap_or_else(|| panic!("{service} sees no {path}")))
    }
}

/// All of it, running; it ends with this.
pub struct Running {
    pub hookferry: Bridge,
    pub prometheus: Prometheus,
    _receivers: Vec<Listening>,
    _generator: Group,
}

impl Running {
    pub fn start() -> Running {
        let composition = Composition::read();
        let (kafka, nats) = (Cluster::shared(), Server::shared());
        let name = fresh("compose");
        let topic = format!("{name}.orders");
        kafka.create_topic(&topic, 6);
        // What an earlier run left on a server that outlives it is not this run's.
        if nats.stream_config("AUDIT").is_some() {
            nats.delete_stream("AUDIT");
        }
        nats.create_stream(Config {
            name: "AUDIT".to_owned(),
            subjects: vec!["audit.>".to_owned()],
            ..Config::default()
        });

        let mut variables = composition.variables("hookferry");
        for (key, value) in [
            ("NAME", name.as_str()),
            ("ADMIN__LISTEN", "127.0.0.1:0"),
            ("SOURCES__ORDERS__KAFKA__BROKERS", kafka.brokers()),
            ("SOURCES__ORDERS__KAFKA__TOPICS", topic.as_str()),
            ("SOURCES__AUDIT__NATS__SERVERS", nats.url()),
        ] {
            variables.push((format!("HOOKFERRY__{key}"), value.to_owned()));
        }
        let configuration = yaml(&format!("{SOURCE}/hookferry.yaml"));
        let mut receivers = Vec::new();
        for arguments in composition.receivers() {
            let there = format!("http://127.0.0.1:{}/", arguments[1]);
            let targets = configuration["targets"].as_object().expect("targets");
            let url = |target: &Value| Some(target["url"].as_str()?.strip_prefix(&there)?.to_owned());
            let (target, path) = targets
                .iter()
                .find_map(|(name, target)| Some((name, url(target)?)))
                .unwrap_or_else(|| panic!("no target is at {there}"));
            let receiver = Listening::start(&arguments, &variables);
            let key = format!("HOOKFERRY__TARGETS__{}__URL", target.to_uppercase());
            variables.push((key, format!("{}{path}", receiver.url)));
            receivers.push(receiver);
        }

        let hookferry = Bridge::of(hookferry(&["run"], &variables));
        let generator = Group::start(&composition, &variables);
        hookferry.wait_ready();
        let admin = hookferry.admin().expect("it has started");
        let scraped = read("deploy/compose/prometheus.yml");
        let adapted = scraped.replace("hookferry:9477", &admin.to_string()).replace(": 5s", ": 1s");
        assert!(adapted.contains(&admin.to_string()) && adapted.contains("scrape_interval: 1s"), "{scraped}");
        let rules = composition.mounted("prometheus", "/etc/prometheus/rules");
        let prometheus = Prometheus::start(&adapted, &rules);
        Running { hookferry, prometheus, _receivers: receivers, _generator: generator }
    }
}

/// The binary where its configuration is found without being named.
fn hookferry(arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = command();
    command.args(arguments).current_dir(root().join(SOURCE)).envs(variables.iter().cloned());
    command
}

/// A receiver of ours.
struct Listening {
    child: Child,
    /// With a slash at its end.
    url: String,
}

impl Listening {
    /// As these arguments say, but on a free port.
    fn start(arguments: &[&str], variables: &[(String, String)]) -> Listening {
        let mut arguments = arguments.to_vec();
        arguments[1] = "0";
        let mut child = hookferry(&arguments, variables).stderr(Stdio::inherit()).spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            let _ = tell.send(lines.next().and_then(Result::ok));
            // What it says later is read too, so that it never waits for a reader.
            lines.for_each(drop);
        });
        let greeting = told.recv_timeout(START).ok().flatten().unwrap_or_default();
        let url = greeting.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let url = url.unwrap_or_else(|| panic!("{arguments:?} says {greeting:?}")).to_owned();
        Listening { child, url }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The generator: a shell, and what it starts.
struct Group(Child);

impl Group {
    fn start(composition: &Composition, variables: &[(String, String)]) -> Group {
        let entrypoint = texts(&composition.service("generator")["entrypoint"])[0];
        let programs = Path::new(env!("CARGO_BIN_EXE_hookferry")).parent().expect("a folder");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let child = Command::new(composition.mounted("generator", entrypoint))
            .current_dir(root().join(SOURCE))
            .envs(variables.iter().cloned())
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Group(child)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: kill has no memory effects; the group is that of our own child, not yet waited for.
        unsafe { libc::kill(-(self.0.id() as libc::pid_t), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}
