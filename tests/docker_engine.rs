//! The poll of the kind `docker` against an engine made of paper: what is asked, how often, and what a broken or
//! hostile engine costs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // in a test a failure shows itself

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use davylamp::collect::{Collector, kind};
use davylamp::model::{FailureReason, Labels, PollFailure, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const ID: &str = "aaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbb";

/// What the paper engine does with a request whose path ends so.
#[derive(Clone)]
enum Act {
    Say(u16, String),
    Hang,
    Flood,
    HangUp,
}

/// Answers by path without version and query; remembers what was asked, and over how many connections.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    acts: HashMap<String, Act>,
    asked: Vec<String>,
    connections: usize,
}

impl Paper {
    fn engine() -> Self {
        let paper = Paper::default();
        paper.say("/version", r#"{"ApiVersion":"1.41","Version":"20.10.24"}"#);
        paper.clock(1);
        let listed = |id: &str, name: &str| {
            format!(r#"{{"Id":"{id}","Names":["/{name}"],"State":"running","Status":"Up 1 second"}}"#)
        };
        paper.say("/containers/json", &format!("[{},{}]", listed(ID, "web"), listed(OTHER, "db")));
        paper.say("/events", "");
        for id in [ID, OTHER] {
            let state = r#"{"StartedAt":"2026-05-01T00:00:00Z"}"#;
            paper.say(&format!("/containers/{id}/json"), &format!(r#"{{"RestartCount":0,"State":{state}}}"#));
            let stats = r#"{"read":"2026-05-01T00:00:00Z","pids_stats":{"current":1}}"#;
            paper.say(&format!("/containers/{id}/stats"), stats);
        }
        paper
    }

    fn act(&self, path: &str, act: Act) {
        self.0.lock().unwrap().acts.insert(path.to_string(), act);
    }

    fn say(&self, path: &str, body: &str) {
        self.act(path, Act::Say(200, body.to_string()));
    }

    fn clock(&self, second: u32) {
        self.say("/info", &format!(r#"{{"SystemTime":"2026-05-01T00:00:{second:02}Z","Images":1}}"#));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    async fn serve(self, listener: UnixListener) {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.0.lock().unwrap().connections += 1;
            connections.spawn(self.clone().talk(stream));
        }
    }

    async fn talk(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        loop {
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => return,
                }
            }
            let text = String::from_utf8(std::mem::take(&mut request)).unwrap();
            let target = text.split(' ').nth(1).unwrap().to_string();
            let path = target.split('?').next().unwrap().trim_start_matches("/v1.41").to_string();
            let act = {
                let mut state = self.0.lock().unwrap();
                state.asked.push(target);
                state.acts.get(&path).cloned().unwrap_or(Act::Say(404, r#"{"message":"page not found"}"#.into()))
            };
            match act {
                Act::Say(status, body) => {
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
                Act::Hang => std::future::pending().await,
                Act::HangUp => return,
                Act::Flood => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
                    return;
                }
            }
        }
    }
}

fn collector(socket: &Path) -> Box<dyn Collector> {
    open(format!("unix://{}", socket.display()), serde_json::json!({ "disk_usage": true }))
}

fn open(address: String, options: serde_json::Value) -> Box<dyn Collector> {
    let target = Target {
        id: "test".into(),
        kind: "docker".into(),
        address,
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::empty(),
        options,
    };
    (kind("docker").unwrap().open)(&target).unwrap()
}

/// A paper engine that serves until the set is dropped.
fn start(paper: &Paper) -> (Box<dyn Collector>, tempfile::TempDir, JoinSet<()>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(paper.clone().serve(listener));
    (collector(&socket), folder, tasks)
}

fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|target| target.contains(part)).count()
}

#[tokio::test]
async fn only_what_changed_is_inspected_again_and_connections_are_kept() {
    let paper = Paper::engine();
    let (collector, _folder, _tasks) = start(&paper);
    let first = collector.fetch().await.unwrap();
    let asked = paper.asked();
    assert_eq!(asked[0], "/version");
    assert_eq!(asked[1], "/v1.41/info");
    assert_eq!(asked[2], "/v1.41/containers/json?all=true");
    assert_eq!(count(&asked, "/events"), 0, "the first poll only sets the window's begin");
    assert_eq!((count(&asked, ID), count(&asked, OTHER), count(&asked, "/system/df")), (2, 2, 1));
    assert!(asked.contains(&format!("/v1.41/containers/{ID}/stats?stream=false&one-shot=true")), "{asked:?}");
    assert_eq!(first.len(), 8);

    paper.clock(16);
    let opened = paper.0.lock().unwrap().connections;
    let second = collector.fetch().await.unwrap();
    let asked = paper.asked();
    assert_eq!(paper.0.lock().unwrap().connections, opened, "a second poll opens no connection");
    assert_eq!(count(&asked, "/version") + count(&asked, "/system/df"), 0, "{asked:?}");
    let events = asked.iter().find(|target| target.contains("/events")).unwrap();
    assert!(events.contains("since=1777593601.000000001&until=1777593616.000000000&filters=%7B"), "{events}");
    assert!(!events.contains("exec"), "{events}");
    assert_eq!(count(&asked, &format!("{ID}/json")) + count(&asked, &format!("{OTHER}/json")), 0, "{asked:?}");
    assert!(second.iter().any(|reply| reply.request == format!("GET /containers/{ID}/json")), "handed out again");
    assert_eq!(second.len(), first.len());

    paper.clock(31);
    paper.say("/events", &format!(r#"{{"Type":"container","Action":"start","Actor":{{"ID":"{ID}"}}}}"#));
    let third = collector.fetch().await.unwrap();
    let asked = paper.asked();
    assert_eq!((count(&asked, &format!("{ID}/json")), count(&asked, &format!("{OTHER}/json"))), (1, 0), "{asked:?}");
    let reading = collector.parse(&third).unwrap();
    let restarts = |name| {
        let mut samples = reading.samples.iter().filter(|s| s.family.name == "docker_container_restarts_total");
        samples.find(|sample| sample.labels.get("container") == Some(name)).unwrap().value
    };
    assert_eq!((restarts("web"), restarts("db")), (1.0, 0.0));
}

#[tokio::test]
async fn no_secret_of_a_container_leaves_the_fetch() {
    let paper = Paper::engine();
    paper.say("/info", r#"{"SystemTime":"2026-05-01T00:00:01Z","HttpProxy":"http://u:hunter2@proxy"}"#);
    paper.say("/containers/json", &format!(r#"[{{"Id":"{ID}","Command":"hunter2","Labels":{{"auth":"hunter2"}}}}]"#));
    paper.say(&format!("/containers/{ID}/json"), r#"{"Config":{"Env":["TOKEN=hunter2"]},"Args":["hunter2"]}"#);
    paper.say("/system/df", r#"{"Containers":[{"Command":"hunter2","SizeRw":7}]}"#);
    let (collector, _folder, _tasks) = start(&paper);
    let replies = collector.fetch().await.unwrap();
    assert!(replies.iter().all(|reply| !String::from_utf8_lossy(&reply.body).contains("hunter2")), "{replies:?}");
    assert!(replies.iter().any(|reply| reply.request == "GET /system/df" && reply.body.ends_with(b"7}]}")));
}

#[tokio::test]
async fn one_bad_container_costs_only_its_own_numbers() {
    let paper = Paper::engine();
    paper.act(&format!("/containers/{ID}/stats"), Act::Hang);
    paper.act(&format!("/containers/{ID}/json"), Act::Flood);
    paper.act("/system/df", Act::HangUp);
    let (collector, _folder, _tasks) = start(&paper);
    let start = Instant::now();
    let reading = collector.parse(&collector.fetch().await.unwrap()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "three seconds for one request: {:?}", start.elapsed());
    let value = |family: &str| reading.samples.iter().find(|s| s.family.name == family).map(|s| s.value);
    assert_eq!(value("docker_engine_container_stats_missing"), Some(1.0));
    assert_eq!(value("docker_container_pids"), Some(1.0));
}

#[tokio::test]
async fn an_engine_that_keeps_no_events_is_polled_in_full_and_the_gap_is_counted() {
    let paper = Paper::engine();
    let (collector, _folder, _tasks) = start(&paper);
    collector.fetch().await.unwrap();
    paper.asked();
    paper.clock(16);
    paper.act("/events", Act::Say(500, r#"{"message":"no event backend"}"#.into()));
    let reading = collector.parse(&collector.fetch().await.unwrap()).unwrap();
    let asked = paper.asked();
    assert_eq!(count(&asked, &format!("{ID}/json")) + count(&asked, &format!("{OTHER}/json")), 2);
    let gaps = reading.samples.iter().find(|sample| sample.family.name == "docker_event_gaps_total").unwrap();
    assert_eq!(gaps.value, 1.0);
}

#[tokio::test]
async fn a_poll_that_is_cut_off_forgets_nothing() {
    let paper = Paper::engine();
    let (collector, _folder, _tasks) = start(&paper);
    collector.fetch().await.unwrap();
    paper.clock(16);
    paper.act("/events", Act::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(300), collector.fetch()).await.is_err());
    paper.clock(31);
    paper.say("/events", &format!(r#"{{"Type":"container","Action":"start","Actor":{{"ID":"{ID}"}}}}"#));
    paper.act(&format!("/containers/{OTHER}/stats"), Act::Hang);
    paper.act(&format!("/containers/{ID}/json"), Act::Hang);
    paper.asked();
    assert!(tokio::time::timeout(Duration::from_millis(300), collector.fetch()).await.is_err());
    let asked = paper.asked();
    assert!(asked.iter().any(|target| target.contains("since=1777593601.000000001&until=1777593631")), "{asked:?}");
    let whole = Paper::engine();
    paper.0.lock().unwrap().acts.clone_from(&whole.0.lock().unwrap().acts);
    paper.clock(46);
    collector.fetch().await.unwrap();
    let asked = paper.asked();
    assert_eq!((count(&asked, &format!("{ID}/json")), count(&asked, &format!("{OTHER}/json"))), (1, 0), "{asked:?}");
}

#[tokio::test]
async fn failures_have_the_right_reason() {
    let mut cases = vec![
        ("/version", Act::Say(200, "<html>".into()), FailureReason::Malformed, "is this a Docker engine"),
        ("/version", Act::Say(403, "go away".into()), FailureReason::Denied, "go away"),
        ("/info", Act::Say(500, "boom".into()), FailureReason::Malformed, "GET /info: HTTP 500: boom"),
        ("/containers/json", Act::Say(200, "{}".into()), FailureReason::Malformed, "GET /containers/json"),
        ("/info", Act::Flood, FailureReason::TooLarge, "larger than"),
        ("/info", Act::Hang, FailureReason::Timeout, "in time"),
    ];
    cases.push(("/containers/json", Act::Flood, FailureReason::TooLarge, "larger than"));
    for (path, act, reason, words) in cases {
        let paper = Paper::engine();
        let (collector, _folder, _tasks) = start(&paper);
        paper.act(path, act);
        let failure: PollFailure = collector.fetch().await.unwrap_err();
        assert_eq!(failure.reason, reason, "{path}: {failure}");
        assert!(failure.detail.contains(words), "{path}: {failure}");
        // The engine comes back, perhaps as another version: everything is asked anew.
        let whole = Paper::engine();
        paper.0.lock().unwrap().acts.clone_from(&whole.0.lock().unwrap().acts);
        paper.asked();
        collector.fetch().await.unwrap();
        assert_eq!(paper.asked()[0], "/version");
    }
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let failure = collector(Path::new("/no/such/docker.sock")).fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Unreachable);
    assert_eq!(failure.detail, "/no/such/docker.sock does not exist: is the engine running?");
}

/// An authority, a server's and a client's certificate, made by openssl; false where it is not installed.
fn certificates(folder: &Path) -> bool {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").current_dir(folder).args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !openssl(&["version"]) {
        eprintln!("SKIPPED: TLS to an engine: openssl is not installed");
        return false;
    }
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    for authority in ["ca", "stranger"] {
        let (cert, private) = (format!("{authority}.pem"), format!("{authority}-key.pem"));
        let args = ["req", "-x509", "-subj", "/CN=authority", "-out", &cert, "-keyout", &private];
        assert!(openssl(&[&args, &key[..]].concat()));
    }
    std::fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    std::fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("other", "stranger")] {
        let (private, request) = (format!("{name}-key.pem"), format!("{name}.csr"));
        let args = ["req", "-subj", "/CN=test", "-out", &request, "-keyout", &private];
        assert!(openssl(&[&args, &key[..5]].concat()));
        let extensions = if name == "server" { "server.ext" } else { "client.ext" };
        let (ca, ca_key, out) = (format!("{authority}.pem"), format!("{authority}-key.pem"), format!("{name}.pem"));
        let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
        assert!(openssl(&[&sign, &["-extfile", extensions, "-out", &out][..]].concat()));
    }
    true
}

/// A paper engine behind TLS that wants a client's certificate, as `dockerd --tlsverify` does.
async fn serve_tls(paper: Paper, listener: TcpListener, folder: PathBuf) {
    let certificates = |name: &str| -> Vec<_> {
        CertificateDer::pem_file_iter(folder.join(name)).unwrap().map(|found| found.unwrap()).collect()
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificates("ca.pem").remove(0)).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let private = PrivateKeyDer::from_pem_file(folder.join("server-key.pem")).unwrap();
    let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
    let config = config.with_single_cert(certificates("server.pem"), private).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, paper) = (acceptor.clone(), paper.clone());
        connections.spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                paper.talk(stream).await;
            }
        });
    }
}

#[tokio::test]
async fn tls_proves_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_tls(Paper::engine(), listener, folder.path().to_path_buf()));
    let engine = |ca: &str, name: &str| {
        let file = |name: String| folder.path().join(name);
        let tls = serde_json::json!({
            "ca_file": file(format!("{ca}.pem")),
            "cert_file": file(format!("{name}.pem")),
            "key_file": file(format!("{name}-key.pem")),
        });
        open(address.clone(), serde_json::json!({ "tls": tls }))
    };
    let trusted = engine("ca", "client");
    assert_eq!(trusted.fetch().await.unwrap().len(), 8);
    let failure = engine("stranger", "client").fetch().await.unwrap_err();
    assert!(failure.detail.contains("certificate"), "an engine that another authority signed: {failure}");
    assert!(engine("ca", "other").fetch().await.is_err(), "a client that another authority signed");
    let plain = open(address.clone(), serde_json::Value::Null).fetch().await;
    assert!(plain.is_err(), "no TLS where TLS is spoken");
}
