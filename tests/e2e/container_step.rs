//! A remediation that gives commands to a container of a real engine: it is done once, read back, and refused where the
//! engine refuses.

use serde_json::Value;

use crate::docker::Engine;
use crate::http::send;
use crate::lamp::Lamp;
use crate::world::seconds;

const BEARER: (&str, &str) = ("Authorization", "Bearer s3cret");

fn scene(engine: &Engine) -> Lamp {
    let step = |name: &str, alert: &str, mode: &str| {
        format!(
            "- name: {name}
  match: ['alertname=\"{alert}\"']
  target: '{{{{ $labels.engine }}}}/{{{{ $labels.container }}}}'
  sources: [alertmanager]
  mode: {mode}
  steps: [{{container: restart, timeout: 30s}}]
"
        )
    };
    let config = format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
targets:
{}ansible: {{startup_grace: 0s, stop_grace: 1s}}
webhooks: {{alertmanager: {{bearer: {{file: token}}}}}}
remediations:
{}{}",
        crate::container::target(engine),
        step("restart-it", "Stuck", "auto"),
        step("look-at-it", "Slow", "check"),
    );
    let lamp = Lamp::new(&config);
    lamp.write("token", "s3cret\n");
    lamp.write("playbooks/.keep", "");
    lamp
}

fn fire(lamp: &Lamp, alert: &str, container: &str) {
    let body = format!(
        r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"{alert}","engine":"engine",
        "container":"{container}"}},"annotations":{{}},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}}]}}"#
    );
    let answer = send(lamp.address(), "POST", "/api/v1/webhooks/alertmanager", &[BEARER], &body).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// The run for a container, when it has ended.
fn ended(lamp: &Lamp, target: &str) -> Value {
    lamp.until(&format!("a run for {target}"), seconds(60), || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let page: Value = serde_json::from_str(&lamp.get("/api/v1/runs").body).unwrap();
        let over = |run: &&Value| run["target"] == target && !run["ended_at"].is_null();
        page["runs"].as_array()?.iter().find(over).cloned()
    })
}

#[test]
fn a_remediation_restarts_a_container_of_a_real_engine() {
    let Some(engine) = Engine::start() else { return };
    for name in ["web", "db"] {
        engine.run(name, &[], &["sleep", "1000"]);
    }
    let since = |name: &str| engine.docker(&["inspect", "--format", "{{.State.StartedAt}}", name]);
    let (web, db) = (since("web"), since("db"));
    let mut lamp = scene(&engine);
    lamp.start();
    lamp.wait("the engine", seconds(30), |page| page.value("davylamp_target_up", &[("target", "engine")]) == Some(1.0));
    fire(&lamp, "Stuck", "web");
    fire(&lamp, "Slow", "db");
    fire(&lamp, "Stuck", "gone");
    let done = ended(&lamp, "engine/web");
    assert_eq!(done["state"], "succeeded", "{done}");
    let now = since("web");
    assert_ne!(now, web, "it was restarted");
    assert_eq!(ended(&lamp, "engine/db")["state"], "succeeded");
    assert_eq!(since("db"), db, "check mode says what it would do");
    let refused = ended(&lamp, "engine/gone");
    assert_eq!(refused["state"], "failed", "{refused}");
    assert!(refused.to_string().contains("No such container"), "{refused}");
    // The alert goes on firing, and is sent again: one episode, one restart.
    fire(&lamp, "Stuck", "web");
    lamp.wait("the next poll", seconds(20), |page| {
        page.value("docker_container_restarts_total", &[("container", "web")]).is_some_and(|count| count >= 1.0)
    });
    assert_eq!(since("web"), now);
    lamp.stop();
}
