//! The status page: targets, alerts, rules and runs, for a person with a browser and nothing else.
//!
//! All text on it may come from a device and is escaped; there is no script on it, and the policy header forbids any.

mod found;

use std::fmt::Write;

pub use found::FoundRow;

/// What the page shows. Texts are untrusted.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When the page was made, seconds since the epoch.
    pub now: i64,
    /// When the daemon started, seconds since the epoch.
    pub started: i64,
    /// Mistakes of the running daemon: a failed reload, a store that does not work. Shown first.
    pub notices: Vec<String>,
    /// All targets.
    pub targets: Vec<TargetRow>,
    /// Pending and firing alerts, and those that resolved lately.
    pub alerts: Vec<AlertRow>,
    /// Where devices differ from their presets.
    pub drift: Vec<DriftRow>,
    /// Rules with a problem, or that never matched a series.
    pub rules: Vec<RuleRow>,
    /// Last runs, newest first.
    pub runs: Vec<RunRow>,
    /// Runs that wait for a person's word.
    pub approvals: Vec<RunRow>,
    /// Alerts for which nothing is run now.
    pub held: Vec<HeldRow>,
    /// Silences that are not over, and maintenance windows that are open.
    pub silences: Vec<SilenceRow>,
    /// Devices that were found and wait for a person's word.
    pub found: Vec<FoundRow>,
}

/// One target.
#[derive(Clone, Debug, Default)]
pub struct TargetRow {
    /// Id.
    pub id: String,
    /// Kind.
    pub kind: String,
    /// Address.
    pub address: String,
    /// Model and firmware, as the target said.
    pub identity: String,
    /// `None` before the first poll.
    pub up: Option<bool>,
    /// When it was last polled, seconds since the epoch.
    pub polled: Option<i64>,
    /// How long that took, in milliseconds.
    pub took_ms: f64,
    /// Samples of the last poll.
    pub samples: usize,
    /// Why the last poll failed, or what had to be repaired.
    pub detail: String,
}

/// One alert.
#[derive(Clone, Debug, Default)]
pub struct AlertRow {
    /// `pending`, `firing`, `resolved`.
    pub state: String,
    /// Alert name.
    pub name: String,
    /// Its labels, in Prometheus' notation.
    pub labels: String,
    /// Summary annotation.
    pub summary: String,
    /// Since when, seconds since the epoch.
    pub since: i64,
    /// The expression's last value.
    pub value: f64,
    /// By what it is muted; empty when it is not.
    pub muted: String,
}

/// One setting that is not as it should be.
#[derive(Clone, Debug, Default)]
pub struct DriftRow {
    /// Id of the target.
    pub target: String,
    /// Name of its preset.
    pub preset: String,
    /// Which setting.
    pub setting: String,
    /// As it should be.
    pub wanted: String,
    /// As the device says it.
    pub found: String,
}

/// One silence, or one open maintenance window.
#[derive(Clone, Debug, Default)]
pub struct SilenceRow {
    /// `active`, `pending`, or `open` for a window.
    pub state: String,
    /// Id or name.
    pub id: String,
    /// Which alerts it mutes.
    pub matchers: String,
    /// Author and comment.
    pub comment: String,
    /// When it begins or ends, seconds since the epoch.
    pub until: i64,
}

