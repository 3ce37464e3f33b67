//! A street of small devices on loopback addresses, all on the same ports: what a search finds. Houses can be moved into,
//! left, and be hostile.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
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
    houses: Mutex<BTreeMap<u8, JoinHandle<()>>>,
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
        let net = [127, 64 + (std::process::id() % 120) as u8, STREETS.fetch_add(1, Ordering::SeqCst)];
        let free = || std::net::TcpListener::bind((Ipv4Addr::new(net[0], net[1], net[2], 255), 0)).unwrap();
        let (web, rpc) = (free(), free());
        let ports = (web.local_addr().unwrap().port(), rpc.local_addr().unwrap().port());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Street { runtime, net, web: ports.0, rpc: ports.1, houses: Mutex::default() }
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
        let port = if matches!(tenant, Tenant::Luxos) { self.rpc } else { self.web };
        let [a, b, c] = self.net;
        let listener = self.runtime.block_on(TcpListener::bind((Ipv4Addr::new(a, b, c, house), port))).unwrap();
        let work = async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let tenant = tenant.clone();
                // Bounded by the test's own end: the runtime goes with the street.
                tokio::spawn(async move { drop(answer(tenant, stream).await) });
            }
        };
        self.houses.lock().unwrap().insert(house, self.runtime.spawn(work));
    }

    pub fn leave(&self, house: u8) {
        if let Some(task) = self.houses.lock().unwrap().remove(&house) {
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

async fn answer(tenant: Tenant, mut stream: TcpStream) -> std::io::Result<()> {
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
        Tenant::Vnish(last) if path == "/api/v1/info" => {
            let info = include_str!("../replies/vnish/with-info/02-info.json").replace("02:00:00:00:00:07", &mac(last));
            page("200 OK", "", &info)
        }
        Tenant::Vnish(_) if path == "/api/v1/summary" => {
            page("200 OK", "", include_str!("../replies/vnish/with-info/01-summary.json"))
        }
        Tenant::Axeos(..) | Tenant::Vnish(_) => none(),
        Tenant::Luxos if request.contains("version") => {
            let version = "{\"API\":\"3.7\",\"LUXminer\":\"2025.4.8\",\"Type\":\"Antminer S19k Pro\"}";
            format!("{{\"STATUS\":[{{\"STATUS\":\"S\",\"Code\":22}}],\"VERSION\":[{version}],\"id\":1}}\0")
        }
        Tenant::Luxos => {
            let summary = "{\"Elapsed\":900,\"GHS 5s\":114000.0,\"Accepted\":77,\"Rejected\":1}";
            format!("{{\"STATUS\":[{{\"STATUS\":\"S\",\"Code\":11}}],\"SUMMARY\":[{summary}],\"id\":1}}\0")
        }
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

fn axeos(last: u8, hostname: &str) -> String {
    let mac = mac(last);
    format!(
        "{{\"macAddr\":\"{mac}\",\"hostname\":{hostname:?},\"ASICModel\":\"BM1370\",\"version\":\"v2.4.0\",\"power\":17.5,\
         \"hashRate\":1040.3,\"temp\":52.8,\"sharesAccepted\":26969,\"sharesRejected\":7,\"uptimeSeconds\":257902,\
         \"boardVersion\":\"601\",\"frequency\":525,\"coreVoltage\":1150}}"
    )
}
