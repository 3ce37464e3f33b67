//! What every request must pass, whatever its route.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::Response;
use axum::routing::on;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::guard::Peer;
use super::*;

const TABLE: &[Route<u8>] = &[
    Route::get("/read", |methods| on(methods, async || "read")),
    Route::get("/both/{id}", |methods| on(methods, async || "read")),
    Route::post("/both/{id}", |methods| on(methods, async || "written")).methods(&[Method::POST, Method::DELETE]),
    Route::query("/query", |methods| on(methods, echo)).body(10),
    Route::get("/stream/{*rest}", |methods| on(methods, async || "open")).scope(Scope::Write),
];

async fn echo(body: String) -> String {
    body
}

struct Surface(TowerToHyperService<Router>, Arc<Telemetry>);

fn surface(settings: Settings) -> Surface {
    let telemetry = Telemetry::new();
    Surface(TowerToHyperService::new(Api::new(telemetry.clone(), settings).mount(TABLE, 0).router()), telemetry)
}

impl Surface {
    async fn send(&self, request: Request<Body>) -> Response {
        self.0.call(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, header: (&str, &[u8])) -> StatusCode {
        let value = HeaderValue::from_bytes(header.1).unwrap();
        let request = Request::builder().method(method).uri(path).header(header.0, value);
        self.send(request.body(Body::empty()).unwrap()).await.status()
    }
}

fn with_token(text: &str) -> (Settings, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), text).unwrap();
    let token = Some(SecretRef::File(folder.path().join("token")));
    (Settings { token, ..Settings::default() }, folder)
}

const NOTHING: (&str, &[u8]) = ("x", b"");

#[tokio::test]
async fn writes_need_the_token_whatever_their_path_and_method() {
    let writes = [("POST", "/both/1"), ("DELETE", "/both/a%2Fb"), ("GET", "/stream/a/b"), ("HEAD", "/stream/a")];
    let none = surface(Settings::default());
    for (method, path) in writes {
        assert_eq!(none.ask(method, path, NOTHING).await, 403, "{method} {path}");
    }
    let (settings, folder) = with_token("s3cret\n");
    let surface = surface(settings);
    for (method, path) in writes {
        for wrong in ["Bearer s3cre", "Bearer ", "s3cret", "Basic s3cret", "bearer s3cret"] {
            let status = surface.ask(method, path, ("authorization", wrong.as_bytes())).await;
            assert_eq!(status, 401, "{method} {path} {wrong}");
        }
        assert_eq!(surface.ask(method, path, ("authorization", b"Bearer s3cret")).await, 200, "{method} {path}");
    }
    std::fs::write(folder.path().join("token"), "\n").unwrap();
    assert_eq!(
        surface.ask("POST", "/both/1", ("authorization", b"Bearer ")).await,
        503,
        "an empty token opens nothing"
    );
}

#[tokio::test]
async fn reads_are_open_unless_they_are_protected() {
    let (settings, _folder) = with_token("s3cret");
    let reads = [("GET", "/read"), ("HEAD", "/read"), ("GET", "/both/1"), ("POST", "/query"), ("GET", "/query")];
    let (open, closed) = (surface(settings.clone()), surface(Settings { protect_reads: true, ..settings }));
    for (method, path) in reads {
        assert_eq!(open.ask(method, path, NOTHING).await, 200, "{method} {path}");
        assert_eq!(closed.ask(method, path, NOTHING).await, 401, "{method} {path}");
        assert_eq!(closed.ask(method, path, ("authorization", b"Bearer s3cret")).await, 200, "{method} {path}");
    }
    assert_eq!(closed.ask("GET", "/nothing", NOTHING).await, 401, "what is there is nobody's business either");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let surface = surface(Settings::default());
    for (method, path, allowed) in [
        ("POST", "/read", "GET, HEAD"),
        ("PUT", "/both/1", "GET, HEAD, POST, DELETE"),
        ("OPTIONS", "/read", "GET, HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = surface.send(request).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::ALLOW]),
            (405, &HeaderValue::from_static(allowed))
        );
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_row_and_never_by_what_was_asked() {
    let surface = surface(Settings::default());
    for path in ["/both/1", "/both/2", "/nothing", "/else"] {
        surface.ask("GET", path, NOTHING).await;
    }
    let text = surface.1.encode();
    for line in ["{route=\"/both/{id}\",status=\"200\"} 2", "{route=\"other\",status=\"404\"} 2"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_hosts_are_ours() {
    let surface = surface(Settings { hosts: vec!["lamp.home".into()], ..Settings::default() });
    let post = |body: &'static str| Request::post("/query").body(Body::from(body)).unwrap();
    assert_eq!(surface.send(post("0123456789")).await.status(), 200);
    assert_eq!(surface.send(post("0123456789a")).await.status(), 413);
    let declared = Request::post("/query").header(header::CONTENT_LENGTH, "99999999999").body(Body::empty()).unwrap();
    assert_eq!(surface.send(declared).await.status(), 413);
    for host in ["", "127.0.0.1:9940", "[::1]:9940", "LocalHost", "lamp.home:9940", "192.168.1.4"] {
        assert_eq!(surface.ask("GET", "/read", ("host", host.as_bytes())).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:9940", "lamp.home.evil.example"] {
        assert_eq!(surface.ask("GET", "/read", ("host", host.as_bytes())).await, 421, "{host}");
    }
    assert_eq!(surface.ask("GET", "/read", ("host", b"ev\xffil.example")).await, 421);
}

#[tokio::test]
async fn a_flood_from_one_address_is_refused() {
    let surface = surface(Settings { requests_per_second: 2, ..Settings::default() });
    let from = |last: u8| {
        let mut request = Request::get("/read").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(IpAddr::from([10, 0, 0, last])));
        request
    };
    for _ in 0..10 {
        assert_eq!(surface.send(from(1)).await.status(), 200);
    }
    let refused = surface.send(from(1)).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(surface.send(from(2)).await.status(), 200);
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
