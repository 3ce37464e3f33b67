//! What a target takes in memory, all in, at 10,000 of them (`DAVYLAMP_BENCH_KEPT`): what asks and remembers, the
//! scheduler's task, and the window after 1, 6, 40 and 240 polls of a device whose values change as a simulated one's
//! do in an hour at 15 s. Beside it the limit that we set ourselves.

use std::sync::Arc;
use std::time::Duration;

use davylamp::collect::{self, Collector, Kind, ParseError, Reply};
use davylamp::demo::{DeviceSpec, Fleet, Model};
use davylamp::model::{Labels, Observation, PollFailure, Reading, Target};
use davylamp::schedule::about::About;
use davylamp::schedule::energy::Meter;
use davylamp::schedule::{CONCURRENT_POLLS, Job, Scheduler, poll};
use davylamp::store::{Format, Limits, Recent};
use davylamp::telemetry::Telemetry;
use futures_util::future::BoxFuture;

use crate::common::{self, Process};

/// As the table of kinds advises for small web servers.
const INTERVAL: Duration = Duration::from_secs(15);
/// After how many polls is measured. The last is one hour, as far as the rules that come along look back.
const POLLS: [usize; 4] = [1, 6, 40, 240];
/// Bytes that a device may take, all in: one that is asked over HTTP, and one over TCP.
const LIMITS: [f64; 2] = [8e3, 5e3];

/// Asks nothing: what is left is the scheduler's.
struct Idle;

impl Collector for Idle {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn parse(&self, _: &[Reply]) -> Result<Reading, ParseError> {
        Ok(Reading::default())
    }
}

pub fn report() {
    let count = common::option("DAVYLAMP_BENCH_KEPT", 10_000);
    let header =
        ["model", "series", "changing a poll", "asking", "task", "all in: 1 poll", "6", "40", "240", "limit", "page"];
    // A process each, because memory that was given back is taken again first.
    let models = [Model::Bitaxe, Model::NerdQaxe, Model::Cgminer, Model::Antminer, Model::Braiins];
    let row = |model: Model| {
        let mut child = common::Child::start(&format!("kept {model:?}"));
        child.tell(&count.to_string());
        let numbers = child.numbers();
        let limit = LIMITS[usize::from(model == Model::Cgminer)];
        let bytes = [&numbers[2..8], &[limit], &numbers[8..]].concat();
        let bytes = bytes.iter().map(|bytes| format!("{:.1} kB", bytes / 1e3));
        let counts = [format!("{model:?}"), format!("{:.0}", numbers[0]), format!("{:.1}", numbers[1])];
        counts.into_iter().chain(bytes).collect()
    };
    common::table(&format!("Memory a target, {count} targets"), &header, &models.map(row));
}

/// The child: one model, by its name.
pub fn measure(name: &str) {
    let count: usize = common::hear().unwrap().parse().unwrap();
    let model = Model::ALL.into_iter().find(|model| format!("{model:?}") == name).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), davylamp::demo::PASSWORD).unwrap();
    let fleet = runtime.block_on(Fleet::start(vec![DeviceSpec::new("rig", model)], 1)).unwrap();
    let device = &fleet.devices()[0];
    let kind = collect::kind(device.kind()).unwrap();
    let target = |index: usize| Target {
        id: format!("rig-{index:05}").into(),
        kind: kind.name.into(),
        address: device.address().to_string(),
        interval: INTERVAL,
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::new([("site", "bench")]),
        options: device.options(password.path()),
    };
    let each = |before: usize| grown(before, count);
    let targets: Vec<Arc<Target>> = (0..count).map(|index| Arc::new(target(index))).collect();
    let seen = runtime.block_on(look(&targets[0], kind));

    let before = Process::me().resident();
    let collectors: Vec<_> = targets.iter().map(|target| (kind.open)(target).unwrap()).collect();
    // One poll each: what they remember of it counts.
    for collector in &collectors {
        drop(runtime.block_on(collector.fetch()).unwrap());
    }
    let collector = each(before);

    let before = Process::me().resident();
    let task = {
        let (out, mut polled) = tokio::sync::mpsc::channel(64);
        let _inside = runtime.enter();
        let mut scheduler = Scheduler::new(out, Telemetry::new(), CONCURRENT_POLLS);
        let job = |target: &Arc<Target>| Job { target: target.clone(), collector: Arc::new(Idle) };
        runtime.block_on(scheduler.apply(targets.iter().map(job).collect()));
        for _ in 0..count {
            runtime.block_on(polled.recv()).unwrap();
        }
        let task = each(before);
        std::mem::forget(scheduler);
        task
    };

    let window = fill(&targets, kind, &seen);
    let all = window[..POLLS.len()].iter().map(|window| collector + task + window);
    let counts = [series(&seen[0]) as f64, changes(&seen)];
    let page = window[POLLS.len()..].iter().copied();
    common::say(&counts.into_iter().chain([collector, task]).chain(all).chain(page).collect::<Vec<_>>());
    drop(collectors);
}

