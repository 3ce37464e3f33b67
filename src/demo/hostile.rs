//! Devices that do harm: what a poll meets when the other side is broken, confused or an enemy.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::axeos::read_head;
use super::device::{Hostile, mix};

/// Answers one request of a caller of `kind` in the worst way that `mode` names.
pub async fn answer(mode: Hostile, kind: &str, seed: u64, mut stream: TcpStream) -> std::io::Result<()> {
    let http = kind == "axeos";
    if http {
        read_head(&mut stream).await?;
    } else {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await?;
    }
    match mode {
        Hostile::Garbage => {
            let bytes: Vec<u8> = (0..4096_u64).map(|index| mix(seed, index) as u8).collect();
            body(&mut stream, http, "200 OK", &bytes).await?;
        }
        Hostile::TruncatedJson => {
            body(&mut stream, http, "200 OK", br#"{"ASICModel":"BM1370","uptimeSeconds":17,"hashRa"#).await?;
        }
        Hostile::DeepNesting => {
            body(&mut stream, http, "200 OK", format!("{{\"a\":{}", "[".repeat(200_000)).as_bytes()).await?;
        }
        Hostile::EndlessBody => endless(&mut stream, http).await?,
        Hostile::GzipBomb => gzip_bomb(&mut stream).await?,
        Hostile::Redirect => {
            let head =
                "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
        }
        Hostile::BytePerSecond => drip(&mut stream, http).await?,
        Hostile::Reset => {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            return Ok(());
        }
        Hostile::WrongStatus => body(&mut stream, true, "500 Internal Server Error", b"Internal error").await?,
        // Until the caller gives up.
        Hostile::Silent => while stream.read(&mut [0; 64]).await? > 0 {},
        Hostile::Empty => {}
    }
    stream.shutdown().await
}

async fn body(stream: &mut TcpStream, http: bool, status: &str, bytes: &[u8]) -> std::io::Result<()> {
    if http {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
        stream.write_all(head.as_bytes()).await?;
    }
    stream.write_all(bytes).await
}

async fn endless(stream: &mut TcpStream, http: bool) -> std::io::Result<()> {
    if http {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
    }
    stream.write_all(b"{\"a\":\"").await?;
    let block = [b'x'; 16 * 1024];
    loop {
        stream.write_all(&block).await?;
    }
}

async fn drip(stream: &mut TcpStream, http: bool) -> std::io::Result<()> {
    if http {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n").await?;
    }
    loop {
        stream.write_all(b" ").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One compressed mebibyte of zeros, 64 times over: a gzip body may have many members.
async fn gzip_bomb(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 1 << 20])?;
    let bomb = encoder.finish()?.repeat(64);
    let length = bomb.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&bomb).await
}
