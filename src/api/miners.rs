//! Devices and their commands: what can be told to whom, and the way to tell it. Telling needs the token; who told, what
//! was before and what came of it stand in the audit log.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use axum::{Json, http};
use futures_util::future::BoxFuture;
use serde_json::json;

use super::guard::Peer;
use super::problem::Problem;
use super::route::Route;
use crate::secret::Secret;

/// Largest body of an order, in bytes.
const ORDER: usize = 4096;
/// How long a device has to show that it has done it, where the order does not say, and at most.
const WITHIN: (Duration, Duration) = (Duration::from_secs(90), Duration::from_secs(120));

/// A target that takes commands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRow {
    /// Id of the target.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Whether its last poll was answered; `None` before the first.
    pub up: Option<bool>,
    /// How its commands are written: `power-limit WATTS`.
    pub commands: Vec<String>,
}

/// A command of a target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommandRow {
    /// Name.
    pub name: String,
    /// How it is written.
    pub usage: String,
    /// What it does.
    pub help: String,
    /// Whether a second one changes nothing more.
    pub idempotent: bool,
}

/// A command for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOrder {
    /// Id of the target.
    pub target: String,
    /// The command with its argument: `power-limit 2800`.
    pub command: String,
    /// Who gives it.
    pub by: String,
    /// How long the device has to show that it has done it.
    pub within: Duration,
    /// A one-time code for a device that wants one.
    pub code: Option<Secret>,
    /// Wakes a device whoever paused it.
    pub force: bool,
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told {
    /// What was sent, or would be; never a secret.
    pub sends: Vec<String>,
    /// What was read back.
    pub detail: String,
    /// How it stood before, where the device says so.
    pub before: Option<String>,
    /// Whether anything was sent.
    pub changed: bool,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFault {
    /// There is no such target.
    #[error("there is no target {0:?}")]
    Unknown(String),
    /// Something else is at work on it, or too many wait.
    #[error("{0}")]
    Busy(String),
    /// Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// It took it, and does not show what it should.
    #[error("{0}")]
    NotConfirmed(String),
    /// Nobody knows whether it was done.
    #[error("{0}; nobody knows whether it was done")]
    Uncertain(String),
}

/// What these routes stand on; implemented by the daemon.
pub trait Devices: Send + Sync {
    /// All targets that take commands.
    fn devices(&self) -> Vec<DeviceRow>;

    /// The commands of a target.
    ///
    /// # Errors
    /// [`DeviceFault::Unknown`].
    fn commands(&self, target: &str) -> Result<Vec<CommandRow>, DeviceFault>;

    /// What a command would send.
    ///
    /// # Errors
    /// [`DeviceFault::Unknown`] or [`DeviceFault::Refused`].
    fn rehearse(&self, order: &DeviceOrder) -> Result<Vec<String>, DeviceFault>;

    /// Tells the device, once, and waits until it shows it.
    fn tell(&self, order: DeviceOrder) -> BoxFuture<'_, Result<Told, DeviceFault>>;
}

type Backend = Arc<dyn Devices>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[
    Route::get("/api/v1/devices", |methods| on(methods, list)),
    Route::get("/api/v1/targets/{id}/commands", |methods| on(methods, commands)),
    Route::post("/api/v1/targets/{id}/commands/{name}", |methods| on(methods, tell)).body(ORDER),
];

impl IntoResponse for DeviceFault {
    fn into_response(self) -> Response {
        let status = match &self {
            DeviceFault::Unknown(_) => StatusCode::NOT_FOUND,
            DeviceFault::Busy(_) => StatusCode::CONFLICT,
            DeviceFault::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            DeviceFault::NotConfirmed(_) => StatusCode::BAD_GATEWAY,
            DeviceFault::Uncertain(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Problem::new(status, self.to_string()).into_response()
    }
}

async fn list(State(backend): State<Backend>) -> Response {
    Json(json!({ "devices": backend.devices() })).into_response()
}

async fn commands(State(backend): State<Backend>, Path(id): Path<String>) -> Response {
    match backend.commands(&id) {
        Ok(commands) => Json(json!({ "commands": commands })).into_response(),
        Err(fault) => fault.into_response(),
    }
}

/// The body of an order. All of it may be left out.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    /// What the command is told.
    argument: String,
    /// Only say what would be sent.
    dry_run: bool,
    /// Who gives it, in their own words.
    by: String,
    /// Seconds in which the device must show it.
    timeout_seconds: Option<u64>,
    /// A one-time code.
    code: Option<String>,
    /// Resume a device that davylamp did not pause.
    force: bool,
}

/// The digits of a one-time code; apps show a blank in the middle.
fn digits(code: &str) -> Option<Secret> {
    let digits: String = code.chars().filter(|c| *c != ' ').collect();
    let right = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| Secret::new(digits))
}

async fn tell(
    State(backend): State<Backend>,
    Path((target, name)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Response {
    let read = if body.is_empty() { Ok(Body::default()) } else { serde_json::from_slice(&body) };
    let body = match read {
        Ok(body) => body,
        Err(error) => {
            return Problem::new(http::StatusCode::BAD_REQUEST, format!("the body is no order: {error}"))
                .into_response();
        }
    };
    let code = match body.code.as_deref().map(digits) {
        Some(None) => return Problem::new(StatusCode::BAD_REQUEST, "a one-time code has six digits").into_response(),
        code => code.flatten(),
    };
    let from = peer.map_or_else(|| "?".to_string(), |Extension(Peer(address))| address.to_string());
    let by = if body.by.is_empty() { format!("API, {from}") } else { format!("{}, {from}", body.by) };
    let within = body.timeout_seconds.map_or(WITHIN.0, Duration::from_secs).min(WITHIN.1);
    let order = DeviceOrder {
        target,
        command: format!("{name} {}", body.argument).trim().to_string(),
        by,
        within,
        code,
        force: body.force,
    };
    let told = if body.dry_run {
        backend.rehearse(&order).map(|sends| Told { sends, ..Told::default() })
    } else {
        backend.tell(order).await
    };
    match told {
        Ok(told) => Json(told).into_response(),
        Err(fault) => fault.into_response(),
    }
}
