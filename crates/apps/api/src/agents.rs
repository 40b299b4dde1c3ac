//! Agents on the wire: WebSocket frames in and out. What they mean is decided in `control`.

use std::time::Duration;

use agent_wire::{
    COMPRESS_FROM_BYTES, FRAME_BYTES_MAX, FromServerHandshake, Refusal, RefusalCode, ToServer, ToServerHandshake,
    WIRE_BYTES_MAX,
};
use axum::{
    extract::{ConnectInfo, State, WebSocketUpgrade, ws::Message, ws::WebSocket},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::agents::{AgentSession, Greeting};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{Instrument, field::Empty};

use crate::{Shared, listener::Peer};

/// How long an agent may take for each frame of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest frame of the handshake, in bytes.
const HANDSHAKE_BYTES_MAX: usize = 64 << 10;

/// `GET /agent/v1`: becomes a WebSocket. The small buffers keep an idle agent at a few KiB.
pub(crate) async fn upgrade(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Agents are no web pages; a page that a browser shows must not open connections here.
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "agents send no Origin header\n").into_response();
    }
    upgrade
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_frame_size(WIRE_BYTES_MAX)
        .max_message_size(WIRE_BYTES_MAX)
        .on_upgrade(move |socket| {
            // The lines of a conversation say whose it is as soon as that is known.
            let span = tracing::error_span!("agent", source_address = %peer.address.ip(), node = Empty, epoch = Empty);
            converse(shared, peer, socket).instrument(span)
        })
}

/// Why a conversation ended before its time.
enum End {
    /// The peer went away, or sent something that is no frame of the protocol.
    Gone,
    /// We say why.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn converse(shared: Shared, peer: Peer, mut socket: WebSocket) {
    let shaken = handshake(&shared, &peer, &mut socket).await;
    shared.server.metrics.handshake(outcome(&shaken));
    match shaken {
        Ok(Some(session)) => run(&shared, &mut socket, session).await,
        Ok(None) | Err(End::Gone) => {}
        Err(End::Refused(refusal)) => {
            tracing::info!(code = ?refusal.code, "agent refused: {}", refusal.message);
            let _ = send(&mut socket, &FromServerHandshake::Refused(refusal)).await;
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// How a handshake ended, for whoever counts them.
fn outcome(shaken: &Result<Option<AgentSession>, End>) -> &'static str {
    match shaken {
        Ok(Some(_)) => "connected",
        Ok(None) => "registered",
        Err(End::Gone) => "broken",
        Err(End::Refused(refusal)) => match refusal.code {
            RefusalCode::Version => "refused_version",
            RefusalCode::Activation => "refused_activation",
            RefusalCode::Node => "refused_node",
            RefusalCode::Unavailable => "refused_unavailable",
            RefusalCode::Protocol => "refused_protocol",
            _ => "refused_other",
        },
    }
}

/// Up to Welcome, or to Registered, after which the agent calls again as a node.
async fn handshake(shared: &Shared, peer: &Peer, socket: &mut WebSocket) -> Result<Option<AgentSession>, End> {
    let ToServerHandshake::Hello(hello) = receive_in_time(socket).await? else {
        return Err(unexpected("a Hello must come first"));
    };
    let (greeting, challenge): (Greeting, _) = shared.server.agent_hello(hello, peer.channel).await?;
    send(socket, &challenge).await?;
    match receive_in_time(socket).await? {
        ToServerHandshake::Register { node_key, facts, proof } => {
            let answer = shared.server.agent_register(&greeting, node_key, facts, proof, peer.address).await?;
            send(socket, &answer).await?;
            Ok(None)
        }
        ToServerHandshake::Prove { signature, facts } => {
            let (session, welcome) = shared.server.agent_prove(&greeting, signature, facts, peer.address).await?;
            if let Err(end) = send(socket, &welcome).await {
                shared.server.agent_left(&session).await;
                return Err(end);
            }
            Ok(Some(session))
        }
        ToServerHandshake::Hello(_) => Err(unexpected("only one Hello")),
    }
}

/// The session: until either side goes, the node connects anew, or it is silent for too long.
async fn run(shared: &Shared, socket: &mut WebSocket, mut session: AgentSession) {
    let span = tracing::Span::current();
    span.record("node", session.node_id().as_str());
    span.record("epoch", session.epoch());
    let silence_max = shared.server.agent_silence_max();
    shared.server.agent_arrived(&session).await;
    let mut heard_at = tokio::time::Instant::now();
    loop {
        tokio::select! {
            outgoing = session.outgoing() => match outgoing {
                Some(message) => if send(socket, &message).await.is_err() { break },
                // A newer connection of the same node has taken over, or the server ends.
                None => break,
            },
            incoming = tokio::time::timeout_at(heard_at + silence_max, receive::<ToServer>(socket, true)) => match incoming {
                Ok(Ok(message)) => {
                    heard_at = tokio::time::Instant::now();
                    for answer in shared.server.agent_message(&session, message).await {
                        if send(socket, &answer).await.is_err() {
                            shared.server.agent_left(&session).await;
                            return;
                        }
                    }
                }
                Ok(Err(_)) | Err(_) => break,
            },
        }
    }
    shared.server.agent_left(&session).await;
}

fn unexpected(message: &str) -> End {
    End::Refused(Refusal { code: RefusalCode::Protocol, message: message.to_owned() })
}

async fn receive_in_time<T: DeserializeOwned>(socket: &mut WebSocket) -> Result<T, End> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, receive(socket, false)).await.map_err(|_| End::Gone)?
}

/// The next message. Until the peer is known, its frames are small and not compressed: a stranger must not cost much.
async fn receive<T: DeserializeOwned>(socket: &mut WebSocket, known: bool) -> Result<T, End> {
    loop {
        return match socket.recv().await {
            Some(Ok(Message::Text(text))) if !known && text.len() > HANDSHAKE_BYTES_MAX => {
                Err(unexpected("the frame is too large for a handshake"))
            }
            Some(Ok(Message::Text(text))) => agent_wire::read(&text).map_err(|_| unexpected("not understood")),
            Some(Ok(Message::Binary(_))) if !known => Err(unexpected("a handshake has text frames only")),
            Some(Ok(Message::Binary(bytes))) => {
                let plain = zstd::bulk::decompress(&bytes, FRAME_BYTES_MAX).map_err(|_| unexpected("not zstd"))?;
                serde_json::from_slice(&plain).map_err(|_| unexpected("not understood"))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
        };
    }
}

async fn send<T: Serialize>(socket: &mut WebSocket, message: &T) -> Result<(), End> {
    let text = agent_wire::write(message).map_err(|_| End::Gone)?;
    let frame = if text.len() < COMPRESS_FROM_BYTES {
        Message::Text(text.into())
    } else {
        Message::Binary(zstd::bulk::compress(text.as_bytes(), 3).map_err(|_| End::Gone)?.into())
    };
    socket.send(frame).await.map_err(|_| End::Gone)
}
