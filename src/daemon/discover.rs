//! Searching for miners while the daemon runs: when, what becomes of what is found, and what a person decides about it.
//!
//! One task owns the imprints. A decision is durable before it counts; what a search found is durable before it is polled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keep::{Keeper, put};
use super::shared::Shared;
use super::world::View;
use crate::api::FoundRow;
use crate::api::discovered::{Device, DeviceFault, Devices, Search};
use crate::config::Config;
use crate::discover::imprint::{News, SCHEMA, State};
use crate::discover::round::Claim;
use crate::discover::settings::Adoption;
use crate::discover::{Found, Imprint, Imprints, Progress, Round, Trust, scan};
use crate::schedule::poll::unix_millis;
use crate::store::state::StoreError;

/// Where imprints stand in the state.
const PREFIX: &str = "imprint/";

/// The first search waits for the first polls: targets of the configuration come first.
const FIRST_AFTER: Duration = Duration::from_secs(3);

/// What was found becomes targets this often: a search that finds a hundred devices is not a hundred reloads.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Wishes that may wait: each waits for one durable write, and a client waits for each.
const WISHES: usize = 64;

/// Devices that several claim to be, each named in the log of a search.
const CONFLICTS_TOLD: usize = 20;

/// Devices that are to be polled.
pub(super) type Adopted = watch::Receiver<Arc<Vec<Arc<Imprint>>>>;

/// What a client wants.
pub(super) enum Wish {
    /// To decide about a device.
    Decide(String, State),
    /// To search now.
    Search,
}

type Request = (Wish, oneshot::Sender<Result<Option<Imprint>, DeviceFault>>);

/// Where wishes go, and what is known. Cheap to clone.
#[derive(Clone)]
pub(super) struct Finds {
    wishes: mpsc::Sender<Request>,
    known: watch::Receiver<Arc<Known>>,
}

/// What the task says to the rest.
#[derive(Default)]
pub(super) struct Known {
    imprints: Imprints,
    search: Search,
}

/// The task.
pub(super) struct Finder {
    shared: Arc<Shared>,
    keeper: Keeper,
    imprints: Imprints,
    search: Search,
    /// Who answered in the search that is under way.
    round: Round,
    /// Devices of this search that wait because as many are adopted by rule as may be.
    waiting: u64,
    /// Whether something changed that has not been told.
    changed: bool,
    told: watch::Sender<Arc<Known>>,
    /// Devices that are to be polled; told only when they change.
    adopted: watch::Sender<Arc<Vec<Arc<Imprint>>>>,
    /// Names of the static inventory: an id is never one of them, or a play for a device would reach that host.
    hosts: BTreeSet<String>,
    wishes: mpsc::Receiver<Request>,
    /// The calendar's.
    pub(super) wake: Arc<Notify>,
}

