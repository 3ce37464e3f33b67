//! One poll of an engine: which questions, in which order, how many at once; what is remembered between polls.
//!
//! The window of events is measured by the engine's own clock (`SystemTime` of `GET /info`): an `until` that lies in
//! the engine's future would keep the answer open, and one in its past would count events twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::client::{Ask, Client};
use super::lifecycle::{self, Lifecycle};
use super::trim::{self, trimmed};
use super::words::{Info, Inspected, List, Listed, Version, nanoseconds};
use crate::collect::Reply;
use crate::model::{FailureReason, PollFailure};

/// Longest time for one small request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Engines before 25 hold a one-shot until their next one-second tick, so all have to wait together.
const AT_ONCE_OLD: usize = 256;
/// Newer engines answer at once; more would only queue inside of them.
const AT_ONCE: usize = 16;
/// API version of engine 25.
const API_OF_ENGINE_25: (usize, usize) = (1, 44);
/// From 1.52 on `GET /system/df` has another shape; every engine that speaks it still speaks this one.
const NEWEST_DISK_USAGE_API: (usize, usize) = (1, 51);
/// Disk usage walks over every file of every volume: about a second with 100,000 files.
const DISK_USAGE_EVERY: Duration = Duration::from_secs(600);

/// Body caps, in bytes.
const MAX_SMALL: usize = 1 << 20;
const MAX_LIST: usize = 32 << 20;

/// Polls one engine.
pub(super) struct Poller {
    client: Client,
    max_containers: usize,
    disk_usage: bool,
    timeout: Duration,
    memory: Mutex<Memory>,
}

/// What is known from earlier polls. It is lost on a reload, which shows as a reset of the counters.
#[derive(Default)]
struct Memory {
    /// `GET /version`, until a poll fails: the engine may have been upgraded.
    version: Option<(Reply, Api)>,
    /// End of the last window of events, nanoseconds of the engine's clock.
    events_until: Option<i64>,
    lifecycle: Lifecycle,
    inspected: HashMap<String, Known>,
    disk_usage: Option<(Instant, Option<Reply>)>,
}

/// A container as it was inspected last.
struct Known {
    /// What the list said then; another word means that it has changed.
    seen: String,
    reply: Reply,
}

/// The API version spoken with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Api(usize, usize);

impl Api {
    /// The newest version that both sides know; bollard says which one we know.
    fn negotiate(engine: &str) -> Option<Self> {
        let (major, minor) = engine.split_once('.')?;
        let ours = bollard::API_DEFAULT_VERSION;
        let ours = Api(ours.major_version, ours.minor_version);
        Some(ours.min(Api(major.parse().ok()?, minor.parse().ok()?)))
    }

    fn path(self) -> String {
        format!("/v{}.{}", self.0, self.1)
    }
}

impl Poller {
    pub(super) fn new(client: Client, max_containers: usize, disk_usage: bool, timeout: Duration) -> Self {
        Poller { client, max_containers, disk_usage, timeout, memory: Mutex::default() }
    }

    /// One poll.
    pub(super) async fn poll(&self) -> Result<Vec<Reply>, PollFailure> {
        let result = self.ask_everything().await;
        if result.is_err() {
            self.client.disconnect();
            self.remember(|memory| memory.version = None);
        }
        result
    }

    async fn ask_everything(&self) -> Result<Vec<Reply>, PollFailure> {
        let (version, api) = self.version().await?;
        let prefix = api.path();
        let info = trimmed(self.client.need(self.ask(&prefix, "/info", &[], MAX_SMALL)).await?, &trim::INFO)?;
        let list = self.client.need(self.ask(&prefix, "/containers/json", &[("all", "true")], MAX_LIST)).await?;
        let list = trimmed(list, &trim::LIST)?;
        let List { containers, .. } = List::read(&list.body, self.max_containers)
            .map_err(|error| PollFailure::new(FailureReason::Malformed, format!("{}: {error}", list.request)))?;
        let changed = self.events(&prefix, &info).await;
        // At once, before anything else is waited for: a poll that is cut off must not forget what changed.
        self.remember(|memory| match changed {
            Some(changed) => memory.inspected.retain(|id, _| !changed.contains(id)),
            None => memory.inspected.clear(),
        });
        let (inspected, stats, disk_usage) = futures_util::join!(
            self.inspect(&prefix, &containers),
            self.stats(&prefix, api, &containers),
            self.disk_usage(api),
        );
        let summary = self.remember(|memory| {
            memory.lifecycle.retain(&containers.iter().map(|container| container.id.clone()).collect());
            serde_json::to_vec(&memory.lifecycle.summary())
        });
        let summary = summary.map_err(|error| PollFailure::new(FailureReason::Bug, error.to_string()))?;
        let mut replies = vec![version, info, list, Reply::new(lifecycle::REQUEST, summary)];
        replies.extend(disk_usage);
        replies.extend(inspected);
        replies.extend(stats);
        Ok(replies)
    }

