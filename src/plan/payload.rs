//! `payload` of a target: a preset or a template, and what is changed of it.

use std::path::{Path, PathBuf};

use crate::wire::{CloudEventMode, JsonForm, Member, Passing, PayloadSpec, Roots, Shape, Value};

use super::origin::Origin;
use super::presets::{Payload, Presets, extra_member, json_form};
use super::walk::Item;

/// Reads `payload`. `None` if it has a fault that leaves no shape.
pub(super) fn payload(item: &Item<'_>, presets: &Presets) -> Option<PayloadSpec> {
    let mut keys = item.keys();
    let preset = keys.require("preset", "write for example `preset: raw`");
    let preset = preset.and_then(|item| presets.payload(&item));
    let (template, file) = (keys.get("template"), keys.get("template_file"));
    if let (Some(_), Some(file)) = (&template, &file) {
        file.fault("a payload has one template; remove this, or `template`");
    }
    let template =
        template.map(|item| template_here(&item)).or_else(|| file.map(|item| template_in_file(&item)));
    let (json, integers, extra) = (keys.get("json"), keys.get("big_integers"), keys.get("extra"));
    let (include, exclude, mode) = (keys.get("include"), keys.get("exclude"), keys.get("mode"));
    let content_type = keys.get("content_type").map(|item| item.nonempty());
    keys.done();
    let preset = preset?;
    let has_template = template.is_some();
    let unused: &[&Option<Item<'_>>] = match (&preset.shape, has_template) {
        (_, true) => &[&include, &exclude],
        (Shape::Raw, _) => &[&json, &integers, &extra, &include, &exclude],
        (Shape::Data, _) => &[&extra],
        (Shape::CloudEvent { .. }, _) => &[&include, &exclude, &integers],
        (_, false) => &[],
    };
    for item in unused.iter().filter_map(|item| item.as_ref()).filter(is_own) {
        item.fault(match has_template {
            true => "a template names itself what it sends; remove this",
            false if matches!(preset.shape, Shape::CloudEvent { .. }) => {
                "of a CloudEvent all of its data is sent as it is; remove this"
            }
            false => "a raw payload is sent as it is; remove this, or name the preset of a JSON payload",
        });
    }
    if !matches!(preset.shape, Shape::CloudEvent { .. })
        && let Some(item) = mode.as_ref().filter(is_own)
    {
        item.fault("only the preset `cloudevents` has modes; remove this, or name that preset");
    }
    let needs_constants = has_template || matches!(preset.shape, Shape::CloudEvent { .. });
    let extra = extra_members(extra.as_ref(), needs_constants);
    let json = json.map_or(preset.json, |item| json_form(&item));
    let content_type = content_type.or(preset.content_type.clone().filter(|_| !has_template));
    let passing = Passing {
        include: include.as_ref().map(names),
        exclude: exclude.as_ref().map(names).unwrap_or_default(),
    };
    let roots =
        Roots { own: preset.roots.clone(), extra: if has_template { constants(&extra) } else { Vec::new() } };
    let shape = match template {
        Some(template) => template?,
        None => with_extra(in_mode(preset, mode.as_ref()), extra),
    };
    Some(PayloadSpec { shape, json: rounding(json, integers.as_ref()), content_type, roots, passing })
}

/// What stands in `defaults` may be of no use to a target.
fn is_own(item: &&Item<'_>) -> bool {
    !matches!(item.node.origin, Origin::Defaults(_))
}

fn rounding(json: JsonForm, integers: Option<&Item<'_>>) -> JsonForm {
    let Some(item) = integers else { return json };
    match (json, item.choice(&[("keep", JsonForm::Js), ("round", JsonForm::JsRounded)])) {
        (JsonForm::Js, chosen) => chosen,
        (json, chosen) => {
            if chosen == JsonForm::JsRounded && is_own(&item) {
                item.fault("only `json: js` rounds integers; remove this, or set it");
            }
            json
        }
    }
}

fn template_here(item: &Item<'_>) -> Option<Shape> {
    item.scalar().map(|scalar| Shape::Template { text: scalar.text.to_string(), file: None })
}

/// The template that stands in a file, without one newline at its end. A relative path begins where
/// the configuration file is.
fn template_in_file(item: &Item<'_>) -> Option<Shape> {
    let name = item.nonempty();
    let path = beside(&item.node.origin, Path::new(&name));
    item.findings().refer(&path);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let text = line.strip_suffix('\r').unwrap_or(line).to_owned();
            Some(Shape::Template { text, file: Some(path.display().to_string()) })
        }
        Err(_) if name.is_empty() => None,
        Err(error) => {
            let shown = item.quoted();
            item.fault(format!("the file {shown} can't be read: {error}"));
            None
        }
    }
}

fn beside(origin: &Origin, path: &Path) -> PathBuf {
    match origin {
        Origin::File(position) | Origin::Defaults(position) => {
            Path::new(&*position.file).parent().unwrap_or(Path::new("")).join(path)
        }
        _ => path.to_owned(),
    }
}

fn names(item: &Item<'_>) -> Vec<String> {
    item.elements().iter().map(Item::nonempty).collect()
}

/// The members of `extra`. What a template names has to be constant, and so have extension attributes.
fn extra_members(extra: Option<&Item<'_>>, needs_constants: bool) -> Vec<Member> {
    let named = extra.map(Item::entries).unwrap_or_default();
    let member = |named: &super::walk::Named<'_>| {
        let member = extra_member(named.name, &named.item);
        if needs_constants && matches!(&member, Member::Named { value: Value::Tree(_), .. }) {
            named.item.fault("beside a template, and in a CloudEvent, only constants are possible here");
        }
        member
    };
    named.iter().map(member).collect()
}

fn constants(extra: &[Member]) -> Vec<(String, String)> {
    let constant = |member: &Member| match member {
        Member::Named { name, value: Value::Literal(text), .. } => Some((name.clone(), text.clone())),
        _ => None,
    };
    extra.iter().filter_map(constant).collect()
}

fn in_mode(preset: Payload, mode: Option<&Item<'_>>) -> Shape {
    const MODES: [(&str, CloudEventMode); 2] =
        [("binary", CloudEventMode::Binary), ("structured", CloudEventMode::Structured)];
    match (preset.shape, mode) {
        (Shape::CloudEvent { extensions, .. }, Some(item)) => {
            Shape::CloudEvent { mode: item.choice(&MODES), extensions }
        }
        (shape, _) => shape,
    }
}

/// The preset's shape with the members of `extra`: one with the name of a preset's member takes its
/// place, others follow. Those of a CloudEvent are extension attributes.
fn with_extra(shape: Shape, extra: Vec<Member>) -> Shape {
    if let Shape::CloudEvent { mode, .. } = shape {
        return Shape::CloudEvent { mode, extensions: constants(&extra) };
    }
    let Shape::Members(mut members) = shape else { return shape };
    for member in extra {
        let Member::Named { name, .. } = &member else { continue };
        let same = |known: &&mut Member| matches!(known, Member::Named { name: known, .. } if known == name);
        match members.iter_mut().find(same) {
            Some(known) => *known = member,
            None => members.push(member),
        }
    }
    Shape::Members(members)
}
