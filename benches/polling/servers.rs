//! The side that is polled: the simulated fleet, or pages of about 2 kB over kept connections, one port per target.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use davylamp::demo::{self, DeviceSpec, Fleet, Model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::common;

/// Says the targets, then "ready", then how many requests were answered, as often as it is asked.
pub fn serve(what: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let count = crate::targets();
    match what {
        "json" | "text" => {
            let answered = Arc::new(AtomicU64::new(0));
            let (kind, render): (_, fn(u64) -> String) =
                if what == "json" { ("http_json", json) } else { ("prometheus", text) };
            for index in 0..count {
                let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
                println!("page-{index:05} {kind} {}", listener.local_addr().unwrap());
                runtime.spawn(pages(listener, answered.clone(), render));
            }
            answer(|| answered.load(Ordering::Relaxed));
        }
        _ => {
            let models: Vec<_> = match what {
                "axeos" => vec![Model::BitaxeOld, Model::Bitaxe, Model::NerdQaxe],
                "cgminer" => vec![Model::Cgminer],
                _ => vec![
                    Model::BitaxeOld,
                    Model::Bitaxe,
                    Model::NerdQaxe,
                    Model::Cgminer,
                    Model::CgminerOld,
                    Model::CgminerSloppy,
                    Model::Bfgminer,
                ],
            };
            let specs = demo::many(count).into_iter().zip(models.into_iter().cycle());
            let specs = specs.map(|(spec, model)| DeviceSpec { model, ..spec }).collect();
            let fleet = runtime.block_on(Fleet::start(specs, 1)).unwrap();
            for device in fleet.devices() {
                println!("{} {} {}", device.id(), device.kind(), device.address());
            }
            answer(|| fleet.devices().iter().map(demo::DeviceHandle::requests).sum());
        }
    }
}

fn answer(requests: impl Fn() -> u64) {
    println!("ready");
    while common::hear().is_some() {
        common::say(&[requests() as f64]);
    }
}

async fn pages(listener: TcpListener, answered: Arc<AtomicU64>, render: fn(u64) -> String) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, answered.clone(), render));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream, answered: Arc<AtomicU64>, render: fn(u64) -> String) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while stream.read_buf(&mut head).await? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        let body = render(answered.fetch_add(1, Ordering::Relaxed));
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

/// The value of a field in the answer number `n`: one in four changes.
fn value(field: u64, n: u64) -> f64 {
    let drift = if field.is_multiple_of(4) { (n % 997) as f64 / 7.0 } else { 0.0 };
    40.0 + field as f64 + drift
}

fn json(n: u64) -> String {
    let fields = (0..80).map(|field| (format!("measurement{field:02}"), serde_json::json!(value(field, n))));
    serde_json::Value::Object(fields.collect()).to_string()
}

fn text(n: u64) -> String {
    let mut page = String::new();
    for field in 0..10 {
        let _ = writeln!(page, "# HELP bench_{field}_celsius What a sensor says\n# TYPE bench_{field}_celsius gauge");
        for sensor in 0..4 {
            let value = value(field * 4 + sensor, n);
            let _ = writeln!(page, "bench_{field}_celsius{{sensor=\"chip{sensor}\"}} {value}");
        }
    }
    page
}
