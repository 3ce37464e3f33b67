//! A street of small devices on loopback addresses, all on the same ports: what a search finds. Houses can be moved into,
//! left, and be hostile.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// What lives at an address.
#[derive(Clone, Debug)]
pub enum Tenant {
    /// AxeOS: the last byte of its MAC address, and its host name.
    Axeos(u8, &'static str),
    /// VNish on the machine with that MAC address.
    Vnish(u8),
    /// VNish that only answers who has unlocked it with `hunter2`.
    Locked(u8),
    /// An Antminer with its API on the RPC port and its closed web interface on the other.
    Antminer,
    /// LuxOS, which says no MAC address, on the RPC port.
    Luxos,
    /// A router's login page.
    Router,
    /// Sends everybody elsewhere.
    Redirect,
    /// One byte now and then, for ever.
    Drip,
    /// A hundred megabytes.
    Flood,
    /// Takes the request and says nothing.
    Silent,
}

/// A street. Dropping it ends all devices.
pub struct Street {
    runtime: Runtime,
    net: [u8; 3],
    pub web: u16,
    pub rpc: u16,
    houses: Mutex<BTreeMap<u8, Vec<JoinHandle<()>>>>,
    /// Houses at which somebody tried a password.
    unlocked: Arc<Mutex<Vec<u8>>>,
}

/// Streets of this process.
static STREETS: AtomicU8 = AtomicU8::new(1);

/// The MAC address with that last byte, as AxeOS writes it.
pub fn mac(last: u8) -> String {
    format!("02:C1:58:2E:AB:{last:02X}")
}

impl Street {
    pub fn new() -> Street {
        // Other processes have streets of their own.
        Street::at([127, 64 + (std::process::id() % 120) as u8, STREETS.fetch_add(1, Ordering::SeqCst)])
    }

    /// A street on these addresses.
    pub fn at(net: [u8; 3]) -> Street {
        let free = || std::net::TcpListener::bind((Ipv4Addr::new(net[0], net[1], net[2], 255), 0)).unwrap();
        let (web, rpc) = (free(), free());
        let ports = (web.local_addr().unwrap().port(), rpc.local_addr().unwrap().port());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (web, rpc) = ports;
        Street { runtime, net, web, rpc, houses: Mutex::default(), unlocked: Arc::default() }
    }

    /// How often somebody tried a password at a house.
    pub fn tried(&self, house: u8) -> usize {
        self.unlocked.lock().unwrap().iter().filter(|tried| **tried == house).count()
    }

    /// The address of a house, as a target's address.
    pub fn address(&self, house: u8) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}.{house}:{}", self.web)
    }

    /// The whole street.
    pub fn network(&self) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}.0/24")
    }

    /// Moves somebody in; whoever lived there leaves.
    pub fn move_in(&self, house: u8, tenant: Tenant) {
        self.leave(house);
        let ports = match tenant {
            Tenant::Luxos => vec![self.rpc],
            Tenant::Antminer => vec![self.rpc, self.web],
            _ => vec![self.web],
        };
        let [a, b, c] = self.net;
        let mut tasks = Vec::new();
        for port in ports {
            let listener = self.runtime.block_on(TcpListener::bind((Ipv4Addr::new(a, b, c, house), port))).unwrap();
            let (tenant, unlocked) = (tenant.clone(), self.unlocked.clone());
            let work = async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    let (tenant, unlocked) = (tenant.clone(), unlocked.clone());
                    // Bounded by the test's own end: the runtime goes with the street.
                    tokio::spawn(async move {
                        drop(answer(tenant, stream, move || unlocked.lock().unwrap().push(house)).await);
                    });
                }
            };
            tasks.push(self.runtime.spawn(work));
        }
        self.houses.lock().unwrap().insert(house, tasks);
    }

    pub fn leave(&self, house: u8) {
        for task in self.houses.lock().unwrap().remove(&house).into_iter().flatten() {
            task.abort();
            // The port is free only when the task is gone.
            let _ = self.runtime.block_on(task);
        }
    }

    /// The configuration of a search in this street.
    pub fn discovery(&self, more: &str) -> String {
        format!(
            "discovery:\n  networks: [{}]\n  interval: 10s\n  timeout: 500ms\n  rate: 1000\n  concurrency: 64\n  \
             ports: {{http: [{}], rpc: [{}], framed: []}}\n{more}",
            self.network(),
            self.web,
            self.rpc
        )
    }
}

