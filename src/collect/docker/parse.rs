//! Replies of an engine → samples. Pure: `davylamp parse docker FILE…` gives the same samples from saved replies.

use std::collections::{BTreeMap, HashMap, HashSet};

use bollard::models::{ContainerBlkioStats, ContainerMemoryStats, ContainerNetworkStats, ContainerStatsResponse};
use serde::de::DeserializeOwned;

use super::families as f;
use super::lifecycle::{self, Counters, Summary};
use super::words::{DiskUsage, Info, Inspected, List, Listed, STATES, UNKNOWN, Version, clip, seconds};
use crate::collect::{ParseError, Reply};
use crate::model::{Family, Identity, Reading};

/// Interfaces of one container that are exported; a container with more is a router, and its host knows them.
const MAX_INTERFACES: usize = 32;
/// Volumes that are exported; anonymous ones may be many.
const MAX_VOLUMES: usize = 1000;
/// Notes that are kept: one broken engine may have a thousand broken containers.
const MAX_NOTES: usize = 20;

const HEALTHS: [&str; 4] = ["healthy", "unhealthy", "starting", "none"];

/// Parses the replies of one poll.
///
/// # Errors
/// When the list of containers is missing or unreadable: nothing can be said without it.
pub(super) fn parse(replies: &[Reply], max_containers: usize) -> Result<Reading, ParseError> {
    let answers = Answers::new(replies);
    let list =
        answers.body(LIST).ok_or_else(|| malformed(LIST, "this reply is missing; give all replies of a poll"))?;
    let list = List::read(list, max_containers).map_err(|error| malformed(LIST, &error.to_string()))?;
    let mut reading = Reading::default();
    if list.broken > 0 {
        reading.notes.push(format!("{LIST}: {} containers could not be read", list.broken));
    }
    let summary: Option<Summary> = answers.read(lifecycle::REQUEST, &mut reading);
    engine(&mut reading, &answers);
    counts(&mut reading, &list);
    if let Some(summary) = &summary {
        events(&mut reading, summary);
    }
    let mut missing = 0_u32;
    let mut names = HashSet::new();
    for container in &list.containers {
        let name = container.name();
        if !names.insert(name.clone()) {
            reading.notes.push(format!("two containers are named {name:?}; the second is left out"));
            continue;
        }
        let mut out = Out { reading: &mut reading, name: &name };
        out.described(container);
        if let Some(inspected) = answers.read(&format!("GET /containers/{}/json", container.id), out.reading) {
            let counted = summary.as_ref().and_then(|summary| summary.containers.get(&container.id));
            out.inspected(container, &inspected, counted);
        }
        if container.is_alive() {
            let stats = answers.read(&format!("GET /containers/{}/stats", container.id), out.reading);
            missing += u32::from(!out.stats(stats));
        }
    }
    reading.put(&f::ENGINE_STATS_MISSING, &[], f64::from(missing));
    if let Some(usage) = answers.read(DISK_USAGE, &mut reading) {
        disk_usage(&mut reading, &usage);
    }
    reading.notes.truncate(MAX_NOTES);
    Ok(reading)
}

const LIST: &str = "GET /containers/json";
const DISK_USAGE: &str = "GET /system/df";

fn malformed(request: &str, reason: &str) -> ParseError {
    ParseError::Malformed { request: request.to_string(), reason: reason.to_string() }
}

/// The replies by what was asked.
struct Answers<'a>(HashMap<&'a str, &'a Reply>);

impl<'a> Answers<'a> {
    fn new(replies: &'a [Reply]) -> Self {
        Answers(replies.iter().map(|reply| (reply.request.as_str(), reply)).collect())
    }

    /// The body of a reply that is no refusal.
    fn body(&self, request: &str) -> Option<&'a [u8]> {
        let reply = self.0.get(request)?;
        reply.status.is_none_or(|status| status == 200).then_some(reply.body.as_ref())
    }

    /// Reads a reply where it is there; an unreadable one becomes a note and costs only what it would have said.
    fn read<T: DeserializeOwned>(&self, request: &str, reading: &mut Reading) -> Option<T> {
        match serde_json::from_slice(self.body(request)?) {
            Ok(value) => Some(value),
            Err(error) => {
                reading.notes.push(format!("{request}: {error}"));
                None
            }
        }
    }
}

