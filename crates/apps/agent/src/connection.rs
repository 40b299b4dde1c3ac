//! One WebSocket: frames in and out, bounded and compressed.

use crate::reach::Reach;
use crate::tls::Channel;
use crate::transport::Transport;
use crate::{AgentError, ServerAddress, transport};
use agent_wire::{COMPRESS_FROM_BYTES, FRAME_BYTES_MAX, Terms, WIRE_BYTES_MAX};
use futures_util::{SinkExt, StreamExt};
use identifiers::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// How long connecting, one write, or one step of the handshake may take.
pub(crate) const STEP_PATIENCE: Duration = Duration::from_secs(15);
/// Frames are decompressed with no larger window than this power of two: what zstd's own bound for every decoder is
/// (RFC 8878, section 3.1.1.1.2: 8 MiB).
const WINDOW_LOG_MAX: u32 = 23;
/// The largest frame taken before it is certain who the server is, in bytes.
const HANDSHAKE_BYTES_MAX: usize = 64 << 10;
/// How much of the other side's own words is passed on, in characters.
const WORDS_MAX: usize = 300;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: WebSocketStream<Transport>,
    server: String,
    channel: Option<Channel>,
}

/// What came from the other side.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message's JSON text.
    Text(String),
    /// A sign of life.
    Life,
}

impl Connection {
    /// Opens a connection.
    pub(crate) async fn open(address: &ServerAddress, reach: &Reach) -> Result<Self, AgentError> {
        let server = address.authority();
        let unreachable = |reason: String| AgentError::Unreachable { reason, server: address.authority() };
        let (stream, channel) = transport::open(address, reach).await.map_err(unreachable)?;
        let request = address.web_socket().into_client_request().map_err(|e| unreachable(e.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(WIRE_BYTES_MAX))
            .max_frame_size(Some(WIRE_BYTES_MAX));
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let opened = timeout(STEP_PATIENCE, opening).await.map_err(|_| unreachable("no answer to HTTP".to_owned()))?;
        let (socket, _) = opened.map_err(|e| unreachable(format!("it is no agent endpoint: {e}")))?;
        Ok(Self { socket, server, channel })
    }

    /// Makes sure that this connection ends where the server says that it does; else says what is wrong. `terms` are what
    /// the server has signed, `times` what may be the time.
    pub(crate) fn ends_at_the_server(&self, terms: &Terms, reach: &Reach, times: &[Timestamp]) -> Result<(), String> {
        match (&self.channel, terms.channel) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                Err("it speaks TLS, but this connection does not: someone else takes the TLS away".to_owned())
            }
            (Some(channel), Some(named)) if channel.name == named => Ok(()),
            // It ends before the server: at a balancer that this host has reason to trust, or at anybody.
            (Some(channel), _) => channel.certificate_is_valid(reach.ca_file.as_deref(), times).map_err(|reason| {
                format!(
                    "TLS ends at someone else, who shows a certificate that is not valid here: {reason}; \
                     for a balancer of yours, name its authority with --ca-file"
                )
            }),
        }
    }

    /// Whom this is a connection to, as `HOST:PORT`.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a message.
    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), AgentError> {
        self.put(encoded(message)?).await
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), AgentError> {
        self.put(Message::Ping(Vec::new().into())).await
    }

    async fn put(&mut self, frame: Message) -> Result<(), AgentError> {
        let sent = timeout(STEP_PATIENCE, self.socket.send(frame)).await;
        let sent = sent.map_err(|_| self.broken("it takes nothing any more"))?;
        sent.map_err(|e| self.broken(e))
    }

    /// Waits for the next frame. May be dropped and called again without losing one.
    pub(crate) async fn hear(&mut self) -> Result<Heard, AgentError> {
        match self.next().await? {
            Message::Text(text) => Ok(Heard::Text(text.as_str().to_owned())),
            Message::Binary(bytes) => Ok(Heard::Text(decompressed(&bytes)?)),
            _ => Ok(Heard::Life),
        }
    }

    async fn next(&mut self) -> Result<Message, AgentError> {
        match self.socket.next().await {
            Some(Ok(Message::Close(_))) | None => Err(self.broken("the server closed the connection")),
            Some(Ok(message)) => Ok(message),
            Some(Err(e)) => Err(self.broken(e)),
        }
    }

    /// Waits for a message of the handshake: a small text. Nothing is decompressed for somebody who may be anybody.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self) -> Result<T, AgentError> {
        let message = async {
            loop {
                let message = self.next().await?;
                if matches!(message, Message::Text(_) | Message::Binary(_)) {
                    return Ok::<_, AgentError>(message);
                }
            }
        };
        let message = timeout(STEP_PATIENCE, message).await;
        let message = message.map_err(|_| self.broken("no answer in the handshake"))??;
        handshake_message(&message)
    }

    /// Ends the connection politely.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(2), self.socket.close(None)).await;
    }

    fn broken(&self, reason: impl std::fmt::Display) -> AgentError {
        AgentError::Unreachable { reason: reason.to_string(), server: self.server.clone() }
    }
}

