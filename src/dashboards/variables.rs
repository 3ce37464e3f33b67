//! The variables on top of a dashboard: which data source, and what of the fleet is shown.

use super::json::DATASOURCE;
use super::json::Texts;
use super::json::Variable;
use super::json::VariableOption;
use super::json::VariableQuery;
use super::page::Context;
use super::page::labels_query;

/// Data source, one variable per configured filter label, and the subject.
pub(super) fn common(context: &Context<'_>) -> Vec<Variable> {
    let settings = context.settings;
    let mut list = vec![datasource(&settings.datasource_name, &settings.datasource_uid)];
    let mut matchers = context.kind_matcher();
    for name in &settings.filters {
        let query = format!("label_values(davylamp_target_up{{{matchers}}}, {name})");
        list.push(labels(
            name,
            &capital(name),
            &format!("Label {name}, as the configuration sets it on targets; All also shows targets without it."),
            query,
        ));
        matchers.push_str(&format!(",{name}=~\"${name}\""));
    }
    if !context.subject.is_empty() {
        let query = format!("label_values(davylamp_target_up{{{matchers}}}, target)");
        let description = "Id of the target in the configuration; down ones are listed too.";
        list.push(labels(context.subject, &capital(context.subject), description, query));
    }
    list
}

/// A variable with several values that shows everything as long as nobody chooses. `.*` also matches an absent label.
pub(super) fn labels(name: &str, label: &str, description: &str, query: String) -> Variable {
    Variable {
        name: name.to_string(),
        label: label.to_string(),
        description: description.to_string(),
        r#type: "query",
        datasource: Some(DATASOURCE),
        query: labels_query(query.clone()),
        definition: Some(query),
        current: VariableOption {
            selected: true,
            text: Texts::Many(vec!["All".to_string()]),
            value: Texts::Many(vec!["$__all".to_string()]),
        },
        options: Vec::new(),
        multi: true,
        include_all: true,
        all_value: Some(".*"),
        refresh: 2,
        regex: String::new(),
        sort: 5,
        hide: 0,
        skip_url_sync: false,
    }
}

/// Shows the first value as long as nobody chooses, not all of them: hundreds of lines on each graph say nothing, and
/// `.*` would bring the devices of other kinds too.
pub(super) fn one_at_first(variable: &mut Variable) {
    variable.current =
        VariableOption { selected: false, text: Texts::Many(Vec::new()), value: Texts::Many(Vec::new()) };
    variable.include_all = false;
    variable.all_value = None;
}

fn datasource(name: &str, uid: &str) -> Variable {
    Variable {
        name: "datasource".to_string(),
        label: "Data source".to_string(),
        description: "The Prometheus that scrapes davylamp.".to_string(),
        r#type: "datasource",
        datasource: None,
        query: VariableQuery::Plugin("prometheus"),
        definition: None,
        // The provisioned one; Grafana falls back to the first of the type where it does not exist.
        current: VariableOption {
            selected: true,
            text: Texts::One(name.to_string()),
            value: Texts::One(uid.to_string()),
        },
        options: Vec::new(),
        multi: false,
        include_all: false,
        all_value: None,
        refresh: 1,
        regex: String::new(),
        sort: 0,
        hide: 0,
        skip_url_sync: false,
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}
