//! `davylamp log`: what a device said last, and what it says next.

use std::process::ExitCode;
use std::time::Duration;

use super::ask::Daemon;
use super::{runtime, say};
use crate::args::LogArgs;
use davylamp::listen::Line;
use davylamp::silence::rfc3339;

/// How often a daemon is asked for what is new.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Prints lines; with `--follow` until it is interrupted.
pub fn log(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(&args.daemon)?;
    let id: String = url::form_urlencoded::byte_serialize(args.target.as_bytes()).collect();
    // In a path a blank is %20.
    let path = format!("/api/v1/targets/{}/log", id.replace('+', "%20"));
    runtime()?.block_on(async {
        let (mut after, mut limit) = (0, args.lines);
        loop {
            let path = format!("{path}?after={after}&limit={limit}");
            let said = daemon.call("GET", &path, None).await??;
            for line in serde_json::from_value::<Vec<Line>>(said)? {
                say(&format!("{} {}", rfc3339(line.at), line.text))?;
                after = line.number;
            }
            if !args.follow {
                return Ok(ExitCode::SUCCESS);
            }
            limit = davylamp::api::device_log::MOST;
            tokio::time::sleep(ASK_EVERY).await;
        }
    })
}
