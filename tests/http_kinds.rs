//! The HTTP kinds over real sockets: hostile servers, credentials, TLS by openssl, and a real Prometheus.
// Shared functions of the tests may unwrap as the tests do: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use davylamp::collect::{Collector, kind};
use davylamp::model::{FailureReason, Labels, PollFailure, Reading, Suffix, Target};
use serde_json::{Value, json};

/// What a server saw: whole request heads, and what of the body came with them.
type Requests = Arc<Mutex<Vec<String>>>;

/// A server on a loopback port that hands each connection to `handle`, one after the other, until the test ends.
fn listen(handle: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            handle(stream);
        }
    });
    address
}

/// A server that reads the request before it answers.
fn serve(answer: impl Fn(&mut TcpStream) + Send + 'static) -> (SocketAddr, Requests) {
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let address = listen(move |mut stream| {
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer).unwrap_or(0);
        seen.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        answer(&mut stream);
    });
    (address, requests)
}

/// A server that always says the same.
fn say(answer: impl Into<Vec<u8>>) -> (SocketAddr, Requests) {
    let answer = answer.into();
    serve(move |stream| {
        let _ = stream.write_all(&answer);
    })
}

/// A complete answer with status 200.
fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn open(name: &str, address: String, timeout: Duration, options: Value) -> Box<dyn Collector> {
    let target = Target {
        id: "t".into(),
        kind: name.into(),
        address,
        interval: Duration::from_secs(60),
        timeout,
        cron: None,
        labels: Labels::empty(),
        options,
    };
    (kind(name).unwrap().open)(&target).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Polls a metrics page once.
async fn poll(address: SocketAddr, options: Value) -> Result<Reading, PollFailure> {
    let collector = open("prometheus", address.to_string(), PATIENCE, options);
    Ok(collector.parse(&collector.fetch().await?)?)
}

async fn failure(address: SocketAddr, options: Value) -> PollFailure {
    poll(address, options).await.expect_err("this poll has to fail")
}

#[tokio::test]
async fn a_status_becomes_its_reason() {
    for (status, headers, reason, wait) in [
        ("401 Unauthorized", "", FailureReason::Denied, None),
        ("403 Forbidden", "", FailureReason::Denied, None),
        ("404 Not Found", "", FailureReason::Malformed, None),
        ("429 Too Many Requests", "Retry-After: 120\r\n", FailureReason::RateLimited, Some(120)),
        ("429 Too Many Requests", "", FailureReason::RateLimited, None),
        ("500 Internal Server Error", "", FailureReason::Malformed, None),
        ("503 Service Unavailable", "Retry-After: 7\r\n", FailureReason::RateLimited, Some(7)),
        ("503 Service Unavailable", "", FailureReason::Malformed, None),
    ] {
        let (address, _) = say(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n"));
        let failure = failure(address, json!({})).await;
        assert_eq!((failure.reason, failure.retry_after), (reason, wait.map(Duration::from_secs)), "{status}");
        assert!(failure.detail.contains(&status[..3]), "{failure}");
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_nothing_goes_to_where_it_points() {
    let (elsewhere, stolen) = say(ok("", b"up 1\n"));
    let (address, _) = say(format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n"));
    let failure = failure(address, json!({})).await;
    assert_eq!(failure.reason, FailureReason::Denied);
    assert!(failure.detail.contains("redirects are not followed"), "{failure}");
    assert_eq!(stolen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn large_answers_end_at_the_cap() {
    let (declared, _) = say("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    assert_eq!(failure(declared, json!({})).await.reason, FailureReason::TooLarge);

    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let (endless, _) = serve(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'#'; 4096]).is_ok() {
            counter.fetch_add(4096, Ordering::Relaxed);
        }
    });
    assert_eq!(failure(endless, json!({"max_body": 100_000})).await.reason, FailureReason::TooLarge);
    // What the kernel buffers on both sides counts too.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 16 << 20, "{sent} bytes of an endless body went out");

    let (bomb, _) = say(ok("Content-Encoding: gzip\r\n", &gzip(&vec![b'\n'; 8 << 20])));
    let failure = failure(bomb, json!({})).await;
    assert_eq!(failure.reason, FailureReason::TooLarge);
    assert!(failure.detail.contains("after decompression"), "{failure}");
}

#[tokio::test]
async fn a_byte_now_and_then_ends_at_the_timeout() {
    let (address, _) = serve(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        // The other side says nothing more, so each read waits 50 ms, until it hangs up.
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while stream.write_all(b"#").is_ok() {
            match stream.read(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return,
            }
        }
    });
    let timeout = Duration::from_millis(400);
    let started = Instant::now();
    let failure = open("prometheus", address.to_string(), timeout, json!({})).fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Timeout);
    assert!((timeout..timeout * 5).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn broken_connections_are_unreachable_and_garbage_is_malformed() {
    // Closing with unread bytes makes the kernel send a reset.
    let reset = listen(|stream| {
        let _ = stream.peek(&mut [0]);
    });
    let (closes, _) = say("");
    let (short, _) = say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nup 1\n");
    for (name, address) in [("reset", reset), ("closes", closes), ("short", short), ("refused", free_address())] {
        let failure = failure(address, json!({})).await;
        assert_eq!(failure.reason, FailureReason::Unreachable, "{name}: {failure}");
    }
    let brotli = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx".to_vec();
    for garbage in [b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), brotli, ok("", b"\x01\x02"), ok("", b"")] {
        let (address, _) = say(garbage.clone());
        let failure = failure(address, json!({})).await;
        assert_eq!(failure.reason, FailureReason::Malformed, "{}: {failure}", garbage.escape_ascii());
        assert!(!failure.detail.chars().any(char::is_control));
    }
}

#[tokio::test]
async fn a_public_service_does_not_live_on_loopback() {
    let (address, seen) = say(ok("", b"up 1\n"));
    let named = format!("localhost:{}", address.port());
    let ask = |network: &str| open("prometheus", named.clone(), PATIENCE, json!({"network": network}));
    let failure = ask("public").fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Denied, "{failure}");
    assert!(failure.detail.contains("network: lan"), "{failure}");
    assert_eq!(seen.lock().unwrap().len(), 0);
    ask("lan").fetch().await.unwrap();
    let metadata = open("prometheus", "169.254.169.254".into(), PATIENCE, json!({})).fetch().await.unwrap_err();
    assert_eq!(metadata.reason, FailureReason::Denied, "{metadata}");
}

#[tokio::test]
async fn a_compressed_page_is_asked_for_and_read() {
    let (address, seen) = say(ok("Content-Encoding: gzip\r\n", &gzip(b"# TYPE up gauge\nup{a=\"1\"} 1\n")));
    let reading = poll(address, json!({"path": "/x?collect[]=cpu"})).await.unwrap();
    assert_eq!(reading.samples.len(), 1);
    let head = seen.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /x?collect[]=cpu http/1.1\r\n"), "{head}");
    for part in ["accept-encoding: gzip\r\n", "accept: application/openmetrics-text", "user-agent: davylamp/"] {
        assert!(head.contains(part), "{part:?} is not in {head}");
    }
}

#[tokio::test]
async fn credentials_headers_and_body_arrive_and_the_reply_names_no_query() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cr3t\n").unwrap();
    let (address, seen) = say(ok("Connection: close\r\n", b"{\"a\": \"2.5k\"}"));
    let options = |credential: Value| {
        json!({
            "credential": credential,
            "headers": {"X-Api": "1"},
            "body": {"query": "{ a }"},
            "keep_alive": false,
            "values": [{"name": "a", "help": "h", "path": "$.a", "convert": "si"}],
        })
    };
    for (credential, header) in [
        (json!({"bearer": {"file": secret}}), "authorization: Bearer s3cr3t\r\n"),
        (json!({"basic": {"username": "u", "password": {"file": secret}}}), "authorization: Basic dTpzM2NyM3Q=\r\n"),
        (json!({"header": {"name": "X-Key", "value": {"file": secret}}}), "x-key: s3cr3t\r\n"),
    ] {
        let url = format!("http://{address}/v1/graph?key=hidden");
        let collector = open("http_json", url, PATIENCE, options(credential));
        let replies = collector.fetch().await.unwrap();
        assert_eq!((replies[0].request.as_str(), replies[0].status), ("POST /v1/graph", Some(200)));
        assert_eq!(collector.parse(&replies).unwrap().samples[0].value, 2500.0);
        let request = seen.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("POST /v1/graph?key=hidden HTTP/1.1\r\n"), "{request}");
        for part in [header, "x-api: 1\r\n", "content-type: application/json\r\n", "accept: application/json\r\n"] {
            assert!(request.contains(part), "{part:?} is not in {request}");
        }
    }
    let missing = options(json!({"bearer": {"file": "/no/such"}}));
    let failure = open("http_json", format!("http://{address}/"), PATIENCE, missing).fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Denied);
    assert!(failure.detail.contains("/no/such"), "{failure}");
}

