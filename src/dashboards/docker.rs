//! Docker engines and their containers: what runs, what it uses, what restarts or is killed.

use super::Facts;
use super::File;
use super::Settings;
use super::draft::Draft;
use super::draft::UP_DOWN;
use super::page::Context;
use super::page::Head;
use super::page::Page;
use super::provision::DOCKER;
use super::table;
use super::table::Column;
use super::thresholds;
use super::thresholds::steps;
use super::variables;

/// Builds the Docker dashboard.
pub(super) fn build(settings: &Settings, facts: &Facts) -> File {
    let context = Context::new(settings, facts, "engine", |_| true);
    let mut page = Page::new(&context);
    page.row(100, "Now");
    now(&mut page, &context);
    page.row(110, "Containers");
    containers(&mut page, &context);
    page.row(120, "CPU and memory");
    compute(&mut page, &context);
    page.row(130, "Network and disks");
    traffic(&mut page, &context);
    page.row(140, "Engine");
    engine(&mut page, &context);
    let mut variables = page.variables();
    let query = format!("label_values({}, container)", context.select("docker_container_info", ""));
    variables.push(variables::labels("container", "Container", "Name of the container.", query));
    page.finish(
        Head {
            folder: DOCKER,
            uid: "davylamp-docker".to_string(),
            title: "Docker engines and containers".to_string(),
            description: "Containers of all polled engines: state, health, use of resources, restarts and kills.",
            from: "now-3h",
        },
        variables,
    )
}

/// A container metric under the variables.
fn of(context: &Context<'_>, metric: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    context.select(metric, &format!("{more}{comma}container=~\"$container\""))
}

fn now(page: &mut Page<'_>, context: &Context<'_>) {
    let up = context.targets("davylamp_target_up", "");
    page.add(
        Draft::stat(1, "Engines")
            .about("Whether each engine answered its last poll. From davylamp_target_up.")
            .size(6, 4)
            .words(UP_DOWN)
            .red_below_one()
            .query(format!("min by (target) ({up})"), "{{target}}"),
    );
    let state = of(context, "docker_container_state", "state=\"running\"");
    page.add(Draft::stat(2, "Running").about("Containers that run now.").query(format!("sum({state})"), "running"));
    let other = of(context, "docker_container_state", "state=~\"restarting|dead\"");
    page.add(
        Draft::stat(3, "Restarting or dead")
            .about("Containers that cannot stay up. Bad: anything above 0.")
            .size(5, 4)
            .red_from(1.0)
            .query(format!("sum({other})"), "restarting or dead"),
    );
    let sick = of(context, "docker_container_health", "health=\"unhealthy\"");
    page.add(
        Draft::stat(4, "Unhealthy")
            .about("Containers whose own health check fails. Bad: anything above 0.")
            .red_from(1.0)
            .no_value("0")
            .query(format!("sum({sick})"), "unhealthy"),
    );
    let kills = of(context, "docker_container_oom_kills_total", "");
    page.add(
        Draft::stat(5, "Killed for memory")
            .about(
                "Processes killed because their container ran out of memory, within the shown time. Bad: \
                    any.",
            )
            .size(5, 4)
            .decimals(0)
            .red_from(1.0)
            .no_value("0")
            .now(format!("sum(increase({kills}[$__range]))"), "kills"),
    );
}

