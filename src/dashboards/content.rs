//! What can be wrong inside of one dashboard file: structure, units and expressions.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::check::Problem;
use super::json::SCHEMA_VERSION;
use super::units::is_unit;

/// What Grafana needs to load a dashboard at all, units, and expressions.
pub(super) fn dashboard<E: fmt::Display>(
    value: &Value,
    parse: &impl Fn(&str) -> Result<(), E>,
    say: &mut impl FnMut(Problem),
) {
    if !value.is_object() {
        return say(Problem::Malformed("is no dashboard: not a JSON object".to_string()));
    }
    if value.get("title").and_then(Value::as_str).is_none_or(|title| title.trim().is_empty()) {
        say(Problem::Malformed("has no title: Grafana does not load it".to_string()));
    }
    if value.get("apiVersion").is_some() || value.get("elements").is_some() {
        return say(Problem::Malformed("is of the new schema (v2): file provisioning cannot load that".to_string()));
    }
    match value.get("uid").and_then(Value::as_str) {
        None | Some("") => {
            say(Problem::Malformed("has no uid: its address changes whenever it is loaded anew".to_string()))
        }
        Some(uid) if uid.len() > 40 => say(Problem::Malformed(format!("uid {uid:?} is longer than 40 characters"))),
        Some(_) => {}
    }
    match value.get("schemaVersion").and_then(Value::as_u64) {
        None => say(Problem::Malformed("has no schemaVersion".to_string())),
        Some(version) if version > u64::from(SCHEMA_VERSION) => {
            say(Problem::Malformed(format!(
                "schemaVersion {version} is newer than {SCHEMA_VERSION}, which Grafana 10 knows"
            )));
        }
        Some(_) => {}
    }
    if value.get("__inputs").is_some() {
        say(Problem::Malformed(
            "has __inputs: provisioning never fills them in; use a variable of type datasource".to_string(),
        ));
    }
    panels(value, say);
    expressions(value, parse, say);
}

/// All panels, those inside collapsed rows included.
fn all_panels(value: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in value.get("panels").and_then(Value::as_array).into_iter().flatten() {
        found.push(panel);
        found.extend(panel.get("panels").and_then(Value::as_array).into_iter().flatten());
    }
    found
}

fn title_of(panel: &Value) -> String {
    panel.get("title").and_then(Value::as_str).unwrap_or_default().to_string()
}

fn panels(value: &Value, say: &mut impl FnMut(Problem)) {
    let mut ids = BTreeSet::new();
    for panel in all_panels(value) {
        let title = title_of(panel);
        if panel.get("type").and_then(Value::as_str).is_none() {
            say(Problem::Malformed(format!("panel {title:?} has no type")));
        }
        match panel.get("id").and_then(Value::as_u64) {
            Some(id) if ids.insert(id) => {}
            Some(id) => say(Problem::Malformed(format!("panel {title:?}: id {id} is used twice"))),
            None => say(Problem::Malformed(format!("panel {title:?} has no id"))),
        }
        let number = |name: &str| panel.pointer(&format!("/gridPos/{name}")).and_then(Value::as_u64);
        match (number("x"), number("w"), number("h")) {
            (Some(x), Some(w), Some(h)) if w > 0 && h > 0 && x + w <= 24 => {}
            _ => say(Problem::Malformed(format!("panel {title:?} does not stand on the grid, which is 24 wide"))),
        }
        let default = panel.pointer("/fieldConfig/defaults/unit");
        let overrides = panel.pointer("/fieldConfig/overrides").and_then(Value::as_array).into_iter().flatten();
        let properties = overrides.filter_map(|item| item.get("properties")?.as_array()).flatten();
        let units = properties
            .filter(|item| item.get("id").is_some_and(|id| id == "unit"))
            .filter_map(|item| item.get("value"));
        for unit in default.into_iter().chain(units).filter_map(Value::as_str) {
            if !is_unit(unit) {
                say(Problem::UnknownUnit { panel: title.clone(), unit: unit.to_string() });
            }
        }
    }
}

