//! Every family that says who it is without a login, found by what it answers on its real sockets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use davylamp::demo::{DeviceHandle, DeviceSpec, Fleet, Model};
use davylamp::discover::Ports;
use davylamp::discover::found::Found;
use davylamp::discover::plan::Plan;
use davylamp::discover::scan::{Progress, Search, nobody, scan};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Searches one address.
async fn search(ip: IpAddr, ports: Ports) -> Option<Found> {
    let plan = Plan::read(&[ip.to_string()], &[], Some("by nothing")).unwrap();
    let search = Search { ports, timeout: Duration::from_secs(2), ..Search::default() };
    match scan(plan, search, nobody()).next().await {
        Some(Progress::Found(found)) => Some(*found),
        _ => None,
    }
}

/// A device alone at its address, so that a search of it meets nobody else.
async fn house(model: Model, number: u8, port: u16) -> Fleet {
    let ip = [127, 88, 0, number];
    let (address, web) = (SocketAddr::from((ip, port)), SocketAddr::from((ip, 0)));
    Fleet::start(vec![DeviceSpec { address, web, ..DeviceSpec::new("rig", model) }], 21).await.unwrap()
}

/// A server that says the same to everybody.
async fn chorus(ip: IpAddr, answer: &'static str) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, task)
}

fn port_of(device: &DeviceHandle) -> u16 {
    device.address().port()
}

#[tokio::test]
async fn whoever_says_who_it_is_is_found() {
    use Model::*;
    let rpc = [
        Cgminer,
        Bfgminer,
        Antminer,
        BraiinsRpc,
        Luxos,
        Whatsminer,
        Avalon,
        Epic,
        Hammer,
        Sealminer,
        Mskminer,
        Innosilicon,
    ];
    let http = [Bitaxe, NerdQaxe, BraiinsGraphql, Iceriver];
    let all = rpc.into_iter().chain(http).chain([WhatsminerV3]);
    for (number, model) in (1..).zip(all) {
        let fleet = house(model, number, 0).await;
        let device = &fleet.devices()[0];
        let (mut ports, port) = (Ports { http: vec![], rpc: vec![], framed: vec![] }, port_of(device));
        match model {
            WhatsminerV3 => ports.framed.push(port),
            _ if http.contains(&model) => ports.http.push(port),
            _ => ports.rpc.push(port),
        }
        let found = search(device.address().ip(), ports).await;
        let found = found.unwrap_or_else(|| panic!("{model:?} is not found"));
        assert_eq!((found.kind, &found.trouble), (device.kind(), &None), "{model:?}: {found:?}");
        assert_eq!(found.address, device.address().to_string(), "{model:?}");
    }
}

/// Its page is on one port and its API on another.
#[tokio::test]
async fn an_apollo_is_found_by_its_page() {
    let fleet = house(Model::Futurebit, 101, 5000).await;
    let ip = fleet.devices()[0].address().ip();
    let (page, _task) =
        chorus(ip, "HTTP/1.1 308 Permanent Redirect\r\nlocation: /overview\r\ncontent-length: 0\r\n\r\n").await;
    let found = search(ip, Ports { http: vec![page], rpc: vec![], framed: vec![] }).await.unwrap();
    assert_eq!((found.kind, &*found.address, &found.trouble), ("futurebit", "127.88.0.101", &None), "{found:?}");
    assert_eq!((&*found.model, found.serial.is_empty()), ("Apollo II", false), "{found:?}");
}

/// Its pages are closed, and Bitmain's realm is on them; what it says over cgminer's API is its own.
#[tokio::test]
async fn firmware_on_an_antminer_wins_over_bitmains() {
    let fleet = house(Model::Marathon, 102, 0).await;
    let device = &fleet.devices()[0];
    let version = r#"{"STATUS":[{"STATUS":"S","Code":22,"Msg":"CGMiner versions"}],"VERSION":[{"Kaonsu":"kaonsu 2.6","Model":"S19J Pro","Type":"Antminer S19j Pro"}],"id":1}"#;
    let (rpc, _task) = chorus(device.address().ip(), version).await;
    let ports = Ports { http: vec![port_of(device)], rpc: vec![rpc], framed: vec![] };
    assert_eq!(search(device.address().ip(), ports).await.unwrap().kind, "marathon");
    // With its pages alone it cannot be told from an Antminer.
    let ports = Ports { http: vec![port_of(device)], rpc: vec![], framed: vec![] };
    assert_eq!(search(device.address().ip(), ports).await.unwrap().kind, "antminer");
}
