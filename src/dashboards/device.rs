//! One kind of miner in depth: the same page for every kind, with only the panels that the kind can fill.

use super::Facts;
use super::File;
use super::Settings;
use super::draft::Draft;
use super::draft::NO_YES;
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

/// Builds the device dashboard of one kind.
pub(super) fn build(settings: &Settings, facts: &Facts, kind: &str) -> File {
    let context = Context::new(settings, facts, "miner", |name| name == kind);
    let mut page = Page::new(&context);
    page.row(100, "Now");
    now(&mut page, &context);
    page.row(110, "Hashing");
    hashing(&mut page, &context);
    page.row(120, "Shares");
    shares(&mut page, &context);
    page.row(130, "Heat and cooling");
    heat(&mut page, &context);
    page.row(140, "Electricity");
    electricity(&mut page, &context);
    page.row(150, "Pools");
    pools(&mut page, &context);
    page.row(160, "Device and connection");
    system(&mut page, &context);
    let variables = page.variables();
    page.finish(
        Head {
            folder: MINERS,
            uid: format!("davylamp-device-{kind}"),
            title: format!("Device: {kind}"),
            description: "Everything that one kind of miner reports, for one or several devices.",
            from: "now-6h",
        },
        variables,
    )
}

fn now(page: &mut Page<'_>, context: &Context<'_>) {
    let known = &context.facts.thresholds;
    let up = context.targets("davylamp_target_up");
    page.add(
        Draft::stat(
            1,
            "Answers",
            "Whether the last poll succeeded; of several chosen miners, the worst. From davylamp_target_up.",
        )
        .size(3, 4)
        .unit("none")
        .words(UP_DOWN)
        .red_below_one()
        .query(format!("min({up})"), "answers"),
    );
    page.add(
        Draft::stat(2, "Hashrate", "Present hashrate of the chosen miners together, in hashes per second, over the shortest window that the firmware reports honestly.")
            .size(4, 4).unit("Hs").decimals(2).query(format!("sum({})", mining::hashrate(context)), "hashrate"),
    );
    page.add(
        Draft::stat(3, "Of expected", "Present hashrate divided by the expected one; of several miners, the worst. Red where the alert MinerHashrateLow begins.")
            .size(4, 4).unit("percentunit").decimals(1).steps(steps(known, thresholds::HASHRATE_RATIO)).query(format!("min({})", mining::ratio(context)), "worst"),
    );
    page.add(
        Draft::stat(4, "Power", "Electrical power of the chosen miners together, in watts.")
            .size(3, 4)
            .unit("watt")
            .decimals(1)
            .query(format!("sum({})", mining::power(context)), "power"),
    );
    page.add(
        Draft::stat(
            5,
            "Efficiency",
            "Joules per terahash of the chosen miners together, while they hash. Lower is better.",
        )
        .size(3, 4)
        .unit("suffix:J/TH")
        .decimals(1)
        .query(mining::fleet_efficiency(context), "efficiency"),
    );
    page.add(
        Draft::stat(
            6,
            "Chip",
            "Highest chip temperature, in degrees Celsius. Red where the alert MinerChipTemperatureHigh begins.",
        )
        .size(3, 4)
        .unit("celsius")
        .decimals(1)
        .steps(steps(known, thresholds::CHIP_TEMPERATURE))
        .query(format!("max({})", mining::hottest(context, "chip")), "chip"),
    );
    let uptime = context.select("miner_uptime_seconds", "");
    page.add(
        Draft::stat(
            7,
            "Uptime",
            "Time since the last start of the device; of several, the shortest. Bad: it keeps starting anew.",
        )
        .size(4, 4)
        .unit("dtdurations")
        .plain()
        .query(format!("min({uptime})"), "uptime"),
    );
}