fn containers(page: &mut Page<'_>, context: &Context<'_>) {
    let each = |metric: &str| format!("max by (engine, container) ({})", of(context, metric, ""));
    let info = of(context, "docker_container_info", "");
    let state = of(context, "docker_container_state", "");
    let health = of(context, "docker_container_health", "");
    let cpu = of(context, "docker_container_cpu_seconds_total", "");
    let cpu = format!("sum by (engine, container) (rate({cpu}[$__rate_interval]))");
    let started = format!("{} * 1000", each("docker_container_start_time_seconds"));
    let near_limit = steps(&context.facts.thresholds, thresholds::MEMORY_RATIO);
    let only_this = "/d/davylamp-docker?${__url_time_range}&${datasource:queryparam}\
                     &var-engine=${__data.fields.engine:percentencode}\
                     &var-container=${__data.fields.container:percentencode}";
    let columns = vec![
        Column::labels(format!("max by (engine, container, image, compose_project) ({info})")),
        Column::label("engine", "Engine").width(110),
        Column::label("container", "Container").width(190).link("Only this container", only_this.to_string()),
        Column::label("compose_project", "Project").width(120),
        Column::label("image", "Image").width(240),
        Column::labels(format!("max by (engine, container, state) ({state} == 1)")),
        Column::label("state", "State").width(95),
        Column::labels(format!("max by (engine, container, health) ({health} == 1)")),
        Column::label("health", "Health").width(95),
        Column::value("CPU", "percentunit", cpu).decimals(1).width(85),
        Column::value("Memory", "bytes", each("docker_container_memory_working_set_bytes")).width(95),
        Column::value("Of limit", "percentunit", memory_ratio(context)).decimals(1).width(85).steps(near_limit),
        Column::value("Started", "dateTimeFromNow", started).width(120),
        Column::value("Last exit", "none", each("docker_container_last_exit_code")).width(85),
    ];
    let table = Draft::table(11, "Containers")
        .about(
            "Every container with its latest values. CPU in cores (100 % is one core), memory as the \
                    working set without the page cache. Click a name to see only that container.",
        )
        .size(24, 11);
    page.add(table::fill(table, context, columns, ("Container", false)));
    let restarts = of(context, "docker_container_restarts_total", "");
    page.add(
        Draft::lines(12, "Restarts")
            .about("Restarts in the last 15 minutes by container. Bad: more than one; it does not stay up.")
            .decimals(0)
            .zero_based()
            .query(format!("sum by (engine, container) (increase({restarts}[15m])) > 0"), "{{container}}")
            .no_value("none"),
    );
    page.add(
        Draft::timeline(13, "State", &[("1", "yes", "orange")])
            .about("Which state each container was in; running ones are left out. Bad: restarting, dead.")
            .no_value("all run")
            .query(
                format!(
                    "max by (engine, container, state) ({} == 1)",
                    of(context, "docker_container_state", "state!=\"running\"")
                ),
                "{{container}} {{state}}",
            ),
    );
}

/// Working set divided by the limit; containers without a limit have no such value.
fn memory_ratio(context: &Context<'_>) -> String {
    let used = of(context, "docker_container_memory_working_set_bytes", "");
    let limit = of(context, "docker_container_memory_limit_bytes", "");
    format!("max by (engine, container) ({used}) / (max by (engine, container) ({limit}) > 0)")
}

fn compute(page: &mut Page<'_>, context: &Context<'_>) {
    let rate =
        |metric: &str| format!("sum by (engine, container) (rate({}[$__rate_interval]))", of(context, metric, ""));
    page.add(
        Draft::lines(21, "CPU")
            .about("CPU time per second by container: 100 % is one core.")
            .unit("percentunit")
            .zero_based()
            .query(rate("docker_container_cpu_seconds_total"), "{{container}}"),
    );
    page.add(
        Draft::lines(22, "CPU throttled")
            .about(
                "Time per second that a container wanted to run and was held back by its own limit. Bad: \
                    a steady value.",
            )
            .unit("percentunit")
            .zero_based()
            .query(rate("docker_container_cpu_throttled_seconds_total"), "{{container}}"),
    );
    let memory = of(context, "docker_container_memory_working_set_bytes", "");
    page.add(
        Draft::lines(23, "Memory")
            .about(
                "Working set by container, in bytes: what it uses without the page cache that can be \
                    dropped.",
            )
            .unit("bytes")
            .zero_based()
            .query(format!("max by (engine, container) ({memory})"), "{{container}}"),
    );
    page.add(
        Draft::lines(24, "Memory of limit")
            .about(
                "Working set divided by the container's limit; only containers with a limit. The dashed \
                    line is the alert ContainerMemoryNearLimit.",
            )
            .unit("percentunit")
            .zero_based()
            .no_value("no container has a limit")
            .steps(steps(&context.facts.thresholds, thresholds::MEMORY_RATIO))
            .query(memory_ratio(context), "{{container}}"),
    );
}

