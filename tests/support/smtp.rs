//! A mail server that takes everything and remembers every line; with STARTTLS if it is bidden.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The server; a thread of its own, until the test's process ends.
pub struct Server {
    pub address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(folder: &Path, tls: bool) -> Self {
        let acceptor = tls.then(|| acceptor(folder));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, said) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let shared = said.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = serve(stream, acceptor.clone(), &shared).await;
                }
            });
        });
        Server { address, said }
    }

    /// Every line that clients said.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    stream: tokio::net::TcpStream,
    acceptor: Option<TlsAcceptor>,
    said: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await?;
    let offer = acceptor.is_some();
    if talk(&mut stream, offer, false, said).await?
        && let Some(acceptor) = acceptor
    {
        let secure = acceptor.accept(stream.into_inner()).await?;
        talk(&mut BufReader::new(secure), false, true, said).await?;
    }
    Ok(())
}

/// Until the client quits, or wants TLS (true).
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    starttls: bool,
    auth: bool,
    said: &Mutex<Vec<String>>,
) -> std::io::Result<bool> {
    let mut data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_string();
        said.lock().unwrap().push(line.clone());
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." if data => {
                data = false;
                "250 taken"
            }
            _ if data => continue,
            "EHLO" if starttls => "250-sink\r\n250 STARTTLS",
            "EHLO" if auth => "250-sink\r\n250 AUTH PLAIN",
            "STARTTLS" => {
                stream.write_all(b"220 go\r\n").await?;
                return Ok(true);
            }
            "AUTH" => "235 welcome",
            "DATA" => {
                data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}
