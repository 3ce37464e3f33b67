//! `rules`, `alerts`: rule groups, their rules, and the alerts of these.

use axum::extract::State;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::{ApiError, Good, Packed, pack};
use super::json::exponential;
use super::params::Params;
use super::targets::moment;
use super::{Alerting, Backend, Group, Rule};
use crate::model::{Alert, AlertState, Matcher};

pub(super) async fn alerts(State(backend): State<Backend>, params: Params) -> Packed {
    let groups = backend.about.groups();
    let rules = groups.iter().flat_map(|group| &group.rules).filter_map(|rule| rule.alerting.as_ref());
    let all: Vec<Value> = rules.flat_map(|rule| &rule.alerts).map(alert).collect();
    pack(Ok(json!({"alerts": all}).into()), params.gzip)
}

pub(super) async fn rules(State(backend): State<Backend>, params: Params) -> Packed {
    let answer = || -> Result<Good, ApiError> {
        let (wanted, page) = (Wanted::read(&params)?, Page::read(&params)?);
        let groups = backend.about.groups();
        let mut groups: Vec<&Group> = groups.iter().filter(|group| wanted.group(group)).collect();
        groups.sort_by_key(|group| (&group.file, &group.name));
        let (groups, next) = page.cut(groups)?;
        let shown = groups.into_iter().filter_map(|group| {
            let rules: Vec<Value> =
                group.rules.iter().filter(|rule| wanted.rule(rule)).map(|rule| wanted.show(rule)).collect();
            // A group of which nothing is wanted is left out, but an empty one is shown to who wants all.
            (!rules.is_empty() || !wanted.filters).then(|| show(group, rules))
        });
        let mut data = json!({"groups": shown.collect::<Vec<_>>()});
        if let Some(next) = next {
            data["groupNextToken"] = next.into();
        }
        Ok(data.into())
    };
    pack(answer(), params.gzip)
}

/// Which rules are wanted.
struct Wanted {
    /// `Some(true)` for alerting rules only.
    alerting: Option<bool>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matchers: Vec<Vec<Matcher>>,
    without_alerts: bool,
    /// Whether anything narrows the rules.
    filters: bool,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let list = |name| params.all(name).map(str::to_string).collect::<Vec<_>>();
        let alerting = match params.get("type").to_ascii_lowercase().as_str() {
            "" => None,
            "alert" => Some(true),
            "record" => Some(false),
            other => return Err(ApiError::parameter("type", format_args!("not supported value {other:?}"))),
        };
        let without_alerts = match params.get("exclude_alerts").to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => true,
            "" | "0" | "f" | "false" => false,
            other => {
                return Err(ApiError::parameter("exclude_alerts", format_args!("{other:?} is neither true nor false")));
            }
        };
        let (names, matchers) = (list("rule_name[]"), params.matchers()?);
        let filters = alerting.is_some() || !names.is_empty() || !matchers.is_empty();
        let (groups, files) = (list("rule_group[]"), list("file[]"));
        Ok(Wanted { alerting, names, groups, files, matchers, without_alerts, filters })
    }

    fn group(&self, group: &Group) -> bool {
        let listed = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        listed(&self.groups, &group.name) && listed(&self.files, &group.file)
    }

    fn rule(&self, rule: &Rule) -> bool {
        let fits = |matchers: &Vec<Matcher>| matchers.iter().all(|matcher| matcher.matches(&rule.labels));
        self.alerting.is_none_or(|alerting| alerting == rule.alerting.is_some())
            && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.matchers.is_empty() || self.matchers.iter().any(fits))
    }

    fn show(&self, rule: &Rule) -> Value {
        let mut shown = json!({
            "name": rule.name,
            "query": rule.query,
            "health": match (rule.evaluated, rule.error.is_empty()) {
                (None, _) => "unknown",
                (_, true) => "ok",
                (_, false) => "err",
            },
            "evaluationTime": number(rule.took),
            "lastEvaluation": moment(rule.evaluated),
            "type": if rule.alerting.is_some() { "alerting" } else { "recording" },
        });
        if !rule.error.is_empty() {
            shown["lastError"] = rule.error.clone().into();
        }
        if rule.alerting.is_some() || !rule.labels.is_empty() {
            shown["labels"] = json!(rule.labels);
        }
        if let Some(Alerting { hold, keep_firing_for, annotations, alerts }) = &rule.alerting {
            let state =
                alerts.iter().map(|alert| alert.state).reduce(|a, b| if a == AlertState::Firing { a } else { b });
            shown["state"] = state.map_or("inactive", AlertState::as_str).into();
            shown["duration"] = number(*hold);
            shown["keepFiringFor"] = number(*keep_firing_for);
            shown["annotations"] = json!(annotations);
            let alerts = alerts.iter().filter(|_| !self.without_alerts).map(alert);
            shown["alerts"] = alerts.collect::<Vec<_>>().into();
        }
        shown
    }
}

fn show(group: &Group, rules: Vec<Value>) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": number(group.interval),
        "limit": group.limit,
        "evaluationTime": number(group.took),
        "lastEvaluation": moment(group.evaluated),
    })
}

fn alert(alert: &Alert) -> Value {
    let mut shown = json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": alert.state.as_str(),
        "activeAt": moment(Some(alert.active_at)),
        "value": exponential(alert.value),
    });
    if let Some(since) = alert.keep_firing_since {
        shown["keepFiringSince"] = moment(Some(since)).into();
    }
    shown
}

/// Whole numbers without a fraction, as Go writes them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}

/// Which groups of the list are wanted at once.
struct Page {
    limit: usize,
    from: String,
}

impl Page {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let (limit, from) = (params.get("group_limit"), params.get("group_next_token").to_string());
        let limit = match limit.parse() {
            _ if limit.is_empty() && from.is_empty() => usize::MAX,
            _ if limit.is_empty() => {
                return Err(ApiError::parameter("group_limit", "group_limit needs to be given with group_next_token"));
            }
            Ok(limit) if limit > 0 => limit,
            _ => return Err(ApiError::parameter("group_limit", format_args!("{limit:?} is not a number above 0"))),
        };
        Ok(Page { limit, from })
    }

    /// The groups of this page, and the token of the next.
    fn cut<'a>(&self, mut groups: Vec<&'a Group>) -> Result<(Vec<&'a Group>, Option<String>), ApiError> {
        if !self.from.is_empty() {
            let Some(first) = groups.iter().position(|group| token(group) == self.from) else {
                let text = format!("invalid group_next_token '{}'. were rule groups changed?", self.from);
                return Err(ApiError::parameter("group_next_token", text));
            };
            groups.drain(..first);
        }
        let next = groups.get(self.limit).map(|group| token(group));
        groups.truncate(self.limit);
        Ok((groups, next))
    }
}

fn token(group: &Group) -> String {
    let digest = Sha256::digest(format!("{};{}", group.file, group.name));
    digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