fn expressions<E: fmt::Display>(value: &Value, parse: &impl Fn(&str) -> Result<(), E>, say: &mut impl FnMut(Problem)) {
    let mut found: Vec<(String, &str)> = Vec::new();
    for panel in all_panels(value) {
        let targets = panel.get("targets").and_then(Value::as_array).into_iter().flatten();
        let exprs = targets.filter_map(|target| target.get("expr")?.as_str());
        found.extend(exprs.map(|expr| (title_of(panel), expr)));
    }
    let marks = value.pointer("/annotations/list").and_then(Value::as_array).into_iter().flatten();
    for mark in marks {
        let name = mark.get("name").and_then(Value::as_str).unwrap_or_default();
        found.extend(mark.get("expr").and_then(Value::as_str).map(|expr| (format!("annotation {name}"), expr)));
    }
    let variables = value.pointer("/templating/list").and_then(Value::as_array).into_iter().flatten();
    for variable in variables {
        let name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
        let query = variable.pointer("/query/query").or(variable.get("query")).and_then(Value::as_str);
        found.extend(query.and_then(label_values).map(|expr| (format!("variable {name}"), expr)));
    }
    for (panel, expr) in found.into_iter().filter(|(_, expr)| !expr.trim().is_empty()) {
        if let Err(reason) = parse(&substitute(expr)) {
            say(Problem::BadExpression { panel, expr: expr.to_string(), reason: reason.to_string() });
        }
    }
}

/// The series selector in `label_values(selector, label)`.
fn label_values(query: &str) -> Option<&str> {
    let inner = query.trim().strip_prefix("label_values(")?.strip_suffix(')')?;
    inner.rsplit_once(',').map(|(selector, _)| selector.trim())
}

/// Replaces Grafana's variables (`$name`, `${name}`, `${name:format}`, `[[name]]`) with values of their sort, so that
/// what is left is plain PromQL. `$1`, as `label_replace` uses it, is none.
pub fn substitute(expr: &str) -> String {
    let mut text = String::with_capacity(expr.len());
    let mut rest = expr;
    while let Some(start) = rest.find(['$', '[']) {
        text.push_str(&rest[..start]);
        let tail = &rest[start..];
        let braced = |open: &str, close: &str| {
            let inner = tail.strip_prefix(open)?;
            let end = inner.find(close)?;
            let name = inner[..end].split([':', '.']).next()?;
            is_variable(name).then(|| (name.to_string(), open.len() + end + close.len()))
        };
        let bare = || {
            let name: String =
                tail.strip_prefix('$')?.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let length = name.len() + 1;
            is_variable(&name).then_some((name, length))
        };
        if let Some((name, length)) = braced("${", "}").or_else(|| braced("[[", "]]")).or_else(bare) {
            text.push_str(stand_in(&name));
            rest = &tail[length..];
        } else {
            text.push_str(&tail[..1]);
            rest = &tail[1..];
        }
    }
    text.push_str(rest);
    text
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value that is right wherever such a variable can stand.
fn stand_in(name: &str) -> &'static str {
    match name {
        "__interval_ms" | "__range_ms" | "__range_s" | "__from" | "__to" => "60000",
        "__interval" | "__rate_interval" | "__range" | "__auto" | "interval" | "resolution" => "5m",
        _ => "x",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_values_of_their_sort() {
        for (expr, plain) in [
            ("rate(a{m=~\"$miner\"}[$__rate_interval])", "rate(a{m=~\"x\"}[5m])"),
            ("a{m=~\"${miner:regex}\"}[${__range}]", "a{m=~\"x\"}[5m]"),
            ("a{m=\"[[miner]]\"}[[[interval]]]", "a{m=\"x\"}[5m]"),
            ("label_replace(a, \"b\", \"$1\", \"c\", \"(.+)\")", "label_replace(a, \"b\", \"$1\", \"c\", \"(.+)\")"),
            ("a offset 5m > $__range_s", "a offset 5m > 60000"),
            ("a{b=~\"x$\"}", "a{b=~\"x$\"}"),
            ("a[5m] + ${", "a[5m] + ${"),
        ] {
            assert_eq!(substitute(expr), plain);
        }
    }

    #[test]
    fn the_selector_of_a_variable_may_have_commas() {
        assert_eq!(label_values("label_values(up{a=\"1\",b=\"2\"}, site)"), Some("up{a=\"1\",b=\"2\"}"));
        assert_eq!(label_values("label_values(site)"), None);
        assert_eq!(label_values("prometheus"), None);
    }
}
