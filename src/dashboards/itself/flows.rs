//! What davylamp keeps for long and what it sends to others.

use super::own;
use super::per_second;
use crate::dashboards::draft::Draft;
use crate::dashboards::page::Page;

/// Adds the panels of the row.
pub(super) fn draw(page: &mut Page<'_>) {
    history(page);
    remote_write(page);
    notifications(page);
}

fn history(page: &mut Page<'_>) {
    page.add(
        Draft::lines(61, "History on disk")
            .about("Size of the history of samples, in bytes. From davylamp_history_bytes.")
            .size(8, 8)
            .unit("bytes")
            .zero_based()
            .no_value("no history")
            .query(format!("max by (instance) ({})", own("davylamp_history_bytes", "")), "{{instance}}"),
    );
    let saved = own("davylamp_history_saved_timestamp_seconds", "");
    page.add(
        Draft::lines(62, "History behind")
            .about("Time since samples were last saved. Bad: above `history.flush_interval` and growing.")
            .size(8, 8)
            .unit("s")
            .zero_based()
            .no_value("no history")
            .query(format!("max by (instance) (time() - {saved})"), "{{instance}}"),
    );
    page.add(
        Draft::lines(63, "History errors")
            .about("Failed writes and damaged parts of the history per minute. Bad: any.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(format!("sum by (instance) ({}) * 60", per_second("davylamp_history_errors_total")), "{{instance}}"),
    );
}

fn remote_write(page: &mut Page<'_>) {
    page.add(
        Draft::lines(64, "Remote write queue")
            .about("Samples that wait to be sent, by receiver. Bad: one that does not come down again.")
            .size(8, 8)
            .unit("short")
            .zero_based()
            .no_value("no remote write")
            .query(
                format!("sum by (remote_name) ({})", own("davylamp_remote_write_samples_pending", "")),
                "{{remote_name}}",
            ),
    );
    let lost = |metric: &str| format!("sum by (remote_name) ({}) * 60", per_second(metric));
    page.add(
        Draft::lines(65, "Samples not sent")
            .about("Samples per minute that a receiver refused for good or that were dropped. Bad: any.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(lost("davylamp_remote_write_samples_failed_total"), "{{remote_name}} refused")
            .query(lost("davylamp_remote_write_samples_dropped_total"), "{{remote_name}} dropped"),
    );
    page.add(
        Draft::lines(66, "Pushed samples")
            .about("Samples per second that others push to davylamp and that were kept, and those that were not.")
            .size(8, 8)
            .unit("short")
            .zero_based()
            .no_value("none")
            .query(format!("sum({})", per_second("davylamp_remote_write_received_samples_total")), "kept")
            .query(format!("sum({})", per_second("davylamp_remote_write_received_samples_rejected_total")), "rejected"),
    );
}

fn notifications(page: &mut Page<'_>) {
    let rate = |metric: &str| format!("sum by (integration) ({}) * 60", per_second(metric));
    page.add(
        Draft::lines(67, "Notifications")
            .about("Alerts and messages per minute that arrived, by integration.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(rate("davylamp_notifications_sent_total"), "{{integration}}"),
    );
    page.add(
        Draft::lines(68, "Notifications that failed")
            .about("Attempts per minute that failed and messages that were given up, by integration. Bad: any.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(rate("davylamp_notifications_errors_total"), "{{integration}} failed")
            .query(rate("davylamp_notifications_dropped_total"), "{{integration}} given up"),
    );
    page.add(
        Draft::lines(69, "Alerts for Alertmanager")
            .about("Alerts that wait for an Alertmanager. Bad: one that does not come down again.")
            .size(8, 8)
            .decimals(0)
            .zero_based()
            .no_value("none")
            .query(format!("sum by (instance) ({})", own("davylamp_notifications_queue_length", "")), "{{instance}}"),
    );
}
