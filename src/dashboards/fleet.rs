//! The fleet overview: made to hang on a wall. One look says whether all is well, the next one where it is not.

use super::Facts;
use super::File;
use super::Settings;
use super::draft::Draft;
use super::draft::UP_DOWN;
use super::mining;
use super::page::Context;
use super::page::Head;
use super::page::Page;
use super::provision::MINERS;
use super::table;
use super::table::Column;
use super::thresholds;
use super::thresholds::steps;

/// Builds the fleet overview.
pub(super) fn build(settings: &Settings, facts: &Facts) -> File {
    let context = Context::new(settings, facts, "miner", |_| true);
    let mut page = Page::new(&context);
    numbers(&mut page, &context);
    power_and_alerts(&mut page, &context);
    courses(&mut page, &context);
    extremes(&mut page, &context);
    devices(&mut page, &context);
    let variables = page.variables();
    page.finish(
        Head {
            folder: MINERS,
            uid: "davylamp-fleet".to_string(),
            title: "Fleet overview".to_string(),
            description: "All miners at a glance: what they do against what they should, what is down, hot or slow.",
            from: "now-6h",
        },
        variables,
    )
}

fn numbers(page: &mut Page<'_>, context: &Context<'_>) {
    let (hashrate, expected) = (mining::hashrate(context), mining::expected_last_hour(context));
    let up = context.targets("davylamp_target_up", "");
    page.add(
        Draft::stat(1, "Hashrate")
            .about(
                "Sum of the present hashrate of all shown miners, in hashes per second. Bad: a step down. \
                    From miner_hashrate_hashes_per_second; miners that do not answer add nothing.",
            )
            .unit("Hs")
            .decimals(2)
            .query(format!("sum({hashrate}) or vector(0)"), "hashrate"),
    );
    page.add(
        Draft::stat(2, "Of expected")
            .about(
                "Present hashrate divided by what the miners should do at their settings. A miner that \
                    went down counts as expected for one hour. Red where the alert MinerHashrateLow begins.",
            )
            .unit("percentunit")
            .decimals(1)
            .steps(steps(&context.facts.thresholds, thresholds::HASHRATE_RATIO))
            .query(
                format!("(sum({hashrate} and on (miner) {expected}) or vector(0)) / sum({expected})"),
                "of expected",
            ),
    );
    page.add(
        Draft::stat(3, "Online")
            .about("Miners whose last poll succeeded. From davylamp_target_up.")
            .size(3, 4)
            .query(format!("sum({up})"), "online"),
    );
    page.add(
        Draft::stat(4, "Down")
            .about("Miners whose last poll failed. Bad: anything above 0. From davylamp_target_up.")
            .size(3, 4)
            .red_from(1.0)
            .query(format!("count({up}) - sum({up})"), "down"),
    );
}

fn power_and_alerts(page: &mut Page<'_>, context: &Context<'_>) {
    page.add(
        Draft::stat(5, "Power")
            .about(
                "Sum of the electrical power of all shown miners, in watts: measured where the device \
                    measures, otherwise its own estimate.",
            )
            .unit("watt")
            .no_value("not reported")
            .query(format!("sum({})", mining::power(context)), "power"),
    );
    page.add(
        Draft::stat(6, "Efficiency")
            .about(
                "Joules per terahash over the miners that hash and whose power is known. Lower is better; \
                    bad: a rise at the same settings.",
            )
            .size(3, 4)
            .unit("suffix:J/TH")
            .decimals(1)
            .no_value("not reported")
            .query(mining::fleet_efficiency(context), "efficiency"),
    );
    let alerts = context.select("ALERTS", "alertstate=\"firing\"");
    page.add(
        Draft::stat(7, "Firing alerts")
            .about("Alerts that fire now, on the chosen miners; with All chosen, every alert. From ALERTS.")
            .size(3, 4)
            .red_from(1.0)
            .query(format!("count({alerts}) or vector(0)"), "firing"),
    );
}

fn courses(page: &mut Page<'_>, context: &Context<'_>) {
    let (hashrate, expected) = (mining::hashrate(context), mining::expected_of_all(context));
    page.add(
        Draft::lines(10, "Hashrate and expected")
            .about(
                "Sum of the present hashrate and of the expected one, in hashes per second. Bad: a gap \
                    between the lines. A miner that does not say what it should do is expected to keep its \
                    average of the last hour.",
            )
            .unit("Hs")
            .zero_based()
            .query(format!("sum({hashrate}) or vector(0)"), "hashrate")
            .query(format!("sum({expected})"), "expected"),
    );
    page.add(
        Draft::lines(11, "Power")
            .about("Sum of the electrical power of all shown miners, in watts.")
            .size(6, 8)
            .unit("watt")
            .zero_based()
            .query(format!("sum({})", mining::power(context)), "power"),
    );
    let polled = context.targets("davylamp_target_up", "");
    page.add(
        Draft::lines(12, "Online and down")
            .about(
                "Miners whose last poll succeeded, and the others. Bad: down above 0. From \
                    davylamp_target_up.",
            )
            .size(6, 8)
            .decimals(0)
            .zero_based()
            .query(format!("sum({polled})"), "online")
            .query(format!("count({polled}) - sum({polled})"), "down"),
    );
}

