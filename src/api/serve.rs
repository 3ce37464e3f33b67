//! The listening side: connections are capped in number, headers in size and time, and all end at shutdown.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::guard::Peer;

/// Connections at once. Prometheus needs one; the rest is people and probes.
const CONNECTIONS: u64 = 256;
/// A client must send its headers within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection lives at most this long, whatever the client does (an answer read a byte a second included).
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Largest request head, in bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// How long answers under way may take at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves with at most a quarter of the `descriptors` that may be open, until `stop`, then lets answers under way finish.
pub async fn serve(listener: TcpListener, api: Api, descriptors: u64, stop: CancellationToken) {
    let telemetry = api.gate.telemetry();
    let router = api.router();
    // Where few files may be open, connections must not take those that the state needs.
    let connections = (descriptors / 4).clamp(4, CONNECTIONS);
    let slots = Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(1)));
    let mut open = JoinSet::new();
    let mut refused = false;
    loop {
        // Waiting for a slot before accepting leaves surplus clients in the kernel's queue.
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                refused = false;
                let (router, stop) = (router.clone(), stop.clone());
                open.spawn(async move {
                    connection(stream, Peer(address.ip()), router, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: accepting again at once would spin.
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while let Some(ended) = open.try_join_next() {
            if ended.is_err() {
                telemetry.count_panic("api");
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, peer: Peer, router: axum::Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let deadline = tokio::time::sleep(CONNECTION_TIMEOUT);
    tokio::pin!(deadline);
    // A client that goes away or breaks the protocol is its own business.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = deadline => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(DRAIN, connection).await;
        }
    }
}
