//! Twenty twins by host name, and names that trip people up: in every place where a name is shown, asked for or acted on.

use serde_json::Value;

use crate::lamp::Lamp;
use crate::street::{Street, Tenant};
use crate::world::{PLAYED, seconds};

/// Host names that devices give themselves, and the ids that come of them.
const NAMES: [(&str, &str); 5] = [
    ("total", "total-ab15"),
    ("3rd rig", "3rd-rig-ab16"),
    ("a/b", "a-b-ab17"),
    ("{{ 7*7 }}\"'", "7-7-ab18"),
    ("<img src=x>", "img-src-x-ab19"),
];

/// Ids that owners write; the last three are no names of hosts.
const IDS: [&str; 6] = ["total", "3rd", "all", "axeos", "{{ 7*7 }}", "it's \"q\" \\ <b>"];

const RULES: &str = r#"groups:
- name: twins
  interval: 1s
  rules:
  - alert: Named
    expr: miner_hashrate_hashes_per_second{miner!~"bitaxe.*"} > 0 or miner_hashrate_hashes_per_second{miner="bitaxe-ab01"} > 0
    annotations: {summary: "{{ $labels.miner }} hashes"}
"#;

fn scene(street: &Street) -> Lamp {
    for house in 1..=20 {
        street.move_in(house, Tenant::Axeos(house, "bitaxe"));
    }
    for (house, (hostname, _)) in (21..).zip(NAMES) {
        street.move_in(house, Tenant::Axeos(house, hostname));
    }
    let mut targets = String::new();
    for (house, id) in (31..).zip(IDS) {
        street.move_in(house, Tenant::Axeos(house, "bitaxe"));
        // Text in JSON is text in YAML.
        targets.push_str(&format!(
            "- {{id: {}, kind: axeos, address: '{}'}}\n",
            Value::from(id),
            street.address(house)
        ));
    }
    let lamp = Lamp::new("");
    let config = format!(
        "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}\nstorage: {{path: state, ballast_bytes: 0}}\n\
         defaults: {{interval: 5s, timeout: 3s}}\ndashboards: {{enabled: true, path: boards}}\nrules: {{files: [rules.yml]}}\n\
         ansible: {{command: {}, startup_grace: 0s, kill_grace: 1s, max_concurrent: 4}}\n\
         remediations:\n- name: look\n  match: ['alertname=\"Named\"']\n  target: '{{{{ $labels.miner }}}}'\n  mode: auto\n\
         \x20 steps: [{{playbook: look.yml, timeout: 1m}}]\n  guards: {{cooldown: 1m, max_targets: '100%/1h, min 20'}}\n{}targets:\n{targets}",
        lamp.path("ansible-playbook").display(),
        street.discovery("  adopt: auto\n"),
    );
    lamp.write("davylamp.yml", &config);
    lamp.write("rules.yml", RULES);
    lamp.write("token", "s3cret\n");
    lamp.write("playbooks/look.yml", "- hosts: all\n");
    lamp.program("ansible-playbook", PLAYED);
    lamp
}

/// All ids.
fn ids() -> Vec<String> {
    let twins = (1..=20).map(|last| format!("bitaxe-ab{last:02x}"));
    twins.chain(NAMES.map(|(_, id)| id.to_string())).chain(IDS.map(str::to_string)).collect()
}

fn query(lamp: &Lamp, expression: &str) -> Value {
    let encoded: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let answer = lamp.get(&format!("/api/v1/query?query={encoded}"));
    assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["data"]["result"].clone()
}