impl Finder {
    /// Loads the imprints of earlier processes, before the first target is started.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn load(shared: Arc<Shared>, keeper: Keeper) -> Result<(Self, Finds, Adopted), StoreError> {
        let kept = keeper.read::<Imprint>(PREFIX).await?;
        // A record of a later version is left as it is, for that version.
        let imprints = Imprints::new(kept.into_iter().map(|(_, imprint)| imprint).filter(|i| i.schema <= SCHEMA));
        let search = Search::default();
        let (told, known) = watch::channel(Arc::new(Known { imprints: imprints.clone(), search: search.clone() }));
        let (adopted, targets) = watch::channel(Arc::new(polled(&imprints)));
        let (wishes_in, wishes) = mpsc::channel(WISHES);
        let (round, wake) = (Round::default(), Arc::default());
        let (waiting, changed, hosts) = (0, false, BTreeSet::new());
        let finder =
            Finder { shared, keeper, imprints, search, round, waiting, changed, told, adopted, hosts, wishes, wake };
        finder.count();
        Ok((finder, Finds { wishes: wishes_in, known }, targets))
    }

    /// Works until `stop`.
    pub(super) async fn run(mut self, mut configs: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
        let mut config = configs.borrow_and_update().clone();
        let (mut next, mut begun) = (Instant::now() + FIRST_AFTER, Instant::now());
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way: Option<BoxStream<'static, Progress>> = None;
        loop {
            let by_interval = !config.discovery.plan.is_empty() && config.file.discovery.cron.is_none();
            let free = under_way.is_none();
            tokio::select! {
                () = stop.cancelled() => return,
                Some((wish, answer)) = self.wishes.recv() => {
                    let outcome = self.grant(wish, &config, &mut next).await;
                    // Who asked may have gone away; what was decided counts all the same.
                    let _ = answer.send(outcome);
                }
                Ok(()) = configs.changed() => {
                    let fresh = configs.borrow_and_update().clone();
                    if fresh.file.discovery != config.file.discovery {
                        under_way = None;
                        self.search.running = false;
                        next = Instant::now() + FIRST_AFTER;
                    }
                    config = fresh;
                }
                () = self.wake.notified(), if free => {
                    self.search.wanted = true;
                    next = Instant::now();
                }
                () = tokio::time::sleep_until(next), if free && (by_interval || self.search.wanted) => {
                    (begun, self.round) = (Instant::now(), Round::default());
                    next = begun + config.file.discovery.interval;
                    self.search = Search { running: true, addresses: 0, held: 0, wanted: false, ..self.search };
                    let (look, trust) = (config.clone(), self.trust(&config.discovery.adoption));
                    self.hosts = tokio::task::spawn_blocking(move || look.inventory_names()).await.unwrap_or_default();
                    let search = config.discovery.search.clone().fitting();
                    under_way = Some(scan(config.discovery.plan.clone(), search, trust));
                }
                progress = advance(&mut under_way), if !free => match progress {
                    Some(progress) => self.enter(progress, &config).await,
                    None => {
                        under_way = None;
                        self.finish(begun.elapsed(), &config).await;
                    }
                },
                _ = tell.tick() => self.tell(),
            }
        }
    }

    async fn grant(&mut self, wish: Wish, config: &Config, next: &mut Instant) -> Result<Option<Imprint>, DeviceFault> {
        match wish {
            Wish::Search if config.discovery.plan.is_empty() => Err(DeviceFault::NoNetworks),
            Wish::Search => {
                self.search.wanted = true;
                *next = Instant::now();
                Ok(None)
            }
            Wish::Decide(id, state) => {
                let unknown = || DeviceFault::Unknown(id.clone());
                let device = self.imprints.find(&id).cloned().ok_or_else(unknown)?;
                let log_in = device.locked && config.discovery.search.kinds.log_in(&device.kind);
                match device.trouble {
                    Some(_) if state != State::Adopted || log_in => {}
                    Some(_) if device.locked => return Err(DeviceFault::Locked { id, kind: device.kind }),
                    Some(trouble) => return Err(DeviceFault::Troubled { id, trouble }),
                    None => {}
                }
                let before = self.imprints.clone();
                let (key, _) = self.imprints.decide(&id, state).ok_or_else(unknown)?;
                if let Err(error) = self.keep(&[key]).await {
                    self.imprints = before;
                    return Err(DeviceFault::Unavailable(Box::new(error)));
                }
                tracing::info!(target = id, state = state.as_str(), "decided about a device");
                self.changed = true;
                self.tell();
                Ok(self.imprints.find(&id).cloned())
            }
        }
    }

    async fn enter(&mut self, progress: Progress, config: &Config) {
        self.search.addresses += 1;
        self.shared.telemetry.discovery.addresses.get_or_create(&Vec::new()).inc();
        let found = match progress {
            Progress::Nothing => return,
            Progress::Held => {
                self.search.held += 1;
                return self.news("held");
            }
            Progress::Found(found) => found,
        };
        if let Some(found) = self.round.hear(&self.imprints, *found) {
            self.take(&found, config).await;
        }
    }

    async fn take(&mut self, found: &Found, config: &Config) {
        let taken = |id: &str| self.hosts.contains(id) || config.jobs.iter().any(|job| &*job.target.id == id);
        let entered = self.imprints.enter(found, &config.discovery.adoption, &taken, unix_millis());
        if entered.id.is_empty() {
            self.news("nameless");
            tracing::debug!(
                address = found.address,
                kind = found.kind,
                "a device without MAC address or serial number"
            );
            return;
        }
        self.changed = true;
        self.waiting += u64::from(entered.waits);
        let (id, address, kind) = (&entered.id, &found.address, found.kind);
        for news in &entered.news {
            match news {
                News::New => tracing::info!(target = id, address, kind, "a device was found"),
                News::Moved { from } => tracing::info!(target = id, from, to = address, "a device has moved"),
                News::Kind { from } => tracing::info!(target = id, from, to = kind, "a device has other firmware"),
                News::Adopted => tracing::info!(target = id, address, kind, "a device is polled from now on"),
            }
            self.news(news.as_str());
        }
        if let Err(error) = self.keep(&entered.changed).await {
            // The next search finds it again; until then it stands in memory only.
            tracing::warn!(%error, target = id, "cannot write down a device that was found");
        }
    }

    fn news(&self, event: &str) {
        self.shared.telemetry.discovery.events.get_or_create(&self::event(event)).inc();
    }

    /// Whom credentials are sent to in a search: who is adopted by a rule, and was not removed by a person.
    fn trust(&self, adoption: &Adoption) -> Trust {
        let (adoption, known) = (adoption.clone(), self.told.subscribe());
        Arc::new(move |found: &Found| {
            let known = known.borrow().clone();
            let removed = |imprint: &Imprint| imprint.state == State::Removed;
            let here = |imprint: &Arc<Imprint>| imprint.address == found.address && removed(imprint);
            // Who says it is a device that was elsewhere may be lying: the end of the search tells.
            let elsewhere = |of: &Imprint| !of.address.is_empty() && of.address != found.address;
            let refused = known.imprints.known(found).is_some_and(|of| removed(of) || elsewhere(of));
            adoption.takes(found) && !refused && !known.imprints.iter().any(here)
        })
    }

    async fn keep(&self, keys: &[String]) -> Result<(), StoreError> {
        let records = keys.iter().filter_map(|key| self.imprints.get(key));
        let ops: Vec<_> = records.map(|imprint| put(format!("{PREFIX}{}", imprint.identity), imprint)).collect();
        self.keeper.write(&ops).await
    }

    async fn finish(&mut self, took: Duration, config: &Config) {
        let (moved, claims) = std::mem::take(&mut self.round).end();
        for found in moved {
            self.take(&found, config).await;
        }
        let mut told = 0;
        for Claim { found: Found { address, kind, says, .. }, count } in claims {
            self.shared.telemetry.discovery.events.get_or_create(&event("conflict")).inc_by(count);
            told += 1;
            if told <= CONFLICTS_TOLD {
                tracing::warn!(
                    address,
                    kind,
                    says,
                    addresses = count,
                    "claims to be a known device; nothing is changed"
                );
            }
        }
        if told > CONFLICTS_TOLD {
            tracing::warn!(devices = told, "claimed by others in this search; not all are named above");
        }
        let waiting = std::mem::take(&mut self.waiting);
        if waiting > 0 {
            let most = config.discovery.adoption.most;
            tracing::warn!(waiting, most, "devices wait for a person's word: discovery.adopt_at_most is reached");
        }
        if self.search.held > 0 {
            let held = self.search.held;
            tracing::warn!(held, "addresses took a connection and kept the search waiting for nothing that it knows");
        }
        let (metrics, none) = (&self.shared.telemetry.discovery, Vec::new());
        metrics.searches.get_or_create(&none).inc();
        metrics.last_duration.get_or_create(&none).set(took.as_secs_f64());
        metrics.last.get_or_create(&none).set(unix_millis() as f64 / 1000.0);
        self.search = Search { running: false, last: Some(unix_millis()), ..self.search };
        tracing::info!(addresses = self.search.addresses, took_s = took.as_secs_f64(), "a search for miners is over");
        self.changed = true;
        self.tell();
    }

    /// Says what changed, and starts and stops polls where that is due.
    fn tell(&mut self) {
        if !std::mem::take(&mut self.changed) && self.search == self.told.borrow().search {
            return;
        }
        self.count();
        self.told.send_replace(Arc::new(Known { imprints: self.imprints.clone(), search: self.search.clone() }));
        let polled = polled(&self.imprints);
        self.adopted.send_if_modified(|before| {
            let differs = before.len() != polled.len()
                || before.iter().zip(&polled).any(|(a, b)| {
                    let of = |imprint: &Imprint| (imprint.kind.clone(), imprint.address.clone(), imprint.web_port);
                    !Arc::ptr_eq(a, b) && ((&a.id, &a.says) != (&b.id, &b.says) || of(a) != of(b))
                });
            if differs {
                *before = Arc::new(polled);
            }
            differs
        });
    }

    fn count(&self) {
        for state in State::ALL {
            let count = self.imprints.iter().filter(|imprint| imprint.state == state).count();
            let labels = vec![("state", state.as_str().to_string())];
            self.shared.telemetry.discovery.devices.get_or_create(&labels).set(count as f64);
        }
    }
}