fn hashing(page: &mut Page<'_>, context: &Context<'_>) {
    let expected = context.select("miner_hashrate_expected_hashes_per_second", "");
    page.add(
        Draft::lines(11, "Hashrate", "Present and expected hashrate by miner, in hashes per second. Bad: a line below its expectation, or one that does not move at all.")
            .unit("Hs").query(mining::hashrate(context), "{{miner}}").query(format!("max by (miner) ({expected})"), "{{miner}} expected"),
    );
    let average = context.select("miner_hashrate_average_hashes_per_second", "");
    page.add(
        Draft::lines(
            12,
            "Average hashrate by window",
            "What the firmware averages, by window, in hashes per second. The longer the window, the less luck.",
        )
        .unit("Hs")
        .query(format!("max by (miner, window) ({average})"), "{{miner}} {{window}}"),
    );
    let state = context.select("miner_state", "");
    page.add(
        Draft::timeline(
            13,
            "State",
            "What the miner says it is doing. Bad: overheated, fault. From miner_state.",
            &[("1", "yes", "blue")],
        )
        .size(12, 6)
        .unit("none")
        .query(format!("max by (miner, state) ({state} == 1)"), "{{miner}} {{state}}"),
    );
    let ratio = context.select("miner_hash_error_ratio", "");
    page.add(
        Draft::lines(14, "Hash errors", "Share of hashes that the chips got wrong, by miner. Bad: a rise; the chip is too hot, too fast or at too low a voltage.")
            .size(6, 6).unit("percentunit").from_zero().query(format!("max by (miner) ({ratio})"), "{{miner}}"),
    );
    let errors = context.select("miner_hardware_errors_total", "");
    page.add(
        Draft::lines(15, "Hardware errors", "Hardware errors per second, by miner. Bad: a steady rate.")
            .size(6, 6)
            .unit("cps")
            .from_zero()
            .query(format!("sum by (miner) (rate({errors}[$__rate_interval]))"), "{{miner}}"),
    );
}

fn shares(page: &mut Page<'_>, context: &Context<'_>) {
    let shares = context.select("miner_shares_total", "");
    page.add(
        Draft::lines(21, "Shares", "Shares per minute by result. Bad: no accepted ones for minutes, or many rejected.")
            .size(8, 8)
            .unit("cpm")
            .from_zero()
            .query(format!("sum by (miner, result) (rate({shares}[$__rate_interval])) * 60"), "{{miner}} {{result}}"),
    );
    page.add(
        Draft::lines(22, "Rejected", "Rejected shares divided by accepted and rejected ones, over the last 15 minutes. The dashed line is the alert MinerRejectRatioHigh.")
            .size(8, 8).unit("percentunit").from_zero().steps(steps(&context.facts.thresholds, thresholds::REJECT_RATIO)).query(mining::reject_ratio(context, "15m"), "{{miner}}"),
    );
    let reasons = context.select("miner_share_rejections_total", "");
    page.add(
        Draft::lines(23, "Rejections by reason", "Rejected shares per minute by the reason that the pool gave.")
            .size(8, 8)
            .unit("cpm")
            .from_zero()
            .query(format!("sum by (miner, reason) (rate({reasons}[$__rate_interval])) * 60"), "{{miner}} {{reason}}"),
    );
    let best = context.select("miner_best_share_difficulty", "");
    page.add(
        Draft::stat(24, "Best share", "Highest difficulty of a share: since the start and ever; of several miners, the highest. A share above the network's difficulty is a block.")
            .size(8, 4).unit("short").decimals(2).plain().query(format!("max by (scope) ({best})"), "{{scope}}"),
    );
    // A counter that moves once in years: its value is the news, not its rate.
    let blocks = context.select("miner_blocks_found_total", "");
    page.add(
        Draft::stat(25, "Blocks found", "Blocks found within the shown time. From miner_blocks_found_total.")
            .size(8, 4)
            .unit("none")
            .decimals(0)
            .plain()
            .query(format!("sum(increase({blocks}[$__range]))"), "blocks"),
    );
    let network = context.select("miner_network_difficulty", "");
    page.add(
        Draft::stat(26, "Network difficulty", "Difficulty of the network, as the miner heard it from its pool.")
            .size(8, 4)
            .unit("short")
            .decimals(2)
            .plain()
            .query(format!("max({network})"), "network"),
    );
}

