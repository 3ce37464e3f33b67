//! Runs: `/api/v1/runs` and what a person may order about them. What changes anything needs the token; who ordered it
//! stands in the record of the run and in the audit log.

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use axum::{Json, body::Bytes};
use serde_json::{Value, json};

use super::guard::Peer;
use super::problem::Problem;
use super::route::Route;
use crate::act::book::{Book, Held};
use crate::act::control::{Control, ControlError, Filter};
use crate::act::run::{Run, RunId, RunState};

/// Runs in one answer, where the request names no number, and at most.
const USUAL: usize = 50;
const MOST: usize = 1000;
/// Largest body of an order, in bytes.
const ORDER: usize = 4096;

/// The rows.
pub const ROUTES: &[Route<Control>] = &[
    Route::get("/api/v1/runs", |methods| on(methods, list)),
    Route::get("/api/v1/runs/{id}", |methods| on(methods, show)),
    Route::get("/api/v1/runs/{id}/explain", |methods| on(methods, explain)),
    Route::get("/api/v1/runs/{id}/output", |methods| on(methods, output)),
    Route::post("/api/v1/runs/{id}/{verb}", |methods| on(methods, order)).body(ORDER),
    Route::get("/api/v1/suppressed", |methods| on(methods, suppressed)),
    Route::get("/api/v1/episodes", |methods| on(methods, episodes)),
    Route::post("/api/v1/episodes/close", |methods| on(methods, close)).body(ORDER),
];

/// What a list says of a run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// Id.
    pub id: String,
    /// Where it stands.
    pub state: RunState,
    /// Which binding wanted it.
    pub binding: String,
    /// On which inventory host.
    pub target: String,
    /// What it does.
    pub playbook: String,
    /// `check`, `approve` or `auto`.
    pub mode: String,
    /// Why it is in this state.
    pub detail: String,
    /// When it was wanted, milliseconds since the epoch.
    pub queued_at: i64,
    /// When its end was on record, milliseconds since the epoch.
    pub ended_at: Option<i64>,
    /// It is the check run before the approval of that run.
    pub rehearses: Option<String>,
}

