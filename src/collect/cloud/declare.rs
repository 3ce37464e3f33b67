//! Declarations: the list of values in the options of a target, checked word by word into rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::convert::Convert;
use super::mapping::Mapping;
use crate::collect::OptionError;
use crate::model::matcher::is_label_name;
use crate::model::{Family, FamilyRef, MetricType};

/// Most values that one target may declare.
const MAX_VALUES: usize = 500;

/// One declared value, as written.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueOptions {
    /// Full metric name, unit and `_total` included.
    pub name: String,
    /// `gauge` (default), `counter`, `info` or `unknown`.
    #[serde(default = "gauge", rename = "type")]
    pub kind: MetricType,
    /// Help text. Needed once for each name.
    pub help: Option<String>,
    /// Path to the elements that become label sets: `$.workers[*]`.
    pub each: Option<String>,
    /// Path to the value; within `each`, `$` is the element.
    pub path: Option<String>,
    /// Label name → a constant, `{path: …}` (within `each`, `$` is the element) or `{key: true}`: the last name or
    /// index on the way to the element.
    #[serde(default)]
    pub labels: BTreeMap<String, Value>,
    /// How the value is written.
    #[serde(default)]
    pub convert: Convert,
    /// What the value is multiplied with to reach the base unit.
    pub scale: Option<f64>,
    /// Turns a word into a set of states of which one is 1.
    pub states: Option<StateOptions>,
}

fn gauge() -> MetricType {
    MetricType::Gauge
}

/// How words become states.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateOptions {
    /// Label that carries the state.
    pub label: String,
    /// What the document says → the state.
    pub map: BTreeMap<String, String>,
    /// The state for everything that `map` does not name.
    pub other: Option<String>,
}

/// A checked value.
#[derive(Debug)]
pub(super) struct Rule {
    pub family: FamilyRef,
    pub each: Option<JsonPath>,
    pub path: Option<JsonPath>,
    /// The way to the value as written, for notes.
    pub path_text: String,
    pub labels: Vec<(String, LabelSource)>,
    pub convert: Convert,
    pub scale: f64,
    pub states: Option<States>,
}

impl Rule {
    pub(super) fn is_info(&self) -> bool {
        self.family.kind == MetricType::Info
    }
}

/// Where the value of a label comes from.
#[derive(Debug)]
pub(super) enum LabelSource {
    Constant(String),
    Path(JsonPath),
    Key,
}

/// A checked set of states.
#[derive(Debug)]
pub(super) struct States {
    pub label: String,
    pub map: BTreeMap<String, String>,
    pub other: Option<String>,
    pub all: BTreeSet<String>,
}

/// Checks a list of declared values; `subject` is the label that carries the target's id.
///
/// # Errors
/// The first mistake of every value, with its path below the target: `options.values[2].path`.
pub fn check(values: Vec<ValueOptions>, subject: &str) -> Result<Mapping, Vec<OptionError>> {
    if values.is_empty() {
        return Err(OptionError::new("options.values", "is empty: declare at least one value").into());
    }
    if values.len() > MAX_VALUES {
        let text = format!("declares {} values, at most {MAX_VALUES}", values.len());
        return Err(OptionError::new("options.values", text).into());
    }
    let mut families = HashMap::new();
    let mut rules = Vec::new();
    let mut errors = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let place = Place { path: format!("options.values[{index}]"), subject };
        match place.family(index, &value, &mut families).and_then(|family| place.rule(value, family)) {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(Mapping { rules }) } else { Err(errors) }
}

type Families = HashMap<String, (usize, Arc<Family>)>;

/// Where the checks are in the list.
struct Place<'a> {
    path: String,
    subject: &'a str,
}

