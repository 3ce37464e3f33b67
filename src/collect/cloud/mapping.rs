//! Mapping: declared values, checked once, then read from JSON documents into samples. Pure.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;
use serde_json_path::PathElement;

use super::declare::{LabelSource, Rule, States};
use crate::model::{Labels, LabelsBuilder, Reading, Suffix};

/// Longest label value that is taken from a document, in characters; what is longer is cut and noted.
pub const MAX_LABEL_VALUE: usize = 256;

/// Why a document gave nothing that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// No path matched anything: another document than the one that the values were declared for.
    #[error("nothing of what is declared is in the document; the first path that matched nothing is {path}")]
    NothingMatched {
        /// As written in the configuration.
        path: String,
    },
    /// Values were there, and none could be read.
    #[error("no declared value could be read; the first: {0}")]
    NothingRead(String),
    /// More series than allowed.
    #[error("more than {limit} series: narrow the paths or raise options.max_series")]
    TooManySeries {
        /// The limit.
        limit: usize,
    },
}

/// Declared values, ready to be read from any number of documents.
#[derive(Debug)]
pub struct Mapping {
    pub(super) rules: Vec<Rule>,
}

impl Mapping {
    /// Reads the declared values. What is missing or cannot be read is noted, not invented.
    ///
    /// # Errors
    /// [`MappingError`].
    pub fn read(&self, document: &Value, max_series: usize) -> Result<Reading, MappingError> {
        let mut sink = Sink { reading: Reading::default(), seen: HashSet::new(), max_series };
        let (mut matched, mut unmatched, mut unreadable) = (0, None, None);
        for (index, rule) in self.rules.iter().enumerate() {
            let found = sink.read(rule, document)?;
            sink.note(index, rule, &found);
            matched += found.matched;
            if found.matched == 0 {
                unmatched.get_or_insert(&rule.path_text);
            }
            unreadable = unreadable.or(found.unreadable);
        }
        match (unmatched, unreadable) {
            (Some(path), _) if matched == 0 => Err(MappingError::NothingMatched { path: path.clone() }),
            (_, Some(first)) if sink.reading.samples.is_empty() => Err(MappingError::NothingRead(first)),
            _ => Ok(sink.reading),
        }
    }
}

/// What one declared value met in one document.
#[derive(Default)]
struct Found {
    matched: usize,
    unreadable: Option<String>,
    unreadable_count: u64,
    twice: usize,
    cut: usize,
    nested: usize,
}

struct Sink<'m> {
    reading: Reading,
    seen: HashSet<(&'m str, Labels)>,
    max_series: usize,
}

impl<'m> Sink<'m> {
    fn read(&mut self, rule: &'m Rule, document: &Value) -> Result<Found, MappingError> {
        let mut found = Found::default();
        let (each, path) = (rule.each.as_ref(), rule.path.as_ref());
        match (each, path) {
            (Some(each), path) => {
                for node in each.query_located(document).iter() {
                    let (element, key) = (node.node(), node.location().last());
                    let Some(path) = path else {
                        self.take(rule, None, element, key, &mut found)?;
                        continue;
                    };
                    for value in path.query(element).iter() {
                        self.take(rule, Some(value), element, key, &mut found)?;
                    }
                }
            }
            (None, Some(path)) => {
                for node in path.query_located(document).iter() {
                    self.take(rule, Some(node.node()), document, node.location().last(), &mut found)?;
                }
            }
            // An info metric whose labels come from the whole document.
            (None, None) => self.take(rule, None, document, None, &mut found)?,
        }
        Ok(found)
    }

    fn take(
        &mut self,
        rule: &'m Rule,
        value: Option<&Value>,
        base: &Value,
        key: Option<&PathElement<'_>>,
        found: &mut Found,
    ) -> Result<(), MappingError> {
        found.matched += 1;
        let labels = labels(rule, base, key, found);
        if let (Some(states), Some(value)) = (&rule.states, value) {
            return self.take_state(rule, states, value, &labels, found);
        }
        // An info metric says something in its labels; that it was found is enough.
        let number = match value.filter(|_| !rule.is_info()).map(|value| rule.convert.read(value)) {
            None => 1.0,
            Some(Ok(Some(number))) => number * rule.scale,
            Some(Ok(None)) => return Ok(()),
            Some(Err(error)) => {
                found.refuse(error.to_string());
                return Ok(());
            }
        };
        self.put(rule, labels.build(), number, found)
    }

