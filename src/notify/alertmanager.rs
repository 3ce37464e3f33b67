//! Alertmanagers: every alert to every one of them, as Prometheus does it.
//!
//! What an Alertmanager knows is kept per address: an alert is due when it is new, when it resolved, and again every minute
//! while it fires and for a quarter of an hour after it resolved. An address that is away is tried again with back-off; what
//! is due then is computed then, so it hears the newest state of everything and nothing stale.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;
use url::Url;

use super::Notice;
use super::parcel::Fault;
use super::settings::AlertmanagerEntry;
use crate::collect::http::{Call, Caller, Credential, Network, checked_url};
use crate::model::relabel::{Step, relabel};
use crate::silence::{Silence, SilenceShape, rfc3339};

/// A firing alert is said again this often.
pub const RESEND_DELAY: Duration = Duration::from_secs(60);
/// Alerts in one request.
pub const BATCH: usize = 64;
/// Alerts that may wait for one Alertmanager; as Prometheus' `--alertmanager.notification-queue-capacity`.
pub const QUEUE: usize = 10_000;
/// First and longest wait after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Largest file of addresses, in bytes, and most addresses.
const MAX_FILE: u64 = 1 << 20;
const MAX_ADDRESSES: usize = 64;

/// One entry of `alertmanagers`, checked.
pub struct Cluster {
    caller: Caller,
    scheme: String,
    prefix: String,
    targets: Vec<String>,
    files: Vec<PathBuf>,
    steps: Vec<Step>,
    /// Whether its silences hold back others.
    pub respect_silences: bool,
    read: Mutex<HashMap<PathBuf, (SystemTime, Vec<String>)>>,
}

