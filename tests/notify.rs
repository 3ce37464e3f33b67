//! Who is told of alerts, end to end: the real daemon, Debian's Alertmanager and amtool, HTTP and SMTP over real sockets.
//!
//! What a machine does not have is skipped, loudly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // a failure shows itself
#![allow(clippy::disallowed_methods)] // these tests wait for processes, outside of any runtime

#[path = "support/certificates.rs"]
mod certificates;
#[path = "e2e/http.rs"]
#[allow(dead_code, reason = "shared with the tests of the whole")]
mod http;
#[path = "e2e/lamp.rs"]
#[allow(dead_code, reason = "shared with the tests of the whole")]
mod lamp;
#[path = "support/sink.rs"]
mod sink;
#[path = "support/smtp.rs"]
mod smtp;

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hmac::Mac;
use lamp::{Aside, Lamp, output};
use serde_json::Value;
use sink::Sink;

/// How long anything may take on a machine with every core busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn installed(name: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join(name).is_file());
    if !found {
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A daemon that polls the sink's page every second and evaluates every second.
fn lamp(sink: &Sink, rules: &str, more: &str) -> Lamp {
    let lamp = Lamp::new(&format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}, external_url: 'http://lamp.example'}}
storage: {{path: state, ballast_bytes: 0}}
targets: [{{id: page, kind: prometheus, address: '{}', interval: 1s}}]
rules: {{files: [rules.yml], evaluation_interval: 1s, external_labels: {{site: mine}}}}
{more}\n",
        sink.address
    ));
    lamp.write("rules.yml", rules);
    lamp.write("token", "canary-token\n");
    lamp
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

struct Alertmanager {
    address: SocketAddr,
    folder: tempfile::TempDir,
    process: Option<Aside>,
}

impl Alertmanager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = "route: {receiver: none, group_wait: 0s}\nreceivers: [{name: none}]\n";
        std::fs::write(folder.path().join("am.yml"), config).unwrap();
        Alertmanager { address: free_address(), folder, process: None }
    }

    fn start(&mut self) {
        let mut command = Command::new("prometheus-alertmanager");
        command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--config.file=am.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={}", self.address));
        self.process = Some(Aside(command.spawn().unwrap()));
        self.until("ready", || {
            http::ask(self.address, "GET", "/-/ready", &[]).ok().filter(|answer| answer.status == 200)
        });
    }

    fn stop(&mut self) {
        self.process = None;
    }

    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "never saw {what}; it has {:?}", self.alerts());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Alerts that it holds for firing, by name.
    fn alerts(&self) -> Vec<(String, Value)> {
        let Ok(answer) = http::ask(self.address, "GET", "/api/v2/alerts", &[]) else { return Vec::new() };
        let body = answer.body.find('[').map_or("[]", |at| &answer.body[at..]);
        let all = json(body.trim_end());
        all.as_array()
            .unwrap()
            .iter()
            .map(|a| (a["labels"]["alertname"].as_str().unwrap().to_string(), a.clone()))
            .collect()
    }

    fn has(&self, name: &str) -> Option<Value> {
        self.alerts().into_iter().find(|(found, _)| found == name).map(|(_, alert)| alert)
    }
}

const SCENARIOS: &str = "groups:
- name: g
  rules:
  - {alert: Held, expr: 'held > 0', for: 2s, labels: {severity: critical}, annotations: {summary: 'held is {{ $value }}'}}
  - {alert: NeverLongEnough, expr: 'short > 0', for: 1h}
  - {alert: AtOnce, expr: 'at_once > 0'}
  - {alert: Later, expr: 'later > 0'}
";

