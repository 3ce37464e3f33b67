//! The sockets of the simulated devices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::device::{Device, Fault};
use super::{axeos, cgminer, hostile};

/// Longest exchange with one caller: an idle connection blocks the device, as it does the real ones, but not for ever.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(60);

/// Serves one device, one connection at a time, until it is dropped.
pub async fn serve(device: Arc<Device>, listener: TcpListener, address: SocketAddr) {
    let mut listener = Some(listener);
    loop {
        if matches!(device.fault(), Some((Fault::Dead, _))) {
            listener = None;
            device.change().await;
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => reopen(address).await,
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                // What goes wrong on a connection is the caller's to see.
                let _ = tokio::time::timeout(LONGEST_EXCHANGE, answer(&device, stream)).await;
            },
            () = device.change() => {}
        }
        listener = Some(open);
    }
}

/// The port of a device that comes back may still be in use by a passing connection.
async fn reopen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(device: &Device, stream: TcpStream) -> std::io::Result<()> {
    device.asked();
    match (device.fault(), device.model().kind()) {
        (Some((Fault::Hostile(mode), _)), kind) => hostile::answer(mode, kind, device.seed(), stream).await,
        (_, "axeos") => axeos::answer(device, stream).await,
        (_, _) => cgminer::answer(device, stream).await,
    }
}
