//! One WebSocket connection to a device: opened, read with caps, given up when it is silent.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::collect::tcp;
use crate::model::PollFailure;

/// Largest message: several times the whole state of a device.
const MAX_MESSAGE: usize = 64 * 1024;
/// Longest time until the connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// A device that says nothing for so long is asked whether it is still there.
const ASK_AFTER: Duration = Duration::from_secs(30);
/// One that does not even answer that is gone.
const SILENCE: Duration = Duration::from_secs(75);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It never stood.
    #[error(transparent)]
    Connect(#[from] PollFailure),
    /// Nothing in time.
    #[error("no answer in time")]
    Silent,
    /// The other side broke the protocol, or sent more than it may.
    #[error("{0}")]
    Broken(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// The device closed it.
    #[error("the device closed the connection")]
    Closed,
}

impl From<tokio_tungstenite::tungstenite::Error> for ListenError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        ListenError::Broken(Box::new(error))
    }
}

/// Listens until the connection ends. `take` is told of its beginning (`None`), and of each text message.
pub async fn listen(address: &str, path: &str, take: &mut (impl FnMut(Option<&str>) + Send)) -> ListenError {
    match converse(address, path, take).await {
        Ok(()) => ListenError::Closed,
        Err(error) => error,
    }
}

async fn converse(address: &str, path: &str, take: &mut (impl FnMut(Option<&str>) + Send)) -> Result<(), ListenError> {
    let caps = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let open = async {
        let stream = tcp::connect(address).await?;
        Ok::<_, ListenError>(client_async_with_config(format!("ws://{address}{path}"), stream, Some(caps)).await?)
    };
    let (mut socket, _) = timeout(CONNECT, open).await.map_err(|_| ListenError::Silent)??;
    take(None);
    let mut heard = Instant::now();
    loop {
        match timeout(ASK_AFTER, socket.next()).await {
            Ok(Some(message)) => {
                heard = Instant::now();
                match message? {
                    Message::Text(text) => take(Some(text.as_str())),
                    Message::Binary(bytes) => take(Some(&String::from_utf8_lossy(&bytes))),
                    Message::Close(_) => return Ok(()),
                    _ => {}
                }
            }
            Ok(None) => return Ok(()),
            Err(_) if heard.elapsed() > SILENCE => return Err(ListenError::Silent),
            Err(_) => {
                let ping = socket.send(Message::Ping(Bytes::new()));
                timeout(CONNECT, ping).await.map_err(|_| ListenError::Silent)??;
            }
        }
    }
}