    fn take_state(
        &mut self,
        rule: &'m Rule,
        states: &'m States,
        value: &Value,
        labels: &LabelsBuilder,
        found: &mut Found,
    ) -> Result<(), MappingError> {
        if value.is_null() {
            return Ok(());
        }
        let said = scalar(value).unwrap_or_default();
        let Some(active) = states.map.get(said.as_ref()).or(states.other.as_ref()) else {
            let said: String = said.chars().take(40).collect();
            found.refuse(format!("{said:?} is not in `states.map`, and there is no `states.other`"));
            return Ok(());
        };
        for state in &states.all {
            let mut labels = labels.clone();
            labels.set(states.label.clone(), state.as_str());
            self.put(rule, labels.build(), f64::from(u8::from(state == active)), found)?;
        }
        Ok(())
    }

    fn put(&mut self, rule: &'m Rule, labels: Labels, number: f64, found: &mut Found) -> Result<(), MappingError> {
        if !self.seen.insert((&rule.family.name, labels.clone())) {
            found.twice += 1;
            return Ok(());
        }
        if self.reading.samples.len() == self.max_series {
            return Err(MappingError::TooManySeries { limit: self.max_series });
        }
        self.reading.put_labels(rule.family.clone(), Suffix::None, labels, number);
        Ok(())
    }

    fn note(&mut self, index: usize, rule: &Rule, found: &Found) {
        let mut note = |text: String| self.reading.notes.push(format!("options.values[{index}]: {text}"));
        if found.matched == 0 {
            note(format!("{} matched nothing", rule.path_text));
        }
        if let Some(first) = &found.unreadable {
            note(format!("{} values could not be read, the first: {first}", found.unreadable_count));
        }
        if found.twice > 0 {
            note(format!("{} values have the labels of an earlier one and were dropped", found.twice));
        }
        if found.cut > 0 {
            note(format!("{} label values were cut at {MAX_LABEL_VALUE} characters", found.cut));
        }
        if found.nested > 0 {
            note(format!("{} label values are arrays or objects and were left out", found.nested));
        }
        if found.unreadable_count > 0 {
            *self.reading.rejected.entry(rule.family.name.to_string()).or_default() += found.unreadable_count;
        }
    }
}

impl Found {
    fn refuse(&mut self, reason: String) {
        self.unreadable_count += 1;
        self.unreadable.get_or_insert(reason);
    }
}

fn labels(rule: &Rule, base: &Value, key: Option<&PathElement<'_>>, found: &mut Found) -> LabelsBuilder {
    let mut labels = LabelsBuilder::default();
    for (name, source) in &rule.labels {
        let value = match source {
            LabelSource::Constant(value) => Some(Cow::Borrowed(value.as_str())),
            LabelSource::Key => key.map(|key| match key {
                PathElement::Name(name) => Cow::Borrowed(*name),
                PathElement::Index(index) => Cow::Owned(index.to_string()),
            }),
            LabelSource::Path(path) => path.query(base).first().and_then(|value| {
                found.nested += usize::from(value.is_array() || value.is_object());
                scalar(value)
            }),
        };
        let Some(value) = value else { continue };
        let end = value.char_indices().nth(MAX_LABEL_VALUE).map(|(end, _)| end);
        found.cut += usize::from(end.is_some());
        // The text is the other side's, and it ends up on pages and in logs.
        let value = value[..end.unwrap_or(value.len())].replace(char::is_control, " ");
        labels.set(name.clone(), value);
    }
    labels
}

