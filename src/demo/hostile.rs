//! Devices that do harm: what a poll meets when the other side is broken, confused or an enemy.

use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::device::mix;
use super::family::Wire;
use super::fault::Hostile;

/// Answers one request that has been read in the worst way that `mode` names.
pub async fn answer(mode: Hostile, wire: Wire, seed: u64, mut stream: TcpStream) -> std::io::Result<()> {
    match mode {
        Hostile::Garbage => {
            let bytes: Vec<u8> = (0..4096_u64).map(|index| mix(seed, index) as u8).collect();
            body(&mut stream, wire, "200 OK", &bytes).await?;
        }
        Hostile::TruncatedJson => {
            body(&mut stream, wire, "200 OK", br#"{"ASICModel":"BM1370","uptimeSeconds":17,"hashRa"#).await?;
        }
        Hostile::DeepNesting => {
            body(&mut stream, wire, "200 OK", format!("{{\"a\":{}", "[".repeat(200_000)).as_bytes()).await?;
        }
        Hostile::EndlessBody => endless(&mut stream, wire).await?,
        Hostile::GzipBomb => gzip_bomb(&mut stream).await?,
        Hostile::Redirect => {
            let head =
                "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
        }
        Hostile::BytePerSecond => drip(&mut stream, wire).await?,
        Hostile::Reset => {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            return Ok(());
        }
        Hostile::WrongStatus => body(&mut stream, Wire::Http, "500 Internal Server Error", b"Internal error").await?,
        // Until the caller gives up.
        Hostile::Silent => while stream.read(&mut [0; 64]).await? > 0 {},
        // The last three damage the answer of a sound device: see the server.
        Hostile::Empty | Hostile::Half | Hostile::WrongType | Hostile::Unauthorized => {}
    }
    stream.shutdown().await
}

async fn body(stream: &mut TcpStream, wire: Wire, status: &str, bytes: &[u8]) -> std::io::Result<()> {
    head(stream, wire, status, bytes.len()).await?;
    stream.write_all(bytes).await
}

/// What stands in front of a body of that length.
async fn head(stream: &mut TcpStream, wire: Wire, status: &str, length: usize) -> std::io::Result<()> {
    match wire {
        Wire::Rpc => Ok(()),
        Wire::Framed => stream.write_u32_le(length as u32).await,
        Wire::Http => {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
    }
}

async fn endless(stream: &mut TcpStream, wire: Wire) -> std::io::Result<()> {
    match wire {
        Wire::Http => stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?,
        _ => head(stream, wire, "", u32::MAX as usize).await?,
    }
    stream.write_all(b"{\"a\":\"").await?;
    let block = [b'x'; 16 * 1024];
    loop {
        stream.write_all(&block).await?;
    }
}

async fn drip(stream: &mut TcpStream, wire: Wire) -> std::io::Result<()> {
    head(stream, wire, "200 OK", 1000).await?;
    loop {
        stream.write_all(b" ").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One compressed mebibyte of zeros, 64 times over: a gzip body may have many members.
async fn gzip_bomb(stream: &mut TcpStream) -> std::io::Result<()> {
    // Made once: it takes long. A vector that cannot be written to does not exist.
    static MEMBER: OnceLock<Vec<u8>> = OnceLock::new();
    let member = MEMBER.get_or_init(|| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).and_then(|()| encoder.finish()).unwrap_or_default()
    });
    let bomb = member.repeat(64);
    let length = bomb.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&bomb).await
}