impl Cluster {
    /// Checks an entry.
    ///
    /// # Errors
    /// Every mistake, with its path below the entry.
    pub fn check(entry: &AlertmanagerEntry, folder: &Path) -> Result<Self, Vec<(String, String)>> {
        let mut mistakes = Vec::new();
        if !matches!(entry.scheme.as_str(), "http" | "https") {
            mistakes.push(("scheme".to_string(), format!("{:?} is not http or https", entry.scheme)));
        }
        if entry.api_version != "v2" {
            mistakes.push(("api_version".to_string(), format!("{:?}: only v2 is spoken", entry.api_version)));
        }
        if entry.timeout.is_zero() {
            mistakes.push(("timeout".to_string(), "0s is impossible; write for example 10s".to_string()));
        }
        if entry.static_configs.is_empty() && entry.file_sd_configs.is_empty() {
            mistakes.push(("static_configs".to_string(), "is missing: nothing says where it is".to_string()));
        }
        if entry.basic_auth.is_some() && entry.authorization.is_some() {
            mistakes.push(("basic_auth".to_string(), "basic_auth and authorization exclude each other".to_string()));
        }
        if let Some(Err(error)) = entry.tls_config.as_ref().map(|tls| tls.check("tls_config")) {
            mistakes.push((error.path, error.message));
        }
        let mut steps = Vec::new();
        for (index, config) in entry.alert_relabel_configs.iter().enumerate() {
            match Step::new(config.clone()) {
                Ok(step) => steps.push(step),
                Err(error) => {
                    mistakes.push((format!("alert_relabel_configs[{index}].{}", error.field), error.message));
                }
            }
        }
        let mut targets = Vec::new();
        for (at, config) in entry.static_configs.iter().enumerate() {
            for (index, target) in config.targets.iter().enumerate() {
                if let Err(error) = address(&entry.scheme, &entry.path_prefix, target, "alerts") {
                    mistakes.push((format!("static_configs[{at}].targets[{index}]"), format!("{target:?}: {error}")));
                }
                targets.push(target.clone());
            }
        }
        let basic = entry
            .basic_auth
            .as_ref()
            .map(|auth| Credential::Basic { username: auth.username.clone(), password: auth.password.clone() });
        let credential =
            basic.or(entry.authorization.as_ref().map(|auth| Credential::Bearer(auth.credentials.clone())));
        let files = entry.file_sd_configs.iter().flat_map(|config| &config.files).map(|file| folder.join(file));
        let network = entry.network.unwrap_or(Network::Lan);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Cluster {
            caller: Caller::new(credential, entry.tls_config.clone(), network, entry.timeout),
            scheme: entry.scheme.clone(),
            prefix: entry.path_prefix.clone(),
            targets,
            files: files.collect(),
            steps,
            respect_silences: entry.respect_silences,
            read: Mutex::default(),
        })
    }

    /// All addresses as of now. A file that cannot be read keeps what it said last.
    pub fn addresses(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self.targets.iter().cloned().collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        for file in &self.files {
            let modified = std::fs::metadata(file).and_then(|data| data.modified()).ok();
            if modified.is_some() && read.get(file).map(|(at, _)| *at) != modified {
                match targets_of(file) {
                    Ok(targets) => {
                        read.insert(file.clone(), (modified.unwrap_or(SystemTime::UNIX_EPOCH), targets));
                    }
                    Err(reason) => tracing::warn!(file = %file.display(), reason, "cannot use a file of Alertmanagers"),
                }
            }
            all.extend(read.get(file).into_iter().flat_map(|(_, targets)| targets.iter().cloned()));
        }
        all.into_iter().take(MAX_ADDRESSES).collect()
    }

    /// The alerts as this entry's addresses hear them. Of those that relabelling makes one, the oldest that fires is heard.
    fn relabelled<'a>(&self, notices: &'a [Notice]) -> Cow<'a, [Notice]> {
        if self.steps.is_empty() {
            return Cow::Borrowed(notices);
        }
        let heard = notices.iter().filter_map(|notice| {
            let labels = relabel(&self.steps, &notice.labels).filter(|labels| !labels.is_empty())?;
            Some(Notice { labels, ..notice.clone() })
        });
        let mut heard: Vec<Notice> = heard.collect();
        heard.sort_by_key(|notice| (notice.resolved_at.is_some(), notice.starts_at));
        let mut seen = HashSet::new();
        heard.retain(|notice| seen.insert(notice.labels.fingerprint()));
        Cow::Owned(heard)
    }

    /// The URLs that alerts are posted to, as of now.
    pub fn urls(&self) -> Vec<Url> {
        let url = |target: &String| address(&self.scheme, &self.prefix, target, "alerts").ok();
        self.addresses().iter().filter_map(url).collect()
    }

    /// Posts alerts to one address.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn post(&self, target: &str, alerts: &[Notice], now: i64) -> Result<(), Fault> {
        let url = address(&self.scheme, &self.prefix, target, "alerts").map_err(Fault::refused)?;
        let body: Vec<_> = alerts.iter().map(|alert| wire(alert, now)).collect();
        let headers = [("content-type", "application/json".to_string())];
        let body = serde_json::Value::from(body).to_string().into_bytes();
        let answer = self.caller.call(Call { method: "POST", url: &url, headers: &headers, body: Some(body) }).await?;
        match answer.status {
            200..=299 => Ok(()),
            status => Err(Fault::Retry { reason: format!("HTTP {status}"), after: answer.retry_after() }),
        }
    }

    /// The silences of one address that are not over.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn silences(&self, target: &str, now: i64) -> Result<Vec<Silence>, Fault> {
        let url = address(&self.scheme, &self.prefix, target, "silences").map_err(Fault::refused)?;
        let answer = self.caller.call(Call { method: "GET", url: &url, headers: &[], body: None }).await?.success()?;
        let shapes: Vec<SilenceShape> =
            serde_json::from_slice(&answer.body).map_err(|_| Fault::retry("it says no list of silences"))?;
        let over = |shape: &SilenceShape| shape.ends_at <= now;
        Ok(shapes.into_iter().filter(|shape| !over(shape)).filter_map(|s| Silence::from_shape(s).ok()).collect())
    }
}

fn address(scheme: &str, prefix: &str, target: &str, what: &str) -> Result<Url, String> {
    if target.contains(['/', '?', '#', '@']) {
        return Err("write host:port; scheme and path_prefix stand beside it".to_string());
    }
    let prefix = prefix.trim_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
    checked_url(&format!("{scheme}://{target}{prefix}/api/v2/{what}"), "targets").map_err(|error| error.message)
}

