//! What a search for miners costs: a /24 and a /16 of loopback addresses at the usual rate, twenty devices in them, all other
//! addresses refusing. `DAVYLAMP_BENCH_SEARCH=24` leaves the /16 out, which takes six minutes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use davylamp::discover::scan::Search;
use davylamp::discover::{Plan, Ports, Progress, nobody, scan};
use futures_util::StreamExt;

use crate::common::{self, Child, Process};

/// Devices in the network.
const DEVICES: u8 = 20;

/// Addresses after which progress is told.
const TELL_EVERY: u64 = 8192;

/// Searches once and says how that went; `what` is the length of the prefix and the port of the devices.
pub fn measure(what: &str) {
    let (prefix, port) = what.split_once(' ').unwrap();
    let plan = Plan::read(&[format!("127.88.0.0/{prefix}")], &[], None).unwrap();
    let ports = Ports { http: vec![port.parse().unwrap(), 8080], ..Ports::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (begun, cpu, before) = (Instant::now(), Process::me().cpu(), Process::me().resident());
    let (mut asked, mut found, all) = (0_u64, 0_u64, plan.len());
    runtime.block_on(async {
        let mut scan = scan(plan, Search { ports, ..Search::default() }.fitting(), nobody());
        while let Some(progress) = scan.next().await {
            asked += 1;
            found += u64::from(matches!(progress, Progress::Found(_)));
            if asked.is_multiple_of(TELL_EVERY) {
                eprintln!("{asked} of {all} addresses, {found} found");
            }
        }
    });
    let (wall, cpu) = (begun.elapsed(), Process::me().cpu() - cpu);
    let memory = Process::me().peak().saturating_sub(before);
    common::say(&[asked as f64, found as f64, wall.as_secs_f64(), cpu.as_secs_f64(), memory as f64]);
}

pub fn report() {
    let listener = |last| TcpListener::bind((Ipv4Addr::new(127, 88, 0, last), 0)).unwrap();
    let first = listener(1);
    let port = first.local_addr().unwrap().port();
    let more = (2..=DEVICES).map(|last| TcpListener::bind((Ipv4Addr::new(127, 88, 0, last), port)).unwrap());
    for (last, listener) in (1..).zip(std::iter::once(first).chain(more)) {
        // They end with the process.
        std::thread::spawn(move || serve(&listener, last));
    }
    let prefixes: &[u8] = if common::option("DAVYLAMP_BENCH_SEARCH", 16) == 24 { &[24] } else { &[24, 16] };
    let rows: Vec<Vec<String>> = prefixes.iter().map(|prefix| row(*prefix, port)).collect();
    let header = ["", "addresses", "found", "wall", "addresses a second", "CPU", "CPU an address", "memory"];
    common::table("A search at the usual rate (200 addresses a second, 128 at once)", &header, &rows);
}

fn row(prefix: u8, port: u16) -> Vec<String> {
    let mut child = Child::start(&format!("search {prefix} {port}"));
    let numbers = child.numbers();
    let [asked, found, wall, cpu, memory] = numbers[..] else { unreachable!("it says five numbers") };
    assert!(found == f64::from(DEVICES), "{found} of {DEVICES} devices were found");
    vec![
        format!("/{prefix}"),
        format!("{asked:.0}"),
        format!("{found:.0}"),
        format!("{wall:.1} s"),
        format!("{:.0}", asked / wall),
        format!("{cpu:.2} s"),
        common::micros(Duration::from_secs_f64(cpu / asked)),
        format!("{:.1} MB", memory / 1e6),
    ]
}

/// A Bitaxe as far as a search asks it.
fn serve(listener: &TcpListener, last: u8) {
    let state = format!(
        "{{\"macAddr\":\"02:00:00:00:88:{last:02X}\",\"hostname\":\"bitaxe\",\"ASICModel\":\"BM1370\",\"version\":\"v2.4.0\",\
         \"power\":17.5,\"hashRate\":1040.3,\"temp\":52.8,\"sharesAccepted\":9,\"sharesRejected\":0,\"uptimeSeconds\":9}}"
    );
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut request = [0; 2048];
        let count = stream.read(&mut request).unwrap_or(0);
        let (status, body) = match request[..count].starts_with(b"GET /api/system/info ") {
            true => ("200 OK", state.as_str()),
            false => ("404 Not Found", ""),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // Whoever only knocked is gone.
        let _ = stream.write_all((head + body).as_bytes());
    }
}
