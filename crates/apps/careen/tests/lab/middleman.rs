//! Whoever sits at the port that agents call: between them and the server, or in the server's place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use agent_wire::AGENT_PATH;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use testkit::SWITCH_ADDRESS;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::site::{PORT, Site};

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toward {
    Agent,
    Server,
}

/// Makes of a message on its way what is sent instead.
pub(crate) type Meddling = Box<dyn FnMut(Toward, Value) -> Vec<(Toward, Value)> + Send>;

/// A process at the agents' port. Dropping it ends it.
pub(crate) struct Middleman {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// The server's own port; `None`: there is no server behind.
    upstream: Option<u16>,
    heard: Mutex<Vec<(Toward, Value)>>,
    /// To each connected node, by its id.
    lines: Mutex<HashMap<String, UnboundedSender<Value>>>,
    meddling: Mutex<Meddling>,
}

type Socket = WebSocketStream<TcpStream>;

/// Passes everything on as it is.
pub(crate) fn honest() -> Meddling {
    Box::new(|toward, message| vec![(toward, message)])
}

impl Middleman {
    /// Takes the port; what it does with messages can be changed later.
    pub(crate) fn start(site: &Site, upstream: Option<u16>, meddling: Meddling) -> Self {
        let listener = site.lab.listen(PORT).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            upstream,
            heard: Mutex::default(),
            lines: Mutex::default(),
            meddling: Mutex::new(meddling),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // A thread that is made inside the switch stays there.
        let thread = site.lab.in_switch(move || {
            std::thread::spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(serving, TcpListener::from_std(listener).unwrap()) => {}
                        _ = stopped => {}
                    }
                });
            })
        });
        Self { shared, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// Does something else with messages from now on.
    pub(crate) fn meddle(&self, meddling: Meddling) {
        *self.shared.meddling.lock().unwrap() = meddling;
    }

    /// All messages that came, before they were meddled with.
    pub(crate) fn heard(&self, toward: Toward) -> Vec<Value> {
        let heard = self.shared.heard.lock().unwrap();
        heard.iter().filter(|(to, _)| *to == toward).map(|(_, message)| message.clone()).collect()
    }

    /// The kinds of all messages that agents have sent.
    pub(crate) fn kinds_of_agents(&self) -> Vec<String> {
        let kind = |message: &Value| message["kind"].as_str().unwrap_or_default().to_owned();
        self.heard(Toward::Server).iter().map(kind).collect()
    }

    /// Says something to a connected node that nobody else said.
    pub(crate) fn say(&self, node: &str, message: Value) {
        self.shared.lines.lock().unwrap()[node].send(message).unwrap();
    }
}

impl Drop for Middleman {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // Whoever does not keep to the protocol is nobody we wait for.
        tokio::spawn(converse(Arc::clone(&shared), stream));
    }
}

async fn converse(shared: Arc<Shared>, stream: TcpStream) -> Option<()> {
    let mut agent = tokio_tungstenite::accept_async(stream).await.ok()?;
    let mut server = match shared.upstream {
        Some(port) => Some(call(port).await?),
        None => None,
    };
    let (line, mut said): (_, UnboundedReceiver<Value>) = unbounded_channel();
    loop {
        let (toward, message) = tokio::select! {
            message = hear(&mut agent) => (Toward::Server, message?),
            message = hear_server(&mut server) => (Toward::Agent, message?),
            message = said.recv() => {
                say(&mut agent, &message?).await?;
                continue;
            }
        };
        if let (Toward::Server, Some(node)) = (toward, message["node_id"].as_str()) {
            shared.lines.lock().unwrap().insert(node.to_owned(), line.clone());
        }
        shared.heard.lock().unwrap().push((toward, message.clone()));
        let instead = (shared.meddling.lock().unwrap())(toward, message);
        for (toward, message) in instead {
            match (toward, &mut server) {
                (Toward::Agent, _) => say(&mut agent, &message).await?,
                (Toward::Server, Some(server)) => say(server, &message).await?,
                (Toward::Server, None) => {}
            }
        }
    }
}

async fn call(port: u16) -> Option<Socket> {
    let stream = TcpStream::connect((SWITCH_ADDRESS, port)).await.ok()?;
    let request = format!("ws://{SWITCH_ADDRESS}:{port}{AGENT_PATH}").into_client_request().unwrap();
    Some(tokio_tungstenite::client_async(request, stream).await.ok()?.0)
}

async fn hear_server(server: &mut Option<Socket>) -> Option<Value> {
    match server {
        Some(server) => hear(server).await,
        None => std::future::pending().await,
    }
}

/// The next message; `None`: the conversation is over.
async fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(text.as_str()).ok(),
            Message::Binary(bytes) => {
                let text = zstd::bulk::decompress(&bytes, agent_wire::FRAME_BYTES_MAX).ok()?;
                return serde_json::from_slice(&text).ok();
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn say(socket: &mut Socket, message: &Value) -> Option<()> {
    let text = message.to_string();
    let frame = if text.len() < agent_wire::COMPRESS_FROM_BYTES {
        Message::Text(text.into())
    } else {
        Message::Binary(zstd::bulk::compress(text.as_bytes(), 3).unwrap().into())
    };
    socket.send(frame).await.ok()
}
