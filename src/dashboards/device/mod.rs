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
use super::variables;

mod hardware;

/// Builds the device dashboard of one kind.
pub(super) fn build(settings: &Settings, facts: &Facts, kind: &str) -> File {
    let context = Context::new(settings, facts, "miner", |name| name == kind);
    let mut page = Page::new(&context);
    page.row(100, "Now");
    now(&mut page, &context);
    now_hardware(&mut page, &context);
    page.row(110, "Hashing");
    hashing(&mut page, &context);
    page.row(120, "Shares");
    shares(&mut page, &context);
    luck(&mut page, &context);
    page.row(130, "Heat and cooling");
    hardware::heat(&mut page, &context);
    page.row(140, "Electricity");
    hardware::electricity(&mut page, &context);
    page.row(150, "Pools");
    pools(&mut page, &context);
    page.row(160, "Device and connection");
    hardware::system(&mut page, &context);
    hardware::connection(&mut page, &context);
    let mut variables = page.variables();
    variables.iter_mut().filter(|variable| variable.name == "miner").for_each(variables::one_at_first);
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
    let up = context.targets("davylamp_target_up", "");
    page.add(
        Draft::stat(1, "Answers")
            .about(
                "Whether the last poll succeeded; of several chosen miners, the worst. From \
                    davylamp_target_up.",
            )
            .size(3, 4)
            .words(UP_DOWN)
            .red_below_one()
            .query(format!("min({up})"), "answers"),
    );
    page.add(
        Draft::stat(2, "Hashrate")
            .about(
                "Present hashrate of the chosen miners together, in hashes per second, over the shortest \
                    window that the firmware reports honestly.",
            )
            .unit("Hs")
            .decimals(2)
            .query(format!("sum({})", mining::hashrate(context)), "hashrate"),
    );
    page.add(
        Draft::stat(3, "Of expected")
            .about(
                "Present hashrate divided by the expected one; of several miners, the worst. Red where \
                    the alert MinerHashrateLow begins.",
            )
            .unit("percentunit")
            .decimals(1)
            .steps(steps(known, thresholds::HASHRATE_RATIO))
            .query(format!("min({})", mining::ratio(context)), "worst"),
    );
}

fn now_hardware(page: &mut Page<'_>, context: &Context<'_>) {
    let known = &context.facts.thresholds;
    page.add(
        Draft::stat(4, "Power")
            .about("Electrical power of the chosen miners together, in watts.")
            .size(3, 4)
            .unit("watt")
            .decimals(1)
            .query(format!("sum({})", mining::power(context)), "power"),
    );
    page.add(
        Draft::stat(5, "Efficiency")
            .about("Joules per terahash of the chosen miners together, while they hash. Lower is better.")
            .size(3, 4)
            .unit("suffix:J/TH")
            .decimals(1)
            .query(mining::fleet_efficiency(context), "efficiency"),
    );
    page.add(
        Draft::stat(6, "Chip")
            .about(
                "Highest chip temperature, in degrees Celsius. Red where the alert \
                    MinerChipTemperatureHigh begins.",
            )
            .size(3, 4)
            .unit("celsius")
            .decimals(1)
            .steps(steps(known, thresholds::CHIP_TEMPERATURE))
            .query(format!("max({})", mining::hottest(context, "chip")), "chip"),
    );
    let uptime = context.select("miner_uptime_seconds", "");
    page.add(
        Draft::stat(7, "Uptime")
            .about(
                "Time since the last start of the device; of several, the shortest. Bad: it keeps \
                    starting anew.",
            )
            .unit("dtdurations")
            .plain()
            .query(format!("min({uptime})"), "uptime"),
    );
}

fn hashing(page: &mut Page<'_>, context: &Context<'_>) {
    let expected = context.select("miner_hashrate_expected_hashes_per_second", "");
    page.add(
        Draft::lines(11, "Hashrate")
            .about(
                "Present and expected hashrate by miner, in hashes per second. Bad: a line below its \
                    expectation, or one that does not move at all.",
            )
            .unit("Hs")
            .query(mining::hashrate(context), "{{miner}}")
            .query(format!("max by (miner) ({expected})"), "{{miner}} expected"),
    );
    let average = context.select("miner_hashrate_average_hashes_per_second", "");
    page.add(
        Draft::lines(12, "Average hashrate by window")
            .about(
                "What the firmware averages, by window, in hashes per second. The longer the window, the \
                    less luck.",
            )
            .unit("Hs")
            .query(format!("max by (miner, window) ({average})"), "{{miner}} {{window}}"),
    );
    let state = context.select("miner_state", "");
    page.add(
        Draft::timeline(13, "State", &[("1", "yes", "blue")])
            .about("What the miner says it is doing. Bad: overheated, fault. From miner_state.")
            .size(12, 6)
            .query(format!("max by (miner, state) ({state} == 1)"), "{{miner}} {{state}}"),
    );
    let ratio = context.select("miner_hash_error_ratio", "");
    page.add(
        Draft::lines(14, "Hash errors")
            .about(
                "Share of hashes that the chips got wrong, by miner. Bad: a rise; the chip is too hot, \
                    too fast or at too low a voltage.",
            )
            .size(6, 6)
            .unit("percentunit")
            .zero_based()
            .query(format!("max by (miner) ({ratio})"), "{{miner}}"),
    );
    let errors = context.select("miner_hardware_errors_total", "");
    page.add(
        Draft::lines(15, "Hardware errors")
            .about("Hardware errors per second, by miner. Bad: a steady rate.")
            .size(6, 6)
            .unit("cps")
            .zero_based()
            .query(format!("sum by (miner) (rate({errors}[$__rate_interval]))"), "{{miner}}"),
    );
}

