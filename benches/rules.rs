//! A thousand rules over 10,000 series: what CPU one cycle of evaluations takes, and which part of the interval that is.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and may panic")]

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use davylamp::model::Labels;
use davylamp::query::VectorSample;
use davylamp::rules::{Cycle, Engine, Samples, Settings, check_text};

const MINERS: usize = 1000;
const FAMILIES: usize = 10;
const STEP: i64 = 15_000;
const POLLS: i64 = 41;
const CYCLES: i64 = 5;

fn fill() -> Samples {
    let mut samples = Samples::default();
    for miner in 0..MINERS {
        for family in 0..FAMILIES {
            let (name, miner_of, site) =
                (format!("bench_{family}_total"), format!("rig-{miner:04}"), format!("s{}", miner % 20));
            let labels = Labels::new([("__name__", name), ("miner", miner_of), ("site", site)]);
            for poll in 0..POLLS {
                samples.push(&labels, poll * STEP, (poll * (family as i64 + 1)) as f64);
            }
        }
    }
    samples
}

/// Groups of twenty rules: half of them record, half of them alert, each on one site of twenty.
fn rules(kind: &str) -> String {
    let mut text = String::from("groups:\n");
    for group in 0..50 {
        let _ = write!(text, "- name: g{group}\n  interval: 15s\n  rules:\n");
        for index in 0..20 {
            let (family, site) = ((group + index) % FAMILIES, format!("s{index}"));
            let _ = match kind {
                "record" => writeln!(
                    text,
                    "  - {{record: 'site:r{index}:rate', expr: 'sum by (site) (rate(bench_{family}_total{{site=\"{site}\"}}[5m]))', \
                     labels: {{g: g{group}}}}}"
                ),
                "quiet" => writeln!(
                    text,
                    "  - {{alert: Q{index}, expr: 'bench_{family}_total{{site=\"{site}\"}} > 1e9', for: 1m}}"
                ),
                _ => writeln!(
                    text,
                    "  - {{alert: A{index}, expr: 'bench_{family}_total{{site=\"{site}\"}} > 0', annotations: {{summary: '{{{{ $labels.miner }}}} at {{{{ $value | humanize }}}}'}}}}"
                ),
            };
        }
    }
    text
}

fn main() {
    let samples = fill();
    println!("{:<42} {:>12} {:>12} {:>12}", "1,000 rules over 10,000 series", "cycle", "per rule", "of 15 s");
    for (kind, what) in [
        ("record", "recording: a rate over 50 series each"),
        ("quiet", "alerting: 50 series each, none holds"),
        ("loud", "alerting: 50 series each, all fire"),
    ] {
        let report = check_text("bench.yml", &rules(kind));
        assert!(!report.has_errors(), "{report}");
        let mut engine = Engine::new(report.groups, Settings::default(), 0);
        let mut took = Duration::ZERO;
        let mut recorded: Vec<VectorSample> = Vec::new();
        for cycle in 0..CYCLES {
            let started = Instant::now();
            let clock = || started.elapsed();
            let cpu = common::thread_cpu();
            let now = (POLLS - CYCLES + cycle) * STEP;
            let evaluation =
                engine.evaluate_all(&Cycle { now, source_since: i64::MIN, source: &samples, clock: &clock });
            took += common::thread_cpu() - cpu;
            assert!(evaluation.problems.is_empty() && evaluation.rules == 1000);
            recorded = evaluation.recorded;
        }
        let cycle = took / u32::try_from(CYCLES).unwrap();
        let share = cycle.as_secs_f64() / 15.0 * 100.0;
        println!("{what:<42} {cycle:>12.2?} {:>12.2?} {share:>11.2}%", cycle / 1000);
        assert!(kind == "quiet" || !recorded.is_empty());
    }
}