fn targets_of(file: &Path) -> Result<Vec<String>, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err("it is larger than 1 MiB".to_string());
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    #[derive(serde::Deserialize)]
    struct Group {
        targets: Vec<String>,
    }
    // JSON is YAML.
    let groups: Vec<Group> = serde_yaml::from_str(&text).map_err(|_| "it is no list of {targets: […]}".to_string())?;
    Ok(groups.into_iter().flat_map(|group| group.targets).collect())
}

/// The alert as the API wants it.
fn wire(alert: &Notice, now: i64) -> serde_json::Value {
    // Alertmanager ends an alert that is not confirmed by then: three confirmations may be lost.
    let lives = i64::try_from(alert.interval.max(RESEND_DELAY).as_millis()).unwrap_or(i64::MAX).saturating_mul(4);
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.resolved_at.unwrap_or_else(|| now.saturating_add(lives))),
        "generatorURL": alert.generator_url,
    })
}

/// What one Alertmanager has been told.
#[derive(Default)]
pub struct Outlet {
    /// By labels: since when the alert fires, whether it is resolved, and when that was said.
    told: HashMap<u64, (i64, bool, i64)>,
    busy: bool,
    failures: u32,
    not_before: i64,
}

/// What is to be said to one Alertmanager.
pub struct Due {
    /// At most [`BATCH`].
    pub alerts: Vec<Notice>,
    /// How many wait, these included.
    pub waiting: usize,
    /// How many are more than may wait.
    pub dropped: usize,
}

impl Outlet {
    /// What is due, or `None`. Whatever is handed out must come back through [`Outlet::done`].
    pub fn due(&mut self, notices: &[Notice], now: i64) -> Option<Due> {
        if self.busy || now < self.not_before {
            return None;
        }
        let known: HashSet<u64> = notices.iter().map(|notice| notice.labels.fingerprint()).collect();
        self.told.retain(|fingerprint, _| known.contains(fingerprint));
        let delay = i64::try_from(RESEND_DELAY.as_millis()).unwrap_or(i64::MAX);
        let wanted = |notice: &&Notice| match self.told.get(&notice.labels.fingerprint()) {
            None => true,
            Some((starts_at, resolved, at)) => {
                let same = *starts_at == notice.starts_at && *resolved == notice.resolved_at.is_some();
                !same || now - at >= delay
            }
        };
        let mut due: Vec<&Notice> = notices.iter().filter(wanted).collect();
        let (waiting, dropped) = (due.len().min(QUEUE), due.len().saturating_sub(QUEUE));
        due.truncate(BATCH);
        if due.is_empty() {
            return None;
        }
        self.busy = true;
        Some(Due { alerts: due.into_iter().cloned().collect(), waiting, dropped })
    }

    /// How it went.
    pub fn done(&mut self, alerts: &[Notice], outcome: &Result<(), Fault>, now: i64) {
        self.busy = false;
        if let Err(fault) = outcome {
            let factor = 1 << self.failures.min(10);
            let mut wait = (BACK_OFF.0 * factor).min(BACK_OFF.1);
            if let Fault::Retry { after: Some(after), .. } = fault {
                wait = wait.max((*after).min(RESEND_DELAY));
            }
            self.failures += 1;
            self.not_before = now + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            return;
        }
        if std::mem::take(&mut self.failures) > 0 {
            // It may have lost its memory with its process.
            self.told.clear();
        }
        for alert in alerts {
            self.told.insert(alert.labels.fingerprint(), (alert.starts_at, alert.resolved_at.is_some(), now));
        }
    }

    /// Whether the last request failed; it is logged once.
    pub fn failing(&self) -> bool {
        self.failures > 0
    }
}

/// All outlets, by address.
pub type Outlets = HashMap<(usize, String), Outlet>;

/// A request to one Alertmanager that is to be made.
pub struct Errand {
    /// Which entry.
    pub cluster: Arc<Cluster>,
    /// Its index, and the address.
    pub key: (usize, String),
    /// What to say.
    pub due: Due,
}