fn extremes(page: &mut Page<'_>, context: &Context<'_>) {
    let device = device_url(context);
    page.add(
        Draft::bars(20, "Hottest ten")
            .about(
                "The ten highest chip temperatures now, in degrees Celsius, one per miner. Red where the \
                    alert MinerChipTemperatureHigh begins. From miner_temperature_celsius{sensor=\"chip\"}.",
            )
            .size(8, 9)
            .unit("celsius")
            .decimals(1)
            .range(20.0, 100.0)
            .no_value("not reported")
            .steps(steps(&context.facts.thresholds, thresholds::CHIP_TEMPERATURE))
            .link("Open the device", bar_url())
            .now(format!("topk(10, {})", mining::with_kind(context, &mining::hottest(context, "chip"))), "{{miner}}"),
    );
    page.add(
        Draft::bars(21, "Worst ten by expected hashrate")
            .about(
                "The ten miners with the lowest present hashrate divided by the expected one. Red where \
                    the alert MinerHashrateLow begins. Miners that do not answer are counted in Down.",
            )
            .size(8, 9)
            .unit("percentunit")
            .decimals(1)
            .range(0.0, 1.2)
            .no_value("not reported")
            .steps(steps(&context.facts.thresholds, thresholds::HASHRATE_RATIO))
            .link("Open the device", bar_url())
            .now(format!("bottomk(10, {})", mining::with_kind(context, &mining::ratio(context))), "{{miner}}"),
    );
    let alerts = context.select("ALERTS", "alertstate=\"firing\"");
    let table = Draft::table(22, "Firing alerts")
        .about(
            "Alerts that fire now. The rules and what they start stand in davylamp's configuration. \
                    From ALERTS.",
        )
        .size(8, 9)
        .no_value("nothing fires");
    // Alerts about polling name a target and no miner; it is the same id.
    let named = format!("label_replace({alerts}, \"miner\", \"$1\", \"target\", \"(.+)\")");
    let columns = vec![
        Column::labels(format!("max by (alertname, severity, miner) ({named})")),
        Column::label("alertname", "Alert").width(190),
        Column::label("severity", "Severity").width(80),
        Column::label("miner", "Target").flexible().link("Open the device", device),
    ];
    page.add(table::fill(table, context, columns, ("Severity", false)));
}

/// Where a miner's id leads. Rows of the device table know their kind; an alert need not, so it goes to this page.
fn device_url(context: &Context<'_>) -> String {
    match context.kinds.as_slice() {
        [only] => drill_down(&format!("davylamp-device-{only}")),
        _ => drill_down("davylamp-fleet"),
    }
}

/// A link to the dashboard `uid` for the miner of this row.
fn drill_down(uid: &str) -> String {
    device_link(uid, "__data.fields.miner")
}

/// A link from a bar, whose labels are those of its series.
fn bar_url() -> String {
    device_link("davylamp-device-${__field.labels.kind}", "__field.labels.miner")
}

/// A link to the dashboard `uid` for the miner that a variable of Grafana holds; data source and time range are kept.
fn device_link(uid: &str, miner: &str) -> String {
    format!("/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}&var-miner=${{{miner}:percentencode}}")
}

fn devices(page: &mut Page<'_>, context: &Context<'_>) {
    let known = &context.facts.thresholds;
    let info = context.select("miner_info", "");
    let state = context.select("miner_state", "");
    let best = |metric: &str| format!("max by (miner) ({})", context.select(metric, ""));
    let columns = vec![
        Column::value("Answers", "none", mining::up(context)).width(85).words(UP_DOWN),
        Column::label("miner", "Miner")
            .flexible()
            .link("Open the device", drill_down("davylamp-device-${__data.fields.kind}")),
        Column::label("kind", "Kind").width(90),
        Column::labels(format!("max by (miner, model, firmware_version) ({info})")),
        Column::label("model", "Model").flexible(),
        Column::label("firmware_version", "Firmware").width(110),
        Column::labels(format!("max by (miner, state) ({state} == 1)")),
        Column::label("state", "State").width(95),
        Column::value("Hashrate", "Hs", mining::hashrate(context)).width(110),
        Column::value("Of expected", "percentunit", mining::ratio(context))
            .decimals(1)
            .steps(steps(known, thresholds::HASHRATE_RATIO)),
        Column::value("Power", "watt", mining::power(context)).width(90),
        Column::value("J/TH", "none", best("miner_efficiency_joules_per_terahash")).decimals(1).width(80),
        Column::value("Chip", "celsius", mining::hottest(context, "chip"))
            .decimals(1)
            .width(90)
            .steps(steps(known, thresholds::CHIP_TEMPERATURE)),
        Column::value("VR", "celsius", mining::hottest(context, "vr"))
            .decimals(1)
            .width(90)
            .steps(steps(known, thresholds::VR_TEMPERATURE)),
        Column::value("Rejected, 1 h", "percentunit", mining::reject_ratio(context, "1h"))
            .decimals(2)
            .width(110)
            .steps(steps(known, thresholds::REJECT_RATIO)),
        Column::value("Wi-Fi", "dBm", best("miner_wifi_rssi_dbm")).width(85).steps(steps(known, thresholds::WIFI)),
        Column::value("Uptime", "dtdurations", best("miner_uptime_seconds")).width(110),
    ];
    let table = Draft::table(30, "Devices")
        .about(
            "Every miner with its latest values; empty cells were not reported. Click a miner to open \
                    its dashboard. Colours follow the alert rules.",
        )
        .size(24, 12);
    page.add(table::fill(table, context, columns, ("Answers", false)));
}