impl Place<'_> {
    fn fault(&self, key: &str, message: impl Into<String>) -> OptionError {
        OptionError::new(format!("{}.{key}", self.path), message)
    }

    fn family(&self, index: usize, value: &ValueOptions, known: &mut Families) -> Result<FamilyRef, OptionError> {
        self.check_name(&value.name, value.kind)?;
        let help = value.help.as_deref().map(str::trim).filter(|help| !help.is_empty());
        if let Some((first, family)) = known.get(&value.name) {
            if family.kind != value.kind {
                return Err(self.fault("type", format!("is not the one that options.values[{first}] gives this name")));
            }
            if help.is_some_and(|help| help != family.help) {
                return Err(self.fault("help", format!("is not the one that options.values[{first}] gives this name")));
            }
            return Ok(FamilyRef::Shared(Arc::clone(family)));
        }
        let help = help.ok_or_else(|| self.fault("help", "is missing: say in one sentence what the value is"))?;
        let least = if value.kind == MetricType::Counter { 0.0 } else { f64::NEG_INFINITY };
        let family = Family::read(value.name.clone(), value.kind, help.to_string()).within(least, f64::INFINITY);
        let family = Arc::new(family);
        known.insert(value.name.clone(), (index, Arc::clone(&family)));
        Ok(FamilyRef::Shared(family))
    }

    fn check_name(&self, name: &str, kind: MetricType) -> Result<(), OptionError> {
        let fault = |message: String| Err(self.fault("name", message));
        if !is_label_name(name) {
            return fault(format!("{name:?} is not a metric name: letters, digits and _, no digit first"));
        }
        if name.starts_with("__") || name.starts_with("davylamp_") || matches!(name, "up" | "ALERTS") {
            return fault(format!("{name} is reserved: davylamp writes it itself"));
        }
        match kind {
            MetricType::Histogram | MetricType::Summary => {
                Err(self.fault("type", "cannot be declared: write gauge, counter, info or unknown"))
            }
            MetricType::Counter if !name.ends_with("_total") => {
                fault(format!("{name} is a counter and has to end in _total: {name}_total"))
            }
            MetricType::Info if !name.ends_with("_info") => {
                fault(format!("{name} is an info metric and has to end in _info: {name}_info"))
            }
            MetricType::Gauge if name.ends_with("_total") => {
                fault(format!("{name} ends in _total, so write `type: counter`, or rename it"))
            }
            _ => Ok(()),
        }
    }

    fn rule(&self, value: ValueOptions, family: FamilyRef) -> Result<Rule, OptionError> {
        let info = value.kind == MetricType::Info;
        let path = value.path.as_deref().map(|text| self.json_path("path", text)).transpose()?;
        let each = value.each.as_deref().map(|text| self.json_path("each", text)).transpose()?;
        if path.is_none() && !info {
            return Err(self.fault("path", "is missing: where in the document is the value?"));
        }
        let scaled = value.scale.is_some() || value.convert != Convert::Number;
        if info && (scaled || value.states.is_some()) {
            let key = if value.states.is_some() { "states" } else { "type" };
            return Err(self.fault(key, "an info metric is always 1: it has labels, but no convert, scale or states"));
        }
        if value.states.is_some() && scaled {
            return Err(self.fault("states", "is 0 or 1 already: leave out convert and scale"));
        }
        if value.states.is_some() && value.kind == MetricType::Counter {
            return Err(self.fault("states", "go up and down: write `type: gauge`"));
        }
        if let Some(scale) = value.scale
            && (!scale.is_finite() || scale == 0.0)
        {
            return Err(self.fault("scale", format!("{scale} makes every value meaningless")));
        }
        let mut labels = Vec::new();
        for (name, source) in value.labels {
            self.check_label(&format!("labels.{name}"), &name)?;
            if value.states.as_ref().is_some_and(|states| states.label == name) {
                return Err(self.fault(&format!("labels.{name}"), "is the label of states already"));
            }
            let source = self.label_source(&name, source)?;
            labels.push((name, source));
        }
        let keyed = labels.iter().any(|(_, source)| matches!(source, LabelSource::Key));
        if keyed && each.is_none() && path.is_none() {
            return Err(self.fault("labels", "{key: true} needs `each` or `path`: there is no key otherwise"));
        }
        let path_text = match (value.each, value.path) {
            (Some(each), Some(path)) => format!("{path} in each {each}"),
            (Some(path), None) | (None, Some(path)) => path,
            (None, None) => "$".to_string(),
        };
        let (convert, scale) = (value.convert, value.scale.unwrap_or(1.0));
        let states = value.states.map(|states| self.states(states)).transpose()?;
        Ok(Rule { family, each, path, path_text, labels, convert, scale, states })
    }

    fn check_label(&self, key: &str, name: &str) -> Result<(), OptionError> {
        if !is_label_name(name) {
            return Err(self.fault(key, format!("{name:?} is not a label name: letters, digits and _, no digit first")));
        }
        if name.starts_with("__") || matches!(name, "le" | "quantile") {
            return Err(self.fault(key, format!("{name} is reserved by Prometheus")));
        }
        if name == self.subject {
            return Err(self.fault(key, format!("{name} is the label that carries the id of the target")));
        }
        Ok(())
    }

    fn label_source(&self, name: &str, source: Value) -> Result<LabelSource, OptionError> {
        match source {
            Value::String(text) => Ok(LabelSource::Constant(text)),
            Value::Number(number) => Ok(LabelSource::Constant(number.to_string())),
            Value::Bool(truth) => Ok(LabelSource::Constant(truth.to_string())),
            Value::Object(map) if map.len() == 1 => match (map.get("path"), map.get("key")) {
                (Some(Value::String(path)), _) => {
                    Ok(LabelSource::Path(self.json_path(&format!("labels.{name}.path"), path)?))
                }
                (_, Some(Value::Bool(true))) => Ok(LabelSource::Key),
                _ => Err(self.bad_label(name)),
            },
            _ => Err(self.bad_label(name)),
        }
    }

    fn bad_label(&self, name: &str) -> OptionError {
        self.fault(&format!("labels.{name}"), "is none of a constant, {path: $.…} or {key: true}")
    }

    fn json_path(&self, key: &str, text: &str) -> Result<JsonPath, OptionError> {
        if !text.starts_with('$') {
            return Err(
                self.fault(key, format!("{text:?} is not a JSONPath (RFC 9535): it begins with $, as in $.a.b"))
            );
        }
        JsonPath::parse(text).map_err(|error| {
            // Its position counts from zero, and its message is mostly "parser error".
            let (at, why) = (error.position(), error.message().replace("parser error", ""));
            let rest = text.get(at..).unwrap_or_default();
            let separator = if why.is_empty() { "" } else { ": " };
            let message = format!("cannot read {rest:?} at column {}{separator}{why}", at + 1);
            self.fault(key, format!("{text:?} is not a JSONPath (RFC 9535): {message}"))
        })
    }

    fn states(&self, states: StateOptions) -> Result<States, OptionError> {
        self.check_label("states.label", &states.label)?;
        if states.map.is_empty() {
            return Err(self.fault("states.map", "is empty: name at least one word of the document and its state"));
        }
        let all: BTreeSet<String> = states.map.values().chain(&states.other).cloned().collect();
        if all.contains("") {
            return Err(self.fault("states", "a state without a name would be a series without the label"));
        }
        Ok(States { label: states.label, map: states.map, other: states.other, all })
    }
}
