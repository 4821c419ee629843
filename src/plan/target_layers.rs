//! program < `defaults` < dialect < target (PRODUCT.md §1, "Layers").

use super::fault::Findings;
use super::merge;
use super::origin::Origin;
use super::presets::Presets;
use super::retry;
use super::tree::{Map, Node, Value};
use super::walk::Item;

/// Keys that belong to one target only.
const NOT_IN_DEFAULTS: [&str; 4] = ["url", "secrets", "auth", "tenant"];

/// A target after its layers were laid.
pub(super) struct Layered {
    /// All its keys, each with its own origin.
    pub node: Node,
    /// Header names that its dialect needs from it.
    pub required_headers: Vec<String>,
}

/// Lays the layers of targets.
pub(super) struct TargetLayers<'a> {
    presets: &'a Presets,
    defaults: Node,
    findings: &'a Findings,
}

impl<'a> TargetLayers<'a> {
    /// With these `defaults`.
    pub(super) fn new(
        presets: &'a Presets,
        defaults: Option<&Node>,
        findings: &'a Findings,
    ) -> TargetLayers<'a> {
        let empty = Node { origin: Origin::Program, value: Value::Map(Map::default()) };
        let mut defaults = defaults.cloned().unwrap_or(empty);
        retry::one_form(&Item::new(&defaults, "defaults", findings));
        if let Value::Map(map) = &mut defaults.value {
            refuse_own_keys(map, findings);
        } else if !defaults.is_null() {
            findings.fault(&defaults.origin, "defaults", "a map is expected here (`key: value`)");
        }
        defaults.reattribute(&|origin| match origin {
            Origin::File(position) => Origin::Defaults(position.clone()),
            other => other.clone(),
        });
        TargetLayers { presets, defaults: pruned(defaults), findings }
    }

    /// Lays the layers of one target.
    pub(super) fn lay(&self, target: &Item<'_>) -> Layered {
        retry::one_form(target);
        let mut named = merge::lay_target_over(self.defaults.clone(), target.node.clone()).into_map();
        let dialect = named.remove("dialect").filter(|entry| !entry.node.is_null());
        let dialect = dialect.and_then(|entry| {
            let item = Item::new(&entry.node, format!("{}.dialect", target.path), self.findings);
            let found = self.presets.dialect(&item)?;
            Some((entry, found))
        });
        let mut layers = self.defaults.clone();
        let mut required_headers = Vec::new();
        let mut dialect_entry = None;
        if let Some((entry, (name, mut keys))) = dialect {
            required_headers = take_required_headers(&mut keys);
            let origin = Origin::Dialect(name.into());
            layers = merge::lay_target_over(layers, Node { origin, value: Value::Map(keys) });
            dialect_entry = Some(entry);
        }
        let mut laid = pruned(merge::lay_target_over(layers, target.node.clone()));
        laid.origin = target.node.origin.clone();
        if let Value::Map(map) = &mut laid.value {
            self.complete(map, target);
            map.remove("dialect");
            map.0.extend(dialect_entry);
        }
        Layered { node: laid, required_headers }
    }

    /// Lays the program's defaults under what the other layers say.
    fn complete(&self, map: &mut Map, target: &Item<'_>) {
        let mut program = self.presets.program("target");
        if let Some(retry) = program.get("retry").cloned() {
            let layer = retry::program_layer(
                &retry.into_map(),
                self.presets.program("exponential"),
                map.get("retry"),
            );
            program.set("retry", Node { origin: Origin::Program, value: Value::Map(layer) });
        }
        let program = Node { origin: Origin::Program, value: Value::Map(program) };
        let above = Node { origin: target.node.origin.clone(), value: Value::Map(std::mem::take(map)) };
        *map = merge::lay_target_over(program, above).into_map();
        map.set_default("id", target.path.trim_start_matches("targets."));
        self.complete_signature(map);
    }

    /// `secrets` alone add the signature of Standard Webhooks; a general form needs not say all.
    fn complete_signature(&self, map: &mut Map) {
        if map.get("signature").is_none() && map.get("secrets").is_some() {
            let standard = self.presets.signature_of("standard-webhooks");
            standard.into_iter().for_each(|signature| map.set("signature", signature));
        }
        if let Some(signature) = map.get("signature").filter(|signature| signature.as_map().is_some()) {
            let program = Value::Map(self.presets.program("signature"));
            let program = Node { origin: Origin::Program, value: program };
            let complete = merge::lay_over(program, signature.clone());
            map.set("signature", complete);
        }
    }
}

/// Refuses what may not stand in `defaults`, and takes it out.
fn refuse_own_keys(defaults: &mut Map, findings: &Findings) {
    for key in NOT_IN_DEFAULTS {
        if let Some(entry) = defaults.remove(key) {
            let message = "it belongs to one target; write it below `targets.NAME`";
            findings.fault(&entry.origin, format!("defaults.{key}"), message);
        }
    }
    let is_public = |node: &Node| node.as_scalar().is_some_and(|scalar| *scalar.text == "public");
    if defaults.get("egress").is_some_and(|egress| !is_public(egress))
        && let Some(entry) = defaults.remove("egress")
    {
        let message = "only `public` is possible here; open the egress of each target that needs it";
        findings.fault(&entry.node.origin, "defaults.egress", message);
    }
}

fn take_required_headers(keys: &mut Map) -> Vec<String> {
    match keys.remove("required_headers").map(|entry| entry.node.value) {
        Some(Value::List(names)) => {
            names.iter().filter_map(|name| Some(name.as_scalar()?.text.to_string())).collect()
        }
        _ => Vec::new(),
    }
}

/// Without the keys that have no value; for layers, where no value is nothing.
pub(super) fn pruned(mut node: Node) -> Node {
    if let Value::Map(map) = &mut node.value {
        map.0.retain(|entry| !entry.node.is_null());
        for entry in &mut map.0 {
            entry.node = pruned(entry.node.clone());
        }
    }
    node
}
