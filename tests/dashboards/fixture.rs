//! The installation whose dashboards are shipped in `grafana-dashboards/`, and ways to look into them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use davylamp::collect;
use davylamp::dashboards::{self, Facts, File, KindFacts, Settings, Threshold};
use serde_json::Value;

/// Families of a kind, used as long as the table of kinds has no such row.
const AXEOS: &str = "miner_info miner_state miner_hashrate_hashes_per_second miner_hashrate_average_hashes_per_second \
    miner_hashrate_expected_hashes_per_second miner_hashes_total miner_power_watts miner_power_limit_watts \
    miner_efficiency_joules_per_terahash miner_temperature_celsius miner_voltage_volts miner_current_amperes \
    miner_frequency_hertz miner_fan_speed_rpm miner_fan_duty_ratio miner_board_chips miner_shares_total \
    miner_share_rejections_total miner_best_share_difficulty miner_blocks_found_total miner_network_difficulty \
    miner_pool_info miner_pool_up miner_pool_active miner_pool_fallback_active miner_pool_shares_total \
    miner_pool_difficulty miner_pool_rtt_seconds miner_hardware_errors_total miner_hash_error_ratio miner_fault_active \
    miner_uptime_seconds miner_wifi_rssi_dbm miner_memory_free_bytes";
const CGMINER: &str = "miner_info miner_hashrate_hashes_per_second miner_hashrate_average_hashes_per_second \
    miner_hashes_total miner_temperature_celsius miner_frequency_hertz miner_fan_speed_rpm miner_shares_total \
    miner_best_share_difficulty miner_blocks_found_total miner_pool_info miner_pool_up miner_pool_active \
    miner_pool_shares_total miner_pool_difficulty miner_pool_last_share_timestamp_seconds miner_hardware_errors_total \
    miner_uptime_seconds";
const DOCKER: &str = "docker_engine_info docker_engine_containers docker_engine_images docker_disk_usage_bytes \
    docker_container_info docker_container_state docker_container_health docker_container_cpu_seconds_total \
    docker_container_cpu_throttled_seconds_total docker_container_cpu_limit_cores \
    docker_container_memory_working_set_bytes docker_container_memory_usage_bytes docker_container_memory_limit_bytes \
    docker_container_network_receive_bytes_total docker_container_network_transmit_bytes_total \
    docker_container_block_read_bytes_total docker_container_block_write_bytes_total docker_container_pids \
    docker_container_restarts_total docker_container_oom_kills_total docker_container_last_exit_code \
    docker_container_start_time_seconds docker_container_created_time_seconds docker_events_total";

/// All kinds that have a dashboard, and the numbers of the shipped rules.
pub fn facts() -> Facts {
    let mut facts = Facts::default();
    for (name, subject, families) in
        [("axeos", "miner", AXEOS), ("cgminer", "miner", CGMINER), ("docker", "engine", DOCKER)]
    {
        let poll_interval = Duration::from_secs(15);
        match collect::kind(name) {
            Some(kind) => facts.add_kind(kind, poll_interval),
            None => {
                let families = families.split_whitespace().map(str::to_string).collect::<BTreeSet<_>>();
                facts
                    .kinds
                    .insert(name.to_string(), KindFacts { subject: subject.to_string(), poll_interval, families });
            }
        }
    }
    facts.thresholds = vec![
        Threshold::new("MinerChipTemperatureHigh", 85.0),
        Threshold::new("MinerVrTemperatureHigh", 90.0),
        Threshold::new("MinerHashrateLow", 0.75),
        Threshold::new("MinerRejectRatioHigh", 0.05),
        Threshold::new("MinerWifiWeak", -80.0),
        Threshold::new("ContainerMemoryNearLimit", 0.9),
    ];
    facts
}

/// The shipped files.
pub fn shipped() -> Vec<File> {
    dashboards::all(&Settings::default(), &facts())
}

/// The shipped dashboards, by path.
pub fn shipped_dashboards() -> Vec<(String, Value)> {
    let json = shipped().into_iter().filter(|file| file.path.ends_with(".json"));
    json.map(|file| (file.path, serde_json::from_str(&file.content).unwrap())).collect()
}

/// The list at a JSON pointer; nothing there is an empty list.
pub fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The text at a JSON pointer; nothing there is an empty text.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Panels that are no headings.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "/panels").filter(|panel| text(panel, "/type") != "row")
}

/// Every expression of a dashboard with where it stands: panels, annotations and variables. Variables of Grafana are
/// replaced by plain values.
pub fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        let exprs = list(panel, "/targets").map(|target| text(target, "/expr"));
        found.extend(exprs.map(|expr| (text(panel, "/title").to_string(), expr)));
    }
    for mark in list(dashboard, "/annotations/list").filter(|mark| mark.get("expr").is_some()) {
        found.push((text(mark, "/name").to_string(), text(mark, "/expr")));
    }
    for variable in list(dashboard, "/templating/list").filter(|item| text(item, "/type") == "query") {
        let query = text(variable, "/definition");
        let selector = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
        found.push((text(variable, "/name").to_string(), selector.unwrap_or_else(|| panic!("{query}")).0));
    }
    found.into_iter().map(|(place, expr)| (place, dashboards::substitute(expr))).collect()
}

/// Where the official schemas are.
pub fn schemas() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/grafana-schemas");
    let dir = PathBuf::from(std::env::var("DAVYLAMP_GRAFANA_SCHEMAS").unwrap_or_else(|_| default.to_string()));
    if dir.join("dashboard.jsonschema.json").exists() {
        return Some(dir);
    }
    eprintln!("SKIPPED: no Grafana schemas in {}; set DAVYLAMP_GRAFANA_SCHEMAS", dir.display());
    None
}