#[test]
fn a_real_alertmanager_hears_what_fires_when_it_fires_and_after_an_outage() {
    if !installed("prometheus-alertmanager") {
        return;
    }
    let sink = Sink::new();
    let mut manager = Alertmanager::new();
    manager.start();
    sink.page("held 1\nshort 1\nat_once 1\nlater 0\n");
    let more =
        format!("alertmanagers: [{{static_configs: [{{targets: ['{}']}}], respect_silences: true}}]", manager.address);
    let mut lamp = lamp(&sink, SCENARIOS, &more);
    lamp.start();
    manager.until("AtOnce", || manager.has("AtOnce"));
    let held = manager.until("Held", || manager.has("Held"));
    assert_eq!(held["labels"]["severity"], "critical");
    assert_eq!(held["labels"]["site"], "mine", "external labels");
    assert_eq!(held["annotations"]["summary"], "held is 1");
    assert!(
        held["generatorURL"].as_str().unwrap().starts_with("http://lamp.example/graph?g0.expr=held+%3E+0"),
        "{held}"
    );
    assert!(manager.has("NeverLongEnough").is_none(), "pending is never sent");
    let shown = json(&lamp.get("/api/v2/alerts").body);
    let own = shown.as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == "Held").unwrap();
    assert_eq!(own["startsAt"], held["startsAt"], "startsAt is when it began to fire");
    // Its silences hold back whoever respects them.
    let silence = format!(
        "{{\"matchers\":[{{\"name\":\"alertname\",\"value\":\"AtOnce\",\"isRegex\":false}}],\"startsAt\":\"2020-01-01T00:00:00Z\",\
         \"endsAt\":\"2099-01-01T00:00:00Z\",\"createdBy\":\"ann\",\"comment\":\"{}\"}}",
        "quiet"
    );
    sink::post(manager.address, "/api/v2/silences", &silence);
    lamp.until("its silence", PATIENCE, || {
        // Slower than what the daemon lets one address ask.
        std::thread::sleep(Duration::from_millis(50));
        let found = json(&lamp.get("/api/v2/alerts?silenced=true&active=false").body);
        found.as_array().unwrap().iter().any(|alert| alert["labels"]["alertname"] == "AtOnce").then_some(())
    });
    manager.stop();
    sink.page("held 0\nshort 0\nat_once 1\nlater 1\n");
    lamp.wait("failures", PATIENCE, |page| {
        page.value("davylamp_notifications_errors_total", &[("integration", "alertmanager")]).is_some_and(|n| n > 0.0)
    });
    manager.start();
    manager.until("Later", || manager.has("Later"));
    manager.until("the end of Held", || manager.has("Held").is_none().then_some(()));
    manager.until("AtOnce again", || manager.has("AtOnce"));
    let metrics = lamp.metrics();
    assert!(metrics.value("davylamp_notifications_sent_total", &[("integration", "alertmanager")]).unwrap() >= 4.0);
    lamp.finish();
}

#[test]
fn amtool_works_and_so_does_our_own_and_silences_outlive_kill_9() {
    let sink = Sink::new();
    sink.page("hot 1\n");
    let rules = "groups: [{name: g, rules: [{alert: Hot, expr: 'hot > 0'}]}]";
    let mut lamp = lamp(&sink, rules, "");
    lamp.start();
    let ours = |args: &[&str]| {
        let address = format!("http://{}", lamp.address());
        let token = lamp.path("token");
        let done = lamp.output(&[args, &["--url", &address, "--token-file", token.to_str().unwrap()]].concat());
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_string()
    };
    let id = ours(&["silence", "add", "Hot", "page=~.*", "target!=x", "-d", "2h", "-c", "new fans", "--author", "ann"]);
    let simple = ours(&["silence", "query"]);
    assert!(simple.contains(&id) && simple.contains("ann") && simple.contains("new fans"), "{simple}");
    assert!(simple.contains("alertname=\"Hot\" page=~\".*\" target!=\"x\""), "{simple}");
    assert_eq!(ours(&["silence", "query", "-q", "alertname=Hot"]), id);
    assert_eq!(ours(&["silence", "query", "-q", "alertname=Cold"]), "");
    assert_eq!(ours(&["silence", "update", "-c", "newer fans", "-d", "3h", &id]), id, "the same silence");
    assert_eq!(json(&ours(&["silence", "query", "-o", "json"]))[0]["comment"], "newer fans");
    let page = lamp.get("/").body;
    assert!(page.contains("newer fans") && page.contains(&id), "{page}");
    lamp.kill();
    lamp.start();
    lamp.wait("the alert", PATIENCE, |page| page.alert("Hot", "firing"));
    let alerts = json(&lamp.get("/api/v2/alerts").body);
    assert_eq!(alerts[0]["status"]["silencedBy"][0], *id, "{alerts}");
    assert_eq!(alerts[0]["status"]["state"], "suppressed");
    let refused = sink::post(lamp.address(), "/api/v2/silences", "{}");
    assert!(refused.starts_with("HTTP/1.1 401") || refused.starts_with("HTTP/1.0 401"), "{refused}");
    if installed("amtool") {
        amtool(&lamp, &id);
    }
    lamp.finish();
    assert!(!lamp.logs().contains("canary"), "{}", lamp.logs());
}

