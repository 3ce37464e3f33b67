//! The HTTP surface: `/metrics`, health, reload, the status page, and what other files of this room add.
//!
//! The only room that names axum and hyper's server. It takes no decision: what it shows and asks for goes through small
//! traits, one per file, which the daemon implements. Nothing here polls; a scrape only renders what is known.
//!
//! # Adding routes
//!
//! One file, one mount. The file names its own backend and its own rows:
//!
//! ```text
//! pub trait Runs: Send + Sync { fn runs(&self, newest: usize) -> Vec<Run>; }
//! type Backend = Arc<dyn Runs>;
//! pub const ROUTES: &[Route<Backend>] = &[
//!     Route::get("/api/v1/runs", |methods| on(methods, list)),                       // GET, HEAD: shows
//!     Route::query("/api/v1/query", |methods| on(methods, query)),                   // also POST, which only shows
//!     Route::post("/api/v1/runs/{id}/cancel", |methods| on(methods, cancel)).body(4096),  // needs the token
//! ];
//! async fn list(State(runs): State<Backend>) -> Response { … }
//! ```
//!
//! and `daemon/surface.rs` says `.mount(api::runs::ROUTES, view.clone())`. Two rows of one table may share a path (GET that
//! reads, POST that writes); two tables may not. A row's guard is built around its handler when it is mounted, so no row
//! can be without one: it checks the name of the host, the rate, the method, the token (always for [`Scope::Write`]) and
//! reads the body within [`BODY_BYTES`] or what `.body(…)` says, before the handler runs. Requests are counted by the row's
//! path. Errors of our own routes are problem JSON (`problem::Problem`); `/api/v1` and `/api/v2` speak their models' JSON.

pub mod approval;
pub mod audit;
pub mod base;
pub mod curtailments;
pub mod device_log;
pub mod discovered;
pub mod drift;
mod guard;
mod gzip;
mod metrics;
pub mod miners;
mod problem;
pub mod prometheus;
mod rate;
mod route;
pub mod rules;
pub mod runs;
mod serve;
pub mod silences;
mod status;
pub mod webhooks;
pub mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;

use guard::{Gate, Guard, guard};
use problem::Problem;

pub use base::Backend;
pub use guard::{Write, WriteSeen};
pub use route::{BODY_BYTES, Route, Scope};
pub use serve::serve;
pub use status::{AlertRow, DriftRow, FoundRow, HeldRow, RuleRow, RunRow, SilenceRow, Status, TargetRow};

use crate::secret::SecretRef;
use crate::telemetry::Telemetry;

/// Where and to whom to listen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address and port. Anything but loopback needs `token` and `protect_reads`, or `expose_without_authentication`.
    pub listen: SocketAddr,
    /// Bearer token. Without one, nothing that changes anything can be asked for over HTTP.
    pub token: Option<SecretRef>,
    /// Whether reading (`/metrics`, the status page) needs the token too.
    pub protect_reads: bool,
    /// Says in so many words that everybody who reaches the address may read everything.
    pub expose_without_authentication: bool,
    /// Names under which the daemon may be addressed, beside `localhost` and IP addresses. A page in a browser that
    /// makes its own name resolve to this machine is refused by this list.
    pub hosts: Vec<String>,
    /// Under which URL people reach the daemon: links in alerts and messages begin with it.
    pub external_url: Option<String>,
    /// Requests per second that one address may make, five seconds' worth of it at once; 0 for no limit. Who shows the
    /// token has an allowance apart from that of its address.
    pub requests_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            token: None,
            protect_reads: false,
            expose_without_authentication: false,
            hosts: Vec::new(),
            external_url: None,
            requests_per_second: 200,
        }
    }
}

/// The port of `/metrics`.
pub const DEFAULT_PORT: u16 = 9940;

impl Settings {
    /// What is wrong with the settings: path below `server`, and what to do.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let authenticated = self.token.is_some() && self.protect_reads;
        if !self.listen.ip().is_loopback() && !authenticated && !self.expose_without_authentication {
            let text = format!(
                "{} is not a loopback address: set token and protect_reads: true, or say \
                 expose_without_authentication: true if everybody who reaches it may read everything",
                self.listen
            );
            problems.push(("listen", text));
        }
        if let Some(url) = &self.external_url
            && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
        {
            problems.push(("external_url", format!("{url:?} is no URL: write https://lamp.example.com")));
        }
        if self.protect_reads && self.token.is_none() {
            problems.push(("protect_reads", "needs a token to protect with: set token: {file: …}".to_string()));
        }
        problems
    }
}

/// The surface, put together table by table.
pub struct Api {
    gate: Arc<Gate>,
    router: Router,
    paths: Vec<&'static str>,
}

impl Api {
    /// A surface with nothing on it.
    pub fn new(telemetry: Arc<Telemetry>, settings: Settings) -> Self {
        Api { gate: Arc::new(Gate::new(settings, telemetry)), router: Router::new(), paths: Vec::new() }
    }

    /// Says who is told of every request that would change something.
    #[must_use]
    pub fn telling(self, seen: WriteSeen) -> Self {
        // The first word counts; there is one caller.
        let _ = self.gate.seen.set(seen);
        self
    }

    /// Adds a table of routes, each behind its guard, with what their handlers are given.
    #[must_use]
    pub fn mount<S: Clone + Send + Sync + 'static>(mut self, routes: &[Route<S>], state: S) -> Self {
        let mut paths: BTreeMap<&'static str, Vec<&Route<S>>> = BTreeMap::new();
        for route in routes {
            paths.entry(route.path).or_default().push(route);
        }
        for (path, routes) in paths {
            debug_assert!(!self.paths.contains(&path), "{path} stands in two tables");
            let guarded = Guard::new(&self.gate, path, routes.iter().map(|route| route.about).collect());
            let service = routes.iter().fold(MethodRouter::new(), |all, route| all.merge(route.service()));
            let service = service.layer(from_fn_with_state(guarded, guard)).with_state(state.clone());
            self.router = self.router.route(path, service);
            self.paths.push(path);
        }
        self
    }

    fn router(self) -> Router {
        let guarded = Guard::new(&self.gate, "other", Vec::new());
        let nothing = format!("nothing is here; there are {}", self.paths.join(", "));
        let not_found = move || std::future::ready(Problem::new(StatusCode::NOT_FOUND, nothing.clone()));
        let router = self.router.fallback(not_found.layer(from_fn_with_state(guarded, guard)));
        // The guard has read the body and holds its limit.
        router.layer(DefaultBodyLimit::disable())
    }
}

#[cfg(test)]
mod tests;
