//! The Helm chart: rendered by helm, and judged by Kubernetes' schemas, by promtool and by hookferry itself.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::composition::root;
use crate::manifests::{helm, python};
use crate::process::{Folder, hookferry_in, text};
use crate::prometheus::promtool;

/// A configuration as it stands in values.
const CONFIG: &str = r#"
config:
  sources: { orders: { kafka: { brokers: 'kafka:9092', topics: [orders] } } }
  targets: { crm: { url: 'https://crm.example.com/hooks', dialect: standard-webhooks, secrets: ['${file:/run/secrets/hookferry/crm}'] } }
  routes: [{ name: all, to: [crm] }]
"#;

/// Everything that can be switched on.
const EVERYTHING: &str = r#"
replicas: 3
configKind: Secret
shutdownSeconds: 60
preStopSeconds: 5
image: { repository: registry.example.com/hookferry, tag: '1.2.3', pullPolicy: Always }
imagePullSecrets: [{ name: pull }]
adminToken: { existingSecret: ours, key: admin }
env: [{ name: CRM_SECRET, valueFrom: { secretKeyRef: { name: crm, key: secret } } }]
envFrom: [{ secretRef: { name: more } }]
secretFiles: [crm-secrets, others]
serviceMonitor: { enabled: true, labels: { release: prometheus } }
prometheusRule: { enabled: true, labels: { release: prometheus } }
dashboards: { enabled: true }
serviceAccountName: hooks
podAnnotations: { example.com/team: hooks }
podLabels: { team: hooks }
nodeSelector: { kubernetes.io/os: linux }
tolerations: [{ key: dedicated, operator: Exists }]
affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } }
topologySpreadConstraints: [{ maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {} }]
priorityClassName: high
extraVolumes: [{ name: ca, configMap: { name: ca } }]
extraVolumeMounts: [{ name: ca, mountPath: /etc/ca, readOnly: true }]
"#;

fn chart() -> PathBuf {
    root().join("deploy/helm/hookferry")
}

/// What helm makes of these values, or what it says against them.
fn rendered(values: &str) -> Result<String, String> {
    rendered_in("default", values)
}

fn rendered_in(namespace: &str, values: &str) -> Result<String, String> {
    let folder = Folder::new("chart");
    let values = folder.file("values.yaml", values);
    let output = helm("template")
        .args(["webhooks", "--namespace", namespace, "--values"])
        .arg(values)
        .arg(chart())
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(text(&output)),
    }
}

fn documents(manifest: &str) -> Vec<Value> {
    let documents = manifest.split("\n---\n").filter(|document| document.contains("kind:"));
    documents
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|fault| panic!("{fault}\n{document}"))
        })
        .collect()
}

/// The only object of a kind.
#[track_caller]
fn object<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "one {kind}");
    object
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn variable<'a>(deployment: &'a Value, name: &str) -> &'a Value {
    let variables = container(deployment)["env"].as_array().into_iter().flatten();
    variables
        .into_iter()
        .find(|variable| variable["name"] == name)
        .unwrap_or_else(|| panic!("no variable {name}"))
}