fn amtool(lamp: &Lamp, id: &str) {
    lamp.write("http.yml", "authorization: {type: Bearer, credentials: canary-token}\n");
    let run = |args: &[&str], fine: bool| {
        let mut command = Command::new("amtool");
        command.args(args).env("HOME", lamp.path("")).current_dir(lamp.path(""));
        command.args([&format!("--alertmanager.url=http://{}", lamp.address()), "--http.config.file=http.yml"]);
        let done = output(&mut command);
        assert_eq!(done.status.success(), fine, "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        let text = if fine { done.stdout } else { done.stderr };
        String::from_utf8(text).unwrap().trim().to_string()
    };
    // Not with -q: Debian's amtool prints pointers then.
    let query = |more: &[&str]| run(&[&["silence", "query"], more].concat(), true);
    assert!(query(&[]).contains(id));
    let own = run(&["silence", "add", "alertname=Hot", "--comment=by amtool", "--author=bob", "-d", "1h"], true);
    assert!(query(&["alertname=Hot"]).contains(&own) && !query(&["alertname=Cold"]).contains(&own));
    assert!(run(&["alert", "query", "--silenced"], true).contains("Hot"));
    assert!(run(&["silence", "update", "--comment=longer", "-d", "5h", &own], true).contains("longer"));
    run(&["silence", "expire", &own], true);
    assert!(!query(&[]).contains(&own) && query(&["--expired"]).contains(&own));
    assert!(run(&["silence", "expire", &own], false).contains("already expired"));
    let exported = run(&["silence", "query", "-o", "json"], true);
    lamp.write("silences.json", &exported);
    run(&["silence", "import", "silences.json"], true);
    run(&["alert", "query"], true);
    run(&["config", "show"], true);
}

#[test]
fn receivers_are_told_at_least_once_and_not_again_and_no_secret_is_logged() {
    let sink = Sink::new();
    sink.page("hot 1\n");
    sink.answers(&[500, 429, 0]);
    let rules = "groups: [{name: g, rules: [{alert: Hot, expr: 'hot > 0', annotations: {summary: it is hot}}]}]";
    let more = "receivers: [{name: ops, webhook_configs: [{url: {file: url}, secret: {file: key}}]}]
route: {receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s}";
    let mut lamp = lamp(&sink, rules, more);
    lamp.write("url", &format!("http://{}/hook/canary-url", sink.address));
    lamp.write("key", "canary-key");
    lamp.start();
    // The first is refused for now, so is the second; the third hangs, and in it the daemon is killed.
    lamp.until("three tries", PATIENCE, || (sink.posts().len() >= 3).then_some(()));
    lamp.kill();
    lamp.start();
    lamp.until("the fourth try", PATIENCE, || (sink.posts().len() >= 4).then_some(()));
    lamp.wait("its arrival", PATIENCE, |page| {
        page.value("davylamp_notifications_sent_total", &[("receiver", "ops")]) == Some(1.0)
    });
    let told = sink.posts().pop().unwrap();
    let signature = told.header("x-davylamp-signature");
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"canary-key").unwrap();
    mac.update(format!("{}.{}", told.header("x-davylamp-timestamp"), told.body).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, format!("v1={expected}"));
    let body = json(&told.body);
    assert_eq!((&body["version"], &body["status"]), (&Value::from("4"), &Value::from("firing")));
    assert_eq!(body["alerts"][0]["annotations"]["summary"], "it is hot");
    let starts = body["alerts"][0]["startsAt"].clone();
    let count = sink.posts().len();
    lamp.kill();
    lamp.start();
    lamp.wait("the alert", PATIENCE, |page| page.alert("Hot", "firing"));
    // A resolved message proves that the group was looked at meanwhile.
    sink.page("hot 0\n");
    lamp.until("the end", PATIENCE, || (sink.posts().len() > count).then_some(()));
    let posts = sink.posts();
    assert_eq!(posts.len(), count + 1, "told again after the restart");
    let end = json(&posts[count].body);
    assert_eq!((&end["status"], &end["alerts"][0]["startsAt"]), (&Value::from("resolved"), &starts));
    lamp.finish();
    for file in ["key", "url", "token"] {
        assert!(std::fs::read_to_string(lamp.path(file)).unwrap().contains("canary"));
    }
    let state: String = lamp.export().iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    assert!(!lamp.logs().contains("canary") && !state.contains("canary"), "{}", lamp.logs());
}

