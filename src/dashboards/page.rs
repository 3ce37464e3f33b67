//! A dashboard under construction: what all of ours share (variables, annotations, links), which panels this fleet can
//! fill, and where they stand.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::duration::format_duration;

use super::Facts;
use super::File;
use super::Settings;
use super::draft::Draft;
use super::json::Annotation;
use super::json::DATASOURCE;
use super::json::Dashboard;
use super::json::DashboardLink;
use super::json::DataSource;
use super::json::GridPos;
use super::json::Item;
use super::json::List;
use super::json::Row;
use super::json::SCHEMA_VERSION;
use super::json::TimeRange;
use super::json::Variable;
use super::json::VariableQuery;
use super::query::metric_names;
use super::query::quote;
use super::variables;

/// The tag that ties our dashboards together, and by which [`super::write()`] knows its own files.
pub(super) const TAG: &str = "davylamp";
/// Said in every file, so that a reader knows where an edit belongs.
pub(super) const MARK: &str = "Written by davylamp: an edit here is lost at the next write.";
/// Width of Grafana's grid.
const GRID: u32 = 24;
/// How often a dashboard on a wall asks again.
const REFRESH: &str = "30s";

/// What the panels of one dashboard are built from: the kinds it is about, their families and their rhythm.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) facts: &'a Facts,
    /// Names of the kinds that this dashboard is about.
    pub(super) kinds: Vec<&'a str>,
    /// Label that names a subject here: `miner`, `engine`. Empty for a dashboard about all targets.
    pub(super) subject: &'static str,
    /// What these kinds can report; `None` when one of them declares its families only at run time.
    families: Option<BTreeSet<&'a str>>,
    step: Duration,
}

impl<'a> Context<'a> {
    /// The context of a dashboard about the kinds for which `keep` says yes, or about all targets with an empty subject.
    pub(super) fn new(
        settings: &'a Settings,
        facts: &'a Facts,
        subject: &'static str,
        keep: impl Fn(&str) -> bool,
    ) -> Self {
        let about = || {
            let ours = move |fact: &super::KindFacts| subject.is_empty() || fact.subject == subject;
            facts.kinds.iter().filter(move |(_, fact)| ours(fact)).filter(|(name, _)| keep(name))
        };
        let known = about().all(|(_, fact)| !fact.families.is_empty());
        let families = known.then(|| about().flat_map(|(_, fact)| fact.families.iter().map(String::as_str)).collect());
        // A step below the scrape interval leaves rates empty, one below the poll interval draws the same value twice.
        // What davylamp says of itself is new at every scrape, however slow its targets are.
        let polled = about().filter(|_| !subject.is_empty()).map(|(_, fact)| fact.poll_interval);
        let slowest = polled.max().unwrap_or_default();
        let kinds = about().map(|(name, _)| name.as_str()).collect();
        Context { settings, facts, kinds, subject, families, step: slowest.max(settings.scrape_interval) }
    }

    /// Whether these kinds can report every subject metric that `expr` names. Metrics of ourselves always exist.
    pub(super) fn reports(&self, expr: &str) -> bool {
        let Some(families) = &self.families else { return true };
        metric_names(expr)
            .filter(|name| name.starts_with("miner_") || name.starts_with("docker_"))
            .all(|name| families.contains(name))
    }

    /// Matchers of the filter variables and of the subject, without braces.
    pub(super) fn matchers(&self) -> String {
        let filters = self.settings.filters.iter().map(String::as_str);
        let names: Vec<&str> = filters.chain((!self.subject.is_empty()).then_some(self.subject)).collect();
        names.iter().map(|name| format!("{name}=~\"${name}\"")).collect::<Vec<_>>().join(",")
    }

    /// A selector of `metric` under the dashboard's variables, with more matchers (may be empty) in front.
    pub(super) fn select(&self, metric: &str, more: &str) -> String {
        let ours = self.matchers();
        let comma = if more.is_empty() || ours.is_empty() { "" } else { "," };
        format!("{metric}{{{more}{comma}{ours}}}")
    }

    /// A selector of a `davylamp_target_…` metric of these kinds, with more matchers (may be empty) in front; there the
    /// subject is called `target`.
    pub(super) fn targets(&self, metric: &str, more: &str) -> String {
        let mut matchers: Vec<String> = (!more.is_empty()).then(|| more.to_string()).into_iter().collect();
        matchers.push(self.kind_matcher());
        matchers.extend(self.settings.filters.iter().map(|name| format!("{name}=~\"${name}\"")));
        matchers.extend((!self.subject.is_empty()).then(|| format!("target=~\"${}\"", self.subject)));
        format!("{metric}{{{}}}", matchers.join(","))
    }

    /// `kind=~"…"` for the kinds of this dashboard, or for every kind when none is configured.
    pub(super) fn kind_matcher(&self) -> String {
        let pattern = match self.kinds.as_slice() {
            [] => ".*".to_string(),
            // `[$]` instead of `\$`: Grafana would take what follows a dollar for a variable.
            kinds => kinds.iter().map(|kind| regex::escape(kind).replace("\\$", "[$]")).collect::<Vec<_>>().join("|"),
        };
        format!("kind=~{}", quote(&pattern))
    }
}

/// Where a dashboard goes and what it says about itself.
pub(super) struct Head {
    /// Folder below the written one, which is one of Grafana's providers.
    pub(super) folder: &'static str,
    /// Also the file's name: a dashboard whose file is renamed loses its history, stars and permissions.
    pub(super) uid: String,
    pub(super) title: String,
    pub(super) description: &'static str,
    pub(super) from: &'static str,
}

/// A dashboard that is being filled.
pub(super) struct Page<'a> {
    context: &'a Context<'a>,
    items: Vec<Item>,
}

