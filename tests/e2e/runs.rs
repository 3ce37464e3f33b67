//! Runs in the hands of people: approved by a one-time link, cancelled, tried again, followed, explained. The alerts come
//! by webhook, the plays are real.

use std::process::Output;

use serde_json::Value;

use crate::http::{Answer, send};
use crate::lamp::Lamp;
use crate::world::{ansible, seconds};

const BEARER: (&str, &str) = ("Authorization", "Bearer s3cret");

/// Two bindings: one asks first, one acts. Messages go to a receiver on loopback that this test reads.
fn scene(ansible: &std::path::Path, hook: std::net::SocketAddr) -> Lamp {
    let config = format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
ansible: {{command: '{}', inventory: hosts, startup_grace: 0s, stop_grace: 1s, kill_grace: 1s, approval_url: 'http://lamp.example'}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
receivers:
- name: ops
  webhook_configs: [{{url: 'http://{hook}/'}}]
route: {{receiver: ops, group_wait: 1h}}
remediations:
- name: ask
  match: ['alertname=\"Ask\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: approve
  notify: [ops]
  steps: [{{playbook: trace.yml, timeout: 1m}}]
- name: slow
  match: ['alertname=\"Slow\"']
  target: '{{{{ $labels.miner }}}}'
  sources: [alertmanager]
  mode: auto
  steps: [{{playbook: slow.yml, timeout: 5m}}]
",
        ansible.display()
    );
    let lamp = Lamp::new(&config);
    lamp.write("token", "s3cret\n");
    let local = "ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'";
    lamp.write("hosts", &format!("m1 {local}\nm2 {local}\n"));
    let trace = lamp.path("trace").display().to_string();
    let play = |task: &str| format!("- hosts: all\n  gather_facts: false\n  tasks:\n{task}");
    let copy = format!("  - name: leave a trace\n    copy: {{content: \"<b>changed</b>\\n\", dest: {trace}}}\n");
    lamp.write("playbooks/trace.yml", &play(&copy));
    lamp.write("playbooks/slow.yml", &play("  - name: sleep long\n    command: sleep 300\n"));
    lamp
}

fn fire(lamp: &Lamp, name: &str, miner: &str) {
    let body = format!(
        r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"{name}","miner":"{miner}"}},
        "annotations":{{}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}}]}}"#
    );
    let answer = send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &[BEARER], &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// `davylamp runs …` against the daemon.
fn runs(lamp: &Lamp, args: &[&str]) -> Output {
    let url = format!("http://{}", lamp.address());
    let token = lamp.path("token").display().to_string();
    lamp.output(&[&["runs"], args, &["--url", &url, "--token-file", &token]].concat())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits for a run of a binding in a state; its id. Check runs are not meant.
fn in_state(lamp: &Lamp, binding: &str, state: &str) -> String {
    lamp.until(&format!("a run of {binding} that is {state}"), seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let page = lamp.get(&format!("/api/v1/runs?binding={binding}&state={state}"));
        let found: Value = serde_json::from_str(&page.body).unwrap();
        let mut found = found["runs"].as_array().unwrap().iter().filter(|run| run["rehearses"].is_null());
        found.next().map(|run| run["id"].as_str().unwrap().to_string())
    })
}