fn heat(page: &mut Page<'_>, context: &Context<'_>) {
    let known = &context.facts.thresholds;
    page.add(
        Draft::lines(31, "Chip temperature", "Highest chip temperature by miner, in degrees Celsius. The dashed line is the alert MinerChipTemperatureHigh.")
            .size(8, 8).unit("celsius").steps(steps(known, thresholds::CHIP_TEMPERATURE)).query(mining::hottest(context, "chip"), "{{miner}}"),
    );
    page.add(
        Draft::lines(32, "Voltage regulator temperature", "Highest temperature of the voltage regulator by miner, in degrees Celsius. The dashed line is the alert MinerVrTemperatureHigh.")
            .size(8, 8).unit("celsius").steps(steps(known, thresholds::VR_TEMPERATURE)).query(mining::hottest(context, "vr"), "{{miner}}"),
    );
    let others = context.select("miner_temperature_celsius", "sensor!~\"chip|vr\"");
    page.add(
        Draft::lines(
            33,
            "Other temperatures",
            "Board, inlet, outlet and other sensors, in degrees Celsius, by miner and sensor.",
        )
        .size(8, 8)
        .unit("celsius")
        .query(format!("max by (miner, sensor) ({others})"), "{{miner}} {{sensor}}"),
    );
    let speed = context.select("miner_fan_speed_rpm", "");
    page.add(
        Draft::lines(34, "Fan speed", "Revolutions per minute by fan. Bad: 0 while the miner hashes.")
            .unit("rotrpm")
            .from_zero()
            .query(format!("max by (miner, fan) ({speed})"), "{{miner}} fan {{fan}}"),
    );
    let duty = context.select("miner_fan_duty_ratio", "");
    page.add(
        Draft::lines(
            35,
            "Fan duty",
            "How hard the fans are driven, as a share of full speed. Bad: at 100 % for long; there is no reserve left.",
        )
        .unit("percentunit")
        .range(0.0, 1.0)
        .query(format!("max by (miner, fan) ({duty})"), "{{miner}} fan {{fan}}"),
    );
}

fn electricity(page: &mut Page<'_>, context: &Context<'_>) {
    page.add(
        Draft::lines(
            41,
            "Power",
            "Electrical power by miner, in watts: measured where the device measures, otherwise its own estimate.",
        )
        .size(8, 8)
        .unit("watt")
        .query(mining::power(context), "{{miner}}"),
    );
    let efficiency = context.select("miner_efficiency_joules_per_terahash", "");
    page.add(
        Draft::lines(
            42,
            "Efficiency",
            "Joules per terahash by miner while it hashes. Lower is better; bad: a rise at the same settings.",
        )
        .size(8, 8)
        .unit("suffix:J/TH")
        .query(format!("max by (miner) ({efficiency})"), "{{miner}}"),
    );
    let current = context.select("miner_current_amperes", "");
    page.add(
        Draft::lines(43, "Current", "Current by rail, in amperes.")
            .size(8, 8)
            .unit("amp")
            .query(format!("max by (miner, rail) ({current})"), "{{miner}} {{rail}}"),
    );
    let voltage = |matcher: &str| format!("max by (miner, rail) ({})", context.select("miner_voltage_volts", matcher));
    page.add(
        Draft::lines(
            44,
            "Input voltage",
            "Voltage at the input, in volts. Bad: sags under load; the supply or the cable is too weak.",
        )
        .size(8, 8)
        .unit("volt")
        .decimals(2)
        .query(voltage("rail=\"input\""), "{{miner}}"),
    );
    page.add(
        Draft::lines(45, "Core voltage", "Core voltage as measured and as set, in volts. Bad: the two drift apart.")
            .size(8, 8)
            .unit("volt")
            .decimals(3)
            .query(voltage("rail!=\"input\""), "{{miner}} {{rail}}"),
    );
    let frequency = context.select("miner_frequency_hertz", "");
    page.add(
        Draft::lines(
            46,
            "Frequency",
            "Chip clock as set and as it is, in hertz. Bad: the two differ for long; the firmware throttles.",
        )
        .size(8, 8)
        .unit("hertz")
        .query(format!("max by (miner, kind) ({frequency})"), "{{miner}} {{kind}}"),
    );
}

