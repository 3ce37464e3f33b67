//! All `miner_*` families: one name and one meaning whatever the firmware. A parser never writes the label `miner`; the
//! store adds it. Bounds are what hardware of this decade can do, with room: what lies outside was never measured.

use crate::model::Family;

/// Largest hash rate of one device: 1 EH/s, five hundred times the largest machine sold.
const MAX_HASHRATE: f64 = 1e18;
/// Largest difficulty: six thousand times the Bitcoin network's of 2026. `u64::MAX` is a usual "not set".
const MAX_DIFFICULTY: f64 = 1e18;
/// Largest count of shares: ten a second for a year and a half. Uninitialised memory shows up as 728,593,780.
const MAX_SHARES: f64 = 5e8;
/// Largest count of hardware errors: 32-bit counters of firmware wrap here.
const MAX_ERRORS: f64 = 4_294_967_295.0;
/// Longest uptime: thirty years.
const MAX_UPTIME: f64 = 1e9;

/// What the device is.
pub static INFO: Family = Family::info(
    "miner_info",
    "What the device is; always 1.",
    &["make", "model", "firmware", "firmware_version", "chip", "algorithm", "mac", "hostname", "address", "protocol"],
)
.within(1.0, 1.0);

/// The state set of a device.
pub static STATE: Family = Family::gauge(
    "miner_state",
    "1 for the state that the device is in: hashing, starting, tuning, paused, sleeping, overheated, fault, or unknown \
     where it does not hash and does not say why.",
    &["state"],
)
.within(0.0, 1.0);

/// The values of the label `state` of [`STATE`].
pub const STATES: [&str; 8] = ["hashing", "starting", "tuning", "paused", "sleeping", "overheated", "fault", "unknown"];

/// The hash rate now.
pub static HASHRATE: Family = Family::gauge(
    "miner_hashrate_hashes_per_second",
    "Hash rate over the shortest window that the device offers, in hashes per second.",
    &[],
)
.within(0.0, MAX_HASHRATE);

/// Averages of the hash rate.
pub static HASHRATE_AVERAGE: Family = Family::gauge(
    "miner_hashrate_average_hashes_per_second",
    "Average hash rate as the device computes it, by window (1m to 1d, or lifetime), in hashes per second.",
    &["window"],
)
.within(0.0, MAX_HASHRATE);

/// What a record of the device adds to [`HASHRATE`].
pub static HASHRATE_LOWEST: Family = Family::gauge(
    "miner_hashrate_lowest_hashes_per_second",
    "Lowest hash rate since the poll before, by the device's own record (option statistics), in hashes per second.",
    &[],
)
.within(0.0, MAX_HASHRATE);

/// What the device should do.
pub static HASHRATE_EXPECTED: Family = Family::gauge(
    "miner_hashrate_expected_hashes_per_second",
    "Hash rate that the device should reach at its present settings, in hashes per second.",
    &[],
)
.within(0.0, MAX_HASHRATE);

/// All hashes computed.
pub static HASHES: Family =
    Family::counter("miner_hashes_total", "Hashes computed, where the firmware counts them.", &[]).within(0.0, 1e30);

/// Power drawn.
pub static POWER: Family =
    Family::gauge("miner_power_watts", "Power drawn, measured or estimated by the device, in watts.", &["source"])
        .within(0.0, 50_000.0);

/// What a record of the device adds to [`POWER`].
pub static POWER_HIGHEST: Family = Family::gauge(
    "miner_power_highest_watts",
    "Highest power since the poll before, by the device's own record (option statistics), in watts.",
    &["source"],
)
.within(0.0, 50_000.0);

/// Power limit.
pub static POWER_LIMIT: Family =
    Family::gauge("miner_power_limit_watts", "Power that the device is limited to or made for, in watts.", &[])
        .within(0.0, 50_000.0);

/// Energy drawn; integrated by the scheduler from [`POWER`], because no firmware counts it.
pub static ENERGY: Family = Family::counter(
    "miner_energy_joules_total",
    "Energy drawn since davylamp started to watch, integrated from the power, in joules.",
    &[],
);

/// Energy per work.
pub static EFFICIENCY: Family = Family::gauge(
    "miner_efficiency_joules_per_terahash",
    "Energy per work, in joules per terahash; only while hashing with a known power.",
    &[],
)
.within(0.0, 1e9);

/// Temperatures.
pub static TEMPERATURE: Family = Family::gauge(
    "miner_temperature_celsius",
    "Temperature by sensor, in degrees Celsius. The label index numbers the second and further sensors of one place.",
    &["sensor", "board", "index"],
)
.within(-40.0, 200.0);