/// Bytes per target that the process has grown by since `before`.
fn grown(before: usize, count: usize) -> f64 {
    Process::me().resident().saturating_sub(before) as f64 / count as f64
}

/// What one device says in an hour; only the clock is made to run.
async fn look(target: &Target, kind: &Kind) -> Vec<Observation> {
    let collector: Arc<dyn Collector> = (kind.open)(target).unwrap().into();
    let (mut seen, mut meter) = (Vec::new(), Meter::default());
    let begin = poll::unix_millis();
    for number in 0..POLLS[POLLS.len() - 1] {
        let mut observation = poll::poll(target, &collector).await;
        observation.at = begin + number as i64 * INTERVAL.as_millis() as i64;
        meter.enter(observation.at, observation.outcome.as_mut().unwrap());
        seen.push(observation);
        tokio::time::pause();
        tokio::time::advance(INTERVAL).await;
        tokio::time::resume();
    }
    seen
}

fn series(seen: &Observation) -> usize {
    seen.outcome.as_ref().unwrap().samples.len()
}

/// How many values differ from those of the poll before, on average.
fn changes(seen: &[Observation]) -> f64 {
    let values = |seen: &Observation| -> Vec<f64> {
        seen.outcome.as_ref().unwrap().samples.iter().map(|sample| sample.value).collect()
    };
    let changed = |pair: &[Observation]| values(&pair[0]).iter().zip(values(&pair[1])).filter(|(a, b)| *a != b).count();
    seen.windows(2).map(changed).sum::<usize>() as f64 / (seen.len() - 1) as f64
}

/// What the window takes per target after so many polls, and the page once it was asked for.
fn fill(targets: &[Arc<Target>], kind: &Kind, seen: &[Observation]) -> Vec<f64> {
    let mut accounts: Vec<About> = targets.iter().map(|target| About::new(target)).collect();
    let before = Process::me().resident();
    let recent = Recent::new(Duration::from_secs(3660), Limits::default());
    let mut window = Vec::new();
    for (poll, seen) in (1..).zip(seen) {
        for (index, (target, account)) in targets.iter().zip(&mut accounts).enumerate() {
            if poll == 1 {
                recent.declare(target, kind.subject);
            }
            let mut seen = Observation { target: target.id.clone(), at: seen.at + index as i64, ..seen.clone() };
            if let Ok(reading) = &mut seen.outcome {
                for sample in reading.samples.iter_mut().filter(|sample| sample.family.name == "miner_info") {
                    let own = [("hostname", format!("host-{index:05}")), ("mac", format!("02:00:00:00:{index:05x}"))];
                    sample.labels =
                        own.iter().fold(sample.labels.clone(), |labels, (name, own)| labels.with(name, own));
                }
            }
            let about = account.enter(&seen);
            recent.observe(&seen, &about);
        }
        if POLLS.contains(&poll) {
            window.push(grown(before, targets.len()));
        }
    }
    let before = Process::me().resident();
    drop(recent.page(Format::Text, None));
    window.push(grown(before, targets.len()));
    window
}