fn engine(reading: &mut Reading, answers: &Answers<'_>) {
    let info: Option<Info> = answers.read("GET /info", reading);
    let version: Option<Version> = answers.read("GET /version", reading);
    if info.is_none() && version.is_none() {
        return;
    }
    let (info, version) = (info.unwrap_or_default(), version.unwrap_or_default());
    let text = |first: Option<String>, second: Option<String>| {
        clip(first.filter(|text| !text.is_empty()).or(second).as_deref().unwrap_or_default())
    };
    let number = text(info.server_version, version.version);
    let labels = [
        ("version", number.as_str()),
        ("api_version", &text(version.api_version, None)),
        ("os", &text(info.operating_system, version.os)),
        ("arch", &text(info.architecture, version.arch)),
        ("cgroup_version", &text(info.cgroup_version, None)),
    ];
    reading.put(&f::ENGINE_INFO, &labels, 1.0);
    reading.put_opt(&f::ENGINE_IMAGES, &[], info.images);
    reading.identity = Some(Identity {
        id: text(info.id, None),
        make: "docker".to_string(),
        model: text(info.name, None),
        firmware: number,
    });
}

fn counts(reading: &mut Reading, list: &List) {
    for (state, count) in &list.by_state {
        reading.put(&f::ENGINE_CONTAINERS, &[("state", state)], f64::from(*count));
    }
    reading.put(&f::ENGINE_SKIPPED, &[], list.skipped as f64);
}

fn events(reading: &mut Reading, summary: &Summary) {
    for event in &summary.events {
        reading.put(&f::EVENTS, &[("type", &event.kind), ("action", &event.action)], event.count as f64);
    }
    reading.put(&f::EVENT_GAPS, &[], summary.gaps as f64);
}

fn disk_usage(reading: &mut Reading, usage: &DiskUsage) {
    let containers = usage.containers.as_deref().unwrap_or_default();
    let caches = usage.build_cache.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    // -1 says that the engine does not measure this volume.
    let size = |volume: &super::words::Volume| volume.usage_data.as_ref()?.size.filter(|size| *size >= 0.0);
    // Shared records of the build cache are part of another record already.
    let cache = caches.iter().filter(|record| !record.shared).filter_map(|record| record.size).sum();
    for (kind, bytes) in [
        ("images", usage.layers_size),
        ("containers", Some(containers.iter().filter_map(|container| container.size_rw).sum())),
        ("volumes", Some(volumes.iter().filter_map(size).sum())),
        ("build_cache", Some(cache)),
    ] {
        reading.put_opt(&f::DISK_USAGE, &[("type", kind)], bytes);
    }
    for volume in volumes.iter().take(MAX_VOLUMES) {
        reading.put_opt(&f::VOLUME_SIZE, &[("volume", &clip(&volume.name))], size(volume));
    }
}

/// Where the samples of one container go.
struct Out<'a> {
    reading: &'a mut Reading,
    name: &'a str,
}