fn said(lamp: &Lamp, args: &[&str]) -> String {
    let output = lamp.output(args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {text}");
    text
}

#[test]
fn a_name_is_text_wherever_it_stands() {
    let street = Street::new();
    let mut lamp = scene(&street);
    lamp.start();
    let ids = ids();
    lamp.wait("all of them", seconds(90), |page| page.value("davylamp_target_up", &[]) == Some(ids.len() as f64));
    // PromQL finds each by its own id, and none of them is taken for another.
    let quoted = |id: &str| id.replace('\\', "\\\\").replace('"', "\\\"");
    for id in &ids {
        let found = query(&lamp, &format!("davylamp_target_up{{target=\"{}\"}}", quoted(id)));
        assert_eq!((found.as_array().unwrap().len(), &found[0]["metric"]["target"]), (1, &Value::from(id.as_str())));
    }
    let count = query(&lamp, "count(count by (miner) (miner_hashrate_hashes_per_second))");
    assert_eq!(count[0]["value"][1], ids.len().to_string());
    let page = lamp.metrics().0;
    assert!(page.contains(r#"miner="it's \"q\" \\ <b>""#) && page.contains(r#"miner="{{ 7*7 }}""#), "{page}");
    pages(&lamp);
    on_record(&lamp, &ids);
    inventory(&lamp);
    acted_on(&lamp);
    lamp.finish();
}

/// The status page, and the dashboards.
fn pages(lamp: &Lamp) {
    let status = lamp.get("/").body;
    for (text, markup) in [("&lt;b&gt;", "\\ <b>"), ("&lt;img src=x&gt;", "<img src=x>")] {
        assert!(!status.contains(markup), "{markup}");
        // A device's own name is not shown, its id is.
        assert!(text.contains("img") || status.contains(text), "{text}: {status}");
    }
    assert!(status.contains("{{ 7*7 }}") && status.contains("bitaxe-ab14"));
    let boards: Vec<_> = std::fs::read_dir(lamp.path("boards")).unwrap().flatten().map(|file| file.path()).collect();
    assert!(!boards.is_empty());
    for path in boards.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let text = std::fs::read_to_string(path).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        assert!(board["panels"].is_array() || board["elements"].is_object(), "{}", path.display());
        // Names come from the variables when a board is looked at; none is baked in.
        assert!(!text.contains("7*7") && !text.contains("bitaxe-ab"), "{}", path.display());
    }
}

/// Commands by id.
fn on_record(lamp: &Lamp, ids: &[String]) {
    let url = format!("http://{}", lamp.address());
    let token = lamp.path("token").display().to_string();
    let with = ["--dry-run", "--url", &url, "--token-file", &token, "--by", "ada"];
    for id in ids {
        let told = said(lamp, &[&["miner", "restart", id][..], &with].concat());
        assert!(told.contains(&format!("would send to {id}: ")), "{told}");
    }
    let refused = lamp.output(&[&["miner", "restart", "total/../all"][..], &with].concat());
    assert!(!refused.status.success());
}

/// What Ansible is told of the configured ones.
fn inventory(lamp: &Lamp) {
    let listed: Value = serde_json::from_str(&said(lamp, &["inventory", "--list"])).unwrap();
    assert_eq!(listed["axeos"]["hosts"], serde_json::json!(["total", "3rd"]), "{listed:#}");
    assert_eq!(listed["all"], serde_json::json!({"children": ["axeos"]}));
    let one: Value = serde_json::from_str(&said(lamp, &["inventory", "--host", "{{ 7*7 }}"])).unwrap();
    assert_eq!(one["davylamp_kind"], serde_json::json!({"__ansible_unsafe": "axeos"}));
}

/// Playbooks run for hosts by their whole names, and for nothing that could mean more.
fn acted_on(lamp: &Lamp) {
    let played = || {
        let trace = std::fs::read_to_string(lamp.path("trace")).unwrap_or_default();
        let mut hosts: Vec<String> = trace.lines().map(|line| line.replace(" look.yml real", "")).collect();
        hosts.sort();
        hosts
    };
    let mut expected: Vec<String> = ["bitaxe-ab01", "total", "3rd"].map(String::from).to_vec();
    expected.extend(NAMES.map(|(_, id)| id.to_string()));
    expected.sort();
    lamp.until("the plays", seconds(60), || (played().len() >= expected.len()).then_some(()));
    assert_eq!(played(), expected, "each once, and nobody else");
    let ambiguous = [("reason", "target_ambiguous")];
    let page = lamp.metrics();
    assert!(page.value("davylamp_run_suppressions_total", &ambiguous) > Some(0.0), "{}", page.0);
}

#[test]
fn an_id_with_a_slash_is_refused_in_words() {
    let lamp = Lamp::new("targets:\n- {id: 'rack/1', kind: axeos, address: 127.0.0.1}\n");
    let output = lamp.output(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains("davylamp.yml:2") && told.contains("\"rack/1\" is not an id") && told.contains("no slash"),
        "{told}"
    );
}
