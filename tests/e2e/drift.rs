//! Presets: a device that differs from its own, and one that mines for somebody whom nobody named.

use davylamp::demo::Model;

use crate::lamp::Lamp;
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