#[test]
fn a_mail_goes_over_tls_or_not_at_all() {
    if !installed("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificates::make_certificates(folder.path());
    let sink = Sink::new();
    let server = smtp::Server::start(folder.path(), true);
    let plain = smtp::Server::start(folder.path(), false);
    let mail = |server: &smtp::Server, more: &str| {
        format!("{{to: [ops@example.com], from: lamp@example.com, smarthost: '{}'{more}}}", server.address)
    };
    let known = ", ca_file: ca.pem, auth_username: lamp, auth_password: {file: password}";
    let more = format!(
        "receivers: [{{name: good, email_configs: [{}]}}, {{name: stranger, email_configs: [{}]}},
          {{name: clear, email_configs: [{}]}}, {{name: open, email_configs: [{}]}}]",
        mail(&server, known),
        mail(&server, ""),
        mail(&plain, known),
        mail(&plain, ", require_tls: false")
    );
    let lamp = lamp(&sink, "groups: []", &more);
    std::fs::copy(folder.path().join("ca.pem"), lamp.path("ca.pem")).unwrap();
    lamp.write("password", "canary-password");
    let test = |receiver: &str| {
        let done = lamp.output(&["notify", "test", receiver]);
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(!said.contains("canary"), "{said}");
        (done.status.success(), said)
    };
    let (fine, said) = test("good");
    assert!(fine, "{said}\n{:?}", server.said());
    let said = server.said().join("\n");
    assert!(said.contains("AUTH PLAIN") && said.contains("Subject: davylamp: test"), "{said}");
    let before = said.find("STARTTLS").unwrap();
    assert!(said.find("AUTH").unwrap() > before, "the password goes only over TLS: {said}");
    let (fine, said) = test("stranger");
    assert!(!fine && said.contains("email[0]"), "a certificate that nobody vouches for: {said}");
    let (fine, said) = test("clear");
    assert!(!fine, "{said}");
    assert!(!plain.said().join("\n").contains("AUTH"), "no password in clear: {:?}", plain.said());
    let (fine, said) = test("open");
    assert!(fine, "{said}");
    let (fine, said) = test("nobody");
    assert!(!fine && said.contains("no receiver has the name"), "{said}");
}
