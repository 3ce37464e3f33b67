//! What becomes of a rule's alerts when the series behind it are gone. Rule files have no word for it, so it is said
//! beside them: a list of matchers on the rule's name and labels, of which the first that fits decides.

use crate::model::Labels;
use crate::model::Matcher;

use super::rule::Rule;
use super::step::Candidate;

/// What to do when an alert's series are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// The alert resolves, as in Prometheus; automation is told that no data confirm it.
    #[default]
    Resolve,
    /// The alert stays as it is until its series are back.
    Keep,
    /// As `keep`; and a rule none of whose selectors finds a series makes an alert of its own, with the rule's name and
    /// the label `reason="no_data"`.
    Alert,
}

/// One line of the list as it is written.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoDataEntry {
    /// Matchers on `alertname` and the labels that the rule sets, as in `alertname="MinerHot"`; all must fit.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// `resolve` (as Prometheus), `keep` (until the series are back), or `alert` (keep, and tell that there are none).
    pub then: NoData,
}

/// Reads the list; what is wrong comes with its path below the list.
pub fn read(entries: &[NoDataEntry]) -> (Vec<NoDataRule>, Vec<(String, String)>) {
    let (mut lines, mut mistakes) = (Vec::with_capacity(entries.len()), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let mut matchers = Vec::with_capacity(entry.matchers.len());
        for (place, text) in entry.matchers.iter().enumerate() {
            match Matcher::parse(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => mistakes.push((format!("[{index}].match[{place}]"), error.to_string())),
            }
        }
        if entry.matchers.is_empty() {
            mistakes
                .push((format!("[{index}].match"), "a matcher is missing, as in alertname=\"MinerHot\"".to_string()));
        }
        lines.push(NoDataRule { matchers, then: entry.then });
    }
    (lines, mistakes)
}

/// One line of the list.
#[derive(Clone, Debug)]
pub struct NoDataRule {
    /// Looked at with the rule's `alertname` and its labels as written; all must fit.
    pub matchers: Vec<Matcher>,
    /// What to do then.
    pub then: NoData,
}

/// What the list says of a rule.
pub(super) fn decide(list: &[NoDataRule], rule: &Rule) -> NoData {
    if list.is_empty() {
        return NoData::Resolve;
    }
    let labels = rule.labels.with("alertname", &rule.name);
    let fits = |line: &&NoDataRule| line.matchers.iter().all(|matcher| matcher.matches(&labels));
    list.iter().find(fits).map(|line| line.then).unwrap_or_default()
}

/// The alert of a rule without data.
pub(super) fn candidate(rule: &Rule, selectors: &[String]) -> Candidate {
    // A label made from series has no value now.
    let fixed = rule.labels.iter().filter(|(_, value)| !value.contains("{{"));
    let labels = Labels::new(fixed).with("alertname", &rule.name).with("reason", "no_data");
    let summary = format!("{} has no data: no series matches {}", rule.name, selectors.join(" or "));
    Candidate { labels, annotations: Labels::new([("summary", summary)]), value: f64::NAN }
}
