//! What is asked of every request before a handler sees it, and what is counted and added after.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Settings;
use super::problem::Problem;
use super::rate::{Client, Rate};
use super::route::{Row, Scope};
use crate::telemetry::Telemetry;

/// A client must send its body within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest path that is handed on, in characters.
const MAX_URI: usize = 200;

/// What all guards share.
pub(super) struct Gate {
    settings: Settings,
    telemetry: Arc<Telemetry>,
    rate: Rate,
    /// Who is told of writes.
    pub(super) seen: OnceLock<WriteSeen>,
}

/// A request that would change something, and how it was answered.
pub struct Write<'a> {
    /// Method.
    pub method: &'a str,
    /// As in the table of routes.
    pub path: &'a str,
    /// The path that was asked for, without its query, which may hold secrets.
    pub uri: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// Address of the client.
    pub peer: &'a str,
}

/// Is told of every write, refused ones included.
pub type WriteSeen = Arc<dyn Fn(&Write<'_>) + Send + Sync>;

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The guard of one path.
#[derive(Clone)]
pub(super) struct Guard {
    gate: Arc<Gate>,
    /// As in the table; `other` for what stands in none.
    path: &'static str,
    rows: Arc<[Row]>,
}

impl Gate {
    pub(super) fn new(settings: Settings, telemetry: Arc<Telemetry>) -> Self {
        Gate { rate: Rate::new(settings.requests_per_second), settings, telemetry, seen: OnceLock::new() }
    }

    pub(super) fn telemetry(&self) -> Arc<Telemetry> {
        self.telemetry.clone()
    }
}

impl Guard {
    pub(super) fn new(gate: &Arc<Gate>, path: &'static str, rows: Vec<Row>) -> Self {
        Guard { gate: gate.clone(), path, rows: rows.into() }
    }

    /// The row of the request's method; without one the request is for reading an error.
    fn admit(&self, request: &Request, now: Instant) -> Result<Option<&Row>, Problem> {
        let settings = &self.gate.settings;
        let host = request.headers().get(header::HOST);
        // Text that cannot be read is no name of ours, not the absence of one.
        let host = host.map_or(Some(""), |host| host.to_str().ok());
        let token = token(settings, request);
        if let Some(Peer(address)) = request.extensions().get() {
            let client = if token.is_ok() { Client::Known } else { Client::of(*address) };
            if let Err(wait) = self.gate.rate.take(client, now) {
                self.gate.telemetry.count_limit("http_requests");
                let text = format!("too many requests (server.requests_per_second); wait {wait:.1?}");
                return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, text));
            }
        }
        if !host.is_some_and(|host| host_allowed(host, &settings.hosts)) {
            let text = format!("the host name {host:?} is not one of ours; list it under server.hosts");
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, text));
        }
        let row = self.rows.iter().find(|row| row.methods.contains(request.method()));
        if row.is_none() && !self.rows.is_empty() {
            let text = format!("{} answers {} only", self.path, self.allowed());
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        match row.map(|row| row.scope) {
            Some(Scope::Own) => {}
            Some(Scope::Write) => token?,
            _ if settings.protect_reads => token?,
            _ => {}
        }
        Ok(row)
    }

    fn allowed(&self) -> String {
        let methods: Vec<&str> = self.rows.iter().flat_map(|row| row.methods).map(Method::as_str).collect();
        methods.join(", ")
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let row = match self.admit(&request, Instant::now()) {
            Ok(row) => row,
            Err(problem) => return problem.into_response(),
        };
        let uri: String = request.uri().path().chars().take(MAX_URI).collect();
        let writes = row.is_some_and(|row| row.scope == Scope::Write);
        let (method, peer) = (request.method().clone(), request.extensions().get::<Peer>().copied());
        let response = match with_body(request, row.map_or(0, |row| row.body)).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
        if writes {
            let peer = peer.map(|Peer(address)| address.to_string()).unwrap_or_default();
            tracing::debug!(%method, path = self.path, status = response.status().as_u16(), peer, "write");
            if let Some(seen) = self.gate.seen.get() {
                let (method, status) = (method.as_str(), response.status().as_u16());
                seen(&Write { method, path: self.path, uri: &uri, status, peer: &peer });
            }
        }
        response
    }
}

/// The middleware around every path.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = guard.answer(request, next).await;
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            if let Ok(allowed) = guard.allowed().parse() {
                headers.insert(header::ALLOW, allowed);
            }
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"davylamp\""));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        }
        _ => {}
    }
    let labels = vec![("route", guard.path.to_string()), ("status", status.as_str().to_string())];
    guard.gate.telemetry.http_requests.get_or_create(&labels).inc();
    response
}

/// Whether the request shows the token; if not, what to answer where one is needed.
fn token(settings: &Settings, request: &Request) -> Result<(), Problem> {
    let Some(reference) = &settings.token else {
        let text = "no token is configured (server.token), so nothing can be changed over HTTP; SIGHUP reloads";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let Some(given) = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")) else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer …"));
    };
    match reference.read() {
        Err(error) => {
            tracing::error!(%error, "cannot read server.token");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon cannot read its own token; see its log"))
        }
        Ok(token) if token.expose().is_empty() => {
            tracing::error!("server.token is empty");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon's own token is empty"))
        }
        Ok(token) if token.expose().as_bytes().ct_eq(given.as_bytes()).into() => Ok(()),
        Ok(_) => Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is not the one of server.token")),
    }
}

/// The request with its body read: handlers never wait for a slow client, nor hold more than `most` bytes of one.
async fn with_body(request: Request, most: usize) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body here has at most {most} bytes"));
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > most as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        // It is too long, or the client broke off and reads no answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

fn host_allowed(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    bare.is_empty()
        || bare.parse::<IpAddr>().is_ok()
        || bare == "localhost"
        || names.iter().any(|name| name.eq_ignore_ascii_case(&bare))
}