impl<'a> Page<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Page { context, items: Vec::new() }
    }

    /// A heading. It is left out when nothing follows it.
    pub(super) fn row(&mut self, id: u32, title: &str) {
        let grid_pos = GridPos { h: 1, w: GRID, x: 0, y: 0 };
        let (title, panels) = (title.to_string(), Vec::new());
        self.items.push(Item::Row(Row { id, r#type: "row", title, collapsed: false, grid_pos, panels }));
    }

    /// Adds a panel without the queries that this fleet can never answer; without any left, it is left out.
    pub(super) fn add(&mut self, draft: Draft) {
        let mut panel = draft.0;
        panel.targets.retain(|query| self.context.reports(&query.expr));
        if panel.targets.is_empty() {
            return;
        }
        for query in &mut panel.targets {
            query.interval = format_duration(self.context.step);
        }
        self.items.push(Item::Panel(Box::new(panel)));
    }

    /// The finished file.
    pub(super) fn finish(mut self, head: Head, variables: Vec<Variable>) -> File {
        place(&mut self.items);
        let path = format!("{}/{}.json", head.folder, head.uid);
        let dashboard = Dashboard {
            uid: head.uid,
            title: head.title,
            description: format!("{} {MARK}", head.description),
            tags: vec![TAG.to_string()],
            schema_version: SCHEMA_VERSION,
            editable: false,
            graph_tooltip: 1,
            refresh: REFRESH.to_string(),
            time: TimeRange { from: head.from.to_string(), to: "now".to_string() },
            timezone: "browser".to_string(),
            links: vec![siblings()],
            annotations: List { list: annotations(self.context) },
            templating: List { list: variables },
            panels: self.items,
        };
        // Only a map with keys that are no strings could fail here, and there is none.
        let mut content = serde_json::to_string_pretty(&dashboard).unwrap_or_default();
        content.push('\n');
        File { path, content }
    }

    /// The variables that every dashboard has: the data source, the filters and, if it has one, the subject.
    pub(super) fn variables(&self) -> Vec<Variable> {
        variables::common(self.context)
    }
}

/// Lays the panels out from left to right in lines of one height, drops headings that nothing follows, and lets the
/// last panel of a line fill it: a panel that was left out leaves no hole.
fn place(items: &mut Vec<Item>) {
    let headings: Vec<bool> = items.iter().map(|item| matches!(item, Item::Row(_))).collect();
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        !headings[index - 1] || headings.get(index) == Some(&false)
    });
    let (mut x, mut y, mut height) = (0, 0, 0);
    for at in 0..items.len() {
        let size = *position(&mut items[at]);
        if x + size.w > GRID || (x > 0 && size.h != height) {
            (x, y) = (0, y + height);
        }
        let next = items.get_mut(at + 1).map(|item| *position(item));
        let last = next.is_none_or(|next| x + size.w + next.w > GRID || next.h != size.h);
        let w = if last { GRID - x } else { size.w };
        *position(&mut items[at]) = GridPos { h: size.h, w, x, y };
        (x, height) = (x + w, size.h);
    }
}

fn position(item: &mut Item) -> &mut GridPos {
    match item {
        Item::Row(row) => &mut row.grid_pos,
        Item::Panel(panel) => &mut panel.grid_pos,
    }
}

fn siblings() -> DashboardLink {
    DashboardLink {
        title: "Davylamp".to_string(),
        r#type: "dashboards",
        icon: "external link",
        tooltip: "The other dashboards, with the same variables and time range".to_string(),
        url: String::new(),
        tags: vec![TAG.to_string()],
        as_dropdown: true,
        target_blank: false,
        include_vars: true,
        keep_time: true,
    }
}

/// Firing alerts and automation runs, as marks over every panel.
fn annotations(context: &Context<'_>) -> Vec<Annotation> {
    let step = format_duration(context.step);
    // A run shows in the counter's next scrape; four steps are what `$__rate_interval` would be, and annotation
    // queries do not know that variable on every version.
    let window = format_duration(context.step * 4);
    let prometheus = |name: &str, icon_color, expr: String, title: &str, text: &str, tags: &str| Annotation {
        name: name.to_string(),
        datasource: DATASOURCE,
        enable: true,
        hide: false,
        icon_color,
        built_in: None,
        r#type: None,
        expr: Some(expr),
        step: Some(step.clone()),
        title_format: Some(title.to_string()),
        text_format: Some(text.to_string()),
        tag_keys: Some(tags.to_string()),
    };
    let alerts = context.select("ALERTS", "alertstate=\"firing\"");
    let runs = format!("sum by (result) (increase(davylamp_runs_total[{window}])) > 0");
    vec![
        Annotation {
            name: "Annotations & Alerts".to_string(),
            datasource: DataSource { r#type: "grafana", uid: "-- Grafana --" },
            enable: true,
            hide: true,
            icon_color: "rgba(0, 211, 255, 1)",
            built_in: Some(1),
            r#type: Some("dashboard"),
            expr: None,
            step: None,
            title_format: None,
            text_format: None,
            tag_keys: None,
        },
        prometheus(
            "Firing alerts",
            "red",
            alerts,
            "{{alertname}}",
            "{{miner}} {{engine}} {{container}} {{target}}",
            "alertname,severity",
        ),
        prometheus("Automation runs", "purple", runs, "Automation run: {{result}}", "A remediation ran.", "result"),
    ]
}

/// A variable with the values of a label.
pub(super) fn labels_query(query: String) -> VariableQuery {
    VariableQuery::Labels { qry_type: 1, query, ref_id: "PrometheusVariableQueryEditor-VariableQuery" }
}
