//! Canaries: secrets that must turn up nowhere, and text from outside that must stay text.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use davylamp::act::process::marked;
use davylamp::demo::Model;

use crate::lamp::{Lamp, command_lines, contains, records};
use crate::world::{Farm, ansible, config, seconds};

/// Each is handed in on another road; the numbers keep them from being found in any other text.
const SECRETS: [&str; 3] = ["canary-file-6b1d0f", "canary-variable-93ac77", "canary-credential-e4581c"];

const RULES: &str = r#"groups:
- name: cloud
  interval: 1s
  rules:
  - alert: Poisoned
    expr: cloud_worker > 0
    annotations: {summary: "{{ $labels.template }} {{ $labels.html }} {{ $labels.control }}"}
"#;

const PLAYBOOK: &str = r#"- hosts: all
  gather_facts: false
  tasks:
  - debug: {var: davylamp}
  - debug: {msg: "{{ davylamp.alert.labels.template }} {{ davylamp.alert.annotations.summary }}"}
  - command: {argv: [echo, "{{ davylamp.alert.labels.template }}", "{{ davylamp.alert.labels.control }}"]}
  - command: sleep 3
"#;

/// A server that answers in JSON what it was asked with, secrets included, and calls a template by its name.
fn echo(template: &str) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(String::new()));
    let (heard, template) = (asked.clone(), template.to_string());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 8192];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            heard.lock().unwrap().push_str(&request);
            let body = serde_json::json!({
                "template": template,
                "html": "<script>alert('canary')</script>\"' onload=x",
                "control": "quote\" back\\slash\u{1b}[31m bell\u{7}\ninjected_metric 1\n",
                "value": 1,
                "apiToken": request,
                "you_sent": request,
            });
            // Who does not ask with the first secret is refused, in words that repeat what was sent.
            let status = if request.contains(SECRETS[0]) { "200 OK" } else { "401 Unauthorized" };
            let head = format!(
                "Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}",
                body.to_string().len()
            );
            let _ = write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}");
        }
    });
    (address, asked)
}

/// A daemon that knows all secrets and polls what is poisoned.
fn lamp(ansible: Option<&Path>, farm: &Farm) -> (Lamp, Arc<Mutex<String>>) {
    let mut lamp = Lamp::new("");
    let template = format!("{{{{ lookup('pipe','touch {}') }}}}", lamp.path("pwned").display());
    let (address, asked) = echo(&template);
    let binding = "remediations:\n- name: repair\n  match: ['alertname=\"Poisoned\"']\n  target: '{{ $labels.target }}'\n  mode: auto\n  \
                   steps: [{playbook: show.yml, timeout: 1m}]\n  guards: {cooldown: 1m}";
    let head = config(ansible, if ansible.is_some() { binding } else { "" })
        .replace("{listen:", "{token: {credential: token}, listen:");
    let value = "options: {credential: CREDENTIAL, values: [{name: cloud_worker, help: A worker., path: $.value, \
                 labels: {template: {path: $.template}, html: {path: $.html}, control: {path: $.control}}}]}";
    let cloud = |id: &str, credential: &str| {
        let options = value.replace("CREDENTIAL", credential);
        format!("- {{id: {id}, kind: http_json, address: \"http://{address}/{id}\", {options}}}\n")
    };
    let targets = cloud("cloud", "{bearer: {file: secrets/file}}")
        + &cloud("refused", "{header: {name: X-Api-Key, value: {env: CANARY}}}")
        + &farm.targets();
    lamp.write("davylamp.yml", &(head + &targets));
    lamp.write("rules.yml", RULES);
    lamp.write("playbooks/show.yml", PLAYBOOK);
    lamp.write("secrets/file", SECRETS[0]);
    lamp.write("secrets/token", SECRETS[2]);
    lamp.env("CANARY", SECRETS[1]);
    lamp.env("CREDENTIALS_DIRECTORY", lamp.path("secrets").to_str().unwrap());
    // Everything there is, of our own crate and of all others.
    lamp.env("RUST_LOG", "trace");
    (lamp, asked)
}

