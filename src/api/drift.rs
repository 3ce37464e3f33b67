//! `GET /api/v1/drift`: how each device should be set and how it is, as its last poll showed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::routing::on;

use super::route::Route;
use crate::preset::Judgement;

type Backend = Arc<dyn Drifts>;

/// The rows.
pub const ROUTES: &[Route<Backend>] = &[Route::get("/api/v1/drift", |methods| on(methods, list))];

/// What the route stands on; implemented by the daemon.
pub trait Drifts: Send + Sync {
    /// Every device of which anything is to be said, by id.
    fn drifts(&self) -> Vec<DeviceDrift>;
}

/// One device. Workers are shortened, and passwords are known to nobody.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct DeviceDrift {
    /// Id of the target.
    pub target: String,
    /// What its last poll showed.
    #[serde(flatten)]
    pub judgement: Judgement,
}

#[derive(serde::Deserialize)]
struct Wanted {
    target: Option<String>,
}

async fn list(State(drifts): State<Backend>, Query(wanted): Query<Wanted>) -> Json<Vec<DeviceDrift>> {
    let wanted = wanted.target.as_deref();
    let devices = drifts.drifts().into_iter();
    Json(devices.filter(|device| wanted.is_none_or(|target| device.target == target)).collect())
}