/// What is due everywhere; addresses that are gone are forgotten.
pub fn errands(clusters: &[Arc<Cluster>], outlets: &mut Outlets, notices: &[Notice], now: i64) -> Vec<Errand> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let heard = cluster.relabelled(notices);
        for address in cluster.addresses() {
            let key = (index, address);
            let outlet = outlets.entry(key.clone()).or_default();
            if let Some(due) = outlet.due(&heard, now) {
                found.push(Errand { cluster: cluster.clone(), key: key.clone(), due });
            }
            known.insert(key);
        }
    }
    outlets.retain(|key, outlet| outlet.busy || known.contains(key));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn notice(name: &str, resolved_at: Option<i64>) -> Notice {
        Notice {
            labels: Labels::new([("alertname", name)]),
            annotations: Labels::empty(),
            starts_at: 1_000,
            resolved_at,
            generator_url: String::new(),
            interval: Duration::from_secs(15),
        }
    }

    /// Says whatever is due; the names that were said.
    fn say(outlet: &mut Outlet, notices: &[Notice], now: i64, outcome: Result<(), Fault>) -> Vec<String> {
        let Some(due) = outlet.due(notices, now) else { return Vec::new() };
        outlet.done(&due.alerts, &outcome, now);
        due.alerts.iter().map(|a| format!("{} {}", a.labels.get("alertname").unwrap(), a.status())).collect()
    }

    #[test]
    fn firing_is_said_every_minute_and_the_end_at_once() {
        let (firing, over) = ([notice("Hot", None)], [notice("Hot", Some(90_000))]);
        let mut outlet = Outlet::default();
        assert_eq!(say(&mut outlet, &firing, 2_000, Ok(())), ["Hot firing"]);
        assert!(say(&mut outlet, &firing, 61_999, Ok(())).is_empty());
        assert_eq!(say(&mut outlet, &firing, 62_000, Ok(())), ["Hot firing"]);
        assert_eq!(say(&mut outlet, &over, 90_000, Ok(())), ["Hot resolved"]);
        assert!(say(&mut outlet, &over, 91_000, Ok(())).is_empty());
        assert_eq!(say(&mut outlet, &over, 150_000, Ok(())), ["Hot resolved"], "and again while it is remembered");
        assert!(say(&mut outlet, &[], 200_000, Ok(())).is_empty());
        let again = [Notice { starts_at: 300_000, ..notice("Hot", None) }];
        assert_eq!(say(&mut outlet, &again, 300_000, Ok(())), ["Hot firing"]);
    }

    #[test]
    fn after_an_outage_the_newest_state_is_heard() {
        let mut outlet = Outlet::default();
        assert_eq!(say(&mut outlet, &[notice("Hot", None)], 0, Err(Fault::retry("away"))), ["Hot firing"]);
        assert!(say(&mut outlet, &[notice("Hot", None)], 999, Ok(())).is_empty(), "it backs off");
        assert_eq!(say(&mut outlet, &[notice("Hot", None)], 1_000, Err(Fault::retry("away"))).len(), 1);
        assert!(outlet.failing() && say(&mut outlet, &[notice("Hot", None)], 2_999, Ok(())).is_empty());
        assert_eq!(say(&mut outlet, &[notice("Hot", Some(2_500))], 3_000, Ok(())), ["Hot resolved"]);
        assert!(!outlet.failing());
        let both = [notice("Old", None), notice("New", None)];
        assert_eq!(say(&mut outlet, &both[..1], 4_000, Ok(())), ["Old firing"]);
        assert_eq!(say(&mut outlet, &both, 5_000, Err(Fault::retry("away"))), ["New firing"]);
        assert_eq!(say(&mut outlet, &both, 6_000, Ok(())), ["New firing"]);
        assert_eq!(say(&mut outlet, &both, 6_000, Ok(())), ["Old firing"], "it may have forgotten what it knew");
    }

    #[test]
    fn much_goes_in_batches_and_never_twice_at_once() {
        let notices: Vec<Notice> = (0..150).map(|n| notice(&format!("a{n}"), None)).collect();
        let mut outlet = Outlet::default();
        let first = outlet.due(&notices, 0).unwrap();
        assert_eq!((first.alerts.len(), first.waiting), (64, 150));
        assert!(outlet.due(&notices, 0).is_none(), "one request at a time");
        outlet.done(&first.alerts, &Ok(()), 0);
        let sizes: Vec<usize> = (0..3).map(|_| say(&mut outlet, &notices, 0, Ok(())).len()).collect();
        assert_eq!(sizes, [64, 22, 0]);
    }

    #[test]
    fn times_are_as_the_specification_says() {
        let now = 1_000_000;
        assert_eq!(wire(&notice("a", None), now)["endsAt"], rfc3339(now + 240_000), "four resend delays");
        let slow = Notice { interval: Duration::from_secs(300), ..notice("a", None) };
        assert_eq!(wire(&slow, now)["endsAt"], rfc3339(now + 1_200_000), "or four intervals");
        assert_eq!(wire(&notice("a", Some(5_000)), now)["endsAt"], rfc3339(5_000));
        assert_eq!(wire(&notice("a", None), now)["startsAt"], rfc3339(1_000));
    }

    #[test]
    fn addresses_in_files_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let entry: AlertmanagerEntry =
            serde_yaml::from_str("{static_configs: [{targets: ['a:1']}], file_sd_configs: [{files: [am.json]}]}")
                .unwrap();
        let cluster = Cluster::check(&entry, folder.path()).unwrap();
        let addresses = || cluster.addresses().into_iter().collect::<Vec<_>>();
        assert_eq!(addresses(), ["a:1"]);
        let file = folder.path().join("am.json");
        let write = |text: &str, at: u64| {
            std::fs::write(&file, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        write(r#"[{"targets": ["b:2", "c:3"], "labels": {"x": "y"}}]"#, 1);
        assert_eq!(addresses(), ["a:1", "b:2", "c:3"]);
        write("- targets: [d:4]", 2);
        assert_eq!(addresses(), ["a:1", "d:4"]);
        write("nonsense", 3);
        assert_eq!(addresses(), ["a:1", "d:4"], "what it said last");
    }

    #[test]
    fn each_entry_hears_alerts_under_its_own_labels() {
        let entry: AlertmanagerEntry = serde_yaml::from_str(
            "{static_configs: [{targets: ['a:1']}], alert_relabel_configs: [\
             {action: drop, source_labels: [alertname], regex: Quiet}, {action: labeldrop, regex: replica}]}",
        )
        .unwrap();
        let plain: AlertmanagerEntry = serde_yaml::from_str("{static_configs: [{targets: ['b:1']}]}").unwrap();
        let clusters = [entry, plain].map(|entry| Arc::new(Cluster::check(&entry, Path::new("/")).ok().unwrap()));
        let of = |replica: &str, starts_at| Notice {
            labels: Labels::new([("alertname", "Hot"), ("replica", replica)]),
            starts_at,
            ..notice("Hot", None)
        };
        let notices = [of("a", 2_000), of("b", 1_000), notice("Quiet", None)];
        let mut outlets = Outlets::new();
        let found = errands(&clusters, &mut outlets, &notices, 3_000);
        let heard = |index: usize| {
            let errand = found.iter().find(|errand| errand.key.0 == index).unwrap();
            errand.due.alerts.iter().map(|alert| (alert.labels.to_string(), alert.starts_at)).collect::<Vec<_>>()
        };
        assert_eq!(heard(0), [("{alertname=\"Hot\"}".to_string(), 1_000)]);
        assert_eq!(heard(1).len(), 3);
        for errand in &found {
            outlets.get_mut(&errand.key).unwrap().done(&errand.due.alerts, &Ok(()), 3_000);
        }
        assert!(errands(&clusters, &mut outlets, &notices, 4_000).is_empty(), "said is said, whatever it is called");
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let entry: AlertmanagerEntry = serde_yaml::from_str(
            "{scheme: ftp, api_version: v1, timeout: 0s, alert_relabel_configs: [{regex: '('}], static_configs: [{targets: ['http://a:1/x']}]}",
        )
        .unwrap();
        let Err(mistakes) = Cluster::check(&entry, Path::new("/")) else { panic!() };
        let paths: Vec<&str> = mistakes.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            ["scheme", "api_version", "timeout", "alert_relabel_configs[0].regex", "static_configs[0].targets[0]"]
        );
    }
}
