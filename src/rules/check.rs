//! Turns the parts of a rule file into groups and rules, reporting whatever is wrong with them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::is_label_name;
use crate::query;
use crate::query::Expr;
use crate::query::ValueType;
use crate::yaml::lines::Step;

use super::file::Reader;
use super::node::Node;
use super::rule::AlertRule;
use super::rule::Rule;
use super::rule::RuleGroup;
use super::rule::RuleKind;
use super::template::Template;

const GROUP_FIELDS: [&str; 6] = ["name", "interval", "query_offset", "limit", "rules", "labels"];
const RULE_FIELDS: [&str; 7] = ["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"];
/// Fields that only alerts have.
const ALERT_FIELDS: [&str; 3] = ["for", "keep_firing_for", "annotations"];

/// Reads one group. `None` when it has no shape at all; a group with faulty rules comes without them.
pub(super) fn group(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<RuleGroup> {
    let fields = node.fields(reader, &GROUP_FIELDS)?;
    let name = fields.get("name").and_then(|name| name.text(reader)).unwrap_or_default();
    if name.is_empty() {
        reader.error(&node.path, "the group needs a name");
    }
    let interval = fields.get("interval").and_then(|node| node.duration(reader)).filter(|length| !length.is_zero());
    let query_offset = fields.get("query_offset").and_then(|node| node.duration(reader));
    let limit = fields.get("limit").and_then(|node| node.count(reader)).unwrap_or(0);
    let labels = fields.get("labels").map(|node| labels(reader, node)).unwrap_or_default();
    let items = fields.get("rules").and_then(|rules| rules.items(reader)).unwrap_or_default();
    let mut rules: Vec<Rule> = items.iter().filter_map(|item| rule(reader, item, &labels)).collect();
    let mut taken: HashMap<Arc<str>, usize> = HashMap::new();
    for rule in &mut rules {
        let key = format!("{};{name};{}{}", reader.file, rule.name, rule.labels);
        // Duplicates are allowed by Prometheus; the second one keeps its state apart from the first's.
        let count = taken.entry(Arc::from(key.as_str())).and_modify(|count| *count += 1).or_insert(1);
        rule.key = if *count == 1 { Arc::from(key) } else { Arc::from(format!("{key}#{count}")) };
    }
    Some(RuleGroup { file: reader.file.to_string(), name, interval, query_offset, limit, rules })
}

fn rule(reader: &mut Reader<'_>, node: &Node<'_>, group_labels: &BTreeMap<String, String>) -> Option<Rule> {
    let fields = node.fields(reader, &RULE_FIELDS)?;
    let name_of = |reader: &mut Reader<'_>, name: &str| fields.get(name).map(|node| node.text(reader));
    let (alert, record) = (name_of(reader, "alert"), name_of(reader, "record"));
    // A name of the wrong shape has been reported; it is there all the same.
    let misshapen = matches!(alert, Some(None)) || matches!(record, Some(None));
    let alert = alert.flatten().filter(|text| !text.is_empty());
    let record = record.flatten().filter(|text| !text.is_empty());
    let expr = expression(reader, &node.child("expr"));
    let own = fields.get("labels").map(|node| labels(reader, node)).unwrap_or_default();
    let mut all = group_labels.clone();
    all.extend(own);
    let (name, kind) = match (alert, record) {
        (Some(_), Some(_)) => {
            let message = "a rule is either an alert or a recording: only one of alert and record may be set";
            reader.error(&node.path, message);
            return None;
        }
        (None, None) if misshapen => return None,
        (None, None) => {
            reader.error(&node.path, "one of alert and record must be set");
            return None;
        }
        (Some(name), None) => {
            let alert = alert_part(reader, node, &fields, &all);
            (name, RuleKind::Alert(alert?))
        }
        (None, Some(name)) => {
            recording(reader, node, &fields, &name)?;
            (name, RuleKind::Record(all.clone().into_iter().collect()))
        }
    };
    let (expr, expr_text) = expr?;
    let line = reader.lines.nearest(&node.path);
    Some(Rule { key: Arc::from(""), name, expr, expr_text, labels: Labels::new(all), line, kind })
}

/// Checks what a recording rule must not have, and its name.
fn recording(reader: &mut Reader<'_>, node: &Node<'_>, fields: &BTreeMap<String, Node<'_>>, name: &str) -> Option<()> {
    let mut sound = true;
    for field in ALERT_FIELDS {
        let Some(given) = fields.get(field) else { continue };
        let empty = match field {
            "annotations" => given.texts(reader).is_some_and(|texts| texts.is_empty()),
            _ => given.duration(reader).is_some_and(|length| length.is_zero()),
        };
        if !empty {
            reader.error_at_key(&given.path, format!("{field:?} has no meaning in a recording rule; remove it"));
            sound = false;
        }
    }
    if name.contains(['{', '}']) {
        let message = format!("{name:?} is no metric name: braces belong into expr or labels");
        reader.error(&node.child("record").path, message);
        sound = false;
    }
    sound.then_some(())
}

fn alert_part(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    fields: &BTreeMap<String, Node<'_>>,
    labels: &BTreeMap<String, String>,
) -> Option<AlertRule> {
    let hold = fields.get("for").map(|node| node.duration(reader));
    let keep = fields.get("keep_firing_for").map(|node| node.duration(reader));
    let label_templates = templates(reader, &node.child("labels"), labels.clone());
    let annotations = fields.get("annotations").map(|node| annotations(reader, node)).unwrap_or_default();
    let annotations = templates(reader, &node.child("annotations"), annotations);
    let zero = Some(std::time::Duration::ZERO);
    Some(AlertRule {
        hold: hold.unwrap_or(zero)?,
        keep_firing_for: keep.unwrap_or(zero)?,
        labels: label_templates?,
        annotations: annotations?,
    })
}

/// Reads templates; every bad one is reported at its line, `None` if there was any.
fn templates(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    texts: BTreeMap<String, String>,
) -> Option<Vec<(String, Template)>> {
    let mut read = Some(Vec::with_capacity(texts.len()));
    for (name, text) in texts {
        match Template::parse(&text) {
            Ok(template) => {
                if let Some(read) = &mut read {
                    read.push((name, template));
                }
            }
            Err(error) => {
                let child = node.child(&name);
                let line = line_within(reader, &child.path, error.line);
                reader.error_at_line(&child.path, line, format!("bad template: {error}"));
                read = None;
            }
        }
    }
    read
}

/// Checks label names and gives back the sound ones.
fn labels(reader: &mut Reader<'_>, node: &Node<'_>) -> BTreeMap<String, String> {
    let mut sound = BTreeMap::new();
    for (name, (value, child)) in node.texts(reader).unwrap_or_default() {
        if name.is_empty() || name == METRIC_NAME {
            reader.error_at_key(&child.path, format!("{name:?} cannot be a label's name"));
            continue;
        }
        warn_of_name(reader, &child.path, &name);
        sound.insert(name, value);
    }
    sound
}

fn annotations(reader: &mut Reader<'_>, node: &Node<'_>) -> BTreeMap<String, String> {
    let mut sound = BTreeMap::new();
    for (name, (value, child)) in node.texts(reader).unwrap_or_default() {
        if name.is_empty() {
            reader.error_at_key(&child.path, "an annotation needs a name");
            continue;
        }
        warn_of_name(reader, &child.path, &name);
        sound.insert(name, value);
    }
    sound
}

fn warn_of_name(reader: &mut Reader<'_>, path: &[Step], name: &str) {
    if !is_label_name(name) {
        let message = format!(
            "{name:?} is a name only since Prometheus 3 and must be quoted in queries; use letters, digits and _"
        );
        reader.warn(path, message);
    }
}

/// Parses `expr`; an error names the line inside a multi-line text.
fn expression(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<(Expr, String)> {
    let text = node.text(reader)?;
    if text.trim().is_empty() {
        let parent = &node.path[..node.path.len() - 1];
        reader.error(parent, "the rule needs an expr");
        return None;
    }
    match query::parse(&text) {
        Ok(expr) => {
            if !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
                let message =
                    format!("the expression gives a {}; a rule needs a vector or a scalar", expr.value_type());
                reader.warn(&node.path, message);
            }
            Some((expr, text))
        }
        Err(error) => {
            let line = error.span.map_or(1, |span| span.line_column(&text).0);
            let line = line_within(reader, &node.path, line);
            reader.error_at_line(&node.path, line, format!("bad expression: {}", error.render(&text)));
            None
        }
    }
}

/// The file's line of line `inner` (from 1) of the scalar at `path`. Exact for one-line scalars and `|` blocks; a
/// folded (`>`) or quoted text that was broken over lines has lost its lines, and is placed at its first.
fn line_within(reader: &Reader<'_>, path: &[Step], inner: usize) -> Option<usize> {
    let Some((line, column)) = reader.lines.value(path) else { return reader.lines.nearest(path) };
    let written = reader.text.lines().nth(line - 1).unwrap_or_default();
    let value: String = written.chars().skip(column - 1).collect();
    // An anchor stands in front of the value it names.
    let bare = match value.strip_prefix('&') {
        Some(anchored) => anchored.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
        None => &value,
    };
    match bare.chars().next() {
        Some('|') => Some(line + inner),
        Some('>') => Some(line + 1),
        _ => Some(line),
    }
}