async fn answer(tenant: Tenant, mut stream: TcpStream, tried: impl Fn()) -> std::io::Result<()> {
    let mut first = [0; 11];
    if stream.peek(&mut first).await? == first.len() && first == *b"GET /api/ws" && matches!(tenant, Tenant::Axeos(..))
    {
        let Ok(mut socket) = accept_async(stream).await else { return Ok(()) };
        let _ = socket.send(Message::text("I (1) main: hello")).await;
        return std::future::pending().await;
    }
    let mut request = vec![0; 4096];
    let count = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..count]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let page = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let none = || page("404 Not Found", "", "nothing here");
    let text = match tenant {
        Tenant::Axeos(last, hostname) if path == "/api/system/info" => page("200 OK", "", &axeos(last, hostname)),
        Tenant::Vnish(last) => vnish(last, path).map_or_else(none, |body| page("200 OK", "", &body)),
        Tenant::Axeos(..) => none(),
        Tenant::Locked(_) if path == "/api/v1/unlock" => {
            tried();
            match request.contains("hunter2") {
                true => page("200 OK", "", "{\"token\":\"open\"}"),
                false => page("401 Unauthorized", "", ""),
            }
        }
        Tenant::Locked(_) if path == "/" => page("200 OK", "", "<title>AnthillOS</title>"),
        Tenant::Locked(_) if !request.to_ascii_lowercase().contains("bearer open") => page("401 Unauthorized", "", ""),
        Tenant::Locked(last) => vnish(last, path).map_or_else(none, |body| page("200 OK", "", &body)),
        Tenant::Antminer if request.starts_with("GET ") => {
            page("401 Unauthorized", "www-authenticate: Digest realm=\"antMiner Configuration\", nonce=\"1\"\r\n", "")
        }
        Tenant::Antminer => rpc(&request, "{\"API\":\"3.1\",\"Type\":\"Antminer S19\",\"Miner\":\"uart_trans.1.3\"}"),
        Tenant::Luxos => rpc(&request, "{\"API\":\"3.7\",\"LUXminer\":\"2025.4.8\",\"Type\":\"Antminer S19k Pro\"}"),
        Tenant::Router => page("200 OK", "", "<html><title>Router</title><form action=/login></form></html>"),
        Tenant::Redirect => page("302 Found", "location: http://127.0.0.1:9/user/\r\n", ""),
        Tenant::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Tenant::Flood => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            for _ in 0..1600 {
                stream.write_all(&[b'['; 65_536]).await?;
            }
            return Ok(());
        }
        Tenant::Silent => return std::future::pending().await,
    };
    stream.write_all(text.as_bytes()).await
}

/// What cgminer's API answers: who it is, or that it hashes.
fn rpc(request: &str, version: &str) -> String {
    match request.contains("version") {
        true => format!("{{\"STATUS\":[{{\"STATUS\":\"S\",\"Code\":22}}],\"VERSION\":[{version}],\"id\":1}}\0"),
        false => {
            let summary = "{\"Elapsed\":900,\"GHS 5s\":114000.0,\"Accepted\":77,\"Rejected\":1}";
            format!("{{\"STATUS\":[{{\"STATUS\":\"S\",\"Code\":11}}],\"SUMMARY\":[{summary}],\"id\":1}}\0")
        }
    }
}

fn vnish(last: u8, path: &str) -> Option<String> {
    match path {
        "/api/v1/info" => {
            Some(include_str!("../replies/vnish/with-info/02-info.json").replace("02:00:00:00:00:07", &mac(last)))
        }
        "/api/v1/summary" => Some(include_str!("../replies/vnish/with-info/01-summary.json").to_string()),
        _ => None,
    }
}

fn axeos(last: u8, hostname: &str) -> String {
    let mac = mac(last);
    format!(
        "{{\"macAddr\":\"{mac}\",\"hostname\":{hostname:?},\"ASICModel\":\"BM1370\",\"version\":\"v2.4.0\",\"power\":17.5,\
         \"hashRate\":1040.3,\"temp\":52.8,\"sharesAccepted\":26969,\"sharesRejected\":7,\"uptimeSeconds\":257902,\
         \"boardVersion\":\"601\",\"frequency\":525,\"coreVoltage\":1150}}"
    )
}