    fn ask<'a>(&self, version: &'a str, path: &'a str, query: &'a [(&'a str, &'a str)], max_body: usize) -> Ask<'a> {
        Ask { version, path, query, max_body, timeout: REQUEST_TIMEOUT.min(self.timeout) }
    }

    /// State is only touched through here: no lock is held across an `await`.
    fn remember<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        work(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn version(&self) -> Result<(Reply, Api), PollFailure> {
        if let Some(known) = self.remember(|memory| memory.version.clone()) {
            return Ok(known);
        }
        let reply = self.client.need(self.ask("", "/version", &[], MAX_SMALL)).await?;
        let version = serde_json::from_slice::<Version>(&reply.body).ok().and_then(|version| version.api_version);
        let api = version.as_deref().and_then(Api::negotiate).ok_or_else(|| {
            let text = "GET /version names no ApiVersion: is this a Docker engine?";
            PollFailure::new(FailureReason::Malformed, text)
        })?;
        self.remember(|memory| memory.version = Some((reply.clone(), api)));
        Ok((reply, api))
    }

    /// Counts what happened since the last poll. Gives the ids of changed containers, `None` when that is not known.
    async fn events(&self, prefix: &str, info: &Reply) -> Option<HashSet<String>> {
        let clock = serde_json::from_slice::<Info>(&info.body).ok()?.system_time;
        let until = nanoseconds(&clock?)?;
        let Some(since) = self.remember(|memory| memory.events_until) else {
            self.remember(|memory| memory.events_until = Some(until));
            return None;
        };
        let filters = lifecycle::filters();
        // Both ends are included, so the window begins one nanosecond after the last one's end.
        let (from, to) = (go_time(since.saturating_add(1)), go_time(until));
        let query = [("since", from.as_str()), ("until", to.as_str()), ("filters", filters.as_str())];
        let reply = self.client.get(self.ask(prefix, "/events", &query, MAX_SMALL)).await;
        self.remember(|memory| {
            // Only now: a poll that is cut off while it waits asks for the same events again.
            memory.events_until = Some(until);
            match reply {
                // A clock that was set back makes a window that holds nothing.
                Ok(reply) if reply.status == Some(200) && since <= until => memory.lifecycle.take_events(&reply.body),
                _ => {
                    memory.lifecycle.gap();
                    None
                }
            }
        })
    }

    /// Inspects containers that are new or changed; the others' last replies are handed out again.
    async fn inspect(&self, prefix: &str, containers: &[Listed]) -> Vec<Reply> {
        let stale: Vec<&Listed> = self.remember(|memory| {
            let alive: HashSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
            memory.inspected.retain(|id, _| alive.contains(id.as_str()));
            let known = |container: &&Listed| {
                memory.inspected.get(&container.id).is_some_and(|known| known.seen == fingerprint(container))
            };
            containers.iter().filter(|container| !known(container)).collect()
        });
        let work: Vec<_> = stale.into_iter().map(|container| self.inspect_one(prefix, container)).collect();
        stream::iter(work).buffer_unordered(AT_ONCE).collect::<()>().await;
        self.remember(|memory| {
            let known = containers.iter().filter_map(|container| memory.inspected.get(&container.id));
            known.map(|known| known.reply.clone()).collect()
        })
    }

    /// Remembers each answer as it comes: with many slow containers a poll may be cut off, and the next one goes on
    /// from there. One without an answer is gone, or is asked again at the next poll.
    async fn inspect_one(&self, prefix: &str, container: &Listed) {
        let path = format!("/containers/{}/json", container.id);
        let reply = self.client.get(self.ask(prefix, &path, &[], MAX_SMALL)).await;
        let reply = reply.ok().filter(|reply| reply.status == Some(200));
        let reply = reply.and_then(|reply| trimmed(reply, &trim::INSPECTED).ok());
        let read = reply.and_then(|reply| Some((serde_json::from_slice::<Inspected>(&reply.body).ok()?, reply)));
        self.remember(|memory| {
            memory.inspected.remove(&container.id);
            if let Some((inspected, reply)) = read {
                memory.lifecycle.take_inspected(&container.id, &inspected);
                let known = Known { seen: fingerprint(container), reply };
                memory.inspected.insert(container.id.clone(), known);
            }
        });
    }

    /// One-shot numbers of every living container. One that does not answer in time costs only its own numbers.
    async fn stats(&self, prefix: &str, api: Api, containers: &[Listed]) -> Vec<Reply> {
        let at_once = if api < Api(API_OF_ENGINE_25.0, API_OF_ENGINE_25.1) { AT_ONCE_OLD } else { AT_ONCE };
        let ask = |container: &Listed| {
            let path = format!("/containers/{}/stats", container.id);
            async move {
                let query = [("stream", "false"), ("one-shot", "true")];
                let reply = self.client.get(self.ask(prefix, &path, &query, MAX_SMALL)).await.ok();
                reply.filter(|reply| reply.status == Some(200))
            }
        };
        let alive: Vec<_> = containers.iter().filter(|container| container.is_alive()).map(ask).collect();
        let replies = stream::iter(alive).buffered(at_once);
        replies.filter_map(std::future::ready).collect().await
    }

    async fn disk_usage(&self, api: Api) -> Option<Reply> {
        if !self.disk_usage {
            return None;
        }
        let known = self.remember(|memory| memory.disk_usage.clone());
        if let Some((asked, reply)) = known
            && asked.elapsed() < DISK_USAGE_EVERY
        {
            return reply;
        }
        let api = api.min(Api(NEWEST_DISK_USAGE_API.0, NEWEST_DISK_USAGE_API.1)).path();
        // Before the answer: where it is so slow that the poll is cut off, the next poll must not try again.
        self.remember(|memory| memory.disk_usage = Some((Instant::now(), None)));
        // Less than the whole poll may take, so that a slow disk does not cost the poll.
        let timeout = self.timeout.mul_f64(0.6);
        let ask = Ask { version: &api, path: "/system/df", query: &[], max_body: MAX_LIST, timeout };
        let reply = self.client.get(ask).await.ok().filter(|reply| reply.status == Some(200))?;
        let reply = trimmed(reply, &trim::DISK_USAGE).ok()?;
        self.remember(|memory| memory.disk_usage = Some((Instant::now(), Some(reply.clone()))));
        Some(reply)
    }
}