fn traffic(page: &mut Page<'_>, context: &Context<'_>) {
    let rate =
        |metric: &str| format!("sum by (engine, container) (rate({}[$__rate_interval]))", of(context, metric, ""));
    let panels = [
        (
            31,
            "Received",
            "Bytes per second that each container receives.",
            "docker_container_network_receive_bytes_total",
        ),
        (32, "Sent", "Bytes per second that each container sends.", "docker_container_network_transmit_bytes_total"),
        (
            33,
            "Read from disks",
            "Bytes per second that each container reads from block devices.",
            "docker_container_block_read_bytes_total",
        ),
        (
            34,
            "Written to disks",
            "Bytes per second that each container writes to block devices.",
            "docker_container_block_write_bytes_total",
        ),
    ];
    for (id, title, description, metric) in panels {
        let text =
            format!("{description} Containers on the host's network have no numbers of their own. From {metric}.");
        page.add(
            Draft::lines(id, title)
                .about(&text)
                .unit("binBps")
                .zero_based()
                .no_value("not reported")
                .query(rate(metric), "{{container}}"),
        );
    }
    let pids = of(context, "docker_container_pids", "");
    page.add(
        Draft::lines(35, "Processes")
            .about("Processes and threads by container. Bad: a slope that never ends.")
            .zero_based()
            .query(format!("max by (engine, container) ({pids})"), "{{container}}"),
    );
}

fn engine(page: &mut Page<'_>, context: &Context<'_>) {
    let containers = context.select("docker_engine_containers", "");
    page.add(
        Draft::lines(41, "Containers by state")
            .about("Number of containers by engine and state.")
            .size(8, 8)
            .decimals(0)
            .zero_based()
            .query(format!("sum by (engine, state) ({containers})"), "{{engine}} {{state}}"),
    );
    let usage = context.select("docker_disk_usage_bytes", "");
    page.add(
        Draft::lines(42, "Disk use")
            .about(
                "Disk space by what uses it, in bytes. Bad: a slope; old images or build cache pile up. Only of \
                    engines with the option disk_usage, for the engine walks its disk to answer.",
            )
            .size(8, 8)
            .unit("bytes")
            .no_value("the option disk_usage is off")
            .zero_based()
            .query(format!("max by (engine, type) ({usage})"), "{{engine}} {{type}}"),
    );
    let events = context.select("docker_events_total", "");
    page.add(
        Draft::lines(43, "Events")
            .about("Events per minute by sort. Bad: a container that dies and starts over and over.")
            .size(8, 8)
            .unit("cpm")
            .zero_based()
            .no_value("none")
            .query(
                format!("sum by (engine, type, action) (rate({events}[$__rate_interval])) * 60 > 0"),
                "{{engine}} {{type}} {{action}}",
            ),
    );
    let took = context.targets("davylamp_target_last_poll_duration_seconds", "");
    page.add(
        Draft::lines(44, "Poll duration")
            .about("How long the last poll of the engine took, in seconds. Bad: near the timeout.")
            .size(8, 8)
            .unit("s")
            .zero_based()
            .query(format!("max by (target) ({took})"), "{{target}}"),
    );
    let info = context.select("docker_engine_info", "");
    let columns = vec![
        Column::labels(format!("max by (engine, version, api_version, os, arch, cgroup_version) ({info})")),
        Column::label("engine", "Engine").width(130),
        Column::label("version", "Version").width(120),
        Column::label("api_version", "API").width(80),
        Column::label("os", "System").width(180),
        Column::label("arch", "Architecture").width(110),
        Column::label("cgroup_version", "cgroups").width(80),
    ];
    let table =
        Draft::table(45, "Engines").about("Version and system of each engine. From docker_engine_info.").size(16, 8);
    page.add(table::fill(table, context, columns, ("Engine", false)));
}
