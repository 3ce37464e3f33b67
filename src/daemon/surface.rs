//! The HTTP surface of the daemon: which tables of routes there are, and what stands behind each.

use std::sync::Arc;

use super::receiving::Receiving;
use super::world::View;
use crate::api::{self, Api};
use crate::schedule::poll::unix_millis;

/// All routes over the daemon's view.
pub(super) fn surface(view: &Arc<View>) -> Api {
    let settings = view.shared.config.get().file.server.clone();
    Api::new(view.shared.telemetry.clone(), settings)
        .telling(view.writes.clone())
        .mount(api::approval::ROUTES, api::approval::Backend { runs: view.runs.clone(), clock: unix_millis })
        .mount(api::audit::ROUTES, Arc::new(view.auditor.clone()))
        .mount(api::base::ROUTES, view.clone())
        .mount(api::curtailments::ROUTES, view.clone())
        .mount(api::device_log::ROUTES, view.clone())
        .mount(api::discovered::ROUTES, view.clone())
        .mount(api::miners::ROUTES, view.clone())
        .mount(api::drift::ROUTES, view.clone())
        .mount(api::prometheus::ROUTES, api::prometheus::Backend::new(view.clone()))
        .mount(api::runs::ROUTES, view.runs.clone())
        .mount(api::silences::ROUTES, view.clone())
        .mount(api::webhooks::ROUTES, view.inbox.clone())
        .mount(api::rules::ROUTES, view.clone())
        .mount(api::write::ROUTES, Receiving::new(view.shared.clone()))
}