/// What the list says about a container without its running time ("Up 3 minutes (healthy)"): when it differs, the
/// container has to be inspected again, event or not.
fn fingerprint(container: &Listed) -> String {
    let status = container.status.as_deref().unwrap_or_default();
    let detail = status.find('(').and_then(|start| status[start..].split(')').next()).unwrap_or_default();
    format!("{:?} {:?} {detail}", container.names, container.state)
}

/// A time as the engine reads it in queries: seconds, a dot, nine digits.
fn go_time(nanos: i64) -> String {
    format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_the_newest_version_that_both_know() {
        assert_eq!(Api::negotiate("1.41"), Some(Api(1, 41)));
        let ours = bollard::API_DEFAULT_VERSION;
        assert_eq!(Api::negotiate("1.999"), Some(Api(ours.major_version, ours.minor_version)));
        assert_eq!(Api::negotiate("new"), None);
        assert_eq!(Api(1, 41).path(), "/v1.41");
    }

    #[test]
    fn a_container_is_inspected_again_when_the_list_says_something_new() {
        let listed = |state: &str, status: &str| Listed {
            state: Some(state.into()),
            status: Some(status.into()),
            ..Listed::default()
        };
        let before = fingerprint(&listed("running", "Up 3 minutes (healthy)"));
        assert_eq!(before, fingerprint(&listed("running", "Up 4 minutes (healthy)")));
        assert_ne!(before, fingerprint(&listed("running", "Up 4 minutes (unhealthy)")));
        assert_ne!(
            fingerprint(&listed("exited", "Exited (0) 1 second ago")),
            fingerprint(&listed("exited", "Exited (3) 1 second ago"))
        );
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(go_time(1_795_219_135_000_000_007), "1795219135.000000007");
    }
}
