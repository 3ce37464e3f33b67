//! A server that speaks as much of AWX's API as is used, over a real socket, with the faults that a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value as Json, json};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub const TOKEN: &str = "s3cret";

/// What it knows, and how it misbehaves.
pub struct State {
    /// The one job template.
    pub template: Json,
    pub jobs: BTreeMap<u64, Json>,
    pub hosts: Vec<String>,
    /// Bodies of launches.
    pub launches: Vec<Json>,
    /// Jobs that were to be cancelled.
    pub cancels: Vec<u64>,
    /// What a launch says it did not take.
    pub ignored: Json,
    /// Statuses of the next answers, in place of what would be right.
    pub failures: VecDeque<u16>,
    /// So many requests to cancel are answered with 503, and nothing done.
    pub lost_cancels: u32,
    /// Launches, and hangs up without an answer.
    pub loses_launches: bool,
    pub events: Vec<Json>,
    pub summary: Json,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn new() -> Server {
        Self::start(None)
    }

    /// One that speaks TLS with the certificate in a folder.
    pub fn tls(folder: &Path) -> Server {
        let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::start(Some(Arc::new(config)))
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let template = json!({"id": 7, "name": "Restart a miner", "inventory": 3, "job_type": "run", "diff_mode": false,
            "ask_limit_on_launch": true, "ask_variables_on_launch": true, "ask_inventory_on_launch": false,
            "ask_job_type_on_launch": true, "ask_diff_mode_on_launch": true});
        let state = Arc::new(Mutex::new(State {
            template,
            jobs: BTreeMap::new(),
            hosts: (1..=150).map(|n| format!("m{n}")).collect(),
            launches: Vec::new(),
            cancels: Vec::new(),
            ignored: json!({}),
            failures: VecDeque::new(),
            lost_cancels: 0,
            loses_launches: false,
            events: Vec::new(),
            summary: json!({"ok": 1}),
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (state, tls) = (shared.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &state),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).ok()?;
                        serve(rustls::StreamOwned::new(connection, stream), &state)
                    }
                });
            }
        });
        Server { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets a job end.
    pub fn end(&self, job: u64, status: &str) {
        let mut state = self.state();
        let job = state.jobs.get_mut(&job).unwrap();
        job["status"] = status.into();
        job["finished"] = "2026-01-02T03:04:07.5Z".into();
        job["event_processing_finished"] = true.into();
    }
}

/// One connection, one request.
fn serve(stream: impl Read + Write, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(String::from);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut believed) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => believed = value == format!("Bearer {TOKEN}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, text) = {
        let mut state = state.lock().unwrap();
        match state.failures.pop_front() {
            _ if !believed => (401, json!({"detail": "Authentication credentials were not provided."})),
            Some(status) => (status, json!({"detail": "on purpose"})),
            None => state.answer(&method, &path, serde_json::from_slice(&body).unwrap_or_default())?,
        }
    };
    let text = text.to_string();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let mut stream = reader.into_inner();
    write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len()).ok()?;
    stream.flush().ok()
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: Json) -> Option<(u16, Json)> {
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        let place = place.strip_prefix("/api/v2/").unwrap_or_default();
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let words: Vec<&str> = place.trim_end_matches('/').split('/').collect();
        let number = words.get(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        let list = |entries: Vec<Json>| Some((200, page(path, &query, entries)));
        match (method, words.as_slice()) {
            ("GET", ["me"]) => list(vec![json!({"id": 1})]),
            ("GET", ["job_templates"]) => {
                let id = self.template["id"].to_string();
                let is = query.get("id") == Some(&id)
                    || query.get("name__exact").is_some_and(|name| self.template["name"] == **name);
                list(if is { vec![self.template.clone()] } else { Vec::new() })
            }
            ("POST", ["job_templates", "7", "launch"]) => {
                let job = 40 + self.jobs.len() as u64;
                // As the real one keeps them: JSON as text.
                let vars = body["extra_vars"].to_string();
                self.launches.push(body);
                self.jobs.insert(
                    job,
                    json!({"id": job, "status": "running", "extra_vars": vars, "elapsed": 0.5,
                    "started": "2026-01-02T03:04:05.5Z", "finished": null, "event_processing_finished": false,
                    "job_explanation": "", "result_traceback": ""}),
                );
                if self.loses_launches {
                    return None;
                }
                Some((201, json!({"job": job, "id": job, "ignored_fields": self.ignored})))
            }
            ("GET", ["jobs"]) if query.get("job_template").is_some_and(|id| id == "7") => {
                list(self.jobs.values().rev().cloned().collect())
            }
            ("GET", ["jobs", _]) => match self.jobs.get(&number) {
                Some(job) => Some((200, job.clone())),
                None => Some((404, json!({"detail": "Not found."}))),
            },
            ("POST", ["jobs", _, "cancel"]) => {
                if self.lost_cancels > 0 {
                    self.lost_cancels -= 1;
                    return Some((503, json!({})));
                }
                self.cancels.push(number);
                let job = self.jobs.get_mut(&number)?;
                if job["finished"].is_string() {
                    return Some((405, json!({})));
                }
                job["status"] = "canceled".into();
                job["finished"] = "2026-01-02T03:04:06Z".into();
                job["event_processing_finished"] = true.into();
                Some((202, json!({})))
            }
            ("GET", ["jobs", _, "job_host_summaries"]) => {
                let mut summary = self.summary.clone();
                summary["host_name"] = self.launches.last()?["limit"].clone();
                list(vec![summary])
            }
            ("GET", ["jobs", _, "job_events"]) => list(self.events.clone()),
            ("GET", ["inventories", "3", "hosts"]) => {
                list(self.hosts.iter().map(|name| json!({"name": name})).collect())
            }
            ("GET", ["inventories", "3", "groups"]) => list(vec![json!({"name": "miners"})]),
            _ => Some((404, json!({"detail": "Not found."}))),
        }
    }
}

/// One page of a list, which names the next one as the real one does.
fn page(path: &str, query: &BTreeMap<String, String>, entries: Vec<Json>) -> Json {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok());
    let (size, page) = (number("page_size").unwrap_or(25), number("page").unwrap_or(1));
    let before = path.split("&page=").next().unwrap_or_default();
    let next = (entries.len() > size * page).then(|| format!("{before}&page={}", page + 1));
    let shown: Vec<&Json> = entries.iter().skip(size * (page - 1)).take(size).collect();
    json!({"count": entries.len(), "next": next, "previous": null, "results": shown})
}
