//! A file of rule tests, as promtool reads it
//! (<https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>).

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Labels;
use crate::query;
use crate::query::Expr;
use crate::query::notation;
use crate::query::notation::Item;
use crate::rules::file::Reader;
use crate::rules::node::Node;
use crate::yaml::Document;
use crate::yaml::Problem;
use crate::yaml::Severity;

const FILE_FIELDS: [&str; 5] = ["rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare"];
const TEST_FIELDS: [&str; 8] = [
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
];

/// How often rules are evaluated where the file does not say.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// A file of tests.
#[derive(Clone, Debug)]
pub struct TestFile {
    /// Rule files, patterns resolved; relative ones begin at the test file's folder.
    pub rule_files: Vec<PathBuf>,
    /// How often rules are evaluated.
    pub interval: Duration,
    /// Groups to be evaluated first, in this order.
    pub group_order: Vec<String>,
    /// Values may differ by one step of the last digit.
    pub fuzzy: bool,
    /// The tests.
    pub tests: Vec<Test>,
    /// Patterns that match no file.
    pub warnings: Vec<Problem>,
}

/// One test: series and what is expected of the rules over them.
#[derive(Clone, Debug)]
pub struct Test {
    /// As given, or `unnamed#` and its number from 0, as promtool counts.
    pub name: String,
    /// Whether the file gave the name.
    pub named: bool,
    /// Time between two values of a series.
    pub interval: Duration,
    /// Time of the first value, milliseconds since the epoch.
    pub start: i64,
    /// The input.
    pub series: Vec<(Labels, Vec<Item>)>,
    /// Alerts that should fire.
    pub alerts: Vec<AlertCase>,
    /// Queries and their values.
    pub queries: Vec<QueryCase>,
    /// `$externalLabels`
    pub external_labels: Labels,
    /// `$externalURL`
    pub external_url: String,
}

/// What should fire under one name at one time.
#[derive(Clone, Debug)]
pub struct AlertCase {
    /// Line in the test file.
    pub line: Option<usize>,
    /// Time after the start.
    pub at: Duration,
    /// The rules' name.
    pub alertname: String,
    /// Labels with `alertname`, and annotations.
    pub expected: Vec<(Labels, Labels)>,
}

/// What a query should give at one time.
#[derive(Clone, Debug)]
pub struct QueryCase {
    /// Line in the test file.
    pub line: Option<usize>,
    /// Time after the start.
    pub at: Duration,
    /// As written.
    pub text: String,
    /// Parsed.
    pub expr: Expr,
    /// Labels and values; never a gap.
    pub expected: Vec<(Labels, Item)>,
}

impl TestFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let document = Document::read(path).map_err(|problem| vec![problem])?;
        let file = path.display().to_string();
        let mut reader = Reader::new(&file, &document);
        let folder = path.parent().unwrap_or(Path::new(""));
        let read = test_file(&mut reader, &Node { value: &document.value, path: Vec::new() }, folder);
        let (warnings, errors): (Vec<_>, Vec<_>) =
            reader.into_problems().into_iter().partition(|problem| problem.severity == Severity::Warning);
        match read {
            Some(read) if errors.is_empty() => Ok(TestFile { warnings, ..read }),
            _ => Err(errors),
        }
    }
}

fn test_file(reader: &mut Reader<'_>, node: &Node<'_>, folder: &Path) -> Option<TestFile> {
    let fields = node.fields(reader, &FILE_FIELDS)?;
    let mut rule_files = Vec::new();
    for item in fields.get("rule_files").and_then(|node| node.items(reader)).unwrap_or_default() {
        let pattern = item.text(reader).unwrap_or_default();
        match crate::rules::expand(&folder.join(&pattern)) {
            Ok(found) if !found.is_empty() => rule_files.extend(found),
            _ => reader.warn(&item.path, format!("no file matches {pattern:?}")),
        }
    }
    let interval = positive(reader, fields.get("evaluation_interval")).unwrap_or(DEFAULT_INTERVAL);
    let mut group_order: Vec<String> = Vec::new();
    for item in fields.get("group_eval_order").and_then(|node| node.items(reader)).unwrap_or_default() {
        let name = item.text(reader).unwrap_or_default();
        if group_order.contains(&name) {
            reader.error(&item.path, format!("group {name:?} stands twice in the order of evaluation"));
        }
        group_order.push(name);
    }
    let fuzzy = fields.get("fuzzy_compare").is_some_and(|node| match node.value.as_bool() {
        Some(fuzzy) => fuzzy,
        None => {
            reader.error(&node.path, "must be true or false");
            false
        }
    });
    let items = fields.get("tests").and_then(|node| node.items(reader)).unwrap_or_default();
    let tests = items.iter().enumerate().filter_map(|(index, item)| test(reader, item, index, interval)).collect();
    Some(TestFile { rule_files, interval, group_order, fuzzy, tests, warnings: Vec::new() })
}

/// A duration that is not zero; promtool takes zero for not given.
fn positive(reader: &mut Reader<'_>, node: Option<&Node<'_>>) -> Option<Duration> {
    node?.duration(reader).filter(|duration| !duration.is_zero())
}