/// One document in each poll, the other told on; a failure costs neither, unless we are not welcome any more.
#[tokio::test]
async fn a_pool_is_asked_for_one_document_at_a_time_and_its_last_good_ones_are_told_on() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "s3cr3t\n").unwrap();
    let workers = br#"{"btc":{"workers":{"me.a":{"state":"ok","hash_rate_unit":"Th/s","hash_rate_5m":2}}}}"#;
    let profile = br#"{"username":"me","btc":{"hash_rate_unit":"Th/s","hash_rate_5m":3,"ok_workers":1}}"#;
    let refused = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let answers = [ok("", workers), ok("", profile), refused("503 Busy"), refused("429 Slow"), refused("403 No")];
    let turn = AtomicUsize::new(0);
    let (address, seen) = serve(move |stream| {
        let _ = stream.write_all(&answers[turn.fetch_add(1, Ordering::SeqCst).min(4)]);
    });
    let pool = open("pool_braiins", format!("http://{address}"), PATIENCE, json!({"token": {"file": secret}}));
    let mut told = Vec::new();
    for _ in 0..4 {
        let reading = pool.parse(&pool.fetch().await.unwrap()).unwrap();
        let of = |name: &str| {
            let samples = reading.samples.iter().filter(move |sample| sample.family.name == name);
            samples.map(|sample| sample.value).collect::<Vec<_>>()
        };
        told.push((of("pool_worker_hashrate_hashes_per_second"), of("pool_workers"), of("pool_document_up")));
    }
    assert_eq!(told[0], (vec![2e12], vec![], vec![1.0]));
    assert_eq!(told[1], (vec![2e12], vec![1.0], vec![1.0, 1.0]));
    assert_eq!(told[2], (vec![2e12], vec![1.0], vec![0.0, 1.0]), "the workers are told on");
    assert_eq!(told[3], (vec![2e12], vec![1.0], vec![0.0, 0.0]), "both are told on");
    let failure = pool.fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Denied, "a token that is refused is said at once");
    let seen = seen.lock().unwrap();
    let paths: Vec<&str> = seen.iter().map(|request| request.split(' ').nth(1).unwrap()).collect();
    let (workers, profile) = ("/accounts/workers/json/btc", "/accounts/profile/json/btc");
    assert_eq!(paths, [workers, profile, workers, profile, workers]);
    assert!(seen.iter().all(|request| request.contains("pool-auth-token: s3cr3t\r\n")));
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// An address on which nothing listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn until_it_listens(address: SocketAddr) {
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing listens on {address} after 20 s");
}