impl Out<'_> {
    fn put(&mut self, family: &'static Family, value: Option<f64>) {
        self.reading.put_opt(family, &[("container", self.name)], value);
    }

    fn state(&mut self, family: &'static Family, label: &'static str, states: &[&str], active: &str) {
        for state in states {
            let value = f64::from(u8::from(*state == active));
            self.reading.put(family, &[("container", self.name), (label, state)], value);
        }
    }

    /// What the list says.
    fn described(&mut self, container: &Listed) {
        let labels = [
            ("container", self.name),
            ("id", container.id.as_str()),
            ("image", &clip(container.image.as_deref().unwrap_or_default())),
            ("image_id", &clip(container.image_id.as_deref().unwrap_or_default())),
            ("compose_project", &container.label("com.docker.compose.project")),
            ("compose_service", &container.label("com.docker.compose.service")),
        ];
        self.reading.put(&f::INFO, &labels, 1.0);
        let state = container.canonical_state();
        if state.is_none() {
            let word = container.state.as_deref().unwrap_or_default();
            self.reading.notes.push(format!("{}: the state {:?} is not known", self.name, clip(word)));
        }
        self.state(&f::STATE, "state", &STATES, state.unwrap_or(UNKNOWN));
        self.put(&f::CREATED_TIME, container.created.filter(|created| *created > 0.0));
    }

    /// What inspecting says, with what we counted ourselves.
    fn inspected(&mut self, container: &Listed, inspected: &Inspected, counted: Option<&Counters>) {
        let Some(state) = &inspected.state else { return };
        let health = state.health.as_ref().and_then(|health| health.status.as_deref()).unwrap_or_default();
        self.state(&f::HEALTH, "health", &HEALTHS, if health.is_empty() { "none" } else { health });
        self.put(&f::START_TIME, seconds(state.started_at.as_deref()));
        self.put(&f::CPU_LIMIT, inspected.host_config.cores());
        self.put(&f::MEMORY_LIMIT, inspected.host_config.memory.filter(|limit| *limit > 0.0));
        // Without our own counts (saved replies of another tool) the engine's word has to do.
        let restarts = counted.map(|counted| counted.restarts).or(inspected.restart_count);
        self.put(&f::RESTARTS, restarts.map(|count| count as f64));
        let oom_kills = counted.map_or_else(|| u64::from(state.oom_killed), |counted| counted.oom_kills);
        self.put(&f::OOM_KILLS, Some(oom_kills as f64));
        // The engine sets the code to 0 at each start: only after an end it says something.
        let ended = matches!(container.canonical_state(), Some("exited" | "dead" | "restarting"));
        let ended = ended && seconds(state.finished_at.as_deref()).is_some();
        let code = if ended { state.exit_code } else { counted.and_then(|counted| counted.last_exit_code) };
        self.put(&f::EXIT_CODE, code.map(|code| code as f64));
    }

    /// The numbers. False when there are none: no reply, or the empty one that the engine gives for a container that
    /// has ended since the list.
    fn stats(&mut self, stats: Option<ContainerStatsResponse>) -> bool {
        let Some(stats) = stats.filter(|stats| seconds(stats.read.as_deref()).is_some()) else { return false };
        let cpu = stats.cpu_stats.as_ref();
        let nanos = |value: Option<u64>| value.map(|nanos| nanos as f64 / 1e9);
        self.put(&f::CPU, nanos(cpu.and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage)));
        self.put(&f::CPU_THROTTLED, nanos(cpu.and_then(|cpu| cpu.throttling_data.as_ref()?.throttled_time)));
        if let Some(memory) = &stats.memory_stats {
            self.put(&f::MEMORY_USAGE, memory.usage.map(|usage| usage as f64));
            self.put(&f::MEMORY_WORKING_SET, working_set(memory));
        }
        if let Some(networks) = &stats.networks {
            self.networks(networks);
        }
        if let Some(block) = &stats.blkio_stats {
            self.put(&f::BLOCK_READ, block_bytes(block, "read"));
            self.put(&f::BLOCK_WRITE, block_bytes(block, "write"));
        }
        let pids = stats.pids_stats.as_ref().and_then(|pids| pids.current);
        self.put(&f::PIDS, pids.map(|pids| pids as f64));
        true
    }

    fn networks(&mut self, networks: &HashMap<String, ContainerNetworkStats>) {
        let sorted: BTreeMap<_, _> = networks.iter().collect();
        for (interface, counts) in sorted.into_iter().take(MAX_INTERFACES) {
            let interface = clip(interface);
            for (family, value) in [
                (&f::RECEIVE_BYTES, counts.rx_bytes),
                (&f::RECEIVE_PACKETS, counts.rx_packets),
                (&f::RECEIVE_ERRORS, counts.rx_errors),
                (&f::RECEIVE_DROPS, counts.rx_dropped),
                (&f::TRANSMIT_BYTES, counts.tx_bytes),
                (&f::TRANSMIT_PACKETS, counts.tx_packets),
                (&f::TRANSMIT_ERRORS, counts.tx_errors),
                (&f::TRANSMIT_DROPS, counts.tx_dropped),
            ] {
                let labels = [("container", self.name), ("interface", interface.as_str())];
                self.reading.put_opt(family, &labels, value.map(|value| value as f64));
            }
        }
    }
}

/// Usage without the inactive page cache, as `docker stats` computes it: `total_inactive_file` on cgroup v1,
/// `inactive_file` on v2. Absent where the engine does not say (Podman 4.3): usage would be another thing.
fn working_set(memory: &ContainerMemoryStats) -> Option<f64> {
    let (usage, stats) = (memory.usage?, memory.stats.as_ref()?);
    let inactive = *stats.get("total_inactive_file").or_else(|| stats.get("inactive_file"))?;
    Some(usage.checked_sub(inactive).unwrap_or(usage) as f64)
}

/// Bytes of one direction over all devices; the word is `Read` on cgroup v1 and `read` on v2. Absent where no device
/// was touched or the controller is missing.
fn block_bytes(block: &ContainerBlkioStats, direction: &str) -> Option<f64> {
    let entries = block.io_service_bytes_recursive.as_ref().filter(|entries| !entries.is_empty())?;
    let of_direction =
        entries.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(direction)));
    Some(of_direction.filter_map(|entry| entry.value).map(|value| value as f64).sum())
}
