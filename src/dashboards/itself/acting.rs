//! What davylamp does about alerts: runs, what holds them back, and what it keeps devices from drawing.

use super::own;
use crate::dashboards::draft::Draft;
use crate::dashboards::page::Page;

/// Adds the panels of the row.
pub(super) fn draw(page: &mut Page<'_>) {
    runs(page);
    alerts(page);
    devices(page);
}

/// How much a counter grew within the shown time.
fn within(metric: &str) -> String {
    format!("increase({}[$__range])", own(metric, ""))
}

fn runs(page: &mut Page<'_>) {
    page.add(
        Draft::bars(41, "Runs")
            .about("Runs within the shown time by result. Bad: anything but a success.")
            .size(8, 8)
            .decimals(0)
            .no_value("none")
            .now(format!("sum by (result) ({}) > 0", within("davylamp_runs_total")), "{{result}}"),
    );
    page.add(
        Draft::bars(42, "Suppressed")
            .about(
                "Runs that a guard held back within the shown time, by reason. Many are a sign of a guard \
                    that works or of a rule that shouts.",
            )
            .size(8, 8)
            .decimals(0)
            .no_value("none")
            .now(format!("sum by (reason) ({}) > 0", within("davylamp_run_suppressions_total")), "{{reason}}"),
    );
    page.add(
        Draft::lines(43, "Running and waiting")
            .about(
                "Runs now: in progress, waiting for a person's word, and ended but not yet known to have helped. Bad: \
                    running at the configured limit for long; approvals that nobody gives.",
            )
            .size(8, 8)
            .decimals(0)
            .zero_based()
            .query(format!("sum({})", own("davylamp_runs_running", "")), "running")
            .query(format!("sum({})", own("davylamp_runs_waiting_approval", "")), "waiting for approval")
            .query(format!("sum({})", own("davylamp_runs_verifying", "")), "verifying"),
    );
}

fn alerts(page: &mut Page<'_>) {
    page.add(
        Draft::stat(44, "Given up")
            .about(
                "Troubles within the shown time for which every step was taken in vain. Bad: any; only a person can \
                    help now. From davylamp_episodes_exhausted_total.",
            )
            .size(6, 4)
            .decimals(0)
            .red_from(1.0)
            .no_value("0")
            .now(format!("sum({})", within("davylamp_episodes_exhausted_total")), "given up"),
    );
    page.add(
        Draft::stat(45, "Records lost")
            .about(
                "Records of runs within the shown time that could not be read or written. Bad: any; nothing is run \
                    while claims cannot be written. From davylamp_run_record_failures_total.",
            )
            .size(6, 4)
            .decimals(0)
            .red_from(1.0)
            .no_value("0")
            .now(format!("sum({})", within("davylamp_run_record_failures_total")), "failures"),
    );
    page.add(
        Draft::bars(46, "Alerts by webhook")
            .about("Alerts that came by webhook within the shown time, by sender and result. Bad: refused ones.")
            .size(12, 4)
            .decimals(0)
            .no_value("none")
            .now(
                format!("sum by (sender, result) ({}) > 0", within("davylamp_webhook_alerts_total")),
                "{{sender}} {{result}}",
            ),
    );
}

fn devices(page: &mut Page<'_>) {
    page.add(
        Draft::lines(47, "Curtailed devices")
            .about("Devices that a curtailment has changed and will bring back, by curtailment.")
            .size(8, 8)
            .decimals(0)
            .zero_based()
            .no_value("none")
            .query(format!("sum by (curtailment) ({})", own("davylamp_curtailed_targets", "")), "{{curtailment}}"),
    );
    page.add(
        Draft::lines(48, "Found devices")
            .about("Devices that searches found, by what was decided. Pending ones wait for `davylamp devices`.")
            .size(8, 8)
            .decimals(0)
            .zero_based()
            .no_value("no searches")
            .query(format!("sum by (state) ({})", own("davylamp_discovery_devices", "")), "{{state}}"),
    );
    page.add(
        Draft::stat(49, "Device logs connected")
            .about("Devices that are listened to now, divided by those that should be. Bad: below 100 %.")
            .size(8, 8)
            .unit("percentunit")
            .red_below_one()
            .no_value("none configured")
            .query(format!("avg({})", own("davylamp_device_log_connected", "")), "connected"),
    );
}
