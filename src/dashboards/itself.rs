//! Davylamp itself: does it poll, keep, evaluate and act as it should, and what does it cost.

mod acting;
mod flows;

use super::Facts;
use super::File;
use super::Settings;
use super::draft::Draft;
use super::page::Context;
use super::page::Head;
use super::page::Page;
use super::provision::ITSELF;
use super::table;
use super::table::Column;
use super::variables;

/// Builds the dashboard about davylamp.
pub(super) fn build(settings: &Settings, facts: &Facts) -> File {
    let context = Context::new(settings, facts, "", |_| true);
    let mut page = Page::new(&context);
    page.row(100, "Now");
    now(&mut page);
    page.row(110, "Polling");
    polling(&mut page, &context);
    page.row(120, "Samples and store");
    store(&mut page);
    trouble(&mut page);
    page.row(130, "Rules and alerts");
    rules(&mut page);
    page.row(140, "Automation");
    acting::draw(&mut page);
    page.row(145, "History, remote write and notifications");
    flows::draw(&mut page);
    page.row(150, "Process");
    process(&mut page);
    let mut variables = page.variables();
    let query = "label_values(davylamp_build_info, instance)".to_string();
    let description = "Which davylamp, by the address that Prometheus scrapes.";
    variables.push(variables::labels("instance", "Instance", description, query));
    page.finish(
        Head {
            folder: ITSELF,
            uid: "davylamp-itself".to_string(),
            title: "Davylamp itself".to_string(),
            description: "Whether davylamp polls, keeps, evaluates and acts as it should, and what it costs.",
            from: "now-3h",
        },
        variables,
    )
}