/// A scalar as text; `None` for null, arrays and objects.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::cloud::declare;
    use serde_json::json;

    fn mapping(values: Value) -> Mapping {
        declare::check(serde_json::from_value(values).unwrap(), "target").unwrap()
    }

    fn shown(reading: &Reading) -> Vec<String> {
        reading.samples.iter().map(|s| format!("{}{} {}", s.family.name, s.labels, s.value)).collect()
    }

    fn read(values: Value, document: Value) -> Result<Reading, MappingError> {
        mapping(values).read(&document, 1000)
    }

    #[test]
    fn arrays_and_maps_become_label_sets() {
        let document = json!({
            "pool": "eu",
            "workers": [
                {"name": "a", "rate": "1.5T", "tags": {"rack": 7}, "online": true},
                {"name": "b", "rate": "2T", "online": false},
            ],
            "coins": {"btc": {"usd": 50000}, "bch": {"usd": "300.5"}},
        });
        let values = json!([
            {"name": "worker_hashrate", "help": "h", "each": "$.workers[*]", "path": "$.rate", "convert": "si",
             "labels": {"worker": {"path": "$.name"}, "rack": {"path": "$.tags.rack"}, "api": "v1"}},
            {"name": "worker_up", "help": "h", "each": "$.workers[*]", "path": "$.online", "convert": "bool",
             "labels": {"n": {"key": true}}},
            {"name": "price_dollars", "help": "h", "path": "$.coins.*.usd", "labels": {"unit": {"key": true}}},
            {"name": "price_dollars", "each": "$.coins.*", "path": "$.usd", "labels": {"coin": {"key": true}}, "scale": 2},
            {"name": "worker_info", "type": "info", "help": "h", "each": "$.workers[*]", "labels": {"worker": {"path": "$.name"}}},
            {"name": "pool_info", "type": "info", "help": "h", "labels": {"pool": {"path": "$.pool"}}},
            {"name": "path_info", "type": "info", "help": "h", "path": "$.pool", "labels": {"via": {"key": true}}},
        ]);
        let reading = read(values, document).unwrap();
        assert_eq!(
            shown(&reading),
            [
                "worker_hashrate{api=\"v1\", rack=\"7\", worker=\"a\"} 1500000000000",
                "worker_hashrate{api=\"v1\", worker=\"b\"} 2000000000000",
                "worker_up{n=\"0\"} 1",
                "worker_up{n=\"1\"} 0",
                "price_dollars{unit=\"usd\"} 300.5",
                "price_dollars{coin=\"bch\"} 601",
                "price_dollars{coin=\"btc\"} 100000",
                "worker_info{worker=\"a\"} 1",
                "worker_info{worker=\"b\"} 1",
                "pool_info{pool=\"eu\"} 1",
                "path_info{via=\"pool\"} 1",
            ]
        );
        assert_eq!(reading.notes, ["options.values[2]: 1 values have the labels of an earlier one and were dropped"]);
    }

    #[test]
    fn words_become_states() {
        let values = |other: Value| {
            json!([{"name": "job_state", "help": "h", "each": "$[*]", "path": "$.s", "labels": {"job": {"key": true}},
                    "states": {"label": "state", "map": {"RUN": "running", "1": "running", "ERR": "failed"}, "other": other}}])
        };
        let with_other = read(values(json!("unknown")), json!([{"s": 1}, {"s": "PAUSE"}, {"s": null}])).unwrap();
        assert_eq!(
            shown(&with_other),
            [
                "job_state{job=\"0\", state=\"failed\"} 0",
                "job_state{job=\"0\", state=\"running\"} 1",
                "job_state{job=\"0\", state=\"unknown\"} 0",
                "job_state{job=\"1\", state=\"failed\"} 0",
                "job_state{job=\"1\", state=\"running\"} 0",
                "job_state{job=\"1\", state=\"unknown\"} 1",
            ]
        );
        let without = read(values(Value::Null), json!([{"s": "PAUSE"}, {"s": "RUN"}])).unwrap();
        assert_eq!(without.samples.len(), 2);
        assert_eq!(without.rejected.get("job_state"), Some(&1));
        assert!(without.notes[0].contains("\"PAUSE\" is not in `states.map`"), "{:?}", without.notes);
    }

    #[test]
    fn what_is_missing_is_absent_and_noted() {
        let values = json!([
            {"name": "a", "help": "h", "path": "$.a"},
            {"name": "b", "help": "h", "path": "$.b"},
            {"name": "c_total", "type": "counter", "help": "h", "path": "$.c"},
        ]);
        let reading = read(values.clone(), json!({"a": 1, "c": -1})).unwrap();
        assert_eq!(shown(&reading), ["a{} 1"]);
        assert_eq!(reading.notes, ["options.values[1]: $.b matched nothing"]);
        assert_eq!(reading.rejected.get("c_total"), Some(&1), "a counter is never negative");
        let error = read(values.clone(), json!({"error": "maintenance"})).unwrap_err();
        assert_eq!(error, MappingError::NothingMatched { path: "$.a".into() });
        let error = read(values.clone(), json!({"a": "N/A"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no declared value could be read; the first: \"N/A\" is not a number (see `convert`)"
        );
        assert_eq!(read(values, json!({"a": null})).unwrap().samples, [], "the other side says that it has no value");
    }

    #[test]
    fn documents_cannot_flood_us() {
        let values =
            json!([{"name": "a", "help": "h", "each": "$[*]", "path": "$.v", "labels": {"l": {"path": "$.l"}}}]);
        let mapping = mapping(values);
        let list: Vec<Value> = (0..4).map(|n| json!({"l": n, "v": n})).collect();
        assert_eq!(mapping.read(&json!(list), 3), Err(MappingError::TooManySeries { limit: 3 }));
        assert_eq!(mapping.read(&json!(list), 4).unwrap().samples.len(), 4);
        let odd = mapping
            .read(&json!([{"l": "é".repeat(300), "v": 1}, {"l": [1], "v": 2}, {"l": "a\n\u{1b}b", "v": 3}]), 3)
            .unwrap();
        assert_eq!(odd.samples[0].labels.get("l"), Some("é".repeat(256).as_str()));
        assert_eq!(odd.samples[1].labels.get("l"), None);
        assert_eq!(odd.samples[2].labels.get("l"), Some("a  b"));
        assert_eq!(odd.notes.len(), 2, "{:?}", odd.notes);
    }
}
