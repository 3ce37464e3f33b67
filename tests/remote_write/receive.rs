//! A real Prometheus pushes to the daemon.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use davylamp::model::{Family, Labels, Point, Starts};
use davylamp::wire::{Message, SeriesOut, compress, write};

use crate::http::ask;
use crate::lamp::Lamp;
use crate::server::Prometheus;

/// Rules that see what was pushed; the alert of the second carries a value.
const RULES: &str = r#"groups:
- name: pushed
  interval: 1s
  rules:
  - {record: "pushed:up", expr: 'up{job="itself"}'}
  - {alert: PushedUp, expr: 'pushed:up == 1'}
  - {alert: PushedCounter, expr: 'rate(prometheus_http_requests_total{handler="/metrics"}[10s]) > 0'}
  - {alert: PushedEnds, expr: 'absent(up{job="itself"}) and on() count_over_time(up{job="itself"}[5m]) > 0'}
"#;

fn lamp() -> Lamp {
    let config = "server: {listen: '127.0.0.1:0', token: {file: token}}\nstorage: {path: state}\n\
                  rules: {files: [rules.yml], evaluation_interval: 1s}\n";
    let mut lamp = Lamp::new(config);
    lamp.write("token", "pushing\n");
    lamp.write("rules.yml", RULES);
    lamp.start();
    lamp
}

#[test]
fn a_prometheus_pushes_and_rules_see_its_samples() {
    let mut lamp = lamp();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['{{self}}']}}]}}]\n\
         remote_write:\n- url: http://{}/api/v1/write\n  authorization: {{credentials: pushing}}\n  \
         queue_config: {{batch_send_deadline: 1s, max_shards: 2}}\n  metadata_config: {{send_interval: 1s}}\n",
        lamp.address()
    );
    let Some(mut prometheus) = Prometheus::new(&config) else { return };
    prometheus.start();
    let page = lamp.wait("pushed samples in rules", Duration::from_secs(60), |page| {
        page.alert("PushedUp", "firing") && page.alert("PushedCounter", "firing")
    });
    assert!(!page.0.contains("prometheus_http_requests_total"), "what was pushed is not on our page");
    let received = |name: &str, labels: &[(&str, &str)]| page.value(name, labels).unwrap_or(0.0);
    assert!(received("davylamp_remote_write_received_samples_total", &[("type", "float")]) > 100.0);
    assert_eq!(received("davylamp_remote_write_received_samples_rejected_total", &[]), 0.0, "{}", lamp.log());
    assert!(received("davylamp_series", &[("kind", "remote_write")]) > 100.0);
    // What it says of its metrics is passed on.
    lamp.until("metadata", Duration::from_secs(60), || {
        let said = lamp.get("/api/v1/metadata?metric=prometheus_http_requests_total").body;
        said.contains("\"type\":\"counter\"").then_some(())
    });
    // It is content with our answers.
    let failed = prometheus
        .query("prometheus_remote_storage_samples_failed_total + prometheus_remote_storage_samples_dropped_total");
    assert!(failed.iter().all(|series| series["value"][1] == "0"), "{failed:?}\n{}", prometheus.log());
    let log = prometheus.log();
    assert!(!log.contains("level=error"), "{log}");
    lamp.finish();
}

