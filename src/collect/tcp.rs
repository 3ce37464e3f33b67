//! TCP: one request over one connection, for the line protocols of miners and for framed ones. Same limits as HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::{Network, address_allowed};
use crate::model::{FailureReason, PollFailure};

/// Connects to `host:port`, sends `request` in one segment, and reads until the other side closes or a NUL arrives.
/// The connection is never held open: an idle one blocks the whole API of a cgminer.
///
/// # Errors
/// A [`PollFailure`]: `Unreachable`, `Timeout`, `TooLarge`, or `Denied` for an address that may not be talked to.
pub async fn exchange(
    address: &str,
    request: &[u8],
    max_reply: usize,
    timeout: Duration,
) -> Result<Bytes, PollFailure> {
    exchange_if_there(address, request, max_reply, timeout, timeout).await
}

/// [`exchange`] with an address at which nobody may be: it has to take the connection within `connect`.
///
/// # Errors
/// As [`exchange`].
pub async fn exchange_if_there(
    address: &str,
    request: &[u8],
    max_reply: usize,
    connect: Duration,
    timeout: Duration,
) -> Result<Bytes, PollFailure> {
    let late = |_| Err(PollFailure::new(FailureReason::Timeout, "no complete answer in time"));
    let work = async {
        let mut stream = tokio::time::timeout(connect, self::connect(address)).await.unwrap_or_else(late)?;
        stream.write_all(request).await.map_err(|error| unreachable(&error))?;
        read_reply(&mut stream, max_reply).await
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(PollFailure::new(FailureReason::Timeout, "no complete answer in time")))
}

/// Whether somebody takes a connection at `address` within `timeout`; it is closed at once.
pub async fn knock(address: &str, timeout: Duration) -> bool {
    tokio::time::timeout(timeout, connect(address)).await.is_ok_and(|connected| connected.is_ok())
}

/// [`exchange`] for protocols that put the length of each message, four bytes with the lowest first, in front of it.
///
/// # Errors
/// As [`exchange`]; `TooLarge` before anything is read when the announced length is more than `max_reply`.
pub async fn exchange_framed(
    address: &str,
    request: &[u8],
    max_reply: usize,
    timeout: Duration,
) -> Result<Bytes, PollFailure> {
    let too_large =
        || PollFailure::new(FailureReason::TooLarge, format!("the answer is larger than {max_reply} bytes"));
    let work = async {
        let mut stream = connect(address).await?;
        let mut message = (request.len() as u32).to_le_bytes().to_vec();
        message.extend_from_slice(request);
        stream.write_all(&message).await.map_err(|error| unreachable(&error))?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.map_err(|error| unreachable(&error))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > max_reply {
            return Err(too_large());
        }
        // Grown as it comes: an announced length is no reason to reserve memory.
        let mut reply = Vec::new();
        let mut body = stream.take(length as u64);
        body.read_to_end(&mut reply).await.map_err(|error| unreachable(&error))?;
        Ok(Bytes::from(reply))
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(PollFailure::new(FailureReason::Timeout, "no complete answer in time")))
}

/// Connects to `host:port`, if that is an address that may be talked to.
///
/// # Errors
/// `Unreachable`, or `Denied` for an address that may not be talked to.
pub async fn connect(address: &str) -> Result<TcpStream, PollFailure> {
    let addresses = tokio::net::lookup_host(address).await.map_err(|error| unreachable(&error))?;
    let mut last = PollFailure::new(FailureReason::Unreachable, format!("{address} resolves to no address"));
    for candidate in addresses {
        if !address_allowed(candidate.ip(), Network::Lan) {
            let text = format!("{} is a link-local, metadata or multicast address", candidate.ip());
            last = PollFailure::new(FailureReason::Denied, text);
            continue;
        }
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                // The request must leave in one segment; a split one is answered with "Invalid JSON".
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = unreachable(&error),
        }
    }
    Err(last)
}

async fn read_reply(stream: &mut TcpStream, max_reply: usize) -> Result<Bytes, PollFailure> {
    let mut reply = BytesMut::with_capacity(4096);
    loop {
        let count = stream.read_buf(&mut reply).await.map_err(|error| unreachable(&error))?;
        if reply.len() > max_reply {
            return Err(PollFailure::new(
                FailureReason::TooLarge,
                format!("the answer is larger than {max_reply} bytes"),
            ));
        }
        let fresh = reply.len() - count;
        if count == 0 || reply[fresh..].contains(&0) {
            return Ok(reply.freeze());
        }
    }
}

fn unreachable(error: &std::io::Error) -> PollFailure {
    PollFailure::new(FailureReason::Unreachable, error.to_string())
}