/// A metric of davylamp under the variable `instance`, with more matchers (may be empty).
fn own(metric: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{metric}{{{more}{comma}instance=~\"$instance\"}}")
}

/// A `process_…` metric of davylamp alone: every other program that Prometheus scrapes exports the same names.
fn process_metric(expr: &str) -> String {
    format!("{expr} and on (job, instance) {}", own("davylamp_build_info", ""))
}

fn per_second(metric: &str) -> String {
    format!("rate({}[$__rate_interval])", own(metric, ""))
}

fn now(page: &mut Page<'_>) {
    page.add(
        Draft::stat(1, "Version")
            .about("Running version. From davylamp_build_info.")
            .name_only()
            .now(format!("max by (version) ({})", own("davylamp_build_info", "")), "{{version}}"),
    );
    let start = own("process_start_time_seconds", "");
    page.add(
        Draft::stat(2, "Running for")
            .about(
                "Time since the start of the process; of several, the shortest. Bad: it keeps starting \
                    anew.",
            )
            .unit("dtdurations")
            .plain()
            .query(format!("min(time() - ({}))", process_metric(&start)), "running"),
    );
    let up = own("davylamp_target_up", "");
    page.add(
        Draft::stat(3, "Targets that answer")
            .about("Targets whose last poll succeeded, divided by all. Bad: below 100 %.")
            .unit("percentunit")
            .decimals(1)
            .no_value("no targets")
            .query(format!("sum({up}) / count({up})"), "answering"),
    );
    page.add(
        Draft::stat(4, "Configuration")
            .about(
                "Whether the last reload was taken over. Bad: refused; the old configuration still holds. \
                    From davylamp_config_last_reload_successful.",
            )
            .words(&[("0", "refused", "red"), ("1", "current", "green")])
            .red_below_one()
            .query(format!("min({})", own("davylamp_config_last_reload_successful", "")), "configuration"),
    );
    page.add(
        Draft::stat(5, "Firing alerts")
            .about("Alerts that fire now. From davylamp_alerts.")
            .red_from(1.0)
            .no_value("0")
            .query(format!("sum({})", own("davylamp_alerts", "state=\"firing\"")), "firing"),
    );
    page.add(
        Draft::stat(6, "Limits hit")
            .about("Polls that brought more than a limit allows, within the shown time. Bad: any. From davylamp_limit_hits_total.")
            .decimals(0)
            .red_from(1.0)
            .no_value("0")
            .now(format!("sum(increase({}[$__range]))", own("davylamp_limit_hits_total", "")), "hits"),
    );
}

fn polling(page: &mut Page<'_>, context: &Context<'_>) {
    page.add(
        Draft::lines(11, "Polls")
            .about("Polls per second by result. Bad: anything but ok. From davylamp_polls_total.")
            .size(8, 8)
            .unit("ops")
            .zero_based()
            .query(format!("sum by (result) ({})", per_second("davylamp_polls_total")), "{{result}}"),
    );
    let buckets = per_second("davylamp_poll_duration_seconds_bucket");
    let quantile = |q: &str| format!("histogram_quantile({q}, sum by (le, kind) ({buckets}))");
    page.add(
        Draft::lines(12, "Poll duration")
            .about(
                "Median and 99th percentile of the duration of polls by kind, in seconds. Bad: near the \
                    timeout.",
            )
            .size(8, 8)
            .unit("s")
            .zero_based()
            .query(quantile("0.5"), "{{kind}} median")
            .query(quantile("0.99"), "{{kind}} p99"),
    );
    page.add(
        Draft::lines(13, "Targets that answer")
            .about("Share of the targets of each kind whose last poll succeeded. Bad: below 100 %.")
            .size(8, 8)
            .unit("percentunit")
            .range(0.0, 1.0)
            .query(format!("avg by (kind) ({})", own("davylamp_target_up", "")), "{{kind}}"),
    );
    let up = context.targets("davylamp_target_up", "");
    let last = context.targets("davylamp_target_last_success_timestamp_seconds", "");
    let took = context.targets("davylamp_target_last_poll_duration_seconds", "");
    let columns = vec![
        Column::value("Silent for", "dtdurations", format!("max by (target) (time() - {last})")).width(130),
        Column::label("target", "Target").width(180),
        Column::labels(format!("max by (target, kind) ({up} == 0)")),
        Column::label("kind", "Kind").width(110),
        Column::value("Last poll", "s", format!("max by (target) ({took})")).width(100),
    ];
    let table = Draft::table(14, "Targets by silence")
        .about(
            "Time since the last successful poll of each target; the kind stands only at targets that \
                    are down.",
        )
        .size(12, 9);
    page.add(table::fill(table, context, columns, ("Silent for", true)));
    page.add(
        Draft::bars(15, "Slowest ten targets")
            .about("Duration of the last poll, in seconds; the ten longest.")
            .size(12, 9)
            .unit("s")
            .now(format!("topk(10, max by (target) ({took}))"), "{{target}}"),
    );
}

fn store(page: &mut Page<'_>) {
    page.add(
        Draft::lines(21, "Series")
            .about("Series in the recent window by kind. Bad: a step up; a label that takes ever new values.")
            .size(8, 8)
            .unit("short")
            .zero_based()
            .query(format!("sum by (kind) ({})", own("davylamp_series", "")), "{{kind}}"),
    );
    page.add(
        Draft::lines(22, "Impossible values")
            .about(
                "Values per minute that could not be true and were not exported, by kind and family. Bad: \
                    a device with a broken sensor or new firmware.",
            )
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(
                format!("sum by (kind, family) ({}) * 60", per_second("davylamp_values_rejected_total")),
                "{{kind}} {{family}}",
            ),
    );
    page.add(
        Draft::lines(23, "Queues")
            .about("Messages that wait in each queue. Bad: one that does not come down again.")
            .size(8, 8)
            .zero_based()
            .query(format!("max by (queue) ({})", own("davylamp_queue_depth", "")), "{{queue}}"),
    );
    page.add(
        Draft::lines(24, "Store on disk")
            .about("Size of the state on disk, in bytes.")
            .size(8, 8)
            .unit("bytes")
            .zero_based()
            .query(format!("max by (instance) ({})", own("davylamp_store_bytes", "")), "{{instance}}"),
    );
    let buckets = per_second("davylamp_store_commit_duration_seconds_bucket");
    page.add(
        Draft::lines(25, "Commit duration")
            .about(
                "99th percentile of the time until state is on disk, in seconds. Bad: above a tenth of a \
                    second; the disk is slow.",
            )
            .size(8, 8)
            .unit("s")
            .zero_based()
            .no_value("no commits")
            .query(format!("histogram_quantile(0.99, sum by (le) ({buckets}))"), "p99"),
    );
    page.add(
        Draft::lines(26, "Store errors")
            .about("Failed operations of the store per minute. Bad: any; /-/ready says no.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .query(format!("sum by (instance) ({}) * 60", per_second("davylamp_store_errors_total")), "{{instance}}"),
    );
}

fn trouble(page: &mut Page<'_>) {
    page.add(
        Draft::stat(27, "Store works")
            .about("Whether state can be written. Bad: no; nothing is run meanwhile. From davylamp_store_healthy.")
            .size(8, 5)
            .words(&[("0", "no", "red"), ("1", "yes", "green")])
            .red_below_one()
            .query(format!("min({})", own("davylamp_store_healthy", "")), "works"),
    );
    page.add(
        Draft::bars(28, "Samples over a limit")
            .about("Samples that a limit dropped within the shown time, by limit and target; the ten largest.")
            .size(16, 5)
            .decimals(0)
            .no_value("none")
            .now(
                format!(
                    "topk(10, sum by (limit, target) (increase({}[$__range])) > 0)",
                    own("davylamp_samples_over_limit_total", "")
                ),
                "{{limit}} {{target}}",
            ),
    );
}

fn rules(page: &mut Page<'_>) {
    let per_minute = |metric: &str| format!("sum by (group) ({}) * 60", per_second(metric));
    page.add(
        Draft::lines(31, "Evaluations")
            .about("Evaluated rules per minute by group.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .query(per_minute("davylamp_rule_evaluations_total"), "{{group}}"),
    );
    page.add(
        Draft::lines(32, "Failed and missed evaluations")
            .about(
                "Evaluations per minute that failed or came too late, by group. Bad: any; alerts may be \
                    missing.",
            )
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(per_minute("davylamp_rule_evaluation_failures_total"), "{{group}} failed")
            .query(per_minute("davylamp_rule_evaluations_missed_total"), "{{group}} missed"),
    );
    page.add(
        Draft::lines(33, "Group duration")
            .about(
                "How long the last evaluation of each group took, in seconds. Bad: near the group's \
                    interval.",
            )
            .size(8, 8)
            .unit("s")
            .zero_based()
            .query(format!("max by (group) ({})", own("davylamp_rule_group_last_duration_seconds", "")), "{{group}}"),
    );
    page.add(
        Draft::lines(34, "Alerts")
            .about("Alerts by state. From davylamp_alerts.")
            .size(24, 7)
            .decimals(0)
            .zero_based()
            .query(format!("sum by (state) ({})", own("davylamp_alerts", "")), "{{state}}"),
    );
}

fn process(page: &mut Page<'_>) {
    let cpu = per_second("process_cpu_seconds_total");
    page.add(
        Draft::lines(51, "CPU")
            .about("CPU time per second: 100 % is one core.")
            .size(6, 8)
            .unit("percentunit")
            .zero_based()
            .query(process_metric(&cpu), "{{instance}}"),
    );
    page.add(
        Draft::lines(52, "Memory")
            .about("Resident memory of the process, in bytes. Bad: a slope that never ends.")
            .size(6, 8)
            .unit("bytes")
            .zero_based()
            .query(process_metric(&own("process_resident_memory_bytes", "")), "{{instance}}"),
    );
    page.add(
        Draft::lines(53, "Open files")
            .about("Open file descriptors of the process. Bad: a slope; connections that nobody closes.")
            .size(6, 8)
            .zero_based()
            .query(process_metric(&own("process_open_fds", "")), "{{instance}}"),
    );
    page.add(
        Draft::lines(54, "HTTP requests")
            .about("Requests per second by route and status. Bad: 5xx.")
            .size(6, 8)
            .unit("reqps")
            .zero_based()
            .query(
                format!("sum by (route, status) ({})", per_second("davylamp_http_requests_total")),
                "{{route}} {{status}}",
            ),
    );
    let reloaded = own("davylamp_config_last_reload_success_timestamp_seconds", "");
    page.add(
        Draft::stat(55, "Configuration taken over")
            .about(
                "When the running configuration was taken over. From \
                    davylamp_config_last_reload_success_timestamp_seconds.",
            )
            .size(12, 4)
            .unit("dateTimeFromNow")
            .plain()
            .query(format!("max({reloaded}) * 1000"), "reload"),
    );
    let written = own("davylamp_dashboards_written_total", "");
    page.add(
        Draft::stat(56, "Dashboards written")
            .about(
                "Dashboard files written within the shown time. A steady stream means that something else \
                    edits them.",
            )
            .size(12, 4)
            .decimals(0)
            .plain()
            .no_value("0")
            .now(format!("sum(increase({written}[$__range]))"), "written"),
    );
}
