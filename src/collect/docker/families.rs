//! The metric families of the kind `docker`, declared once. Every name is part of the product: rules and dashboards use it.

use crate::model::Family;

/// What the engine is.
pub(super) static ENGINE_INFO: Family = Family::info(
    "docker_engine_info",
    "The engine: its version, its newest API version, operating system, architecture, cgroup version.",
    &["version", "api_version", "os", "arch", "cgroup_version"],
);
/// How many containers there are.
pub(super) static ENGINE_CONTAINERS: Family =
    Family::gauge("docker_engine_containers", "Containers of the engine by state, exited ones included.", &["state"])
        .within(0.0, 1e7);
/// How many images there are.
pub(super) static ENGINE_IMAGES: Family =
    Family::gauge("docker_engine_images", "Images that the engine holds.", &[]).within(0.0, 1e7);
/// Containers that were left out.
pub(super) static ENGINE_SKIPPED: Family = Family::gauge(
    "docker_engine_containers_skipped",
    "Containers that were left out because of the option max_containers.",
    &[],
)
.within(0.0, 1e7);
/// Containers whose numbers did not arrive.
pub(super) static ENGINE_STATS_MISSING: Family = Family::gauge(
    "docker_engine_container_stats_missing",
    "Running containers for which the engine gave no usable numbers in this poll.",
    &[],
)
.within(0.0, 1e7);
/// Space by type.
pub(super) static DISK_USAGE: Family = Family::gauge(
    "docker_disk_usage_bytes",
    "Space in use by type, as `docker system df` shows it; at most ten minutes old.",
    &["type"],
)
.within(0.0, 1e18);
/// Space by volume.
pub(super) static VOLUME_SIZE: Family =
    Family::gauge("docker_volume_size_bytes", "Size of a local volume; at most ten minutes old.", &["volume"])
        .within(0.0, 1e18);
/// What a container is.
pub(super) static INFO: Family = Family::info(
    "docker_container_info",
    "The container: its id, its image, its place in a compose project.",
    &["container", "id", "image", "image_id", "compose_project", "compose_service"],
);
/// State of a container.
pub(super) static STATE: Family = Family::gauge(
    "docker_container_state",
    "1 for the state the container is in, 0 for the others; all 0 in a state that we do not know.",
    &["container", "state"],
);
/// Health of a container.
pub(super) static HEALTH: Family = Family::gauge(
    "docker_container_health",
    "1 for the result of the container's health check, 0 for the others; none without a check.",
    &["container", "health"],
);

const ONE: &[&str] = &["container"];
const PER_INTERFACE: &[&str] = &["container", "interface"];

/// CPU time.
pub(super) static CPU: Family =
    Family::counter("docker_container_cpu_seconds_total", "CPU time used by the container, user and system.", ONE);
/// Time without CPU because of the limit.
pub(super) static CPU_THROTTLED: Family = Family::counter(
    "docker_container_cpu_throttled_seconds_total",
    "Time for which the container was kept from running by its CPU limit.",
    ONE,
);
/// CPU limit.
pub(super) static CPU_LIMIT: Family =
    Family::gauge("docker_container_cpu_limit_cores", "The container's CPU limit in cores; absent without one.", ONE)
        .within(0.0, 1e6);
/// Working set.
pub(super) static MEMORY_WORKING_SET: Family = Family::gauge(
    "docker_container_memory_working_set_bytes",
    "Memory in use without the inactive page cache, as `docker stats` shows it.",
    ONE,
)
.within(0.0, 1e16);
/// Memory usage.
pub(super) static MEMORY_USAGE: Family =
    Family::gauge("docker_container_memory_usage_bytes", "Memory charged to the container, page cache included.", ONE)
        .within(0.0, 1e16);
/// Memory limit.
pub(super) static MEMORY_LIMIT: Family =
    Family::gauge("docker_container_memory_limit_bytes", "The container's own memory limit; absent without one.", ONE)
        .within(0.0, 1e16);
/// Bytes in.
pub(super) static RECEIVE_BYTES: Family =
    Family::counter("docker_container_network_receive_bytes_total", "Bytes received.", PER_INTERFACE);
/// Packets in.
pub(super) static RECEIVE_PACKETS: Family =
    Family::counter("docker_container_network_receive_packets_total", "Packets received.", PER_INTERFACE);
