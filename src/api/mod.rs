//! The HTTP surface: `/metrics`, health, reload, and the status page.
//!
//! The only room that names axum and hyper's server. It takes no decision: what it shows and asks for goes through
//! [`Backend`]. Nothing here polls; a scrape only renders what is known.

mod metrics;
mod muting;
mod serve;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::future::BoxFuture;
use subtle::ConstantTimeEq;

pub use muting::{FiringAlert, Muting, SilenceFault};
pub use serve::serve;
pub use status::{AlertRow, RuleRow, RunRow, SilenceRow, Status, TargetRow};

use crate::secret::SecretRef;
use crate::store::Format;
use crate::telemetry::Telemetry;

/// What the surface stands on; implemented by the daemon.
pub trait Backend: Muting {
    /// The page of current values, self-metrics included.
    fn page(&self, format: Format, kind: Option<&str>) -> Vec<u8>;
    /// What the status page shows.
    fn status(&self) -> Status;
    /// Why the daemon is not ready; empty when it is.
    fn not_ready(&self) -> Vec<String>;
    /// Loads the configuration anew; the text says what changed or every mistake.
    fn reload(&self) -> BoxFuture<'_, Result<String, String>>;
}

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
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            token: None,
            protect_reads: false,
            expose_without_authentication: false,
            hosts: Vec::new(),
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
        if self.protect_reads && self.token.is_none() {
            problems.push(("protect_reads", "needs a token to protect with: set token: {file: …}".to_string()));
        }
        problems
    }
}

/// What every handler is given.
#[derive(Clone)]
pub struct Api {
    backend: Arc<dyn Backend>,
    telemetry: Arc<Telemetry>,
    settings: Arc<Settings>,
}

/// One row of the surface.
struct Route {
    path: &'static str,
    /// Whether it changes anything: then it always needs the token.
    writes: bool,
    handler: fn() -> MethodRouter<Api>,
}

impl Route {
    fn methods(&self) -> [Method; 2] {
        if self.writes { [Method::POST, Method::PUT] } else { [Method::GET, Method::HEAD] }
    }
}

/// The whole surface.
const ROUTES: &[Route] = &[
    Route { path: "/", writes: false, handler: || get(status_page) },
    Route { path: "/style.css", writes: false, handler: || get(style) },
    Route { path: "/metrics", writes: false, handler: || get(metrics::metrics) },
    Route { path: "/-/healthy", writes: false, handler: || get(healthy) },
    Route { path: "/-/ready", writes: false, handler: || get(ready) },
    Route { path: "/-/reload", writes: true, handler: || post(reload).put(reload) },
];

impl Api {
    /// The surface over a backend.
    pub fn new(backend: Arc<dyn Backend>, telemetry: Arc<Telemetry>, settings: Settings) -> Self {
        Api { backend, telemetry, settings: Arc::new(settings) }
    }

    fn router(self) -> Router {
        let router = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
        let guarded = router.fallback(not_found).layer(from_fn_with_state(self.clone(), guard));
        guarded.with_state(self)
    }
}

/// Everything that is asked of a request before a handler sees it, and what is counted and added after.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = ROUTES.iter().find(|route| route.path == request.uri().path());
    let path = route.map_or("other", |route| route.path);
    let mut response = match refuse(&api.settings, &request, route) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(route) = route.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
        let allowed = if route.writes { "POST, PUT" } else { "GET, HEAD" };
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    let labels = vec![("route", path.to_string()), ("status", status.as_str().to_string())];
    api.telemetry.http_requests.get_or_create(&labels).inc();
    response
}

