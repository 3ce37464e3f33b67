//! `davylamp demo`: a simulated fleet and a daemon that watches it, in one process, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{complain, load, runtime, start_logging};
use crate::args::DemoArgs;
use davylamp::config::Config;
use davylamp::daemon;
use davylamp::demo::{Fleet, Model, OTP_SECRET, PASSWORD, showcase};

const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The seed of the fleet: every demo tells the same story.
const SEED: u64 = 1815;

/// Runs the demo until Ctrl-C, or for the time that was asked for.
pub fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::Builder::new().prefix("davylamp-demo-").tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let docker = !args.no_docker && std::os::unix::net::UnixStream::connect(DOCKER_SOCKET).is_ok();
    runtime()?.block_on(async {
        let fleet = Fleet::start(showcase(), SEED).await.context("cannot open loopback ports for the fleet")?;
        let path = furnish(&folder, &fleet, args, docker)?;
        let config = load(&path)?;
        start_logging(&config);
        let stop = CancellationToken::new();
        let options = daemon::Options { config: path.clone(), force_empty: false, stop: stop.clone() };
        let story = Story { config: &config, folder: &folder, docker, kept: args.keep.is_some() };
        let until = args.seconds.map_or(Duration::MAX, Duration::from_secs);
        tokio::select! {
            done = daemon::run(options, config.clone(), |address| story.tell(address)) => done?,
            () = watch(&fleet, until, &stop) => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes configuration, rules and playbook; returns the configuration's path.
fn furnish(folder: &Path, fleet: &Fleet, args: &DemoArgs, docker: bool) -> anyhow::Result<PathBuf> {
    let mut text = format!(
        "# Written by davylamp demo.\nserver: {{listen: \"{}\"}}\nstorage: {{path: state, ballast_bytes: 0}}\n\
         log: {{level: info}}\ndefaults: {{interval: 5s, timeout: 4s, labels: {{site: demo}}}}\n\
         rules: {{files: [rules.yml], evaluation_interval: 5s}}\ndashboards: {{enabled: true, path: grafana-dashboards, scrape_interval: 5s}}\n\
         ansible: {{playbooks: playbooks, startup_grace: 5s}}\nremediations:\n\
         - name: restart-miner\n  match: ['alertname=\"MinerHashrateLow\"']\n  target: '{{{{ $labels.miner }}}}'\n  mode: auto\n\
         \x20 steps: [{{playbook: restart-miner.yml, timeout: 1m}}]\n  guards: {{cooldown: 1m}}\ntargets:\n",
        args.listen
    );
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD)?;
    let otp = folder.join("otp");
    std::fs::write(&otp, OTP_SECRET)?;
    for device in fleet.devices() {
        // JSON is YAML.
        let options = match device.options(&password) {
            _ if device.model() == Model::NerdQaxe => format!(", options: {{otp: {{file: {}}}}}", otp.display()),
            serde_json::Value::Null => String::new(),
            options => format!(", options: {options}"),
        };
        let (id, kind, address) = (device.id(), device.kind(), device.address());
        text.push_str(&format!("- {{id: {id}, kind: {kind}, address: \"{address}\"{options}}}\n"));
    }
    if docker {
        text.push_str(&format!("- {{id: local, kind: docker, address: \"unix://{DOCKER_SOCKET}\"}}\n"));
    }
    let playbooks = folder.join("playbooks");
    std::fs::create_dir_all(&playbooks)?;
    std::fs::write(playbooks.join("restart-miner.yml"), include_str!("../../config/playbooks/restart-miner.yml"))?;
    std::fs::write(folder.join("rules.yml"), include_str!("demo/rules.yml"))?;
    let path = folder.join("davylamp.yml");
    std::fs::write(&path, text)?;
    Ok(path)
}

struct Story<'a> {
    config: &'a Config,
    folder: &'a Path,
    docker: bool,
    kept: bool,
}

impl Story<'_> {
    /// Prints what to look at.
    fn tell(&self, address: std::net::SocketAddr) {
        let ansible = match self.config.act.ansible.program("ansible-playbook") {
            Some(program) => format!("found {}", program.display()),
            None => {
                "ansible-playbook is not installed: the alert will fire, and nothing will repair the miner".to_string()
            }
        };
        let docker = match self.docker {
            true => "the local engine is polled too",
            false => "no local engine answers; only the simulated miners are polled",
        };
        let kept = if self.kept { "kept" } else { "deleted at the end" };
        complain(&format!(
            "\n  davylamp demo: twelve simulated miners of eight makes on loopback, polled every 5 s.\n\n\
             \x20 status page   http://{address}/\n\
             \x20 metrics       http://{address}/metrics\n\
             \x20 dashboards    {folder}/grafana-dashboards\n\
             \x20 everything    {folder} ({kept})\n\
             \x20 docker        {docker}\n\
             \x20 ansible       {ansible}\n\n\
             \x20 at 20 s bitaxe-2 loses hashrate; MinerHashrateLow fires, and a playbook restarts it\n\
             \x20 at 30 s bitaxe-5 dies; TargetDown fires; at 90 s it comes back\n\
             \x20 at 45 s bitaxe-3 overheats; at 135 s it has cooled down\n\n\
             \x20 Ctrl-C ends it.\n",
            folder = self.folder.display(),
        ));
    }
}

/// Says when a miner was restarted, which only a playbook does here; then ends the daemon when the time is up.
async fn watch(fleet: &Fleet, until: Duration, stop: &CancellationToken) {
    let started = Instant::now();
    let mut restarts = vec![0; fleet.devices().len()];
    while started.elapsed() < until {
        tokio::time::sleep(Duration::from_secs(1).min(until.saturating_sub(started.elapsed()))).await;
        for (seen, device) in restarts.iter_mut().zip(fleet.devices()) {
            if device.restarts() > *seen {
                *seen = device.restarts();
                tracing::info!(miner = device.id(), "the simulated miner was restarted, and hashes again");
            }
        }
    }
    stop.cancel();
    // The daemon's own end ends the select.
    std::future::pending::<()>().await;
}