impl From<&Run> for Row {
    fn from(run: &Run) -> Row {
        Row {
            id: run.id.to_string(),
            state: run.state,
            binding: run.binding.clone(),
            target: run.target.clone(),
            playbook: run.playbook.clone(),
            mode: run.mode.as_str().to_string(),
            detail: run.detail.clone(),
            queued_at: run.queued_at,
            ended_at: run.ended_at,
            rehearses: run.rehearses.as_ref().map(ToString::to_string),
        }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match &self {
            ControlError::Unknown(_) | ControlError::NoEpisode(..) => StatusCode::NOT_FOUND,
            ControlError::BadToken => StatusCode::FORBIDDEN,
            ControlError::NotWaiting(..)
            | ControlError::NotChecked(_)
            | ControlError::TooLate(_)
            | ControlError::NotCancellable(..)
            | ControlError::NotRetryable(..) => StatusCode::CONFLICT,
            ControlError::QueueFull | ControlError::Executor(_) | ControlError::Ledger(_) | ControlError::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Problem::new(status, self.to_string()).into_response()
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// A run's id from its path.
fn run_id(text: String) -> Result<RunId, Problem> {
    RunId::try_from(text).map_err(|error| bad(error.to_string()))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    state: Option<RunState>,
    binding: Option<String>,
    target: Option<String>,
    limit: Option<usize>,
}

async fn list(State(runs): State<Control>, Query(wanted): Query<Wanted>) -> Response {
    let Wanted { state, binding, target, limit } = wanted;
    let filter = Filter { binding, target, state, most: limit.unwrap_or(USUAL).clamp(1, MOST) };
    Json(json!({"runs": runs.list(&filter).iter().map(Row::from).collect::<Vec<_>>()})).into_response()
}

/// A run as it is kept, without what only the daemon needs to know.
fn shape(run: &Run) -> Value {
    let mut shape = serde_json::to_value(run).unwrap_or_default();
    if let Some(approval) = shape.get_mut("approval").and_then(Value::as_object_mut) {
        approval.remove("token_sha256");
    }
    shape
}

/// A run and its check run, as they are shown.
///
/// # Errors
/// [`ControlError::Unknown`].
pub fn shown(book: &Book, id: &RunId) -> Result<Value, ControlError> {
    let run = book.run(id).ok_or_else(|| ControlError::Unknown(id.clone()))?;
    Ok(json!({"run": shape(&run), "check": book.check_of(id).map(|check| shape(&check))}))
}

/// Of a run, why it ran or did not; of a binding, a target or an alert, why nothing is run for it.
///
/// # Errors
/// [`ControlError::Unknown`].
pub fn explained(book: &Book, what: &str) -> Result<String, ControlError> {
    match RunId::try_from(what.to_string()) {
        Ok(id) => book.explain(&id).ok_or(ControlError::Unknown(id)),
        Err(_) => Ok(book.about(what).unwrap_or_else(|| {
            format!("nothing fires for {what:?} that a binding would act on, and nothing has run for it")
        })),
    }
}

async fn show(State(runs): State<Control>, Path(id): Path<String>) -> Response {
    let id = match run_id(id) {
        Ok(id) => id,
        Err(problem) => return problem.into_response(),
    };
    match shown(runs.book(), &id) {
        Ok(shown) => Json(shown).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn explain(State(runs): State<Control>, Path(what): Path<String>) -> Response {
    match explained(runs.book(), &what) {
        Ok(text) => Json(json!({"explanation": text})).into_response(),
        Err(error) => error.into_response(),
    }
}

#[derive(serde::Deserialize)]
struct Tail {
    #[serde(default)]
    offset: u64,
}

async fn output(State(runs): State<Control>, Path(id): Path<String>, Query(from): Query<Tail>) -> Response {
    let id = match run_id(id) {
        Ok(id) => id,
        Err(problem) => return problem.into_response(),
    };
    // The state first: what was printed after it was looked at is still to be asked for.
    let state = runs.show(&id).map(|run| run.state);
    match (state, runs.printed(&id, from.offset).await) {
        (Ok(state), Ok(printed)) => Json(json!({"state": state, "output": printed})).into_response(),
        (Err(error), _) | (_, Err(error)) => error.into_response(),
    }
}

/// The body of an order. All of it may be left out.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Who gives it, in their own words.
    #[serde(default)]
    by: String,
    /// Of an episode.
    #[serde(default)]
    binding: String,
    #[serde(default)]
    target: String,
}

/// The order, and who gives it: the token is one for all, so the address belongs to it.
fn read(body: &Bytes, peer: Option<Extension<Peer>>) -> Result<(Order, String), Problem> {
    let order: Order = match body.is_empty() {
        true => Order::default(),
        false => serde_json::from_slice(body).map_err(|error| bad(format!("the body is no order: {error}")))?,
    };
    let from = peer.map_or_else(|| "?".to_string(), |Extension(Peer(address))| address.to_string());
    let by = if order.by.is_empty() { format!("API, {from}") } else { format!("{}, {from}", order.by) };
    Ok((order, by))
}

async fn order(
    State(runs): State<Control>,
    Path((id, verb)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Response {
    let (id, by) = match run_id(id).and_then(|id| Ok((id, read(&body, peer)?.1))) {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let done = match verb.as_str() {
        "approve" => runs.approve(&id, &by).await,
        "reject" => runs.reject(&id, &by).await,
        "cancel" => runs.cancel(&id, &by).await,
        "retry" => runs.retry(&id, &by).await,
        _ => {
            let text = "a run is ordered about with approve, reject, cancel or retry";
            return Problem::new(StatusCode::NOT_FOUND, text).into_response();
        }
    };
    match done {
        Ok(run) => Json(json!({"run": Row::from(&run)})).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn suppressed(State(runs): State<Control>) -> Response {
    let row = |held: Held| {
        let why = held.reason.why();
        json!({"binding": held.binding, "labels": held.labels, "reason": held.reason, "why": why, "since": held.since})
    };
    Json(json!({"suppressed": runs.held().into_iter().map(row).collect::<Vec<_>>()})).into_response()
}

async fn episodes(State(runs): State<Control>) -> Response {
    Json(json!({"episodes": runs.episodes()})).into_response()
}

async fn close(State(runs): State<Control>, peer: Option<Extension<Peer>>, body: Bytes) -> Response {
    let (order, by) = match read(&body, peer) {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    match runs.close_episode(&order.binding, &order.target, &by).await {
        Ok(()) => Json(json!({"closed": true})).into_response(),
        Err(error) => error.into_response(),
    }
}