/// One rule that needs a look.
#[derive(Clone, Debug, Default)]
pub struct RuleRow {
    /// Group and name.
    pub name: String,
    /// What is to be seen.
    pub remark: String,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub struct RunRow {
    /// Run id.
    pub id: String,
    /// Binding.
    pub binding: String,
    /// Inventory host.
    pub target: String,
    /// Playbook file.
    pub playbook: String,
    /// State or result.
    pub state: String,
    /// When it was asked for, seconds since the epoch.
    pub at: i64,
    /// Why it ran, or ended as it did.
    pub detail: String,
}

/// One alert that is held back.
#[derive(Clone, Debug, Default)]
pub struct HeldRow {
    /// Binding.
    pub binding: String,
    /// The alert's labels.
    pub labels: String,
    /// The reason's word and what it means.
    pub reason: (String, String),
    /// Since when, seconds since the epoch.
    pub since: i64,
}

/// Rows of one table on the page; farms have more targets than a browser wants to see.
const MOST_ROWS: usize = 500;

/// Renders the page.
pub fn html(status: &Status) -> String {
    let up = status.targets.iter().filter(|target| target.up == Some(true)).count();
    let down = status.targets.iter().filter(|target| target.up == Some(false)).count();
    let firing = status.alerts.iter().filter(|alert| alert.state == "firing").count();
    let mut page = String::with_capacity(16 * 1024);
    page.push_str(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"10\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>davylamp</title>\
         <link rel=\"stylesheet\" href=\"/style.css\"></head><body><header><h1>davylamp</h1><p>",
    );
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        page,
        "version {} · up {} · {} targets: {up} up, {down} down · {firing} firing · <a href=\"/metrics\">metrics</a>",
        env!("CARGO_PKG_VERSION"),
        age(status.now - status.started),
        status.targets.len(),
    );
    page.push_str("</p></header><main>");
    for notice in &status.notices {
        let _ = write!(page, "<p class=\"notice\">{}</p>", escape(notice));
    }
    alerts(&mut page, status);
    silences(&mut page, status);
    found::show(&mut page, status);
    approvals(&mut page, status);
    held(&mut page, status);
    runs(&mut page, status);
    drift(&mut page, status);
    targets(&mut page, status);
    rules(&mut page, status);
    page.push_str("</main></body></html>\n");
    page
}

fn alerts(page: &mut String, status: &Status) {
    let rows = status.alerts.iter().map(|alert| {
        let value = format!("{:.4}", alert.value);
        [
            badge(&alert.state),
            format!("<b>{}</b><br><small>{}</small>", escape(&alert.name), escape(&alert.labels)),
            match alert.muted.as_str() {
                "" => escape(&alert.summary),
                muted => format!("{}<br><small>muted: {}</small>", escape(&alert.summary), escape(muted)),
            },
            value.trim_end_matches('0').trim_end_matches('.').to_string(),
            age(status.now - alert.since),
        ]
    });
    table(page, "Alerts", ["State", "Alert", "Summary", "Value", "Since"], rows, "No alert is pending or firing.");
}

/// Left out where there is nothing to say: most daemons never see one.
fn silences(page: &mut String, status: &Status) {
    if status.silences.is_empty() {
        return;
    }
    let rows = status.silences.iter().map(|silence| {
        let (left, when) = (silence.until - status.now, if silence.state == "pending" { "begins" } else { "ends" });
        [
            badge(&silence.state),
            format!("{}<br><small>{}</small>", escape(&silence.matchers), escape(&silence.id)),
            escape(&silence.comment),
            format!("{when} in {}", age(left)),
        ]
    });
    table(page, "Silences", ["State", "Mutes", "Comment", "When"], rows, "");
}

/// As silences: only where somebody is waited for.
fn approvals(page: &mut String, status: &Status) {
    if status.approvals.is_empty() {
        return;
    }
    let rows = status.approvals.iter().map(|run| {
        let order = format!("davylamp runs approve {}", run.id);
        let [state, target, playbook, _, since] = run_cells(run, status.now);
        [state, target, playbook, escape(&order), since]
    });
    table(page, "Approvals", ["State", "Target", "Playbook", "To approve", "Since"], rows, "");
}

fn held(page: &mut String, status: &Status) {
    if status.held.is_empty() {
        return;
    }
    let rows = status.held.iter().map(|held| {
        [
            badge(&held.reason.0),
            format!("{}<br><small>{}</small>", escape(&held.binding), escape(&held.labels)),
            escape(&held.reason.1),
            age(status.now - held.since),
        ]
    });
    table(page, "Suppressed", ["Reason", "Binding and alert", "Nothing is run because", "Since"], rows, "");
}

fn runs(page: &mut String, status: &Status) {
    let rows = status.runs.iter().map(|run| run_cells(run, status.now));
    table(page, "Runs", ["State", "Target", "Playbook", "Detail", "Ago"], rows, "No playbook has run.");
}

fn run_cells(run: &RunRow, now: i64) -> [String; 5] {
    [
        badge(&run.state),
        escape(&run.target),
        format!("{}<br><small>{} · {}</small>", escape(&run.playbook), escape(&run.binding), escape(&run.id)),
        escape(&run.detail),
        age(now - run.at),
    ]
}

/// As silences: most fleets are as they should be.
fn drift(page: &mut String, status: &Status) {
    if status.drift.is_empty() {
        return;
    }
    let rows = status.drift.iter().map(|row| {
        let target = format!("<b>{}</b><br><small>{}</small>", escape(&row.target), escape(&row.preset));
        [target, escape(&row.setting), escape(&row.wanted), escape(&row.found)]
    });
    table(page, "Drift", ["Target", "Setting", "Should be", "Is"], rows, "");
}