#[test]
fn a_link_is_looked_at_often_and_used_once() {
    let Some(ansible) = ansible() else { return };
    let hook = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut lamp = scene(&ansible, hook.local_addr().unwrap());
    lamp.start();
    fire(&lamp, "Ask", "m1");
    let link = link(&hook);
    let id = in_state(&lamp, "ask", "waiting_approval");
    assert!(link.starts_with(&format!("/runs/{id}/approval?token=")), "{link}");
    let wrong = format!("/runs/{id}/approval?token={}", "0".repeat(64));
    let decide = |path: &str, body: &str| send(lamp.address(), "POST", path, &[], body).unwrap();
    for answer in [lamp.get(&wrong), decide(&wrong, "decision=approve"), lamp.get(&format!("/runs/{id}/approval"))] {
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    for _ in 0..2 {
        let page = lamp.get(&link);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("leave a trace: ok, would change"), "{}", page.body);
        assert!(page.body.contains("+&lt;b&gt;changed") && !page.body.contains("<b>changed"), "{}", page.body);
        assert!(page.head.contains("default-src 'none'") && page.head.contains("no-referrer"), "{}", page.head);
    }
    assert_eq!(decide(&link, "decision=perhaps").status, 400);
    assert!(!lamp.path("trace").exists(), "a check run changes nothing");
    let status = lamp.get("/").body;
    assert!(status.contains(&format!("davylamp runs approve {id}")), "{status}");
    let shown = lamp.get(&format!("/api/v1/runs/{id}")).body;
    assert!(shown.contains(r#""check":{"#) && !shown.contains("token_sha256"), "{shown}");

    let approved = decide(&link, "decision=approve");
    assert_eq!((approved.status, approved.body.contains("Approved")), (200, true), "{}", approved.body);
    in_state(&lamp, "ask", "succeeded");
    assert_eq!(std::fs::read_to_string(lamp.path("trace")).unwrap(), "<b>changed</b>\n");
    for answer in [lamp.get(&link), decide(&link, "decision=approve"), decide(&link, "decision=reject")] {
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    let followed = runs(&lamp, &["follow", &id]);
    assert!(followed.status.success() && text(&followed).contains("TASK [leave a trace]"), "{}", text(&followed));
    let explained = text(&runs(&lamp, &["explain", &id]));
    let mut audit = lamp.command(&["audit", "list", "--subject", &id]);
    let audit = text(&audit.env("DAVYLAMP_URL", format!("http://{}", lamp.address())).output().unwrap());
    let named = |what: &str, who: &str| audit.lines().any(|line| line.contains(what) && line.contains(who));
    assert!(named("run.queued", "by \"one-time link\"") && named("run.waiting_approval", "by \"davylamp\""), "{audit}");
    assert!(explained.contains("one-time link") && explained.contains("its check run"), "{explained}");
    lamp.finish();
}

/// The address in the message that asks for an approval, without the host that nobody has here.
fn link(hook: &std::net::TcpListener) -> String {
    use std::io::{Read, Write};
    hook.set_nonblocking(true).unwrap();
    let begun = std::time::Instant::now();
    loop {
        assert!(begun.elapsed() < seconds(90), "nobody was told");
        let Ok((mut stream, _)) = hook.accept() else {
            std::thread::sleep(std::time::Duration::from_millis(20));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(seconds(2))).unwrap();
        let (mut text, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut part) {
            text.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&text);
            if let Some((_, rest)) = text.split_once("http://lamp.example") {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/?=".contains(c));
                if let Some(end) = end {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    return rest[..end].to_string();
                }
            }
        }
    }
}

#[test]
fn a_play_is_cancelled_tried_again_and_explained() {
    let Some(ansible) = ansible() else { return };
    let hook = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut lamp = scene(&ansible, hook.local_addr().unwrap());
    lamp.start();
    fire(&lamp, "Slow", "m2");
    let id = in_state(&lamp, "slow", "spawned");
    let sleeping = || lamp.strays().len() > 2;
    lamp.until("the play at work", seconds(60), || sleeping().then_some(()));
    let unasked = send(lamp.address(), "POST", &format!("/api/v1/runs/{id}/cancel"), &[], "").unwrap();
    assert_eq!(unasked.status, 401);
    lamp.until("its output", seconds(60), || {
        let output = lamp.get(&format!("/api/v1/runs/{id}/output")).body;
        output.contains("TASK [sleep long]").then_some(())
    });
    let cancelled = runs(&lamp, &["cancel", &id, "--by", "ann"]);
    assert!(cancelled.status.success(), "{}", text(&cancelled));
    let followed = runs(&lamp, &["follow", &id]);
    assert!(followed.status.code() == Some(1) && text(&followed).contains("cancelled"), "{}", text(&followed));
    let of_run = |lamp: &Lamp| lamp.strays().iter().any(|line| line.contains(&id));
    assert!(!of_run(&lamp), "{:?}", lamp.strays());

    let again = runs(&lamp, &["retry", &id, "--by", "ann"]);
    assert!(again.status.success(), "{}", text(&again));
    let second = text(&again).split_whitespace().next().unwrap().to_string();
    assert_ne!(second, id);
    assert_eq!(runs(&lamp, &["retry", &id]).status.code(), Some(1), "it was tried again already");
    let gone = runs(&lamp, &["cancel", &second, "--by", "ann"]);
    assert!(gone.status.success(), "{}", text(&gone));
    lamp.until("the end of the second", seconds(60), || {
        let shown = lamp.get("/api/v1/runs?binding=slow&state=cancelled").body;
        shown.contains(&second).then_some(())
    });
    // The target is in no inventory.
    fire(&lamp, "Slow", "m9");
    let why = lamp.until("why nothing is run", seconds(30), || {
        Some(text(&runs(&lamp, &["explain", "m9"]))).filter(|text| text.contains("because"))
    });
    assert!(why.contains("target_not_in_inventory: the inventory has no such host"), "{why}");
    let page: Answer = lamp.get("/");
    assert!(page.body.contains("Suppressed") && page.body.contains("the inventory has no such host"), "{}", page.body);
    let listed = text(&runs(&lamp, &["list", "--output", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len(), 2, "{listed}");

    // Without a URL nobody answers at the configured port 0, and the state belongs to the daemon.
    let asked = lamp.output(&["runs", "list"]);
    let held = format!("is in use by process {}", lamp.pid().as_raw_nonzero());
    assert!(!asked.status.success() && text(&asked).contains(&held), "{}", text(&asked));
    let mut audit = lamp.command(&["audit", "list", "--subject", &id]);
    let audit = audit.env("DAVYLAMP_URL", format!("http://{}", lamp.address()));
    let audit = text(&audit.output().unwrap());
    assert!(
        audit.lines().any(|line| line.contains("run.cancelled") && line.contains("by \"ann, 127.0.0.1\"")),
        "{audit}"
    );
    lamp.finish();
    left_behind(&lamp, &id, &second);
}

/// What the command line shows of a daemon that is stopped.
fn left_behind(lamp: &Lamp, id: &str, second: &str) {
    let said = |args: &[&str]| {
        let output = lamp.output(&[&["runs"], args].concat());
        assert!(output.status.success() && text(&output).contains("no daemon answers at"), "{}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let left = said(&["list", "--target", "m2"]);
    assert!(left.contains(id) && left.contains(second) && left.contains("cancelled"), "{left}");
    assert!(!said(&["list", "--state", "succeeded"]).contains(id));
    assert!(said(&["show", id]).contains("ann") && said(&["explain", "m2"]).contains("slow on m2"));
    let shown: Value = serde_json::from_str(&said(&["show", id, "--output", "json"])).unwrap();
    assert_eq!((&shown["run"]["state"], &shown["run"]["target"]), (&"cancelled".into(), &"m2".into()), "{shown}");
    let wrong = lamp.output(&["runs", "show", "0123456789abcdef"]);
    assert!(!wrong.status.success() && text(&wrong).contains("there is no run 0123456789abcdef"), "{}", text(&wrong));
}

#[test]
fn a_runner_takes_a_new_configuration_over_and_its_plays_are_followed() {
    let Some(ansible) = ansible() else { return };
    let hook = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut lamp = scene(&ansible, hook.local_addr().unwrap());
    let config = std::fs::read_to_string(lamp.path("davylamp.yml")).unwrap();
    let with = |more: &str| config.replace("ansible: {", &format!("ansible: {{runner: runner.socket, {more}"));
    lamp.write("davylamp.yml", &with("").replace("slow.yml, timeout", "say.yml, timeout"));
    let play =
        "- hosts: all\n  gather_facts: false\n  tasks:\n  - debug: {msg: \"heard {{ lookup('env', 'GREETING') }}!\"}\n";
    lamp.write("playbooks/say.yml", play);
    lamp.env("GREETING", "good evening");
    let runner = lamp.runner();
    lamp.start();
    let log = || std::fs::read_to_string(lamp.path("log.runner")).unwrap();
    let hup = |words: &str| {
        rustix::process::kill_process(rustix::process::Pid::from_child(&runner.0), rustix::process::Signal::HUP)
            .unwrap();
        lamp.until(words, seconds(20), || log().contains(words).then_some(()));
    };
    let said = |miner: &str| {
        fire(&lamp, "Slow", miner);
        let id = lamp.until("the play of this miner", seconds(60), || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let page = lamp.get("/api/v1/runs?binding=slow&state=succeeded");
            let found: Value = serde_json::from_str(&page.body).unwrap();
            let mut found = found["runs"].as_array().unwrap().iter().filter(|run| run["target"] == miner);
            found.next().map(|run| run["id"].as_str().unwrap().to_string())
        });
        text(&runs(&lamp, &["follow", &id]))
    };
    let before = said("m1");
    assert!(before.contains("heard !"), "the variable is not let through yet: {before}");
    lamp.write("davylamp.yml", "ansible: {enviroment: [GREETING]}\n");
    hup("did you mean \"environment\"");
    lamp.write("davylamp.yml", &with("environment: [GREETING], ").replace("slow.yml, timeout", "say.yml, timeout"));
    hup("configuration loaded anew");
    let after = said("m2");
    assert!(after.contains("heard good evening!"), "{after}");
}