/// What a record of the device adds to [`TEMPERATURE`].
pub static TEMPERATURE_HIGHEST: Family = Family::gauge(
    "miner_temperature_highest_celsius",
    "Highest temperature since the poll before, by the device's own record (option statistics), in degrees Celsius.",
    &["sensor", "board", "index"],
)
.within(-40.0, 200.0);

/// Voltages.
pub static VOLTAGE: Family = Family::gauge(
    "miner_voltage_volts",
    "Voltage by rail (input, core as measured, core_set as configured), in volts.",
    &["rail", "board"],
)
.within(0.0, 500.0);

/// Currents.
pub static CURRENT: Family =
    Family::gauge("miner_current_amperes", "Current by rail, in amperes.", &["rail"]).within(0.0, 1_000.0);

/// Clock frequencies.
pub static FREQUENCY: Family = Family::gauge(
    "miner_frequency_hertz",
    "Clock of the hashing chips, as set and as it is, in hertz.",
    &["kind", "board"],
)
.within(0.0, 1e10);

/// Fan speed.
pub static FAN_SPEED: Family =
    Family::gauge("miner_fan_speed_rpm", "Speed of a fan, in revolutions per minute.", &["fan", "role"])
        .within(0.0, 50_000.0);

/// Fan duty.
pub static FAN_DUTY: Family =
    Family::gauge("miner_fan_duty_ratio", "How hard a fan is driven, 0 to 1.", &["fan"]).within(0.0, 1.0);

/// How many fans there should be.
pub static FANS_EXPECTED: Family =
    Family::gauge("miner_fans_expected", "Number of fans that the device should have.", &[]).within(0.0, 64.0);

/// What a board is.
pub static BOARD_INFO: Family =
    Family::info("miner_board_info", "What a hash board is; always 1.", &["board", "serial", "name"]).within(1.0, 1.0);

/// Whether a board works.
pub static BOARD_UP: Family =
    Family::gauge("miner_board_up", "1 while the device calls a hash board alive and enabled.", &["board"])
        .within(0.0, 1.0);

/// How many boards there should be.
pub static BOARDS_EXPECTED: Family =
    Family::gauge("miner_boards_expected", "Number of hash boards that the device should have.", &[])
        .within(0.0, 256.0);

/// Hash rate of a board.
pub static BOARD_HASHRATE: Family = Family::gauge(
    "miner_board_hashrate_hashes_per_second",
    "Hash rate of a hash board over the shortest window, in hashes per second.",
    &["board"],
)
.within(0.0, MAX_HASHRATE);

/// Chips that work.
pub static BOARD_CHIPS: Family =
    Family::gauge("miner_board_chips", "Chips of a board that do work.", &["board"]).within(0.0, 10_000.0);

/// Chips that should work.
pub static BOARD_CHIPS_EXPECTED: Family =
    Family::gauge("miner_board_chips_expected", "Chips that a board is made with.", &["board"]).within(0.0, 10_000.0);

/// Hardware errors of a board.
pub static BOARD_HARDWARE_ERRORS: Family =
    Family::counter("miner_board_hardware_errors_total", "Hardware errors of a hash board.", &["board"])
        .within(0.0, MAX_ERRORS);

/// Hash rate of a chip.
pub static CHIP_HASHRATE: Family = Family::gauge(
    "miner_chip_hashrate_hashes_per_second",
    "Hash rate of a chip, in hashes per second. Only with the option chips.",
    &["board", "chip"],
)
.within(0.0, MAX_HASHRATE);

/// Hash rate of a part of a chip.
pub static CHIP_DOMAIN_HASHRATE: Family = Family::gauge(
    "miner_chip_domain_hashrate_hashes_per_second",
    "Hash rate of one hash domain of a chip, in hashes per second. Only with the option chips.",
    &["board", "chip", "domain"],
)
.within(0.0, MAX_HASHRATE);

/// Hardware errors of a chip.
pub static CHIP_HARDWARE_ERRORS: Family = Family::counter(
    "miner_chip_hardware_errors_total",
    "Hardware errors of a chip. Only with the option chips.",
    &["board", "chip"],
)
.within(0.0, MAX_ERRORS);

/// Temperature of a chip.
pub static CHIP_TEMPERATURE: Family = Family::gauge(
    "miner_chip_temperature_celsius",
    "Temperature of a chip, in degrees Celsius. Only with the option chips.",
    &["board", "chip"],
)
.within(-40.0, 200.0);