fn targets(page: &mut String, status: &Status) {
    let rows = status.targets.iter().map(|target| {
        let state = match target.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "waiting",
        };
        [
            badge(state),
            format!(
                "<b>{}</b><br><small>{} · {}</small>",
                escape(&target.id),
                escape(&target.kind),
                escape(&target.address)
            ),
            escape(&target.identity),
            target.polled.map_or("–".into(), |at| {
                format!(
                    "{} ago<br><small>{:.0} ms · {} samples</small>",
                    age(status.now - at),
                    target.took_ms,
                    target.samples
                )
            }),
            escape(&target.detail),
        ]
    });
    table(page, "Targets", ["State", "Target", "Says it is", "Last poll", "Remarks"], rows, "No target is configured.");
}

fn rules(page: &mut String, status: &Status) {
    let link = |name: &str| {
        let query: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("<a href=\"/api/v1/rules/trace?rule={query}\">{}</a>", escape(name))
    };
    let rows = status.rules.iter().map(|rule| [link(&rule.name), escape(&rule.remark)]);
    table(page, "Rules to look at", ["Rule", "Remark"], rows, "All rules evaluate, and all have matched a series.");
}

fn table<const N: usize>(
    page: &mut String,
    title: &str,
    heads: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
    none: &str,
) {
    let count = rows.len();
    let _ = write!(page, "<h2>{title} <small>{count}</small></h2>");
    if count == 0 {
        let _ = write!(page, "<p class=\"none\">{none}</p>");
        return;
    }
    // The first word names the widths of the columns in the style sheet.
    let _ = write!(page, "<table class=\"{}\"><thead><tr>", title.to_ascii_lowercase());
    for head in heads {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows.take(MOST_ROWS) {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table>");
    if count > MOST_ROWS {
        let _ = write!(page, "<p class=\"none\">… and {} more; /metrics has all of them.</p>", count - MOST_ROWS);
    }
}

fn badge(state: &str) -> String {
    let tone = match state {
        "up" | "succeeded" | "healed" | "resolved" => "good",
        "down" | "firing" | "failed" | "timed_out" | "interrupted" | "unreachable" => "bad",
        _ => "mid",
    };
    format!("<span class=\"badge {tone}\">{}</span>", escape(state))
}

/// A time span as people say it.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_is_text_and_nothing_else() {
        let evil = "<script>alert('x')</script>\" onload=\"\u{1b}[31m";
        let status = Status {
            notices: vec![evil.into()],
            targets: vec![TargetRow {
                id: evil.into(),
                kind: evil.into(),
                address: evil.into(),
                identity: evil.into(),
                detail: evil.into(),
                ..TargetRow::default()
            }],
            alerts: vec![AlertRow {
                state: evil.into(),
                name: evil.into(),
                summary: evil.into(),
                muted: evil.into(),
                ..AlertRow::default()
            }],
            drift: vec![DriftRow {
                target: evil.into(),
                preset: evil.into(),
                setting: evil.into(),
                wanted: evil.into(),
                found: evil.into(),
            }],
            rules: vec![RuleRow { name: evil.into(), remark: evil.into() }],
            runs: vec![RunRow { id: evil.into(), target: evil.into(), state: evil.into(), ..RunRow::default() }],
            approvals: vec![RunRow { id: evil.into(), playbook: evil.into(), ..RunRow::default() }],
            held: vec![HeldRow {
                binding: evil.into(),
                labels: evil.into(),
                reason: (evil.into(), evil.into()),
                since: 0,
            }],
            found: vec![FoundRow { id: evil.into(), place: evil.into(), identity: evil.into(), trouble: evil.into() }],
            silences: vec![SilenceRow {
                state: evil.into(),
                id: evil.into(),
                matchers: evil.into(),
                comment: evil.into(),
                until: 0,
            }],
            ..Status::default()
        };
        let page = html(&status);
        assert!(!page.contains("<script") && !page.contains("\" onload") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }

    #[test]
    fn an_empty_daemon_says_so() {
        let page = html(&Status::default());
        for text in ["No target is configured.", "No alert is pending or firing.", "No playbook has run."] {
            assert!(page.contains(text), "{text}");
        }
    }
}