fn refuse(settings: &Settings, request: &Request, route: Option<&Route>) -> Option<Problem> {
    let headers = request.headers();
    // Text that cannot be read is no name of ours, not the absence of one.
    let host = headers.get(header::HOST).map_or(Some(""), |host| host.to_str().ok());
    if !host.is_some_and(|host| host_allowed(host, &settings.hosts)) {
        let text = format!("the host name {host:?} is not one of ours; list it under server.hosts");
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, text));
    }
    if let Some(route) = route.filter(|route| !route.methods().contains(request.method())) {
        let text = format!("{} answers {} and {} only", route.path, route.methods()[0], route.methods()[1]);
        return Some(Problem::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if !route.is_some_and(|route| route.writes) && !settings.protect_reads {
        return None;
    }
    let Some(reference) = &settings.token else {
        let text = "no token is configured (server.token), so nothing can be changed over HTTP; SIGHUP reloads";
        return Some(Problem::new(StatusCode::FORBIDDEN, text));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match (reference.read(), given) {
        (Err(error), _) => {
            tracing::error!(%error, "cannot read server.token");
            Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon cannot read its own token; see its log"))
        }
        (Ok(token), _) if token.expose().is_empty() => {
            tracing::error!("server.token is empty");
            Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon's own token is empty"))
        }
        (Ok(token), Some(given)) if token.expose().as_bytes().ct_eq(given.as_bytes()).into() => None,
        _ => Some(Problem::new(StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer …")),
    }
}

fn host_allowed(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    bare.is_empty()
        || bare.parse::<std::net::IpAddr>().is_ok()
        || bare == "localhost"
        || names.iter().any(|name| name.eq_ignore_ascii_case(&bare))
}

/// An error answer as problem JSON (RFC 9457).
struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = serde_json::json!({"title": title, "status": self.status.as_u16(), "detail": self.detail});
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

async fn not_found() -> Problem {
    let paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("nothing is here; there are {}", paths.join(", ")))
}

async fn status_page(State(api): State<Api>) -> Response {
    let page = status::html(&api.backend.status());
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn healthy() -> &'static str {
    "davylamp is healthy.\n"
}

async fn ready(State(api): State<Api>) -> Response {
    let reasons = api.backend.not_ready();
    if reasons.is_empty() {
        return "davylamp is ready.\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("davylamp is not ready:\n{}\n", reasons.join("\n"))).into_response()
}

async fn reload(State(api): State<Api>) -> Response {
    match api.backend.reload().await {
        Ok(summary) => format!("{summary}\n").into_response(),
        Err(mistakes) => Problem::new(StatusCode::BAD_REQUEST, mistakes).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_names_must_be_listed() {
        let names = ["lamp.home".to_string()];
        for host in ["", "127.0.0.1:9940", "[::1]:9940", "LocalHost", "lamp.home:9940", "192.168.1.4"] {
            assert!(host_allowed(host, &names), "{host}");
        }
        for host in ["evil.example", "evil.example:9940", "lamp.home.evil.example"] {
            assert!(!host_allowed(host, &names), "{host}");
        }
    }

    #[test]
    fn an_open_door_must_be_asked_for_in_words() {
        let open = Settings { listen: "0.0.0.0:9940".parse().unwrap(), ..Settings::default() };
        assert_eq!(open.check().len(), 1);
        assert!(Settings { expose_without_authentication: true, ..open.clone() }.check().is_empty());
        let token = Some(SecretRef::Env("T".into()));
        assert!(Settings { token, protect_reads: true, ..open }.check().is_empty());
        assert_eq!(Settings { protect_reads: true, ..Settings::default() }.check()[0].0, "protect_reads");
    }

    #[test]
    fn changes_need_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let settings = Settings { token: Some(SecretRef::File(path)), ..Settings::default() };
        let asked = |settings: &Settings, method: Method, path: &str, header: (&str, &[u8])| {
            let value = HeaderValue::from_bytes(header.1).unwrap();
            let request = Request::builder().method(method).uri(path).header(header.0, value);
            let route = ROUTES.iter().find(|route| route.path == path);
            refuse(settings, &request.body(axum::body::Body::empty()).unwrap(), route).map(|problem| problem.status)
        };
        let with = |value: &str| asked(&settings, Method::POST, "/-/reload", ("authorization", value.as_bytes()));
        assert_eq!(with("Bearer s3cret"), None);
        assert_eq!(with("Bearer s3cre"), Some(StatusCode::UNAUTHORIZED));
        assert_eq!(asked(&settings, Method::GET, "/metrics", ("x", b"")), None);
        let unreadable = asked(&settings, Method::GET, "/", ("host", b"ev\xffil.example"));
        assert_eq!(unreadable, Some(StatusCode::MISDIRECTED_REQUEST));
        for route in ROUTES {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
                let refused = asked(&settings, method.clone(), route.path, ("x", b""));
                let other = refused == Some(StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(other, !route.methods().contains(&method), "{method} {}", route.path);
            }
        }
        std::fs::write(folder.path().join("token"), "\n").unwrap();
        assert_eq!(with("Bearer "), Some(StatusCode::SERVICE_UNAVAILABLE), "an empty token opens nothing");
        let none = asked(&Settings::default(), Method::POST, "/-/reload", ("x", b""));
        assert_eq!(none, Some(StatusCode::FORBIDDEN));
    }
}
