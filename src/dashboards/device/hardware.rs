//! The body of a miner: heat, electricity, and the small computer that runs it.

use crate::dashboards::draft::Draft;
use crate::dashboards::draft::NO_YES;
use crate::dashboards::mining;
use crate::dashboards::page::Context;
use crate::dashboards::page::Page;
use crate::dashboards::thresholds;
use crate::dashboards::thresholds::steps;

pub(super) fn heat(page: &mut Page<'_>, context: &Context<'_>) {
    let known = &context.facts.thresholds;
    page.add(
        Draft::lines(31, "Chip temperature")
            .about(
                "Highest chip temperature by miner, in degrees Celsius. The dashed line is the alert \
                    MinerChipTemperatureHigh.",
            )
            .size(8, 8)
            .unit("celsius")
            .steps(steps(known, thresholds::CHIP_TEMPERATURE))
            .query(mining::hottest(context, "chip"), "{{miner}}"),
    );
    page.add(
        Draft::lines(32, "Voltage regulator temperature")
            .about(
                "Highest temperature of the voltage regulator by miner, in degrees Celsius. The dashed \
                    line is the alert MinerVrTemperatureHigh.",
            )
            .size(8, 8)
            .unit("celsius")
            .steps(steps(known, thresholds::VR_TEMPERATURE))
            .query(mining::hottest(context, "vr"), "{{miner}}"),
    );
    let others = context.select("miner_temperature_celsius", "sensor!~\"chip|vr\"");
    page.add(
        Draft::lines(33, "Other temperatures")
            .about("Board, inlet, outlet and other sensors, in degrees Celsius, by miner and sensor.")
            .size(8, 8)
            .unit("celsius")
            .no_value("not reported")
            .query(format!("max by (miner, sensor) ({others})"), "{{miner}} {{sensor}}"),
    );
    let speed = context.select("miner_fan_speed_rpm", "");
    page.add(
        Draft::lines(34, "Fan speed")
            .about("Revolutions per minute by fan. Bad: 0 while the miner hashes.")
            .unit("rotrpm")
            .zero_based()
            .query(format!("max by (miner, fan) ({speed})"), "{{miner}} fan {{fan}}"),
    );
    let duty = context.select("miner_fan_duty_ratio", "");
    page.add(
        Draft::lines(35, "Fan duty")
            .about(
                "How hard the fans are driven, as a share of full speed. Bad: at 100 % for long; there is \
                    no reserve left.",
            )
            .unit("percentunit")
            .range(0.0, 1.0)
            .query(format!("max by (miner, fan) ({duty})"), "{{miner}} fan {{fan}}"),
    );
}

pub(super) fn electricity(page: &mut Page<'_>, context: &Context<'_>) {
    page.add(
        Draft::lines(41, "Power")
            .about(
                "Electrical power by miner, in watts: measured where the device measures, otherwise its \
                    own estimate.",
            )
            .size(8, 8)
            .unit("watt")
            .query(mining::power(context), "{{miner}}"),
    );
    let efficiency = context.select("miner_efficiency_joules_per_terahash", "");
    page.add(
        Draft::lines(42, "Efficiency")
            .about(
                "Joules per terahash by miner while it hashes. Lower is better; bad: a rise at the same \
                    settings.",
            )
            .size(8, 8)
            .unit("suffix:J/TH")
            .query(format!("max by (miner) ({efficiency})"), "{{miner}}"),
    );
    let current = context.select("miner_current_amperes", "");
    page.add(
        Draft::lines(43, "Current")
            .about("Current by rail, in amperes.")
            .size(8, 8)
            .unit("amp")
            .query(format!("max by (miner, rail) ({current})"), "{{miner}} {{rail}}"),
    );
    let voltage = |matcher: &str| format!("max by (miner, rail) ({})", context.select("miner_voltage_volts", matcher));
    page.add(
        Draft::lines(44, "Input voltage")
            .about(
                "Voltage at the input, in volts. Bad: sags under load; the supply or the cable is too \
                    weak.",
            )
            .size(8, 8)
            .unit("volt")
            .decimals(2)
            .query(voltage("rail=\"input\""), "{{miner}}"),
    );
    page.add(
        Draft::lines(45, "Core voltage")
            .about("Core voltage as measured and as set, in volts. Bad: the two drift apart.")
            .size(8, 8)
            .unit("volt")
            .decimals(3)
            .query(voltage("rail!=\"input\""), "{{miner}} {{rail}}"),
    );
    let frequency = context.select("miner_frequency_hertz", "");
    page.add(
        Draft::lines(46, "Frequency")
            .about(
                "Chip clock as set and as it is, in hertz. Bad: the two differ for long; the firmware \
                    throttles.",
            )
            .size(8, 8)
            .unit("hertz")
            .query(format!("max by (miner, kind) ({frequency})"), "{{miner}} {{kind}}"),
    );
}

pub(super) fn system(page: &mut Page<'_>, context: &Context<'_>) {
    let rssi = context.select("miner_wifi_rssi_dbm", "");
    page.add(
        Draft::lines(61, "Wi-Fi signal")
            .about(
                "Signal strength in dBm; nearer to 0 is better. The dashed line is the alert \
                    MinerWifiWeak.",
            )
            .size(8, 8)
            .unit("dBm")
            .steps(steps(&context.facts.thresholds, thresholds::WIFI))
            .query(format!("max by (miner) ({rssi})"), "{{miner}}"),
    );
    let memory = context.select("miner_memory_free_bytes", "");
    page.add(
        Draft::lines(62, "Free memory")
            .about(
                "Free memory of the device by sort, in bytes. Bad: a slope down to zero; the firmware \
                    leaks and will restart.",
            )
            .size(8, 8)
            .unit("bytes")
            .zero_based()
            .query(format!("min by (miner, memory) ({memory})"), "{{miner}} {{memory}}"),
    );
    let uptime = context.select("miner_uptime_seconds", "");
    page.add(
        Draft::lines(63, "Uptime")
            .about("Time since the last start of the device. Every drop is a restart; bad: many.")
            .size(8, 8)
            .unit("dtdurations")
            .zero_based()
            .query(format!("max by (miner) ({uptime})"), "{{miner}}"),
    );
}

/// Faults that the device reports, and how well it answers.
pub(in crate::dashboards) fn connection(page: &mut Page<'_>, context: &Context<'_>) {
    let faults = context.select("miner_fault_active", "");
    page.add(
        Draft::timeline(64, "Faults", NO_YES)
            .about("Faults that the firmware reports. Bad: any. From miner_fault_active.")
            .size(8, 8)
            .no_value("none")
            .red_from(1.0)
            .query(format!("max by (miner, component, code) ({faults} == 1)"), "{{miner}} {{component}} {{code}}"),
    );
    let took = context.targets("davylamp_target_last_poll_duration_seconds", "");
    page.add(
        Draft::lines(65, "Poll duration")
            .about(
                "How long the last poll took, in seconds. Bad: near the timeout; the device's web server \
                    is overloaded.",
            )
            .size(8, 8)
            .unit("s")
            .zero_based()
            .query(format!("max by (target) ({took})"), "{{target}}"),
    );
    let failed = context.targets("davylamp_polls_total", "result!=\"ok\"");
    page.add(
        Draft::lines(66, "Failed polls")
            .about(
                "Polls per minute that brought nothing, by reason. Bad: anything but single ones. From \
                    davylamp_polls_total.",
            )
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(format!("sum by (target, result) (rate({failed}[$__rate_interval])) * 60"), "{{target}} {{result}}"),
    );
}