/// An authority, and certificates of it for a server on 127.0.0.1 and for a client.
fn make_certificates(folder: &Path) {
    let openssl = |line: &str| {
        let done = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    std::fs::write(folder.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")
        .unwrap();
    for name in ["server", "client"] {
        openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out {name}.pem"
        ));
    }
}

#[tokio::test]
async fn tls_verifies_the_server_and_shows_our_certificate() {
    if !installed("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    std::fs::write(folder.path().join("metrics"), "HTTP/1.0 200 OK\r\n\r\nup 1\n").unwrap();
    let address = free_address();
    let server = format!(
        "s_server -accept {address} -cert server.pem -key server.key -CAfile ca.pem -Verify 1 -verify_return_error -HTTP"
    );
    let _server = start(Command::new("openssl").args(server.split(' ')).current_dir(folder.path()));
    until_it_listens(address).await;

    let file = |name: &str| folder.path().join(name);
    let with_certificate = |mut tls: Value| {
        tls["cert_file"] = json!(file("client.pem"));
        tls["key_file"] = json!(file("client.key"));
        json!({"scheme": "https", "tls": tls})
    };
    let known = with_certificate(json!({"ca_file": file("ca.pem")}));
    assert_eq!(poll(address, known.clone()).await.unwrap().samples.len(), 1);
    assert_eq!(poll(address, with_certificate(json!({"insecure_skip_verify": true}))).await.unwrap().samples.len(), 1);
    let foreign = failure(address, json!({"scheme": "https"})).await;
    assert_eq!(foreign.reason, FailureReason::Unreachable, "{foreign}");
    assert!(foreign.detail.contains("certificate"), "{foreign}");
    let nobody = failure(address, json!({"scheme": "https", "tls": {"ca_file": file("ca.pem")}})).await;
    assert_eq!(nobody.reason, FailureReason::Unreachable, "{nobody}");

    // A file that changes is read again by the same collector.
    let collector = open("prometheus", address.to_string(), PATIENCE, known);
    collector.fetch().await.unwrap();
    std::fs::write(file("ca.pem"), "no certificate").unwrap();
    let failure = collector.fetch().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::Denied);
    assert!(failure.detail.contains("ca.pem: it holds no PEM certificate"), "{failure}");
}

