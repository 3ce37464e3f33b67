//! The API over samples that are known, asked as Grafana's data source and other clients ask.

use axum::body::Body;
use axum::http::{Request, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::*;
use crate::api::{Api, Settings};
use crate::model::{Labels, Point, Series};
use crate::telemetry::Telemetry;

mod world;

use world::{List, NOW, Slow, World, samples};

type Surface = TowerToHyperService<axum::Router>;

fn over(samples: Arc<dyn Source>) -> Surface {
    let backend = Backend::new(Arc::new(World { samples }));
    TowerToHyperService::new(Api::new(Telemetry::new(), Settings::default()).mount(ROUTES, backend).router())
}

async fn send(surface: &Surface, request: Request<Body>) -> (u16, Value) {
    let answer = surface.call(request).await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get(path: &str) -> (u16, Value) {
    send(&over(Arc::new(List(samples()))), Request::get(path).body(Body::empty()).unwrap()).await
}

/// `data` of a good answer.
async fn data(path: &str) -> Value {
    let (status, mut answer) = get(path).await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path}: {answer}");
    answer["data"].take()
}

async fn refused(path: &str) -> (u16, String, String) {
    let (status, answer) = get(path).await;
    assert_eq!(answer["status"], "error", "{path}: {answer}");
    let text = |key: &str| answer[key].as_str().unwrap().to_string();
    (status, text("errorType"), text("error"))
}

fn encoded(expr: &str) -> String {
    url::form_urlencoded::byte_serialize(expr.as_bytes()).collect()
}

#[tokio::test]
async fn queries_answer_in_prometheus_shapes() {
    let up = data("/api/v1/query?query=up&time=1700000100").await;
    let want = json!({"metric": {"__name__": "up", "target": "b"}, "value": [1_700_000_100, "20.5"]});
    assert_eq!(up, json!({"resultType": "vector", "result": [want]}));
    let scalar = data("/api/v1/query?query=1%2B1").await;
    assert_eq!(scalar, json!({"resultType": "scalar", "result": [1_700_000_100, "2"]}));
    let text = data("/api/v1/query?query=%22a%22&time=1700000100.5").await;
    assert_eq!(text, json!({"resultType": "string", "result": [1_700_000_100.5, "a"]}));
    let matrix = data(&format!("/api/v1/query?query={}", encoded("up[30s]"))).await;
    assert_eq!(matrix["result"][0]["values"], json!([[1_700_000_085, "19.5"], [1_700_000_100, "20.5"]]));
    let range = data("/api/v1/query_range?query=up&start=1700000070&end=1700000100&step=15").await;
    assert_eq!(range["resultType"], "matrix");
    assert_eq!(range["result"][0]["values"].as_array().unwrap().len(), 3);
    let odd = data(&format!("/api/v1/query?query={}", encoded("vector(1/0)"))).await;
    assert_eq!(odd["result"][0]["value"][1], "+Inf");
    let stats = data("/api/v1/query?query=up&stats=all").await;
    assert_eq!(stats["stats"]["samples"]["totalQueryableSamples"], 20);
    assert!(stats["stats"]["timings"]["evalTotalTime"].is_number());
    let none = data("/api/v1/query?query=up&lookback_delta=1s&time=1700000110").await;
    assert_eq!(none["result"], json!([]));
}

#[tokio::test]
async fn a_form_is_as_good_as_a_url() {
    let form = Request::post("/api/v1/query?query=up&time=1700000100");
    let form = form.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8");
    let surface = over(Arc::new(List(samples())));
    let (_, answer) = send(&surface, form.body(Body::from("query=1%2B1")).unwrap()).await;
    assert_eq!(answer["data"]["result"][1], "2", "the form comes first");
    let bare = Request::post("/api/v1/query?query=up").body(Body::from("query=1%2B1")).unwrap();
    assert_eq!(send(&surface, bare).await.1["data"]["resultType"], "vector", "a body of another kind is no form");
}

/// Path, status, sort of error, begin of its text. `[` stands for `%5B`.
const MISTAKES: &[(&str, u16, &str, &str)] = &[
    ("query?query=up%7B", 400, "bad_data", "invalid parameter \"query\": 1:"),
    ("query", 400, "bad_data", "invalid parameter \"query\": 1:1: parse error: "),
    ("query?query=up&time=x", 400, "bad_data", "invalid parameter \"time\": cannot parse \"x\" to a valid timestamp"),
    (
        "query?query=up&timeout=x",
        400,
        "bad_data",
        "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
    ),
    ("query?query=up&limit=x", 400, "bad_data", "invalid parameter \"limit\": "),
    ("query?query=miner_hashrate*on()up*on()miner_hashrate", 422, "execution", ""),
    ("query?query=up&timeout=0", 503, "timeout", "query timed out in "),
    ("query_range?query=up", 400, "bad_data", "invalid parameter \"start\": cannot parse \"\" to a valid timestamp"),
    (
        "query_range?query=up&start=2&end=1&step=1",
        400,
        "bad_data",
        "invalid parameter \"end\": end timestamp must not be before start time",
    ),
    (
        "query_range?query=up&start=1&end=2&step=0",
        400,
        "bad_data",
        "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
    ),
    (
        "query_range?query=up&start=0&end=11001&step=1",
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
    ),
    (
        "query_range?query=up[5m]&start=1&end=2&step=1",
        400,
        "bad_data",
        "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
    ),
    ("series", 400, "bad_data", "no match[] parameter provided"),
    (
        "series?match[]=up&start=2&end=1",
        400,
        "bad_data",
        "invalid parameter \"end\": end timestamp must not be before start",
    ),
    ("labels?match[]=%7B%7D", 400, "bad_data", "invalid parameter \"match[]\": "),
    ("rules?type=x", 400, "bad_data", "invalid parameter \"type\": not supported value \"x\""),
    ("rules?group_next_token=x", 400, "bad_data", "invalid parameter \"group_limit\": "),
    ("targets?state=x", 400, "bad_data", "invalid parameter \"state\": "),
];

#[tokio::test]
async fn mistakes_are_named_as_prometheus_names_them() {
    for (path, status, sort, text) in MISTAKES {
        let path = format!("/api/v1/{path}").replace('[', "%5B").replace(']', "%5D");
        let (got_status, got_sort, got_text) = refused(&path).await;
        assert_eq!((got_status, got_sort.as_str()), (*status, *sort), "{path}: {got_text}");
        assert!(got_text.starts_with(text), "{path}: {got_text}");
    }
    assert_eq!(get("/api/v1/query_range?query=up&start=0&end=11000&step=1").await.0, 200, "11,001 points are allowed");
}

/// What Grafana's Prometheus data source asks for: saving it, the metric browser, Explore, variables, the alert list.
#[tokio::test]
async fn grafana_is_at_home() {
    let surface = over(Arc::new(List(samples())));
    let form = |path: &str, body: String| {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(Body::from(body)).unwrap()
    };
    // "Save & test", and the heuristics that say which server it is.
    let (status, health) = send(&surface, form("/api/v1/query", "query=1%2B1&time=1700000100.000".into())).await;
    assert_eq!((status, &health["data"]["result"][1]), (200, &json!("2")));
    let build = data("/api/v1/status/buildinfo").await;
    assert!(build["version"].as_str().unwrap().starts_with("3.") && build.get("features").is_none(), "{build}");
    // Explore and panels.
    let body = "query=miner_hashrate&start=1700000000&end=1700000100&step=15".to_string();
    let (status, range) = send(&surface, form("/api/v1/query_range", body)).await;
    assert_eq!((status, range["data"]["result"].as_array().unwrap().len()), (200, 2));
    let body = "query=miner_hashrate&start=1700000000&end=1700000100".to_string();
    assert_eq!(
        send(&surface, form("/api/v1/query_exemplars", body)).await,
        (200, json!({"status": "success", "data": []}))
    );
    // The metric browser and the query builder.
    let span = "start=1700000000&end=1700000100";
    assert_eq!(data(&format!("/api/v1/label/__name__/values?{span}")).await, json!(["miner_hashrate", "up"]));
    assert_eq!(data(&format!("/api/v1/labels?{span}")).await, json!(["__name__", "miner", "site", "target"]));
    let (_, names) = send(&surface, form("/api/v1/labels", format!("{span}&match[]=up"))).await;
    assert_eq!(names["data"], json!(["__name__", "target"]));
    let matched = encoded("miner_hashrate{site=\"home\"}");
    assert_eq!(
        data(&format!("/api/v1/label/miner/values?{span}&match[]={matched}").replace("[]", "%5B%5D")).await,
        json!(["a<b"])
    );
    let (_, series) = send(&surface, form("/api/v1/series", format!("{span}&match[]={matched}&limit=40000"))).await;
    assert_eq!(series["data"], json!([{"__name__": "miner_hashrate", "miner": "a<b", "site": "home"}]));
    assert_eq!(data("/api/v1/metadata?limit=5000").await["up"], json!([{"type": "unknown", "help": "", "unit": ""}]));
    // Its own linter and formatter.
    let tree = data("/api/v1/parse_query?query=up").await;
    assert_eq!(tree["type"], "vectorSelector");
    // The alert list.
    let rules = data("/api/v1/rules?type=alert").await;
    assert_eq!(rules["groups"].as_array().unwrap().len(), 1);
    assert_eq!(rules["groups"][0]["rules"][0]["alerts"][0]["state"], "firing");
    assert_eq!(data("/api/v1/alerts").await["alerts"][0]["value"], "5e-01");
}

#[tokio::test]
async fn rules_are_filtered_and_paged() {
    let all = data("/api/v1/rules").await;
    let names = |data: &Value| -> Vec<String> {
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| rule["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(&all), ["Low", "job:rate", "job:sum"]);
    let low = &all["groups"][0]["rules"][0];
    let want = json!({
        "name": "Low", "query": "miner_hashrate < 1", "health": "ok", "evaluationTime": 0.25, "type": "alerting",
        "lastEvaluation": "2023-11-14T22:14:58.500Z", "labels": {"severity": "page"}, "state": "firing", "duration": 300,
        "keepFiringFor": 0, "annotations": {}, "alerts": [{
            "labels": {"alertname": "Low", "miner": "b"}, "annotations": {"summary": "b is slow"}, "state": "firing",
            "activeAt": "2023-11-14T22:14:00Z", "value": "5e-01",
        }],
    });
    assert_eq!(low, &want);
    let failing = &all["groups"][1]["rules"][0];
    assert_eq!((&failing["health"], &failing["lastError"]), (&json!("err"), &json!("it fails")));
    assert_eq!(all["groups"][1]["lastEvaluation"], "0001-01-01T00:00:00Z");
    for (asked, found) in [
        ("type=record", vec!["job:rate", "job:sum"]),
        ("rule_name%5B%5D=Low&rule_name%5B%5D=job:sum", vec!["Low", "job:sum"]),
        ("file%5B%5D=b.yml", vec!["job:sum"]),
        ("rule_group%5B%5D=first&type=alert", vec!["Low"]),
        ("match%5B%5D=%7Bseverity=%22none%22%7D", vec![]),
    ] {
        assert_eq!(names(&data(&format!("/api/v1/rules?{asked}")).await), found, "{asked}");
    }
    assert_eq!(data("/api/v1/rules?exclude_alerts=true").await["groups"][0]["rules"][0]["alerts"], json!([]));
    let first = data("/api/v1/rules?group_limit=1").await;
    assert_eq!(names(&first), ["Low", "job:rate"]);
    let token = first["groupNextToken"].as_str().unwrap();
    let second = data(&format!("/api/v1/rules?group_limit=1&group_next_token={token}")).await;
    assert_eq!((names(&second), second.get("groupNextToken")), (vec!["job:sum".to_string()], None));
}

#[tokio::test]
async fn names_are_looked_for_within_a_day_unless_somebody_says_since_when() {
    let old = |name: &'static str, hours: i64| {
        let t = NOW - hours * 3_600_000;
        Series::floats(Labels::new([("__name__", name)]), vec![Point { t, v: 1.0 }])
    };
    let surface = over(Arc::new(List(vec![old("yesterday", 23), old("long_ago", 25)])));
    let ask = async |asked: &str| {
        let path = format!("/api/v1/label/__name__/values{asked}");
        send(&surface, Request::get(path).body(Body::empty()).unwrap()).await.1["data"].clone()
    };
    assert_eq!(ask("").await, json!(["yesterday"]));
    assert_eq!(ask("?start=0").await, json!(["long_ago", "yesterday"]));
    assert_eq!(ask(&format!("?end={}", NOW / 1000 - 86_400)).await, json!(["long_ago"]));
}

#[tokio::test]
async fn limits_cut_and_say_so() {
    let selector = encoded("{__name__=~\".+\"}");
    for path in [
        format!("/api/v1/query?query={selector}&limit=2"),
        format!("/api/v1/series?match%5B%5D={selector}&limit=2"),
        "/api/v1/labels?limit=2".into(),
        "/api/v1/label/__name__/values?limit=1".into(),
    ] {
        let (_, answer) = get(&path).await;
        assert_eq!(answer["warnings"], json!(["results truncated due to limit"]), "{path}");
    }
    let (_, whole) = get(&format!("/api/v1/series?match%5B%5D={selector}&limit=3")).await;
    assert_eq!((whole["data"].as_array().unwrap().len(), whole.get("warnings")), (3, None));
    let metadata = data("/api/v1/metadata?limit=1").await;
    assert_eq!(metadata, json!({"miner_hashrate": [{"type": "gauge", "help": "Hashes", "unit": ""}]}));
    assert_eq!(data("/api/v1/metadata?metric=up").await.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn targets_and_the_daemon_itself_are_shown() {
    let targets = data("/api/v1/targets").await;
    let (first, second) = (&targets["activeTargets"][0], &targets["activeTargets"][1]);
    assert_eq!((&first["health"], &first["lastScrape"]), (&json!("unknown"), &json!("0001-01-01T00:00:00Z")));
    assert_eq!((&second["health"], &second["lastError"]), (&json!("down"), &json!("no answer")));
    let docker = data("/api/v1/targets?scrapePool=docker&state=active").await;
    assert_eq!((docker["activeTargets"].as_array().unwrap().len(), &docker["droppedTargets"]), (1, &json!([])));
    assert_eq!(data("/api/v1/targets?state=dropped").await["activeTargets"], json!([]));
    assert_eq!(data("/api/v1/scrape_pools").await, json!({"scrapePools": ["axeos", "docker"]}));
    let of = format!("/api/v1/targets/metadata?metric=miner_hashrate&match_target={}", encoded("{miner=\"b\"}"));
    assert_eq!(data(&of).await, json!([{"target": {"miner": "b"}, "type": "gauge", "help": "Hashes", "unit": ""}]));
    assert_eq!(data("/api/v1/alertmanagers").await["activeAlertmanagers"][0]["url"], "http://am:9093/api/v2/alerts");
    let tsdb = data("/api/v1/status/tsdb?limit=1").await;
    assert_eq!((&tsdb["headStats"]["numSeries"], &tsdb["headStats"]["maxTime"]), (&json!(3), &json!(NOW)));
    assert_eq!(tsdb["seriesCountByMetricName"], json!([{"name": "miner_hashrate", "value": 2}]));
    assert_eq!(data("/api/v1/status/config").await["yaml"], "targets: []\n");
    assert_eq!(data("/api/v1/status/runtimeinfo").await["startTime"], "2023-11-14T22:15:00Z");
    assert_eq!(data("/api/v1/status/walreplay").await["current"], 0);
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let path = format!("/api/v1/query?query={}", encoded("{__name__=~\".+\"}[10m]"));
    let request = Request::get(path).header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
    let answer = over(Arc::new(List(samples()))).call(request).await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(&bytes[..])).unwrap();
    assert!(text.contains("a\\u003cb") && serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}

/// Minutes of computation, if it were not ended.
const ENDLESS: &str = "quantile_over_time(0.5, slow[50s])";

#[tokio::test]
async fn a_query_ends_with_its_time_and_with_its_client() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::default());
    let backend = Backend::new(Arc::new(World { samples: Arc::new(Slow(asked.clone())) }));
    let slots = backend.slots.clone();
    let free = slots.available_permits();
    let surface =
        TowerToHyperService::new(Api::new(Telemetry::new(), Settings::default()).mount(ROUTES, backend).router());
    let request = |more: &str| {
        let path =
            format!("/api/v1/query_range?start=1700000089&end=1700000100&step=1ms&query={}{more}", encoded(ENDLESS));
        Request::get(path).body(Body::empty()).unwrap()
    };
    let begun = std::time::Instant::now();
    let (status, answer) = send(&surface, request("&timeout=0.2")).await;
    assert_eq!((status, &answer["errorType"]), (503, &json!("timeout")), "{answer}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    // A client that leaves while its query runs.
    let call = surface.call(request(""));
    let before = asked.load(std::sync::atomic::Ordering::SeqCst);
    let watching = async {
        while asked.load(std::sync::atomic::Ordering::SeqCst) == before {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = call => panic!("it cannot be done yet"),
        () = watching => {}
    }
    let all_free = slots.acquire_many(u32::try_from(free).unwrap());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), all_free).await;
    assert!(ended.is_ok(), "the query goes on although nobody waits for it");
}