/// A message as a frame: text, or zstd of the text in a binary frame.
pub(crate) fn encoded<T: Serialize>(message: &T) -> Result<Message, AgentError> {
    let text = agent_wire::write(message)?;
    if text.len() < COMPRESS_FROM_BYTES {
        return Ok(Message::Text(text.into()));
    }
    if text.len() > FRAME_BYTES_MAX {
        return Err(AgentError::TooLarge { bytes: text.len() });
    }
    let bytes = zstd::bulk::compress(text.as_bytes(), 3).map_err(|e| AgentError::system("compressing", e))?;
    if bytes.len() > WIRE_BYTES_MAX {
        return Err(AgentError::TooLarge { bytes: bytes.len() });
    }
    Ok(Message::Binary(bytes.into()))
}

fn handshake_message<T: DeserializeOwned>(message: &Message) -> Result<T, AgentError> {
    let Message::Text(text) = message else {
        return Err(AgentError::Protocol("a binary frame in the handshake".to_owned()));
    };
    if text.len() > HANDSHAKE_BYTES_MAX {
        let reason = format!("a frame of more than {HANDSHAKE_BYTES_MAX} bytes in the handshake");
        return Err(AgentError::Protocol(reason));
    }
    // The reader's complaint may quote the text.
    serde_json::from_str(text.as_str()).map_err(|e| AgentError::Protocol(words(&e.to_string())))
}

/// The other side's words, for the log, the status and the terminal: cut, and without control characters.
pub(crate) fn words(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(WORDS_MAX).collect()
}

fn decompressed(bytes: &[u8]) -> Result<String, AgentError> {
    let bad = |e: std::io::Error| AgentError::Protocol(format!("a binary frame is no zstd text: {e}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(bad)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(bad)?;
    let mut text = String::new();
    decoder.take(FRAME_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(bad)?;
    if text.len() > FRAME_BYTES_MAX {
        return Err(AgentError::Protocol(format!("a frame is larger than {FRAME_BYTES_MAX} bytes when decompressed")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_large_message_travels_compressed_and_comes_back() {
        let text = "careen ".repeat(10_000);
        let Message::Binary(bytes) = encoded(&text).unwrap() else { panic!("it is large") };
        assert!(bytes.len() < 1000);
        assert_eq!(decompressed(&bytes).unwrap(), format!("\"{text}\""));
        assert!(matches!(encoded(&"small").unwrap(), Message::Text(_)));
    }

    #[test]
    fn a_handshake_takes_small_texts_alone() {
        let read = |message: Message| handshake_message::<String>(&message).map_err(|e| e.to_string());
        let text = |bytes: usize| Message::Text(format!("\"{}\"", "a".repeat(bytes - 2)).into());
        assert_eq!(read(text(HANDSHAKE_BYTES_MAX)).unwrap().len(), HANDSHAKE_BYTES_MAX - 2);
        assert!(read(text(HANDSHAKE_BYTES_MAX + 1)).unwrap_err().contains("more than 65536 bytes"));
        let compressed = Message::Binary(zstd::bulk::compress(b"\"a\"", 3).unwrap().into());
        assert!(read(compressed).unwrap_err().contains("a binary frame"));
    }

    #[test]
    fn a_frame_that_grows_beyond_the_bound_is_refused() {
        let bomb = zstd::bulk::compress(&vec![b'a'; FRAME_BYTES_MAX + 1], 19).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(matches!(decompressed(&bomb), Err(AgentError::Protocol(_))));
    }

    proptest! {
        #[test]
        fn no_binary_frame_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decompressed(&bytes);
            let mut framed = vec![0x28, 0xb5, 0x2f, 0xfd];
            framed.extend(bytes);
            let _ = decompressed(&framed);
        }
    }
}