/// Starts a Prometheus with nothing to do.
async fn start_prometheus(folder: &Path) -> (Running, SocketAddr) {
    let (config, address) = (folder.join("prometheus.yml"), free_address());
    std::fs::write(&config, "{}\n").unwrap();
    let server = start(Command::new("prometheus").args([
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
    ]));
    until_it_listens(address).await;
    (server, address)
}

#[tokio::test]
async fn a_real_prometheus_is_read_by_both_kinds() {
    if !installed("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = start_prometheus(folder.path()).await;

    let collector = open("prometheus", address.to_string(), PATIENCE, json!({}));
    let replies = collector.fetch().await.unwrap();
    let reading = collector.parse(&replies).unwrap();
    let page = String::from_utf8_lossy(&replies[0].body);
    assert_eq!(reading.samples.len(), page.lines().filter(|line| !line.starts_with('#')).count());
    assert_eq!(reading.rejected.len(), 0, "{:?}", reading.notes);
    let find = |name: &str, suffix| reading.samples.iter().find(|s| s.family.name == name && s.suffix == suffix);
    let build = find("prometheus_build_info", Suffix::None).unwrap();
    assert!(build.labels.get("version").is_some() && build.value == 1.0 && !build.family.help.is_empty());
    let bucket = find("prometheus_tsdb_compaction_chunk_range_seconds", Suffix::Bucket).unwrap();
    assert!(bucket.labels.get("le").is_some());
    assert!(find("go_gc_duration_seconds", Suffix::Count).is_some(), "a summary");
    let part = poll(address, json!({"gzip": false, "allow": ["go_.*"], "deny": [".*_bytes"]})).await.unwrap();
    assert!(part.samples.iter().all(|s| s.family.name.starts_with("go_") && !s.family.name.ends_with("_bytes")));
    assert!(!part.samples.is_empty());
    assert_eq!(failure(address, json!({"max_samples": 10})).await.reason, FailureReason::TooLarge);
    assert_eq!(failure(address, json!({"path": "/no/such/page"})).await.reason, FailureReason::Malformed);

    let values = json!([
        {"name": "flag_info", "type": "info", "help": "Flags.", "each": "$.data.*",
         "labels": {"flag": {"key": true}, "value": {"path": "$"}}},
        {"name": "lookback_seconds", "help": "Look-back.", "path": "$.data['query.lookback-delta']", "convert": "duration"},
        {"name": "connections_limit", "help": "Limit.", "path": "$.data['web.max-connections']"},
    ]);
    let url = format!("http://{address}/api/v1/status/flags");
    let collector = open("http_json", url, PATIENCE, json!({"values": values}));
    let reading = collector.parse(&collector.fetch().await.unwrap()).unwrap();
    let line = |s: &davylamp::model::Sample| format!("{}{} {}", s.family.name, s.labels, s.value);
    let lines: Vec<String> = reading.samples.iter().map(line).collect();
    let listener = format!("flag_info{{flag=\"web.listen-address\", value=\"{address}\"}} 1");
    for expected in [listener.as_str(), "lookback_seconds{} 300", "connections_limit{} 512"] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }
}
