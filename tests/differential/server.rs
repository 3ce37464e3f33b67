//! A Prometheus of our own on a loopback port, fed by remote write.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use davylamp::model::Series;
use prost::Message;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Messages of remote write 1.0 (<https://prometheus.io/docs/specs/prw/remote_write_spec/>).
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A running server; it ends with this value.
pub struct Prometheus {
    _child: Child,
    _drain: JoinSet<()>,
    _data: tempfile::TempDir,
    client: reqwest::Client,
    address: String,
}

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

impl Prometheus {
    /// `None` where there is no `prometheus`.
    pub async fn start() -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("prometheus.yml");
        std::fs::write(&config, "global: {evaluation_interval: 1m}\n").unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("tsdb").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--web.enable-remote-write-receiver"])
            .args(["--storage.tsdb.retention.time=100y", "--log.level=info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = child else {
            // Past the harness, which shows the output of failing tests only.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no prometheus on the path");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            let mut said = String::new();
            let (mut address, mut ready) = (None, false);
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("msg=\"Listening on\"") {
                    address = line.split_once("address=").map(|(_, address)| address.trim().to_string());
                }
                ready |= line.contains("Server is ready to receive web requests");
                if let Some(address) = address.clone().filter(|_| ready) {
                    return address;
                }
                said = said + &line + "\n";
            }
            panic!("prometheus does not listen:\n{said}");
        };
        let address = tokio::time::timeout(PATIENCE, listening).await.expect("prometheus listens in time");
        let client = reqwest::Client::new();
        // A pipe that nobody reads would stop it.
        let mut drain = JoinSet::new();
        drain.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Prometheus { _child: child, _drain: drain, _data: data, client, address })
    }

    /// Sends the samples, oldest first: Prometheus takes none that are much older than its newest one.
    pub async fn write(&self, series: &[Series]) {
        let mut times: Vec<i64> = series.iter().flat_map(|series| series.points.iter().map(|point| point.t)).collect();
        times.sort_unstable();
        times.dedup();
        for span in times.chunks(50) {
            let (from, to) = (span[0], span[span.len() - 1]);
            let one = |series: &Series| {
                let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
                let inside = series.points.iter().filter(|point| (from..=to).contains(&point.t));
                TimeSeries {
                    labels: series.labels.iter().map(label).collect(),
                    samples: inside.map(|point| Sample { value: point.v, timestamp: point.t }).collect(),
                }
            };
            let request =
                WriteRequest { timeseries: series.iter().map(one).filter(|s| !s.samples.is_empty()).collect() };
            let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
            let response = self
                .client
                .post(format!("http://{}/api/v1/write", self.address))
                .header("Content-Encoding", "snappy")
                .header("Content-Type", "application/x-protobuf")
                .header("X-Prometheus-Remote-Write-Version", "0.1.0")
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 204);
        }
    }

    async fn ask(&self, path: &str, form: &[(&str, String)]) -> Json {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .client
            .post(format!("http://{}/api/v1/{path}", self.address))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        // Of our own server on loopback: no more than it was given can come back.
        #[allow(clippy::disallowed_methods)]
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub async fn instant(&self, query: &str, at: i64) -> Json {
        self.ask("query", &[("query", query.into()), ("time", seconds(at))]).await
    }

    pub async fn range(&self, query: &str, start: i64, end: i64, step: i64) -> Json {
        let span = [("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
        self.ask("query_range", &[&[("query", query.to_string())], &span[..]].concat()).await
    }

    pub async fn format(&self, query: &str) -> Json {
        self.ask("format_query", &[("query", query.into())]).await
    }
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