fn event(name: &str) -> Vec<(&'static str, String)> {
    vec![("event", name.to_string())]
}

async fn advance(under_way: &mut Option<BoxStream<'static, Progress>>) -> Option<Progress> {
    under_way.as_mut()?.next().await
}

/// The devices that are to be polled.
fn polled(imprints: &Imprints) -> Vec<Arc<Imprint>> {
    let wanted = |imprint: &&Arc<Imprint>| imprint.state == State::Adopted && !imprint.address.is_empty();
    imprints.iter().filter(wanted).cloned().collect()
}

impl Finds {
    async fn ask(&self, wish: Wish) -> Result<Option<Imprint>, DeviceFault> {
        let (answer, answered) = oneshot::channel();
        self.wishes.try_send((wish, answer)).map_err(|_| DeviceFault::Busy)?;
        answered.await.unwrap_or(Err(DeviceFault::Busy))
    }

    /// Devices that wait for a person's word.
    pub(super) fn pending(&self) -> Vec<Arc<Imprint>> {
        let known = self.known.borrow().clone();
        known.imprints.iter().filter(|imprint| imprint.state == State::Pending).cloned().collect()
    }
}

impl Devices for View {
    fn devices(&self) -> (Vec<Device>, Search) {
        let (known, config) = (self.finds.known.borrow().clone(), self.shared.config.get());
        let polled: BTreeSet<&str> = config.jobs.iter().map(|job| &*job.target.id).collect();
        let device =
            |imprint: &Arc<Imprint>| Device { polled: polled.contains(&*imprint.id), imprint: Imprint::clone(imprint) };
        (known.imprints.iter().map(device).collect(), known.search.clone())
    }

    fn decide(&self, id: String, state: State) -> BoxFuture<'_, Result<Imprint, DeviceFault>> {
        let unknown = DeviceFault::Unknown(id.clone());
        async move { self.finds.ask(Wish::Decide(id, state)).await?.ok_or(unknown) }.boxed()
    }

    fn search_now(&self) -> BoxFuture<'_, Result<(), DeviceFault>> {
        async { self.finds.ask(Wish::Search).await.map(drop) }.boxed()
    }
}

/// For the status page.
pub(super) fn row(imprint: &Imprint) -> FoundRow {
    let said = [&*imprint.make, &*imprint.model, &*imprint.firmware, &*imprint.identity];
    FoundRow {
        identity: said.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        place: format!("{} · {}", imprint.kind, imprint.address),
        trouble: imprint.trouble.clone().unwrap_or_default(),
        id: imprint.id.clone(),
    }
}
