//! A real Prometheus and its promtool, where `scripts/prometheus` found them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::bridge::{Http, free_port};
use crate::process::Folder;
use crate::wait;

fn program(name: &str) -> PathBuf {
    let folder = std::env::var("HOOKFERRY_TEST_PROMETHEUS")
        .expect("HOOKFERRY_TEST_PROMETHEUS is not set: run the tests with ./scripts/test");
    Path::new(&folder).join(name)
}

/// Runs promtool in a folder, with something to read.
pub fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// One series of an answer: its labels with its name.
pub type Series = BTreeMap<String, String>;

/// A running Prometheus. Dropping it ends the process.
pub struct Prometheus {
    child: Child,
    url: String,
    http: Http,
    folder: Folder,
}

impl Prometheus {
    /// Starts it with this configuration, beside which these rule files are in `rules/`.
    pub fn start(configuration: &str, rules: &Path) -> Prometheus {
        let folder = Folder::new("prometheus");
        let configuration = folder.file("prometheus.yml", configuration);
        std::os::unix::fs::symlink(rules, folder.path().join("rules")).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Prometheus { child, url: format!("http://{address}"), http: Http::new(), folder };
        wait::until(
            "Prometheus is ready",
            Duration::from_secs(60),
            || prometheus.log(),
            || {
                prometheus
                    .http
                    .get(&format!("{}/-/ready", prometheus.url))
                    .filter(|(status, _)| *status == 200)
            },
        );
        prometheus
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The series that a query gives now, or what is wrong with it.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>, String> {
        let url = format!("{}/api/v1/query", self.url);
        let url = url::Url::parse_with_params(&url, [("query", expression)]).unwrap();
        let (status, text) = self.http.get(url.as_str()).ok_or_else(|| "no answer".to_owned())?;
        if status != 200 {
            return Err(text);
        }
        let answer: Value = serde_json::from_str(&text).map_err(|fault| format!("{fault}: {text}"))?;
        let result = answer["data"]["result"].as_array().ok_or_else(|| text.clone())?;
        // A scalar is a pair of numbers without labels.
        Ok(result.iter().map(|series| labels(&series["metric"])).collect())
    }
}

fn labels(metric: &Value) -> Series {
    let pairs = metric.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
