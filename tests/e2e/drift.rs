//! Presets: a device that differs from its own, and one that mines for somebody whom nobody named.

use davylamp::demo::{DeviceHandle, Fault, Model, PASSWORD};

use crate::lamp::Lamp;
use crate::miner::miner;
use crate::world::{Farm, config, seconds};

/// The simulated Bitaxe has 525 MHz, 1150 mV and this wallet at pool.example.com:3333.
const WALLET: &str = "bc1qdemodemodemodemodemodemodemodemode";

#[test]
fn drift_is_a_metric_a_page_and_a_table_and_shows_no_wallet() {
    let farm = Farm::start(&[("garage-1", Model::Bitaxe), ("garage-2", Model::BitaxeOld)]);
    let presets = format!(
        "presets:\n- name: gammas\n  match: ['model=~\"Gamma.*\"', 'target=\"garage-1\"']\n  pools:\n  \
         - {{url: 'stratum+tcp://pool.example.com:3333', worker: '{WALLET}.rig'}}\n  \
         - {{url: 'backup.example.com:3333', worker: '{WALLET}.rig'}}\n  frequency_mhz: 490\n  core_voltage_mv: 1150\n\
         expected_pools: ['(pool|fallback)[.]example[.]com:3333']\nexpected_workers: ['bc1qsomebodyelse.*']\n"
    );
    let mut lamp = Lamp::new(&(config(None, &presets) + &farm.targets()));
    lamp.write("rules.yml", "groups: []");
    lamp.start();
    let drift = |setting: &'static str, pool: &'static str| {
        let labels = vec![("target", "garage-1"), ("preset", "gammas"), ("setting", setting)];
        if pool.is_empty() { labels } else { [labels, vec![("pool", pool)]].concat() }
    };
    let page = lamp.wait("drift", seconds(30), |page| {
        page.value("davylamp_preset_drift", &drift("frequency", "")).is_some()
            && page.value("davylamp_pool_unexpected", &[("target", "garage-2")]).is_some()
    });
    for (setting, pool, value) in [
        ("frequency", "", 1.0),
        ("core_voltage", "", 0.0),
        ("pool_url", "0", 0.0),
        ("pool_worker", "0", 0.0),
        ("pool_url", "1", 1.0),
        ("pool_worker", "1", 0.0),
    ] {
        assert_eq!(page.value("davylamp_preset_drift", &drift(setting, pool)), Some(value), "{setting} {pool}");
    }
    let unexpected = |target, what| {
        page.value("davylamp_pool_unexpected", &[("target", target), ("what", what), ("pool", "0")]).unwrap()
    };
    assert_eq!((unexpected("garage-1", "worker"), unexpected("garage-1", "pool")), (0.0, 0.0));
    assert_eq!((unexpected("garage-2", "worker"), unexpected("garage-2", "pool")), (1.0, 0.0));

    let json = lamp.get("/api/v1/drift?target=garage-1").body;
    let devices: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(devices.as_array().unwrap().len(), 1);
    let of = |setting: &str| {
        let all = devices[0]["drifts"].as_array().unwrap();
        all.iter().find(|drift| drift["setting"] == setting).unwrap().clone()
    };
    let clock = of("frequency");
    assert_eq!(
        clock,
        serde_json::json!({
            "setting": "frequency", "pool": null, "wanted": "490 MHz", "found": "525 MHz", "drifted": true,
        })
    );
    let status = lamp.get("/").body;
    assert!(status.contains("490 MHz") && status.contains("525 MHz") && status.contains("bc1q…mode.rig"), "{status}");
    let url = format!("http://{}", lamp.address());
    let table = lamp.output(&["drift", "--url", &url]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.status.code(), Some(1), "{text}");
    assert!(text.lines().any(|line| line.starts_with("garage-1  gammas  frequency")), "{text}");
    assert!(!text.contains("core_voltage"), "{text}");
    for text in [json, status, text, page.0] {
        assert!(!text.contains(WALLET), "{text}");
    }
    lamp.finish();
}

const RULES: &str = r#"groups:
- name: presets
  interval: 1s
  rules:
  - alert: MinerPresetDrift
    expr: label_replace(davylamp_preset_drift{setting!="firmware"} == 1, "miner", "$1", "target", "(.+)")
"#;

