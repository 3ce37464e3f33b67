//! `davylamp discover`: miners on a network, shown as they are found, and written down as targets.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::silence::table;
use super::{complain, load, say, small_runtime};
use crate::args::discover::{DiscoverArgs, Shown};
use davylamp::config::Config;
use davylamp::config::file::TargetEntry;
use davylamp::discover::file::{Other, Others};
use davylamp::discover::imprint::MOST_IMPRINTS;
use davylamp::discover::names::Names;
use davylamp::discover::{Found, Plan, Progress, Search, file, nobody, scan};

/// How public addresses are allowed here.
const HOW: &str = "say --public if they are yours";

/// Name of the file of targets where none is given.
const FILE: &str = "discovered.yml";

pub fn discover(args: &DiscoverArgs) -> anyhow::Result<ExitCode> {
    // Needed where it is the place to write beside, or says what to search.
    let config = match args.config.config.exists() || args.networks.is_empty() {
        true => Some(load(&args.config.config)?),
        false => None,
    };
    let (plan, search) = what(args, config.as_deref())?;
    let mut found = search_all(plan, search)?;
    found.sort_by_key(|found| davylamp::discover::settings::address_of(&found.address));
    match args.output {
        Shown::Json => say(&serde_json::to_string_pretty(&found.iter().map(shape).collect::<Vec<_>>())?)?,
        Shown::Table if found.is_empty() => say("nothing was found")?,
        Shown::Table => table(&HEADS, found.iter().map(row))?,
    };
    if let Some(path) = &args.write {
        write(args, path.as_deref(), config.as_ref(), &found)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where and how to search: the command line before the configuration.
fn what(args: &DiscoverArgs, config: Option<&Config>) -> anyhow::Result<(Plan, Search)> {
    let settings = config.map(|config| &config.file.discovery);
    let public = args.public || (args.networks.is_empty() && settings.is_some_and(|settings| settings.allow_public));
    let (mut networks, mut exclude) = (args.networks.clone(), args.exclude.clone());
    if let (true, Some(settings)) = (networks.is_empty(), settings) {
        networks = settings.networks.clone();
        exclude.extend(settings.exclude.clone());
    }
    if networks.is_empty() {
        anyhow::bail!("no network to search: name one (192.168.1.0/24), or write discovery.networks");
    }
    let plan = Plan::read(&networks, &exclude, (!public).then_some(HOW))?;
    let mut search = Search::default();
    if let Some(config) = config {
        (search.ports, search.kinds) = (config.file.discovery.ports.clone(), config.discovery.search.kinds.clone());
    }
    search.timeout = args.timeout.unwrap_or(search.timeout);
    search.concurrency = args.concurrency.map_or(search.concurrency, usize::from);
    search.rate = args.rate.unwrap_or(search.rate);
    for (ports, wanted) in [
        (&mut search.ports.http, &args.http_ports),
        (&mut search.ports.rpc, &args.rpc_ports),
        (&mut search.ports.framed, &args.framed_ports),
    ] {
        if let Some(wanted) = wanted {
            ports.clone_from(wanted);
        }
    }
    Ok((plan, search.fitting()))
}

fn search_all(plan: Plan, search: Search) -> anyhow::Result<Vec<Found>> {
    let bar = ProgressBar::new(u64::try_from(plan.len()).unwrap_or(u64::MAX));
    // Whoever reads our output wants no bar in it; whoever reads our errors from a file neither.
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    bar.set_draw_target(target);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} addresses, {msg}, {eta} left")?);
    bar.set_message("0 found");
    let (mut found, mut held, mut beyond) = (Vec::new(), 0_u64, 0_u64);
    small_runtime()?.block_on(async {
        let mut scan = scan(plan, search, nobody());
        while let Some(progress) = scan.next().await {
            match progress {
                Progress::Found(_) if found.len() == MOST_IMPRINTS => {
                    beyond += 1;
                }
                Progress::Found(device) => found.push(*device),
                Progress::Held => held += 1,
                Progress::Nothing => {}
            }
            bar.set_message(format!("{} found", found.len()));
            bar.inc(1);
        }
    });
    bar.finish_and_clear();
    if held > 0 {
        complain(&format!("{held} address(es) took a connection and kept us waiting for nothing that is known here"));
    }
    if beyond > 0 {
        complain(&format!("more than {MOST_IMPRINTS} devices answered: {beyond} of them are left out"));
    }
    Ok(found)
}

const HEADS: [&str; 8] = ["Address", "Kind", "Identity", "Hostname", "Make", "Model", "Firmware", "Remark"];

fn row(found: &Found) -> Vec<String> {
    let identity = found.identity().unwrap_or_else(|| "-".to_string());
    let remark = match &found.trouble {
        Some(_) if found.locked => format!("behind a login: see discovery.kinds.{}.options", found.kind),
        trouble => trouble.clone().unwrap_or_default(),
    };
    let [address, kind] = [found.address.clone(), found.kind.to_string()];
    let facts = [&found.hostname, &found.make, &found.model, &found.firmware].map(String::clone);
    [vec![address, kind, identity], facts.to_vec(), vec![remark]].concat()
}

fn shape(found: &Found) -> serde_json::Value {
    json!({
        "address": found.address,
        "kind": found.kind,
        "identity": found.identity(),
        "mac": found.mac.map(|mac| mac.to_string()),
        "serial": found.serial,
        "hostname": found.hostname,
        "make": found.make,
        "model": found.model,
        "firmware": found.firmware,
        "web_port": found.web_port,
        "locked": found.locked,
        "trouble": found.trouble,
    })
}

fn write(
    args: &DiscoverArgs,
    path: Option<&Path>,
    config: Option<&Arc<Config>>,
    found: &[Found],
) -> anyhow::Result<()> {
    let folder = args.config.config.parent().unwrap_or(Path::new("."));
    let path = path.map_or_else(|| folder.join(FILE), PathBuf::from);
    let included = config.is_some_and(|config| config.target_files.iter().any(|file| same(file, &path)));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let others = config.map(|config| others(args, config, &path)).transpose()?.unwrap_or_default();
    let written = file::merged(&path, &text, found, &others).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    for conflict in &written.conflicts {
        complain(&conflict.to_string());
    }
    if written.text != text {
        replace(&path, &written.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (added, changed) = (written.added, written.changed);
    complain(&format!("{}: {added} target(s) added, {changed} changed", path.display()));
    if !included {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        complain(&format!("to poll them, write into {}: targets_files: [{name}]", args.config.config.display()));
    }
    Ok(())
}

/// What the configuration has beside the file that is written.
fn others(args: &DiscoverArgs, config: &Config, path: &Path) -> anyhow::Result<Others> {
    let own = |id: &str| config.target_of_file(id).is_some_and(|file| same(file, path));
    let entries: Vec<_> = config.file.targets.iter().filter(|entry| !own(&entry.id)).collect();
    let addresses = entries.iter().map(|entry| entry.address.as_str());
    let names = small_runtime()?.block_on(Names::resolve(addresses));
    let other = |entry: &&TargetEntry| Other {
        id: entry.id.clone(),
        kind: entry.kind.clone(),
        address: entry.address.clone(),
        identity: entry.identity.clone().unwrap_or_default(),
        file: config.target_of_file(&entry.id).unwrap_or(&args.config.config).display().to_string(),
    };
    let targets = entries.iter().map(other).collect();
    Ok(Others { targets, names, hosts: config.inventory_names(), kinds: config.discovery.search.kinds.clone() })
}

/// One file under two names.
fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whole or not at all.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    // A temporary file is for its owner alone; the daemon runs as somebody else.
    let mode = std::fs::metadata(path)
        .map_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644), |old| old.permissions());
    fresh.as_file().set_permissions(mode)?;
    fresh.as_file().sync_all()?;
    fresh.persist(path)?;
    Ok(())
}
