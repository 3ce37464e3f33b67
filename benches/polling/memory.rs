//! What a target takes in memory, part by part, at 10,000 of them (`DAVYLAMP_BENCH_KEPT`): what asks and remembers, the
//! scheduler's task, and the window after 1, 6 and 40 polls in which every fourth value changes.

use std::sync::Arc;
use std::time::Duration;

use davylamp::collect::{self, Collector, Kind, ParseError, Reply};
use davylamp::demo::{DeviceSpec, Fleet, Model};
use davylamp::model::{Labels, PollFailure, Reading, Target};
use davylamp::schedule::{CONCURRENT_POLLS, Job, Scheduler};
use davylamp::store::{Limits, Recent};
use davylamp::telemetry::Telemetry;
use futures_util::future::BoxFuture;

use crate::common::{self, Process};
use crate::stages;

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
    let header = ["model", "series", "collector", "task", "window: 1 poll", "6 polls", "40 polls"];
    // A process each, because memory that was given back is taken again first.
    let models = [Model::Bitaxe, Model::NerdQaxe, Model::Cgminer, Model::Antminer, Model::Braiins];
    let row = |model: Model| {
        let mut child = common::Child::start(&format!("kept {model:?}"));
        child.tell(&count.to_string());
        let numbers = child.numbers();
        let bytes = numbers[1..].iter().map(|bytes| format!("{:.1} kB", bytes / 1e3));
        [format!("{model:?}"), format!("{:.0}", numbers[0])].into_iter().chain(bytes).collect()
    };
    common::table(&format!("Memory a target, {count} targets"), &header, &models.map(row));
}

/// The child: one model, by its name.
pub fn measure(name: &str) {
    let count: usize = common::hear().unwrap().parse().unwrap();
    let model = Model::ALL.into_iter().find(|model| format!("{model:?}") == name).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), davylamp::demo::PASSWORD).unwrap();
    let fleet = runtime.block_on(Fleet::start(vec![DeviceSpec::new("rig", model)], 1)).unwrap();
    let device = &fleet.devices()[0];
    let kind = collect::kind(device.kind()).unwrap();
    let target = |index: usize| Target {
        id: format!("rig-{index:05}").into(),
        kind: kind.name.into(),
        address: device.address().to_string(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(10),
        cron: None,
        labels: Labels::new([("site", "bench")]),
        options: device.options(password.path()),
    };
    let each = |before: usize| grown(before, count);
    let targets: Vec<Arc<Target>> = (0..count).map(|index| Arc::new(target(index))).collect();
    let first = (kind.open)(&targets[0]).unwrap();
    let reading = first.parse(&runtime.block_on(first.fetch()).unwrap()).unwrap();

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

    let window = fill(&targets, kind, &reading);
    common::say(&[&[reading.samples.len() as f64, collector, task][..], &window].concat());
    drop(collectors);
}

/// Bytes per target that the process has grown by since `before`.
fn grown(before: usize, count: usize) -> f64 {
    Process::me().resident().saturating_sub(before) as f64 / count as f64
}

/// What the window takes per target after 1, 6 and 40 polls.
fn fill(targets: &[Arc<Target>], kind: &Kind, reading: &Reading) -> Vec<f64> {
    let before = Process::me().resident();
    let recent = Recent::new(Duration::from_secs(3600), Limits::default());
    let readings: Vec<Reading> = (0..16).map(|_| reading.clone()).collect();
    let mut window = Vec::new();
    for poll in 1..=40_i64 {
        for (index, target) in targets.iter().enumerate() {
            if poll == 1 {
                recent.declare(target, kind.subject);
            }
            let mut seen = stages::observation(target, &readings[index % 16], poll);
            if let Ok(reading) = &mut seen.outcome {
                for sample in reading.samples.iter_mut().filter(|sample| sample.family.name == "miner_info") {
                    let own = [("hostname", format!("host-{index:05}")), ("mac", format!("02:00:00:00:{index:05x}"))];
                    sample.labels =
                        own.iter().fold(sample.labels.clone(), |labels, (name, own)| labels.with(name, own));
                }
            }
            recent.observe(&seen, &[]);
        }
        if matches!(poll, 1 | 6 | 40) {
            window.push(grown(before, targets.len()));
        }
    }
    window
}