#[test]
fn the_answers_are_those_of_the_specification() {
    let mut lamp = lamp();
    let family = Family::gauge("pushed_total", "Pushed", &[]);
    let now = now();
    let series = |value: f64| SeriesOut {
        labels: Labels::new([("__name__", "pushed_total"), ("job", "test")]),
        family: std::sync::Arc::new(family.clone()).into(),
        samples: vec![Point { t: now, v: value }],
        histograms: vec![],
        starts: Starts::default(),
    };
    let post = |message: Message, value: f64, headers: &[(&str, &str)]| {
        let body = compress(&write(message, &[series(value)])).unwrap();
        let own = [("Content-Encoding", "snappy"), ("Content-Type", message.content_type())];
        let all: Vec<_> = own
            .into_iter()
            .filter(|own| !headers.iter().any(|h| h.0 == own.0))
            .chain(headers.iter().copied())
            .collect();
        post(lamp.address(), &all, &body)
    };
    let token = ("Authorization", "Bearer pushing");
    assert_eq!(post(Message::V2, 1.0, &[]).0, 401);
    let (status, head, body) = post(Message::V2, 1.0, &[token]);
    assert_eq!((status, body.as_str()), (204, ""), "{head}");
    for (name, count) in [("samples", 1), ("histograms", 0), ("exemplars", 0)] {
        assert!(head.contains(&format!("x-prometheus-remote-write-{name}-written: {count}")), "{head}");
    }
    let url = format!("http://{}", lamp.address());
    let asked = lamp.output(&["query", "--url", &url, "pushed_total + 1"]);
    let table = "Series        Value\n{job=\"test\"}  2\n";
    assert_eq!(String::from_utf8_lossy(&asked.stdout), table, "{}", String::from_utf8_lossy(&asked.stderr));
    let asked = lamp.output(&["query", "--url", &url, "pushed_total", "--range", "1h", "-o", "chart"]);
    assert!(asked.status.success() && String::from_utf8_lossy(&asked.stdout).contains('▄'), "{asked:?}");
    let (status, head, body) = post(Message::V2, 2.0, &[token]);
    assert!(status == 400 && head.contains("samples-written: 0") && body.contains("1 conflict"), "{status} {body}");
    assert_eq!(post(Message::V1, 1.0, &[token]).0, 204, "the same once more");
    assert_eq!(post(Message::V1, 1.0, &[token, ("Content-Encoding", "zstd")]).0, 415);
    assert_eq!(post(Message::V1, 1.0, &[token, ("Content-Type", "text/plain")]).0, 415);
    assert_eq!(ask(lamp.address(), "GET", "/api/v1/write", &[]).unwrap().status, 405);
    // It rose all the time, and began anew nevertheless.
    let mut counted = series(5.0);
    counted.labels = Labels::new([("__name__", "counted_total"), ("job", "test")]);
    counted.samples = vec![Point { t: now - 2000, v: 5.0 }, Point { t: now, v: 7.0 }];
    counted.starts.push(now, now - 1000);
    let body = compress(&write(Message::V2, &[counted])).unwrap();
    let headers = [token, ("Content-Encoding", "snappy"), ("Content-Type", Message::V2.content_type())];
    assert_eq!(post_to(lamp.address(), "/api/v1/write", &headers, &body).unwrap().0, 204);
    let asked = |text: &str| String::from_utf8(lamp.output(&["query", "--url", &url, text]).stdout).unwrap();
    assert_eq!(asked("resets(counted_total[1h])"), "Series        Value\n{job=\"test\"}  1\n");
    let since = asked(&format!("start_timestamp(counted_total) == {}", (now - 1000) as f64 / 1000.0));
    assert!(since.contains("{job=\"test\"}"), "{since}");
    lamp.finish();
}

/// Status, head in lower case, body.
type Said = (u16, String, String);

fn post(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Said {
    post_to(address, "/api/v1/write", headers, body).unwrap()
}

/// Posts a body; an error when the daemon goes away meanwhile.
pub fn post_to(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Said> {
    use std::io::{Error, Read, Write};
    let mut stream = TcpStream::connect(address)?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n")?;
    stream.write_all(body)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cut = || Error::other("the answer is cut off");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    Ok((status, head.to_lowercase(), body.to_string()))
}

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Pushes one sample of a gauge by remote write 2.0.
pub fn push(address: SocketAddr, name: &'static str, t: i64, value: f64, token: (&str, &str)) -> std::io::Result<Said> {
    let series = SeriesOut {
        labels: Labels::new([("__name__", name), ("job", "test")]),
        family: Arc::new(Family::gauge(name, "Pushed", &[])).into(),
        samples: vec![Point { t, v: value }],
        histograms: vec![],
        starts: Starts::default(),
    };
    let body = compress(&write(Message::V2, &[series])).unwrap();
    let headers = [token, ("Content-Encoding", "snappy"), ("Content-Type", Message::V2.content_type())];
    post_to(address, "/api/v1/write", &headers, &body)
}