#[track_caller]
fn assert_valid(manifest: &str) {
    let folder = Folder::new("manifest");
    // Kubernetes has no schema of what operators define.
    let ours: Vec<&str> =
        manifest.split("\n---\n").filter(|document| !document.contains("monitoring.coreos.com")).collect();
    let file = folder.file("manifest.yaml", &ours.join("\n---\n"));
    for version in ["1.30", "1.37"] {
        let output = python("kubernetes-validate")
            .args(["--strict", "--kubernetes-version", version])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn helm_and_kubernetes_take_it_with_few_and_with_all_values() {
    let folder = Folder::new("values");
    for values in [CONFIG.to_owned(), format!("{CONFIG}{EVERYTHING}")] {
        let file = folder.file("values.yaml", &values);
        let lint = helm("lint").arg("--strict").arg(chart()).arg("--values").arg(file).output().unwrap();
        assert!(lint.status.success(), "{}", text(&lint));
        assert_valid(&rendered(&values).unwrap());
    }
}

#[test]
fn values_that_could_not_work_are_refused() {
    for (values, reason) in [
        ("", "config is empty"),
        ("config: { replicas: 2 }", "replicas"),
        ("config: { admin: { listen: '127.0.0.1:1' } }", "listen"),
        ("config: { shutdown: { deadline: 5m } }", "deadline"),
        ("replica: 2", "replica"),
        ("replicas: 0", "replicas"),
        ("configKind: Deployment", "configKind"),
    ] {
        let refusal = rendered(values).expect_err(values);
        assert!(refusal.contains(reason), "{values}: {refusal}");
    }
}

#[test]
fn pods_drain_before_they_are_killed_and_know_how_many_they_are() {
    for (values, replicas, shutdown, pre_stop) in
        [(CONFIG.to_owned(), 2, 25, 0), (format!("{CONFIG}{EVERYTHING}"), 3, 60, 5)]
    {
        let documents = documents(&rendered(&values).unwrap());
        let deployment = object(&documents, "Deployment");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(deployment["spec"]["replicas"], replicas);
        assert_eq!(variable(deployment, "HOOKFERRY__REPLICAS")["value"], replicas.to_string());
        assert_eq!(variable(deployment, "HOOKFERRY__SHUTDOWN__DEADLINE")["value"], format!("{shutdown}s"));
        assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(shutdown + pre_stop), "{pod}");
        let pause = &container(deployment)["lifecycle"]["preStop"]["exec"]["command"];
        assert_eq!(pause.is_null(), pre_stop == 0, "{pause}");
        assert_eq!(
            deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 0,
            "never more than replicas"
        );
        assert_eq!(pod["enableServiceLinks"], false);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(container(deployment)["securityContext"]["readOnlyRootFilesystem"], true);
        for (probe, path) in
            [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz"), ("startupProbe", "/healthz")]
        {
            assert_eq!(container(deployment)[probe]["httpGet"]["path"], path);
        }
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        let budget = object(&documents, "PodDisruptionBudget");
        assert_eq!(&budget["spec"]["selector"]["matchLabels"], selector);
        // While a broker is away no pod is ready, and yet nodes can be drained.
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        assert_eq!(&object(&documents, "Service")["spec"]["selector"], selector);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (label, value) in selector.as_object().expect("labels") {
            assert_eq!(&labels[label], value);
        }
    }
}

#[test]
fn hookferry_accepts_what_is_mounted_with_the_environment_of_the_pod() {
    for (values, kind, key) in [
        (format!("{CONFIG}restartOnConfigChange: false\n"), "ConfigMap", "data"),
        (
            format!(
                "{CONFIG}configKind: Secret\nrestartOnConfigChange: false\nadminToken: {{ existingSecret: ours }}\n"
            ),
            "Secret",
            "stringData",
        ),
    ] {
        let documents = documents(&rendered(&values).unwrap());
        let text_of = object(&documents, kind)[key]["hookferry.yaml"].as_str().expect("a configuration");
        let folder = Folder::new("mounted");
        folder.file("hookferry.yaml", text_of);
        let deployment = object(&documents, "Deployment");
        let named = ["ADMIN__LISTEN", "REPLICAS", "SHUTDOWN__DEADLINE", "RELOAD__WATCH"]
            .map(|name| format!("HOOKFERRY__{name}"));
        let mut variables: Vec<(&str, &str)> = named
            .iter()
            .map(|name| (name.as_str(), variable(deployment, name)["value"].as_str().expect("a text")))
            .collect();
        assert!(!variable(deployment, "HOOKFERRY__ADMIN__TOKEN")["valueFrom"]["secretKeyRef"].is_null());
        variables.push(("HOOKFERRY__ADMIN__TOKEN", "a-token"));
        let folder = folder.path().to_str().expect("a path");
        let checked = hookferry_in(&variables, &["check", "--allow-unset", "-c", folder]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
        let plan = text(&checked);
        for (key, value) in [("replicas", "2"), ("admin.listen", "0.0.0.0:9477")] {
            let line = plan
                .lines()
                .find(|line| line.trim_start().starts_with(key))
                .unwrap_or_else(|| panic!("{key}: {plan}"));
            assert!(line.contains(value), "{line}");
        }
    }
}

/// The pods change with the configuration, unless they are to read it again by themselves.
#[test]
fn a_changed_configuration_restarts_pods_if_it_is_to() {
    let sum = |values: String| {
        let documents = documents(&rendered(&values).unwrap());
        object(&documents, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            .clone()
    };
    let changed = CONFIG.replace("[orders]", "[orders, bills]");
    assert_ne!(sum(CONFIG.to_owned()), sum(changed.clone()));
    let watching = format!("{changed}restartOnConfigChange: false\n");
    assert!(sum(watching.clone()).is_null());
    assert!(is_watched(&watching) && !is_watched(&changed));
    assert!(is_watched("existingConfig: mine"), "the chart does not see it change");
    let own =
        rendered("existingConfig: mine\nconfigKind: Secret\nadminToken: { existingSecret: ours }\n").unwrap();
    let own = documents(&own);
    assert!(own.iter().all(|document| document["kind"] != "Secret"), "nothing is made beside it");
    let volume = &object(&own, "Deployment")["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["secret"]["secretName"], "mine");
}

/// Whether pods read their files again when they change.
fn is_watched(values: &str) -> bool {
    let documents = documents(&rendered(values).unwrap());
    let variables = container(object(&documents, "Deployment"))["env"].as_array().expect("variables");
    let watch = variables.iter().find(|variable| variable["name"] == "HOOKFERRY__RELOAD__WATCH");
    watch.is_some_and(|watch| watch["value"] == "true")
}

#[test]
fn alerts_lead_to_their_runbooks_where_it_is_said_where_they_are() {
    let values =
        format!("{CONFIG}prometheusRule: {{ enabled: true, runbooks: 'https://git.example.com/docs/' }}\n");
    let documents = documents(&rendered(&values).unwrap());
    let rules = object(&documents, "PrometheusRule")["spec"].to_string();
    let written = written("deploy/prometheus/rules", "runbook: docs/operations.md#");
    assert_eq!(
        rules.matches("\"runbook_url\":\"https://git.example.com/docs/operations.md#").count(),
        written
    );
}

#[test]
fn rules_and_dashboards_are_those_of_the_repository() {
    let documents = documents(&rendered(&format!("{CONFIG}{EVERYTHING}")).unwrap());
    let rules = object(&documents, "PrometheusRule")["spec"].to_string();
    let folder = Folder::new("rules");
    folder.file("rules.yaml", &rules);
    let judged = promtool(folder.path(), &["check", "rules", "rules.yaml"], "");
    assert!(judged.status.success(), "{}", text(&judged));
    assert_eq!(
        rules.matches("\"alert\":").count(),
        written("deploy/prometheus/rules", "- alert:"),
        "all alerts"
    );
    let boards =
        documents.iter().find(|document| document["metadata"]["name"] == "webhooks-hookferry-dashboards");
    let boards = boards.expect("a ConfigMap")["data"].as_object().expect("dashboards");
    assert_eq!(boards.len(), 2);
    for (name, text) in boards {
        let here = std::fs::read_to_string(root().join("dashboards").join(name)).unwrap();
        assert_eq!(text.as_str(), Some(&*here), "{name}");
    }
    let monitor = object(&documents, "ServiceMonitor");
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        object(&documents, "Service")["spec"]["ports"][0]["name"]
    );
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], object(&documents, "Service")["spec"]["selector"]);
}

/// Alerts and dashboards tell installations apart by `job`.
#[test]
fn releases_of_one_name_in_two_namespaces_have_two_jobs() {
    for (namespace, job) in [("sales", "sales/webhooks-hookferry"), ("1234", "1234/webhooks-hookferry")] {
        let values = format!("{CONFIG}{EVERYTHING}");
        let documents = documents(&rendered_in(namespace, &values).unwrap());
        let relabelings = &object(&documents, "ServiceMonitor")["spec"]["endpoints"][0]["relabelings"];
        assert_eq!(*relabelings, serde_json::json!([{ "targetLabel": "job", "replacement": job }]));
    }
}

/// How often a text stands in the files of a folder.
fn written(folder: &str, wanted: &str) -> usize {
    let files = std::fs::read_dir(root().join(folder)).unwrap();
    let count = |path: &Path| std::fs::read_to_string(path).unwrap().matches(wanted).count();
    files.map(|file| count(&file.unwrap().path())).sum()
}