fn test(reader: &mut Reader<'_>, node: &Node<'_>, index: usize, interval: Duration) -> Option<Test> {
    let fields = node.fields(reader, &TEST_FIELDS)?;
    let text = |reader: &mut Reader<'_>, name: &str| fields.get(name).and_then(|node| node.text(reader));
    let name = text(reader, "name").filter(|name| !name.is_empty());
    let external_url = text(reader, "external_url").unwrap_or_default();
    let items = |reader: &mut Reader<'_>, name: &str| fields.get(name).and_then(|node| node.items(reader));
    Some(Test {
        named: name.is_some(),
        name: name.unwrap_or_else(|| format!("unnamed#{index}")),
        interval: positive(reader, fields.get("interval")).unwrap_or(interval),
        start: fields.get("start_timestamp").and_then(|node| timestamp(reader, node)).unwrap_or(0),
        series: collect(reader, items, "input_series", series),
        alerts: collect(reader, items, "alert_rule_test", alert_case),
        queries: collect(reader, items, "promql_expr_test", query_case),
        external_labels: fields.get("external_labels").map(|node| labels(reader, node)).unwrap_or_default(),
        external_url,
    })
}

fn collect<'v, T>(
    reader: &mut Reader<'_>,
    items: impl Fn(&mut Reader<'_>, &str) -> Option<Vec<Node<'v>>>,
    name: &str,
    read: fn(&mut Reader<'_>, &Node<'v>) -> Option<T>,
) -> Vec<T> {
    items(reader, name).unwrap_or_default().iter().filter_map(|item| read(reader, item)).collect()
}

/// Seconds since the epoch, or a time as RFC 3339 has it.
fn timestamp(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<i64> {
    let text = node.text(reader)?;
    #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()).map(|s| (s * 1000.0).round() as i64);
    let time = || chrono::DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_millis());
    let read = seconds.or_else(time);
    if read.is_none() {
        reader
            .error(&node.path, format!("{text:?} is no time: write 2026-01-31T12:00:00Z, or seconds since the epoch"));
    }
    read
}

fn labels(reader: &mut Reader<'_>, node: &Node<'_>) -> Labels {
    let texts: BTreeMap<_, _> = node.texts(reader).unwrap_or_default();
    Labels::new(texts.into_iter().map(|(name, (value, _))| (name, value)))
}

/// A field of text in the notation of tests, read by `read`.
fn notated<T>(
    reader: &mut Reader<'_>,
    node: Option<&Node<'_>>,
    read: fn(&str) -> Result<T, notation::NotationError>,
) -> Option<T> {
    let node = node?;
    let text = node.text(reader)?;
    read(&text).map_err(|error| reader.error(&node.path, error.to_string())).ok()
}

fn series(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<(Labels, Vec<Item>)> {
    let fields = node.fields(reader, &["series", "values"])?;
    if !fields.contains_key("series") {
        reader.error(&node.path, "the input needs a series");
    }
    let metric = notated(reader, fields.get("series"), notation::metric);
    let values = match fields.get("values") {
        Some(node) => notated(reader, Some(node), notation::values),
        None => Some(Vec::new()),
    };
    Some((metric?, values?))
}

fn eval_time(reader: &mut Reader<'_>, fields: &BTreeMap<String, Node<'_>>) -> Duration {
    fields.get("eval_time").and_then(|node| node.duration(reader)).unwrap_or_default()
}

fn alert_case(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<AlertCase> {
    let fields = node.fields(reader, &["eval_time", "alertname", "exp_alerts"])?;
    let at = eval_time(reader, &fields);
    let alertname = fields.get("alertname").and_then(|node| node.text(reader)).unwrap_or_default();
    if alertname.is_empty() {
        reader.error(&node.path, "the alertname is missing");
    }
    let mut expected = Vec::new();
    for item in fields.get("exp_alerts").and_then(|node| node.items(reader)).unwrap_or_default() {
        let fields = item.fields(reader, &["exp_labels", "exp_annotations"])?;
        let read = |reader: &mut Reader<'_>, name: &str| fields.get(name).map(|node| labels(reader, node));
        let wanted = read(reader, "exp_labels").unwrap_or_default().with("alertname", &alertname);
        expected.push((wanted, read(reader, "exp_annotations").unwrap_or_default()));
    }
    Some(AlertCase { line: reader.lines.nearest(&node.path), at, alertname, expected })
}

fn query_case(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<QueryCase> {
    let fields = node.fields(reader, &["expr", "eval_time", "exp_samples"])?;
    let at = eval_time(reader, &fields);
    let text = fields.get("expr").and_then(|node| node.text(reader)).unwrap_or_default();
    let expr = query::parse(&text).map_err(|error| reader.error(&node.child("expr").path, error.render(&text))).ok();
    let mut expected = Vec::new();
    for item in fields.get("exp_samples").and_then(|node| node.items(reader)).unwrap_or_default() {
        expected.extend(sample(reader, &item));
    }
    Some(QueryCase { line: reader.lines.nearest(&node.path), at, text, expr: expr?, expected })
}

fn sample(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<(Labels, Item)> {
    let fields = node.fields(reader, &["labels", "value", "histogram"])?;
    let labels = match fields.get("labels") {
        // No labels at all are written as an empty text, too.
        Some(given) if given.value.as_str().is_some_and(|text| text.trim().is_empty()) => Labels::empty(),
        Some(given) => notated(reader, Some(given), notation::metric)?,
        None => Labels::empty(),
    };
    if let Some(given) = fields.get("histogram").filter(|given| given.value.as_str() != Some("")) {
        let histogram = notated(reader, Some(given), notation::histogram)?;
        return Some((labels, Item::Histogram(histogram.into())));
    }
    let Some(given) = fields.get("value") else { return Some((labels, Item::Float(0.0))) };
    let text = given.text(reader)?;
    match given.value.as_f64().or_else(|| text.parse().ok()) {
        Some(value) => Some((labels, Item::Float(value))),
        None => {
            reader.error(&given.path, format!("{text:?} is no number"));
            None
        }
    }
}