/// Two are repaired by the rule's remediation, two by a person, and one does not do what it is told.
const HIJACKED: [(&str, Model); 5] = [
    ("auto-cgminer", Model::Cgminer),
    ("auto-braiins", Model::Braiins),
    ("hand-antminer", Model::Antminer),
    ("hand-luxos", Model::Luxos),
    ("stubborn", Model::Vnish),
];

/// A daemon with a preset for all of them.
fn keeper(farm: &Farm) -> Lamp {
    let lamp = Lamp::new("");
    lamp.write("token", "s3cret\n");
    lamp.write("device", PASSWORD);
    lamp.write("pool", "hunter2\n");
    lamp.write("rules.yml", RULES);
    lamp.write("playbooks/.keep", "");
    let target = |device: &&DeviceHandle| {
        let options = device.options(&lamp.path("device"));
        let options = if options.is_null() { serde_json::json!({}) } else { options };
        let (id, kind, address) = (device.id(), device.kind(), device.address());
        format!("- {{id: {id}, kind: {kind}, address: \"{address}\", options: {options}}}\n")
    };
    let targets: String = HIJACKED.iter().map(|(id, _)| target(&farm.device(id))).collect();
    lamp.write(
        "davylamp.yml",
        &format!(
            "server: {{listen: 127.0.0.1:0, token: {{file: token}}}}
storage: {{path: state, ballast_bytes: 0}}
defaults: {{interval: 5s, timeout: 3s}}
rules: {{files: [rules.yml], evaluation_interval: 1s}}
ansible: {{startup_grace: 0s, stop_grace: 1s}}
presets:
- name: own
  pools:
  - {{url: 'stratum+tcp://mine.example.com:4444', worker: 'owner.{{{{ miner }}}}', password: {{file: pool}}}}
  exact_pools: true
remediations:
- name: restore-preset
  match: ['alertname=\"MinerPresetDrift\"', 'miner=~\"auto-.*\"']
  target: '{{{{ $labels.miner }}}}'
  mode: auto
  steps: [{{device: apply-preset, timeout: 1m}}]
targets:
{targets}"
        ),
    );
    lamp
}

#[test]
fn devices_of_five_families_are_set_back() {
    let farm = Farm::start(&HIJACKED);
    let mut lamp = keeper(&farm);
    farm.device("stubborn").set_fault(Some(Fault::Stubborn));
    lamp.start();
    let own = |id: &str| {
        let pools = farm.device(id).kept().pools;
        let right = |pool: &davylamp::demo::Pool| {
            pool.url.ends_with("mine.example.com:4444")
                && pool.user == format!("owner.{id}")
                && pool.password == "hunter2"
        };
        pools.len() == 1 && right(&pools[0])
    };
    let settled = |id: &'static str| {
        lamp.wait(&format!("{id} without drift"), seconds(90), |page| {
            let labels = [("target", id), ("setting", "pool_url"), ("pool", "0")];
            page.value("davylamp_preset_drift", &labels) == Some(0.0)
        });
        assert!(own(id), "{:?}", farm.device(id).kept());
    };
    // Nobody but a person touches these.
    let say = |args: &[&str]| {
        let output = miner(&lamp, args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("hunter2"), "{said}");
        (output.status.success(), said)
    };
    lamp.wait("polls", seconds(60), |page| {
        HIJACKED.iter().all(|(id, _)| page.value("davylamp_target_up", &[("target", id)]) == Some(1.0))
    });
    for (id, by) in [("hand-antminer", "set_miner_conf.cgi"), ("hand-luxos", "addpool")] {
        let (done, said) = say(&["apply-preset", id, "--dry-run"]);
        assert!(done && said.contains(by) && said.contains("mine.example.com"), "{said}");
        assert!(!own(id));
        let (done, said) = say(&["apply-preset", id]);
        assert!(done && said.contains("as its preset") && said.contains("before: pool_url"), "{said}");
        settled(id);
        assert!(say(&["apply-preset", id]).1.contains("it already is so"));
    }
    let (done, said) = say(&["apply-preset", "stubborn", "--timeout", "4"]);
    assert!(!done && said.contains("it does not show it"), "{said}");
    settled("auto-cgminer");
    settled("auto-braiins");
    let audit = lamp.get("/api/v1/audit").body;
    assert!(audit.contains("apply-preset own") && !audit.contains("hunter2"), "{audit}");
    lamp.finish();
}