fn shares(page: &mut Page<'_>, context: &Context<'_>) {
    let shares = context.select("miner_shares_total", "");
    page.add(
        Draft::lines(21, "Shares")
            .about("Shares per minute by result. Bad: no accepted ones for minutes, or many rejected.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .query(format!("sum by (miner, result) (rate({shares}[$__rate_interval])) * 60"), "{{miner}} {{result}}"),
    );
    page.add(
        Draft::lines(22, "Rejected")
            .about(
                "Rejected shares divided by all shares, over the last 15 minutes. The \
                    dashed line is the alert MinerRejectRatioHigh.",
            )
            .size(8, 8)
            .unit("percentunit")
            .zero_based()
            .steps(steps(&context.facts.thresholds, thresholds::REJECT_RATIO))
            .query(mining::reject_ratio(context, "15m"), "{{miner}}"),
    );
    let reasons = context.select("miner_share_rejections_total", "");
    page.add(
        Draft::lines(23, "Rejections by reason")
            .about("Rejected shares per minute by the reason that the pool gave.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .query(format!("sum by (miner, reason) (rate({reasons}[$__rate_interval])) * 60"), "{{miner}} {{reason}}"),
    );
}

fn luck(page: &mut Page<'_>, context: &Context<'_>) {
    let best = context.select("miner_best_share_difficulty", "");
    page.add(
        Draft::stat(24, "Best share")
            .about(
                "Highest difficulty of a share: since the start and ever; of several miners, the highest. \
                    A share above the network's difficulty is a block.",
            )
            .size(8, 4)
            .unit("sishort")
            .decimals(2)
            .plain()
            .query(format!("max by (scope) ({best})"), "{{scope}}"),
    );
    // A counter that moves once in years: its value is the news, not its rate.
    let blocks = context.select("miner_blocks_found_total", "");
    page.add(
        Draft::stat(25, "Blocks found")
            .about("Blocks found within the shown time. From miner_blocks_found_total.")
            .size(8, 4)
            .decimals(0)
            .plain()
            .now(format!("sum(increase({blocks}[$__range]))"), "blocks"),
    );
    let network = context.select("miner_network_difficulty", "");
    page.add(
        Draft::stat(26, "Network difficulty")
            .about("Difficulty of the network, as the miner heard it from its pool.")
            .size(8, 4)
            .unit("sishort")
            .decimals(2)
            .plain()
            .query(format!("max({network})"), "network"),
    );
}

fn pools(page: &mut Page<'_>, context: &Context<'_>) {
    let info = context.select("miner_pool_info", "");
    let each = |metric: &str| format!("max by (miner, pool) ({})", context.select(metric, ""));
    let table = Draft::table(51, "Pools")
        .about(
            "The configured pools by miner. Bad: a URL or user that is not yours. From \
                    miner_pool_info.",
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
        Column::value("Difficulty", "sishort", each("miner_pool_difficulty")),
        Column::value("Round trip", "s", each("miner_pool_rtt_seconds")),
    ];
    page.add(table::fill(table, context, columns, ("Miner", false)));
    let rtt = context.select("miner_pool_rtt_seconds", "");
    page.add(
        Draft::lines(52, "Pool round trip")
            .about(
                "Time until the pool answers a share, in seconds. Bad: above half a second; more shares \
                    come too late.",
            )
            .unit("s")
            .zero_based()
            .query(format!("max by (miner, pool) ({rtt})"), "{{miner}} pool {{pool}}"),
    );
    let fallback = context.select("miner_pool_fallback_active", "");
    page.add(
        Draft::timeline(53, "Fallback pool", NO_YES)
            .about(
                "Whether the miner works for its fallback pool. Bad: yes; the first pool is not \
                    reachable.",
            )
            .red_from(1.0)
            .query(format!("max by (miner) ({fallback})"), "{{miner}}"),
    );
}