/// Shares.
pub static SHARES: Family =
    Family::counter("miner_shares_total", "Shares by result: accepted, rejected, stale.", &["result"])
        .within(0.0, MAX_SHARES);

/// Rejected shares by reason.
pub static SHARE_REJECTIONS: Family = Family::counter(
    "miner_share_rejections_total",
    "Rejected shares by the pool's reason; beyond ten reasons, other.",
    &["reason"],
)
.within(0.0, MAX_SHARES);

/// Best share.
pub static BEST_SHARE: Family = Family::gauge(
    "miner_best_share_difficulty",
    "Difficulty of the best share, since the start (session) or ever (lifetime).",
    &["scope"],
)
.within(0.0, MAX_DIFFICULTY);

/// Blocks found.
pub static BLOCKS_FOUND: Family =
    Family::counter("miner_blocks_found_total", "Blocks that the device found.", &[]).within(0.0, 1e6);

/// Network difficulty.
pub static NETWORK_DIFFICULTY: Family = Family::gauge(
    "miner_network_difficulty",
    "Difficulty of the network that the device mines for, as it was told.",
    &[],
)
.within(0.0, MAX_DIFFICULTY);

/// What a pool is.
pub static POOL_INFO: Family = Family::info(
    "miner_pool_info",
    "A configured pool by slot; always 1. The user is masked unless the target's option show_pool_user says otherwise.",
    &["pool", "url", "user", "protocol"],
)
.within(1.0, 1.0);

/// Whether a pool answers.
pub static POOL_UP: Family =
    Family::gauge("miner_pool_up", "1 while the device calls a pool alive.", &["pool"]).within(0.0, 1.0);

/// Whether a pool is mined for.
pub static POOL_ACTIVE: Family =
    Family::gauge("miner_pool_active", "1 while the device works for a pool.", &["pool"]).within(0.0, 1.0);

/// Whether a fallback is in use.
pub static POOL_FALLBACK_ACTIVE: Family =
    Family::gauge("miner_pool_fallback_active", "1 while the device works for another pool than its first one.", &[])
        .within(0.0, 1.0);

/// Shares by pool.
pub static POOL_SHARES: Family = Family::counter(
    "miner_pool_shares_total",
    "Shares by pool and result: accepted, rejected, stale.",
    &["pool", "result"],
)
.within(0.0, MAX_SHARES);

/// Share difficulty.
pub static POOL_DIFFICULTY: Family =
    Family::gauge("miner_pool_difficulty", "Share difficulty that a pool asks for.", &["pool"])
        .within(0.0, MAX_DIFFICULTY);

/// Answer time of a pool.
pub static POOL_RTT: Family =
    Family::gauge("miner_pool_rtt_seconds", "Answer time of a pool as the device measures it, in seconds.", &["pool"])
        .within(0.0, 600.0);

/// Last share of a pool.
pub static POOL_LAST_SHARE: Family = Family::gauge(
    "miner_pool_last_share_timestamp_seconds",
    "When a pool took the last share, by the device's clock, in seconds since the epoch.",
    &["pool"],
)
.within(1.2e9, 4.2e9);

/// Hardware errors.
pub static HARDWARE_ERRORS: Family =
    Family::counter("miner_hardware_errors_total", "Hardware errors of the whole device.", &[]).within(0.0, MAX_ERRORS);

/// Share of wrong results.
pub static HASH_ERROR_RATIO: Family =
    Family::gauge("miner_hash_error_ratio", "Share of the chips' results that are wrong, 0 to 1.", &[])
        .within(0.0, 1.0);

/// Faults.
pub static FAULT: Family = Family::gauge(
    "miner_fault_active",
    "1 for each fault that the device reports now; absent when it reports none.",
    &["code", "component"],
)
.within(0.0, 1.0);

/// Uptime.
pub static UPTIME: Family =
    Family::gauge("miner_uptime_seconds", "Time since the device or its mining program started, in seconds.", &[])
        .within(0.0, MAX_UPTIME);

/// Wi-Fi signal. Zero is what firmware says without a reading.
pub static WIFI_RSSI: Family =
    Family::gauge("miner_wifi_rssi_dbm", "Strength of the received Wi-Fi signal, in dBm.", &[]).within(-127.0, -1.0);

/// Free memory.
pub static MEMORY_FREE: Family =
    Family::gauge("miner_memory_free_bytes", "Free memory of the controller by sort, in bytes.", &["memory"])
        .within(0.0, 1e12);
