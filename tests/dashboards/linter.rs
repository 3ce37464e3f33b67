//! The rules of grafana/dashboard-linter, by their names, as our own checks. Four do not apply to us; the reasons stand
//! beside them.

use serde_json::Value;

use super::fixture::{self, list, panels, text};

/// Rules that are broken on purpose.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("template-job-rule", "one davylamp is one job, and davylamp itself as data source has no such label"),
    ("target-job-rule", "the same; process_… metrics are joined with davylamp_build_info on job instead"),
    (
        "template-instance-rule",
        "the subject label (miner, engine, target) names what is shown; instance is the scraped davylamp",
    ),
    ("target-instance-rule", "the same"),
    ("target-logql-rule", "no Loki here"),
    ("target-logql-auto-rule", "no Loki here"),
];

type Check = fn(&Value) -> Vec<String>;

/// The other rules.
const RULES: &[(&str, Check)] = &[
    ("template-datasource-rule", template_datasource),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_reload),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-promql-rule", target_promql),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-counter-agg-rule", target_counter_agg),
    ("uneditable-dashboard", uneditable),
];

#[test]
fn all_seventeen_rules_are_kept_or_excepted() {
    assert_eq!(RULES.len() + EXCEPTIONS.len(), 17);
    for (path, dashboard) in fixture::shipped_dashboards() {
        for (name, check) in RULES {
            let found = check(&dashboard);
            assert!(found.is_empty(), "{path}: {name}: {found:#?}");
        }
    }
}

#[test]
fn the_rules_can_be_broken() {
    let (_, good) = fixture::shipped_dashboards().swap_remove(0);
    let index = good["panels"].as_array().unwrap().iter().position(|item| item.get("options").is_some()).unwrap();
    let panel = format!("/panels/{index}");
    for (rule, place, value) in [
        ("template-datasource-rule", "/templating/list/0/name".to_string(), "ds"),
        ("template-label-promql-rule", "/templating/list/1/definition".to_string(), "label_values(up{, x)"),
        ("panel-datasource-rule", format!("{panel}/datasource/uid"), "P1809F7CD0C75ACF3"),
        ("panel-title-description-rule", format!("{panel}/description"), ""),
        ("panel-units-rule", format!("{panel}/fieldConfig/defaults/unit"), "celcius"),
        ("target-promql-rule", format!("{panel}/targets/0/expr"), "sum(("),
        ("target-rate-interval-rule", format!("{panel}/targets/0/expr"), "rate(a_total[5m])"),
        ("target-counter-agg-rule", format!("{panel}/targets/0/expr"), "sum(a_total)"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(&place).unwrap_or_else(|| panic!("{place}")) = Value::from(value);
        let check = RULES.iter().find(|(name, _)| *name == rule).unwrap().1;
        assert!(!check(&bad).is_empty(), "{rule}");
    }
}

/// The dashboard has a variable `datasource`, labelled "Data source".
fn template_datasource(dashboard: &Value) -> Vec<String> {
    let variables: Vec<_> =
        list(dashboard, "/templating/list").filter(|item| text(item, "/type") == "datasource").collect();
    match variables.as_slice() {
        [one] if text(one, "/name") == "datasource" && text(one, "/label") == "Data source" => Vec::new(),
        other => vec![format!("{other:?}")],
    }
}

fn queries(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "/templating/list").filter(|item| text(item, "/type") == "query")
}

/// Queries of variables are label_values with valid PromQL.
fn template_label_promql(dashboard: &Value) -> Vec<String> {
    let bad = queries(dashboard).filter(|item| {
        let inner = text(item, "/definition").strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let selector = inner.and_then(|inner| inner.rsplit_once(','));
        selector.is_none_or(|(selector, _)| !parses(selector))
    });
    bad.map(|item| text(item, "/definition").to_string()).collect()
}

/// Variables follow the time range.
fn template_reload(dashboard: &Value) -> Vec<String> {
    queries(dashboard).filter(|item| item["refresh"] != 2).map(|item| text(item, "/name").to_string()).collect()
}

fn titles<'a>(panels: impl Iterator<Item = &'a Value>) -> Vec<String> {
    panels.map(|panel| text(panel, "/title").to_string()).collect()
}

/// Every panel and every target asks the chosen data source.
fn panel_datasource(dashboard: &Value) -> Vec<String> {
    let ours = |item: &Value| text(item, "/datasource/uid") == "${datasource}";
    titles(panels(dashboard).filter(|panel| !ours(panel) || !list(panel, "/targets").all(ours)))
}

fn panel_title_description(dashboard: &Value) -> Vec<String> {
    titles(panels(dashboard).filter(|panel| text(panel, "/title").is_empty() || text(panel, "/description").len() < 20))
}

/// Every panel has one of Grafana's units. J/TH is not among them and is written as Grafana's custom suffix.
fn panel_units(dashboard: &Value) -> Vec<String> {
    titles(panels(dashboard).filter(|panel| {
        let unit = text(panel, "/fieldConfig/defaults/unit");
        unit != "suffix:J/TH" && davylamp::dashboards::units::UNITS.binary_search(&unit).is_err()
    }))
}

fn panel_no_targets(dashboard: &Value) -> Vec<String> {
    titles(panels(dashboard).filter(|panel| list(panel, "/targets").all(|target| text(target, "/expr").is_empty())))
}

fn exprs(dashboard: &Value) -> Vec<&str> {
    panels(dashboard).flat_map(|panel| list(panel, "/targets")).map(|target| text(target, "/expr")).collect()
}

fn parses(expr: &str) -> bool {
    promql_parser::parser::parse(&davylamp::dashboards::substitute(expr)).is_ok()
}

fn target_promql(dashboard: &Value) -> Vec<String> {
    exprs(dashboard).into_iter().filter(|expr| !parses(expr)).map(str::to_string).collect()
}

/// The function around each range, with the range: `("rate", "$__rate_interval")`.
fn ranges(expr: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in expr.match_indices('[') {
        let range = expr[at + 1..].split(']').next().unwrap_or_default();
        // Ranges stand behind `function(selector{…}`: the last parenthesis that is open before them.
        let before = expr[..at].rfind('(').map_or("", |open| &expr[..open]);
        found.push((before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default(), range));
    }
    found
}

/// `rate` and `irate` only over `$__rate_interval`.
fn target_rate_interval(dashboard: &Value) -> Vec<String> {
    let bad = |expr: &&str| {
        ranges(expr).iter().any(|(function, range)| function.ends_with("rate") && *range != "$__rate_interval")
    };
    exprs(dashboard).into_iter().filter(bad).map(str::to_string).collect()
}

/// A counter (`…_total`) only inside of rate, irate or increase.
fn target_counter_agg(dashboard: &Value) -> Vec<String> {
    let bad = |expr: &&str| {
        expr.match_indices("_total").any(|(at, _)| {
            let open = expr[..at].rfind('(').map_or("", |open| &expr[..open]);
            !["rate", "irate", "increase"].iter().any(|function| open.ends_with(function))
        })
    };
    exprs(dashboard).into_iter().filter(bad).map(str::to_string).collect()
}

fn uneditable(dashboard: &Value) -> Vec<String> {
    if dashboard["editable"] == false { Vec::new() } else { vec!["can be edited".to_string()] }
}
