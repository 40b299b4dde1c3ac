//! The protocol on one WebSocket, from the agent's side.

use agent_wire::{
    AGENT_PATH, ActivationCode, Bytes32, Bytes64, FromServerHandshake, Hello, HostFacts, PROTOCOL_MAX, PROTOCOL_MIN,
    Purpose, Terms, ToServerHandshake, WIRE_BYTES_MAX, challenge_text, connect_text, register_proof_text,
    registered_text, welcome_text,
};
use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use identifiers::ActivationId;
use identity::SigningKey;
use packages::Distribution;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::stream::{self, Duplex, Endpoint};
use super::{Registration, source};

/// One connection, and the name of its TLS channel.
pub(super) struct Conversation {
    socket: WebSocketStream<Box<dyn Duplex>>,
    channel: Option<Bytes32>,
}

impl Conversation {
    async fn open(server: Endpoint, place: usize) -> anyhow::Result<Self> {
        let (stream, channel) = stream::open(server, Some(source(place))).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(1 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(WIRE_BYTES_MAX))
            .max_frame_size(Some(WIRE_BYTES_MAX));
        let request = format!("ws://{}{AGENT_PATH}", server.address);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { socket, channel })
    }

    pub(super) async fn send<T: Serialize>(&mut self, message: &T) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Text(agent_wire::write(message)?.into())).await?)
    }

    /// The next message.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        loop {
            match self.socket.next().await.context("the server has closed the connection")?? {
                Message::Text(text) => return Ok(agent_wire::read(&text)?),
                Message::Binary(bytes) => {
                    let plain = zstd::bulk::decompress(&bytes, agent_wire::FRAME_BYTES_MAX)?;
                    return Ok(serde_json::from_slice(&plain)?);
                }
                Message::Close(_) => bail!("the server has closed the connection"),
                _ => {}
            }
        }
    }
}

fn facts(place: usize) -> HostFacts {
    HostFacts {
        computer_name: format!("host-{place:05}"),
        ip_address: source(place).ip().to_string(),
        distribution: Distribution {
            id: "debian".to_owned(),
            name: "Debian GNU/Linux".to_owned(),
            version_id: "12".to_owned(),
            codename: "bookworm".to_owned(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        },
        kernel: "6.1.0-1-amd64".to_owned(),
        architecture: "amd64".to_owned(),
        boot_id: format!("boot-{place:05}"),
        agent_version: "0.1.0".to_owned(),
        privileged: true,
        agent_instance: String::new(),
        policy: String::new(),
    }
}

/// What the right server says to a Hello.
struct Challenged {
    nonce: Bytes32,
    server_nonce: Bytes32,
    server_key: Bytes32,
    epoch: i64,
    terms: Terms,
}

async fn challenge(conversation: &mut Conversation, purpose: Purpose) -> anyhow::Result<Challenged> {
    let hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: "0.1.0".to_owned(),
        capabilities: vec!["patch.apt".to_owned(), "run_shell_script".to_owned()],
        nonce: Bytes32(identity::random_bytes()?),
        trusted_keys: Vec::new(),
        purpose,
    };
    conversation.send(&ToServerHandshake::Hello(hello.clone())).await?;
    let FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, channel, signature } =
        answer(conversation).await?
    else {
        bail!("not a challenge");
    };
    ensure!(channel == conversation.channel, "somebody is in between: the channel does not end at the server");
    let terms = Terms { protocol, channel };
    let text = terms.bind(challenge_text(&hello, &nonce, epoch));
    let signed = identity::verify_ed25519(&identity_key.0, &text, &signature.0);
    ensure!(signed, "the challenge is not signed by the key it shows");
    Ok(Challenged { nonce: hello.nonce, server_nonce: nonce, server_key: identity_key, epoch, terms })
}

async fn answer(conversation: &mut Conversation) -> anyhow::Result<FromServerHandshake> {
    match conversation.hear().await? {
        FromServerHandshake::Refused(refusal) => bail!("refused: {}", refusal.message),
        answer => Ok(answer),
    }
}

/// Makes a node, as `careen-agent register` does.
pub(super) async fn register(
    server: Endpoint,
    place: usize,
    id: &ActivationId,
    code: &ActivationCode,
) -> anyhow::Result<Registration> {
    let mut conversation = Conversation::open(server, place).await?;
    let challenged = challenge(&mut conversation, Purpose::Register { activation_id: id.clone() }).await?;
    let Challenged { nonce, server_nonce, server_key, terms, .. } = challenged;
    let fingerprint = Bytes32(identity::sha256(&server_key.0));
    ensure!(fingerprint == code.identity_fingerprint, "the server is not the one that the code names");
    let key = SigningKey::generate()?;
    let node_key = Bytes32(key.public_key());
    let text = terms.bind(register_proof_text(id, &nonce, &server_nonce, &server_key, &node_key));
    let proof = Bytes32(identity::hmac_sha256(&identity::sha256(code.secret()), text.as_bytes()));
    let facts = facts(place);
    conversation.send(&ToServerHandshake::Register { node_key, facts, proof }).await?;
    let answer = answer(&mut conversation).await?;
    let FromServerHandshake::Registered { node_id, job_key, incarnation, region, signature, .. } = answer else {
        bail!("not an answer to a registration");
    };
    let text = registered_text(&nonce, &server_nonce, &node_key, &node_id, &job_key, incarnation, &region);
    let text = terms.bind(text);
    ensure!(identity::verify_ed25519(&server_key.0, &text, &signature.0), "the answer is not signed by the server");
    Ok(Registration { place, node_id, node_key: key, server_key })
}

/// Connects a node; also how often the server wants a heartbeat, in seconds.
pub(super) async fn connect(server: Endpoint, node: &Registration) -> anyhow::Result<(Conversation, u32)> {
    let mut conversation = Conversation::open(server, node.place).await?;
    let purpose = Purpose::Connect { node_id: node.node_id.clone() };
    let Challenged { nonce, server_nonce, server_key, epoch, terms } = challenge(&mut conversation, purpose).await?;
    ensure!(server_key == node.server_key, "the server is another one");
    let text = terms.bind(connect_text(&node.node_id, &nonce, &server_nonce, epoch, &server_key));
    let signature = Bytes64(node.node_key.sign(&text));
    conversation.send(&ToServerHandshake::Prove { signature, facts: facts(node.place) }).await?;
    let answer = answer(&mut conversation).await?;
    let FromServerHandshake::Welcome { epoch, heartbeat_seconds, now, inventory_digest, signature, .. } = answer else {
        bail!("not a welcome");
    };
    let digest = inventory_digest.as_deref();
    let text = welcome_text(&nonce, &server_nonce, &node.node_id, epoch, heartbeat_seconds, now, digest);
    let text = terms.bind(text);
    ensure!(identity::verify_ed25519(&server_key.0, &text, &signature.0), "the welcome is not signed by the server");
    Ok((conversation, heartbeat_seconds))
}