#[test]
fn secrets_turn_up_nowhere_and_text_stays_text() {
    let ansible = ansible();
    let farm = Farm::start(&[("evil", Model::Bitaxe)]);
    let (mut lamp, asked) = lamp(ansible.as_deref(), &farm);
    lamp.start();
    lamp.wait("both answers", seconds(60), |page| {
        let polled = |id| page.value("davylamp_polls_total", &[("target", id)]).is_some_and(|polls| polls > 0.0);
        polled("cloud") && polled("refused")
    });
    let mut shown = vec![("what is asked".to_string(), lamp.get("/").body.into_bytes())];
    if ansible.is_some() {
        shown.extend(watch_the_run(&lamp));
    }
    let authorization = format!("Bearer {}", SECRETS[2]);
    let reloaded = lamp.request("POST", "/-/reload", &[("Authorization", &authorization)]);
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    for secret in &SECRETS[..2] {
        assert!(asked.lock().unwrap().contains(secret), "{secret} was never sent: this test proves nothing");
    }
    for path in ["/", "/metrics", "/-/ready", "/nothing", "/metrics?kind=http_json"] {
        let answer = lamp.request("GET", path, &[("Accept", "application/openmetrics-text")]);
        shown.push((path.to_string(), (answer.head + &answer.body).into_bytes()));
    }
    let page = lamp.metrics();
    assert_eq!(page.value("injected_metric", &[]), None, "a label ended its line");
    assert!(page.0.contains("injected_metric 1") && !page.0.contains(['\u{7}', '\u{1b}']), "{}", page.0);
    let status = lamp.get("/").body;
    assert!(status.contains("Poisoned") && !status.contains("<script") && !status.contains('\u{1b}'), "{status}");
    for target in ["cloud", "refused"] {
        let done = lamp.output(&["poll", target, "--save", "saved"]);
        assert_eq!(done.status.success(), target == "cloud", "{}", String::from_utf8_lossy(&done.stderr));
        shown.push((format!("poll {target}"), [done.stdout, done.stderr].concat()));
    }
    lamp.finish();
    lamp.export();
    for (place, bytes) in shown.into_iter().chain(files(&lamp)) {
        for secret in SECRETS {
            assert!(!contains(&bytes, secret.as_bytes()), "{secret} in {place}:\n{}", around(&bytes, secret));
        }
    }
    let log = lamp.log();
    let line = |line: &&str| line.starts_with("injected") || line.contains('\u{1b}') || line.contains('\u{7}');
    assert_eq!(log.lines().find(line), None, "text from outside changes the log");
    assert!(!lamp.path("pwned").exists(), "a template from outside was evaluated");
}

/// Command lines of everybody and environments of the play, for as long as the run lasts.
fn watch_the_run(lamp: &Lamp) -> Vec<(String, Vec<u8>)> {
    let seen = Mutex::new(Vec::new());
    lamp.until("the end of the run", seconds(90), || {
        seen.lock()
            .unwrap()
            .extend(command_lines().into_iter().map(|line| ("a command line".to_string(), line.into_bytes())));
        for pid in lamp.runs().iter().flat_map(|run| marked(&run.display().to_string())) {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            seen.lock().unwrap().push(("the environment of a play".to_string(), environment));
        }
        let ended = lamp.metrics().value("davylamp_runs_total", &[("result", "succeeded")]);
        (ended == Some(1.0)).then_some(())
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.iter().any(|(place, _)| place.contains("environment")), "the run was over before anybody looked");
    let stdout = lamp.runs().iter().map(|run| std::fs::read_to_string(run.join("stdout")).unwrap()).collect::<String>();
    assert!(stdout.contains("lookup('pipe'"), "the play was handed the text: {stdout}");
    seen
}

/// All files below the folder but the secrets themselves; compressed ones unpacked.
fn files(lamp: &Lamp) -> Vec<(String, Vec<u8>)> {
    let mut open = vec![lamp.path("")];
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() && path != lamp.path("secrets") {
                open.push(path);
            } else if path.is_file() {
                found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    let packed: Vec<PathBuf> = found
        .iter()
        .map(|(path, _)| PathBuf::from(path))
        .filter(|path| path.extension().is_some_and(|e| e == "zst"))
        .collect();
    assert!(packed.len() >= 2, "an export of the daemon's end and one of ours: {packed:?}");
    found.extend(packed.iter().map(|path| (path.display().to_string(), format!("{:?}", records(path)).into_bytes())));
    for part in ["log.1", "state/", "saved/"] {
        assert!(found.iter().any(|(path, _)| path.contains(part)), "no file {part}");
    }
    found
}

/// The text around a find.
fn around(bytes: &[u8], secret: &str) -> String {
    let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()).unwrap_or(0);
    String::from_utf8_lossy(&bytes[at.saturating_sub(300)..(at + 100).min(bytes.len())]).into_owned()
}
