//! `kill -9`, again and again, while samples, alerts and silences are written at once: what was acknowledged is there
//! afterwards, as far as the README promises, and no alert starts anew.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lamp::Lamp;
use crate::receive::{now, post_to, push};

/// Kills; more of them with `DAVYLAMP_KILLS`.
const KILLS: u32 = 5;
/// As short as the configuration takes it: the README's bound on what a kill may lose of the samples.
const FLUSH: Duration = Duration::from_secs(10);
const TOKEN: (&str, &str) = ("Authorization", "Bearer pushing");

const CONFIG: &str = "server: {listen: '127.0.0.1:0', token: {file: token}, requests_per_second: 0}\n\
                      storage: {path: state}\nhistory: {flush_interval: 10s}\n\
                      rules: {files: [rules.yml], evaluation_interval: 1s}\n";
const RULES: &str = r"groups:
- name: pushed
  interval: 1s
  rules:
  - {alert: Always, expr: 'vector(1)'}
  - {alert: Pushed, expr: 'max_over_time(pushed[1h]) > 0', for: 2s}
";

/// What the daemon has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Times of samples, by the moment at which that was.
    samples: Mutex<Vec<(Instant, i64)>>,
    silences: Mutex<Vec<String>>,
}

/// `data` of an answer of the API.
fn data(lamp: &Lamp, path: &str) -> Value {
    let answer = lamp.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["data"].clone()
}

/// Since when each alert that the API shows is active.
fn active(lamp: &Lamp) -> BTreeMap<String, String> {
    let alerts = data(lamp, "/api/v1/alerts")["alerts"].as_array().unwrap().clone();
    let since = |alert: &Value| (alert["labels"].to_string(), alert["activeAt"].as_str().unwrap().to_string());
    alerts.iter().map(since).collect()
}

/// Writes until the daemon is gone.
fn write(lamp: &Lamp, known: &Acknowledged, over: &AtomicBool) {
    let address = lamp.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let t = now();
                if push(address, "pushed", t, 1.0, TOKEN).is_ok_and(|(status, ..)| status == 204) {
                    known.samples.lock().unwrap().push((Instant::now(), t));
                }
                // Two samples of one series have two times.
                while now() <= t {
                    std::thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            for n in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let silence = json!({
                    "matchers": [{"name": "alertname", "value": format!("None{n}"), "isRegex": false}],
                    "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2096-01-01T00:00:00Z",
                    "createdBy": "test", "comment": "a silence that must survive",
                });
                let headers = [TOKEN, ("Content-Type", "application/json")];
                let answer = post_to(address, "/api/v2/silences", &headers, silence.to_string().as_bytes());
                let Ok((200, _, body)) = answer else { continue };
                let id: Value = serde_json::from_str(&body).unwrap();
                known.silences.lock().unwrap().push(id["silenceID"].as_str().unwrap().to_string());
            }
        });
    });
}

/// Everything acknowledged is there: all silences, and samples that were acknowledged longer ago than the bound.
fn compare(lamp: &Lamp, known: &Acknowledged, killed: Instant) {
    let found: Value = serde_json::from_str(&lamp.get("/api/v2/silences").body).unwrap();
    let found: Vec<&str> = found.as_array().unwrap().iter().map(|silence| silence["id"].as_str().unwrap()).collect();
    for id in known.silences.lock().unwrap().iter() {
        assert!(found.contains(&id.as_str()), "the silence {id} is lost");
    }
    let samples = data(lamp, "/api/v1/query?query=pushed%5B1h%5D")["result"][0]["values"].clone();
    let found: Vec<i64> = samples.as_array().into_iter().flatten().map(|value| millis(&value[0])).collect();
    // The flush itself takes a moment on a busy machine.
    let due = |at: &Instant| killed.saturating_duration_since(*at) > FLUSH + Duration::from_secs(10);
    let all = known.samples.lock().unwrap();
    let lost: Vec<i64> = all.iter().filter(|(at, t)| due(at) && !found.contains(t)).map(|(_, t)| *t).collect();
    assert!(lost.is_empty(), "{} of {} samples are lost", lost.len(), all.len());
}

fn millis(seconds: &Value) -> i64 {
    (seconds.as_f64().unwrap() * 1000.0).round() as i64
}

#[test]
fn killed_while_everything_is_written_nothing_acknowledged_is_lost() {
    let kills = std::env::var("DAVYLAMP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut lamp = Lamp::new(CONFIG);
    lamp.write("token", "pushing\n");
    lamp.write("rules.yml", RULES);
    lamp.start();
    let (known, mut times) = (Acknowledged::default(), BTreeMap::<String, String>::new());
    for round in 0..kills {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| write(&lamp, &known, &over));
            let firing = lamp.wait("both alerts", Duration::from_secs(60), |page| {
                page.alert("Always", "firing") && page.alert("Pushed", "firing")
            });
            drop(firing);
            // Once long enough that samples from before the bound are at stake; else at some moment.
            std::thread::sleep(if round == 0 {
                FLUSH * 5 / 2
            } else {
                Duration::from_millis(317 * u64::from(round % 7))
            });
            times = check_times(&times, active(&lamp), round);
            lamp.signal(rustix::process::Signal::KILL);
            over.store(true, Ordering::Relaxed);
        });
        let killed = Instant::now();
        lamp.kill();
        lamp.start();
        compare(&lamp, &known, killed);
    }
    let (samples, silences) = (known.samples.lock().unwrap().len(), known.silences.lock().unwrap().len());
    assert!(samples > 100 && silences > 10, "hardly anything was written: {samples} samples, {silences} silences");
    eprintln!("{kills} kills among {samples} samples and {silences} silences");
    lamp.finish();
}

/// No alert has moved or is forgotten.
fn check_times(
    before: &BTreeMap<String, String>,
    after: BTreeMap<String, String>,
    round: u32,
) -> BTreeMap<String, String> {
    for (alert, since) in before {
        assert_eq!(after.get(alert), Some(since), "round {round}: {alert}");
    }
    after
}
