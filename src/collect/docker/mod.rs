//! The kind `docker`: one Docker engine (20.10 or later) or Podman's compatible API, and its containers.
//!
//! One poll asks the engine for itself, the list of containers, what happened since the last poll, the details of what
//! changed, and one-shot numbers of every running container. bollard says which API version and which shape the
//! numbers have; states and other words are read leniently by structs of our own.

mod client;
mod command;
mod families;
mod lifecycle;
mod parse;
mod poll;
mod trim;
mod words;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Collector, Kind, Opened, OptionDoc, OptionError, ParseError, Reply, Support, read_options};
use crate::model::{PollFailure, Reading, Target};

/// The row in the table of kinds.
pub const KIND: Kind = Kind {
    name: "docker",
    summary: "Docker engine 20.10 and later, or Podman: containers, their state, health, CPU, memory, network, restarts",
    subject: "engine",
    support: Support::Recorded,
    default_address: client::DEFAULT_ADDRESS,
    min_interval: Duration::from_secs(2),
    families: families::ALL,
    options: &[
        OptionDoc {
            name: "tls",
            help: "for tcp://host:2376: the PEM files ca_file (whom to believe), cert_file and key_file (who we are)",
        },
        OptionDoc {
            name: "max_containers",
            help: "at most so many containers, running ones first; the rest is counted (default 2000)",
        },
        OptionDoc {
            name: "disk_usage",
            help: "also ask for disk usage and volume sizes, every ten minutes; it may load the disk (default false)",
        },
    ],
    // Its commands are for containers: see `container`.
    commands: &[],
    open,
};

pub use command::container;

/// How long a container has for its own end, as Docker has it.
const DEFAULT_STOP: Duration = Duration::from_secs(10);

/// What stands under `options`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    tls: Option<client::TlsFiles>,
    max_containers: usize,
    disk_usage: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { tls: None, max_containers: 2000, disk_usage: false }
    }
}

fn open(target: &Target) -> Opened {
    let options: Options = read_options(target)?;
    if !(1..=10_000).contains(&options.max_containers) {
        return Err(OptionError::new("options.max_containers", "write a number from 1 to 10000").into());
    }
    let client = client::Client::open(&target.address, options.tls.as_ref())?;
    let poller = poll::Poller::new(client, options.max_containers, options.disk_usage, target.timeout);
    Ok(Box::new(Docker { max_containers: options.max_containers, poller }))
}

struct Docker {
    max_containers: usize,
    poller: poll::Poller,
}

impl Collector for Docker {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        self.poller.poll().boxed()
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        parse::parse(replies, self.max_containers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(options: serde_json::Value) -> Target {
        Target {
            id: "nas".into(),
            kind: "docker".into(),
            address: String::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            cron: None,
            labels: crate::model::Labels::empty(),
            options,
        }
    }

    #[test]
    fn options_are_checked_and_mistakes_have_a_path() {
        assert!(open(&target(serde_json::Value::Null)).is_ok());
        let refuse = |options| open(&target(options)).err().map(|errors| errors[0].to_string()).unwrap_or_default();
        let text = refuse(serde_json::json!({ "max_containers": 0 }));
        assert_eq!(text, "options.max_containers: write a number from 1 to 10000");
        let text = refuse(serde_json::json!({ "disk_usge": true }));
        assert!(text.contains("disk_usge") && text.contains("disk_usage"), "{text}");
        let text = refuse(serde_json::json!({ "tls": { "ca_file": "/ca.pem" } }));
        assert!(text.starts_with("options.tls") && text.contains("cert_file"), "{text}");
    }
}