/// Errors in.
pub(super) static RECEIVE_ERRORS: Family =
    Family::counter("docker_container_network_receive_errors_total", "Receive errors.", PER_INTERFACE);
/// Drops in.
pub(super) static RECEIVE_DROPS: Family =
    Family::counter("docker_container_network_receive_drops_total", "Received packets dropped.", PER_INTERFACE);
/// Bytes out.
pub(super) static TRANSMIT_BYTES: Family =
    Family::counter("docker_container_network_transmit_bytes_total", "Bytes sent.", PER_INTERFACE);
/// Packets out.
pub(super) static TRANSMIT_PACKETS: Family =
    Family::counter("docker_container_network_transmit_packets_total", "Packets sent.", PER_INTERFACE);
/// Errors out.
pub(super) static TRANSMIT_ERRORS: Family =
    Family::counter("docker_container_network_transmit_errors_total", "Transmit errors.", PER_INTERFACE);
/// Drops out.
pub(super) static TRANSMIT_DROPS: Family =
    Family::counter("docker_container_network_transmit_drops_total", "Packets to send dropped.", PER_INTERFACE);
/// Bytes read.
pub(super) static BLOCK_READ: Family =
    Family::counter("docker_container_block_read_bytes_total", "Bytes read from block devices.", ONE);
/// Bytes written.
pub(super) static BLOCK_WRITE: Family =
    Family::counter("docker_container_block_write_bytes_total", "Bytes written to block devices.", ONE);
/// Processes.
pub(super) static PIDS: Family =
    Family::gauge("docker_container_pids", "Processes and threads in the container.", ONE).within(0.0, 1e8);
/// Restarts.
pub(super) static RESTARTS: Family = Family::counter(
    "docker_container_restarts_total",
    "Restarts of the container, automatic and manual; the engine's own count begins anew at a manual one.",
    ONE,
);
/// Kills for want of memory.
pub(super) static OOM_KILLS: Family = Family::counter(
    "docker_container_oom_kills_total",
    "Out-of-memory events of the container, those that killed only a child process included.",
    ONE,
);
/// Last exit code.
pub(super) static EXIT_CODE: Family = Family::gauge(
    "docker_container_last_exit_code",
    "Exit code of the container's last end; absent until it ended once under our eyes.",
    ONE,
)
.within(-2_147_483_648.0, 4_294_967_295.0);
/// Start.
pub(super) static START_TIME: Family =
    Family::gauge("docker_container_start_time_seconds", "When the container last started, Unix time.", ONE)
        .within(0.0, 1e11);
/// Creation.
pub(super) static CREATED_TIME: Family =
    Family::gauge("docker_container_created_time_seconds", "When the container was created, Unix time.", ONE)
        .within(0.0, 1e11);
/// Events.
pub(super) static EVENTS: Family =
    Family::counter("docker_events_total", "Events of the engine since the first poll.", &["type", "action"]);
/// Gaps in the events.
pub(super) static EVENT_GAPS: Family = Family::counter(
    "docker_event_gaps_total",
    "Polls between which events may have been missed: more than the engine keeps, or the request for them failed.",
    &[],
);

/// All of them, in the order of the documentation.
pub(super) static ALL: &[&Family] = &[
    &ENGINE_INFO,
    &ENGINE_CONTAINERS,
    &ENGINE_IMAGES,
    &ENGINE_SKIPPED,
    &ENGINE_STATS_MISSING,
    &DISK_USAGE,
    &VOLUME_SIZE,
    &INFO,
    &STATE,
    &HEALTH,
    &CPU,
    &CPU_THROTTLED,
    &CPU_LIMIT,
    &MEMORY_WORKING_SET,
    &MEMORY_USAGE,
    &MEMORY_LIMIT,
    &RECEIVE_BYTES,
    &RECEIVE_PACKETS,
    &RECEIVE_ERRORS,
    &RECEIVE_DROPS,
    &TRANSMIT_BYTES,
    &TRANSMIT_PACKETS,
    &TRANSMIT_ERRORS,
    &TRANSMIT_DROPS,
    &BLOCK_READ,
    &BLOCK_WRITE,
    &PIDS,
    &RESTARTS,
    &OOM_KILLS,
    &EXIT_CODE,
    &START_TIME,
    &CREATED_TIME,
    &EVENTS,
    &EVENT_GAPS,
];
