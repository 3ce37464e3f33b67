//! One-time links: `/runs/{id}/approval?token=…`, as they stand in notifications. Looking changes nothing, because mail
//! scanners follow links; the buttons decide, once. The link's token takes the place of the daemon's own.
//!
//! All text on the page may come from a device and is escaped; there is no script on it, and its policy forbids any.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;

use super::route::{Route, Scope};
use super::status::escape;
use crate::act::approval::Decision;
use crate::act::control::{Control, ControlError};
use crate::act::run::{Run, RunId};

/// What the routes stand on.
#[derive(Clone)]
pub struct Backend {
    /// Sees and orders.
    pub runs: Control,
    /// Now, milliseconds since the epoch.
    pub clock: fn() -> i64,
}

const PATH: &str = "/runs/{id}/approval";

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::get(PATH, |methods| on(methods, look)).scope(Scope::Own),
    Route::post(PATH, |methods| on(methods, decide)).scope(Scope::Own).body(64),
];

/// The token in the address must reach nobody else, and nothing on the page may load or run.
const HEADERS: [(header::HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
];

#[derive(serde::Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// The run that the link is about.
fn find(backend: &Backend, id: String, link: &Link) -> Result<Run, ControlError> {
    let id = RunId::try_from(id).map_err(|_| ControlError::BadToken)?;
    backend.runs.look_by_token(&id, &link.token, (backend.clock)())
}

async fn look(State(backend): State<Backend>, Path(id): Path<String>, Query(link): Query<Link>) -> Response {
    let run = match find(&backend, id, &link) {
        Ok(run) => run,
        Err(error) => return refusal(&error),
    };
    let check = backend.runs.book().check_of(&run.id);
    let printed = match &check {
        // Without it the page still says what each task found.
        Some(check) => backend.runs.printed(&check.id, 0).await.map(|printed| printed.text).unwrap_or_default(),
        None => String::new(),
    };
    page(StatusCode::OK, &question(&run, check.as_ref(), &printed))
}

async fn decide(
    State(backend): State<Backend>,
    Path(id): Path<String>,
    Query(link): Query<Link>,
    body: String,
) -> Response {
    let run = match find(&backend, id, &link) {
        Ok(run) => run,
        Err(error) => return refusal(&error),
    };
    let decision = match body.as_str() {
        "decision=approve" => Decision::Approve,
        "decision=reject" => Decision::Reject,
        _ => return page(StatusCode::BAD_REQUEST, "<h1>Neither approved nor rejected</h1>"),
    };
    match backend.runs.decide_by_token(&run.id, &link.token, decision).await {
        Ok(run) => {
            let word = if decision == Decision::Approve { "Approved" } else { "Rejected" };
            let (playbook, target) = (escape(&run.playbook), escape(&run.target));
            page(StatusCode::OK, &format!("<h1>{word}</h1><p>{playbook} on {target}: run {}</p>", run.id))
        }
        Err(error) => refusal(&error),
    }
}

fn question(run: &Run, check: Option<&Run>, printed: &str) -> String {
    let facts = [
        ("Run", run.id.to_string()),
        ("What", run.playbook.clone()),
        ("On", run.target.clone()),
        ("Because", format!("{} ({}) fired with value {}", run.rule, run.binding, run.value)),
        ("Labels", format!("{:?}", run.labels)),
        ("Approval", run.approval.as_ref().map(|approval| until(approval.expires_at)).unwrap_or_default()),
        ("Check run", check.map(|check| format!("{} {}", check.state, check.detail)).unwrap_or_default()),
    ];
    let facts: String =
        facts.iter().map(|(name, text)| format!("<tr><th>{name}</th><td>{}</td></tr>", escape(text))).collect();
    let tasks = check.map_or(&[][..], |check| &check.tasks);
    let tasks: String = tasks
        .iter()
        .map(|task| {
            let changed = if task.changed { ", would change" } else { "" };
            format!("<li>{}: {}{changed} {}</li>", escape(&task.task), escape(&task.status), escape(&task.message))
        })
        .collect();
    let printed: Vec<String> = printed.lines().map(escape).collect();
    format!(
        "<h1>Approve {} on {}?</h1><table>{facts}</table><h2>What the check run found</h2><ul>{tasks}</ul>\
         <pre>{}</pre><form method=\"post\"><button name=\"decision\" value=\"approve\">Approve</button> \
         <button name=\"decision\" value=\"reject\">Reject</button></form>",
        escape(&run.playbook),
        escape(&run.target),
        printed.join("\n"),
    )
}

fn until(at: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at).map(|at| at.to_rfc3339()).unwrap_or_default();
    format!("wanted until {at}")
}

fn refusal(error: &ControlError) -> Response {
    let status = match error {
        ControlError::BadToken => StatusCode::FORBIDDEN,
        ControlError::Ledger(_) | ControlError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    page(status, &format!("<h1>Not done</h1><p>{}</p>", escape(&error.to_string())))
}

fn page(status: StatusCode, main: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>davylamp</title>\
         <link rel=\"stylesheet\" href=\"../../style.css\"></head><body><main>{main}</main></body></html>\n"
    );
    let mut response = (status, text).into_response();
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