fn pools(page: &mut Page<'_>, context: &Context<'_>) {
    let info = context.select("miner_pool_info", "");
    let each = |metric: &str| format!("max by (miner, pool) ({})", context.select(metric, ""));
    let table = Draft::table(
        51,
        "Pools",
        "The configured pools by miner. Bad: a URL or user that is not yours. From miner_pool_info.",
    )
    .size(24, 7);
    let columns = vec![
        Column::labels(format!("max by (miner, pool, url, user) ({info})")),
        Column::label("miner", "Miner").width(150),
        Column::label("pool", "Pool").width(70),
        Column::label("url", "URL").width(330),
        Column::label("user", "User").width(260),
        Column::value("Active", "none", each("miner_pool_active"))
            .width(90)
            .words(&[("0", "no", "text"), ("1", "yes", "green")]),
        Column::value("Answers", "none", each("miner_pool_up")).width(90).words(UP_DOWN),
        Column::value("Difficulty", "short", each("miner_pool_difficulty")),
        Column::value("Round trip", "s", each("miner_pool_rtt_seconds")),
    ];
    page.add(table::fill(table, context, columns, ("Miner", false)));
    let rtt = context.select("miner_pool_rtt_seconds", "");
    page.add(
        Draft::lines(
            52,
            "Pool round trip",
            "Time until the pool answers a share, in seconds. Bad: above half a second; more shares come too late.",
        )
        .unit("s")
        .from_zero()
        .query(format!("max by (miner, pool) ({rtt})"), "{{miner}} pool {{pool}}"),
    );
    let fallback = context.select("miner_pool_fallback_active", "");
    page.add(
        Draft::timeline(
            53,
            "Fallback pool",
            "Whether the miner works for its fallback pool. Bad: yes; the first pool is not reachable.",
            NO_YES,
        )
        .unit("none")
        .red_from(1.0)
        .query(format!("max by (miner) ({fallback})"), "{{miner}}"),
    );
}

fn system(page: &mut Page<'_>, context: &Context<'_>) {
    let rssi = context.select("miner_wifi_rssi_dbm", "");
    page.add(
        Draft::lines(
            61,
            "Wi-Fi signal",
            "Signal strength in dBm; nearer to 0 is better. The dashed line is the alert MinerWifiWeak.",
        )
        .size(8, 8)
        .unit("dBm")
        .steps(steps(&context.facts.thresholds, thresholds::WIFI))
        .query(format!("max by (miner) ({rssi})"), "{{miner}}"),
    );
    let memory = context.select("miner_memory_free_bytes", "");
    page.add(
        Draft::lines(62, "Free memory", "Free memory of the device by sort, in bytes. Bad: a slope down to zero; the firmware leaks and will restart.")
            .size(8, 8).unit("bytes").from_zero().query(format!("min by (miner, memory) ({memory})"), "{{miner}} {{memory}}"),
    );
    let uptime = context.select("miner_uptime_seconds", "");
    page.add(
        Draft::lines(63, "Uptime", "Time since the last start of the device. Every drop is a restart; bad: many.")
            .size(8, 8)
            .unit("dtdurations")
            .from_zero()
            .query(format!("max by (miner) ({uptime})"), "{{miner}}"),
    );
    let faults = context.select("miner_fault_active", "");
    page.add(
        Draft::timeline(64, "Faults", "Faults that the firmware reports. Bad: any. From miner_fault_active.", NO_YES)
            .size(8, 8)
            .unit("none")
            .no_value("none")
            .red_from(1.0)
            .query(format!("max by (miner, component, code) ({faults} == 1)"), "{{miner}} {{component}} {{code}}"),
    );
    let took = context.targets("davylamp_target_last_poll_duration_seconds");
    page.add(
        Draft::lines(
            65,
            "Poll duration",
            "How long the last poll took, in seconds. Bad: near the timeout; the device's web server is overloaded.",
        )
        .size(8, 8)
        .unit("s")
        .from_zero()
        .query(format!("max by (target) ({took})"), "{{target}}"),
    );
    let failed = context.targets("davylamp_polls_total").replacen('{', "{result!=\"ok\",", 1);
    page.add(
        Draft::lines(66, "Failed polls", "Polls per minute that brought nothing, by reason. Bad: anything but single ones. From davylamp_polls_total.")
            .size(8, 8).unit("cpm").from_zero().no_value("none")
            .query(format!("sum by (target, result) (rate({failed}[$__rate_interval])) * 60"), "{{target}} {{result}}"),
    );
}
