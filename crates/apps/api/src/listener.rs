//! Connections in: over TCP as they are, or through TLS. Whoever shakes hands slowly, or not at all, holds up nobody, and a
//! connection over which nothing comes is closed.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use agent_wire::{Bytes32, CHANNEL_LABEL};
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::watched::Watched;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How many callers may be shaking hands at once; more are turned away, for waiting would let the slow ones shut the port.
const HANDSHAKES_MAX: usize = 2048;
/// How many of them from one network; more are turned away, so that one network cannot hold up the others.
const HANDSHAKES_FROM_ONE_MAX: usize = 512;
/// How much is read of a request that speaks no TLS, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// How many connections may wait for being served.
const READY_MAX: usize = 64;

/// What is said to a caller that speaks no TLS to a port that speaks nothing else.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks TLS; use https:// instead of http://.\n";

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The name of the TLS channel (RFC 9266); `None`: plaintext, or TLS 1.2.
    pub(crate) channel: Option<Bytes32>,
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where connections come in.
pub(crate) enum Door {
    Plain(TcpListener),
    Tls { address: SocketAddr, ready: mpsc::Receiver<(Connection, Peer)> },
}

impl Door {
    /// Opens a port that was listened on; with `tls` it speaks nothing else.
    pub(crate) fn open(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let Some(configuration) = tls else { return Ok(Self::Plain(listener)) };
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        tokio::spawn(let_in(listener, TlsAcceptor::from(configuration), sender));
        Ok(Self::Tls { address, ready })
    }
}

impl Listener for Door {
    type Io = Watched<Connection>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        match self {
            Self::Plain(listener) => {
                let (stream, address) = Listener::accept(listener).await;
                (Watched::new(Connection::Plain(stream)), Peer { address, channel: None })
            }
            Self::Tls { ready, .. } => match ready.recv().await {
                Some((connection, peer)) => (Watched::new(connection), peer),
                // The task that lets callers in ends after this side alone.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let address = match self {
            Self::Plain(listener) => listener.local_addr()?,
            Self::Tls { address, .. } => *address,
        };
        Ok(Peer { address, channel: None })
    }
}

/// Accepts until nobody takes connections any more; each handshake is a task of its own.
async fn let_in(mut listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(Connection, Peer)>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let callers = Callers::default();
    loop {
        let (stream, address) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = ready.closed() => return,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let Some(turn) = callers.turn(address.ip(), place) else { continue };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE_MAX, shake_hands(stream, address, &acceptor)).await;
            drop(turn);
            match shaken {
                Ok(Ok(connected)) => {
                    // An error means that the server ends.
                    let _ = ready.send(connected).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, "no TLS: {error}"),
                Err(_) => tracing::debug!(%address, "no TLS: the handshake took too long"),
            }
        });
    }
}

async fn shake_hands(
    mut stream: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
) -> io::Result<(Connection, Peer)> {
    /// The first byte of a TLS record that opens a handshake (RFC 8446, section 5.1).
    const HANDSHAKE_RECORD: u8 = 22;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
        stream.write_all(SPEAK_TLS).await?;
        stream.shutdown().await?;
        // What was not read would make the kernel take the answer back.
        tokio::io::copy(&mut stream.take(REQUEST_BYTES_MAX), &mut tokio::io::sink()).await?;
        return Err(io::Error::other("the caller speaks something else"));
    }
    let _ = stream.set_nodelay(true);
    let stream = acceptor.accept(stream).await?;
    let channel = channel(&stream)?;
    Ok((Connection::Tls(Box::new(stream)), Peer { address, channel }))
}

fn channel(stream: &TlsStream<TcpStream>) -> io::Result<Option<Bytes32>> {
    let (_, session) = stream.get_ref();
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(None);
    }
    let name = session.export_keying_material([0; 32], CHANNEL_LABEL, None);
    Ok(Some(Bytes32(name.map_err(io::Error::other)?)))
}

/// How many are shaking hands from each network.
#[derive(Default, Clone)]
struct Callers(Arc<Mutex<HashMap<String, usize>>>);

/// A caller's place; given back when it is dropped.
struct Turn {
    callers: Callers,
    network: String,
    #[allow(dead_code, reason = "held, not read: dropping it gives the place back")]
    place: OwnedSemaphorePermit,
}

impl Callers {
    fn turn(&self, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Turn> {
        let network = control::network(&address.to_string());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network.clone()).or_default();
        if *count >= HANDSHAKES_FROM_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Turn { callers: self.clone(), network, place })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
