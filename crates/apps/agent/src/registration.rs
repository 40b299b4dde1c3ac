use crate::connection::Connection;
use crate::handshake::{Ground, challenge, unexpected};
use crate::identity::{DirectoryLock, Identity};
use crate::keys::{self, NodeKey};
use crate::reach::Reach;
use crate::trust::{self, Announced};
use crate::{AgentError, ServerAddress, patching_host, tls};
use agent_wire::{ActivationCode, FromServerHandshake, Purpose, ToServerHandshake};
use identifiers::{ActivationId, NodeId};
use std::path::PathBuf;

/// What a registration needs.
#[derive(Debug, Clone)]
pub struct RegisterOptions {
    /// The server's addresses; they are tried in turn.
    pub servers: Vec<ServerAddress>,
    /// How they are reached.
    pub reach: Reach,
    /// The activation.
    pub activation_id: ActivationId,
    /// Its code, which also says who the server is.
    pub activation_code: ActivationCode,
    /// Where the identity will be.
    pub data_directory: PathBuf,
    /// Whether a registration that is there already is replaced.
    pub force: bool,
}

/// Makes this host a managed node; returns its id. Must be called on a tokio runtime with I/O and time.
///
/// The code itself never leaves the host. The identity is written when everything is certain and not before: a
/// registration that breaks off leaves nothing behind.
///
/// # Errors
/// When there is a registration already, the server cannot be reached, is not the one that the code names, or refuses.
pub async fn register(options: &RegisterOptions) -> Result<NodeId, AgentError> {
    let directory = &options.data_directory;
    let _lock = DirectoryLock::take(directory)?;
    if Identity::path(directory).exists() && !options.force {
        let node = Identity::load(directory).map_or("an unreadable identity".to_owned(), |old| old.node_id.to_string());
        return Err(AgentError::Registered { path: directory.clone(), node });
    }
    if let Some(path) = &options.reach.ca_file {
        tls::check_authorities(path)?;
    }
    let identity = with_any(options).await?;
    identity.save(directory)?;
    Ok(identity.node_id)
}

/// Registers with the first server that can be reached. An answer ends it: another server would say the same.
async fn with_any(options: &RegisterOptions) -> Result<Identity, AgentError> {
    let mut last = AgentError::system("registering", "no server was named");
    for server in &options.servers {
        let reach = options.reach.over_environment(server, |name| std::env::var(name).ok());
        let reach = reach.map_err(|e| AgentError::system("reading the environment", e))?;
        let opened = Connection::open(server, &reach).await;
        match opened {
            Err(error @ AgentError::Unreachable { .. }) => last = error,
            Err(error) => return Err(error),
            Ok(mut connection) => {
                let identity = negotiate(&mut connection, options, server, &reach).await?;
                connection.close().await;
                return Ok(identity);
            }
        }
    }
    Err(last)
}

async fn negotiate(
    connection: &mut Connection,
    options: &RegisterOptions,
    server: &ServerAddress,
    reach: &Reach,
) -> Result<Identity, AgentError> {
    let code = &options.activation_code;
    let purpose = Purpose::Register { activation_id: options.activation_id.clone() };
    let known = |key: &_| keys::fingerprint(key) == code.identity_fingerprint;
    let ground = Ground { reach, times: &[execution::now()] };
    let challenge = challenge(connection, &ground, purpose, Vec::new(), known).await?;
    let key = NodeKey::make()?;
    let node_key = key.public()?;
    let text = agent_wire::register_proof_text(
        &options.activation_id,
        &challenge.agent_nonce,
        &challenge.server_nonce,
        &challenge.identity_key,
        &node_key,
    );
    let facts = patching_host::facts(&options.data_directory, server);
    let proof = keys::proof(code, &challenge.terms.bind(text))?;
    connection.send(&ToServerHandshake::Register { node_key, facts, proof }).await?;
    match connection.answer().await? {
        FromServerHandshake::Registered { node_id, job_key, incarnation, region, trust, signature } => {
            let text = agent_wire::registered_text(
                &challenge.agent_nonce,
                &challenge.server_nonce,
                &node_key,
                &node_id,
                &job_key,
                incarnation,
                &region,
            );
            if !keys::holds(&challenge.identity_key, &challenge.terms.bind(text), &signature) {
                let reason = "its answer to the registration is not signed by the server".to_owned();
                return Err(AgentError::Impostor { reason, server: connection.server().to_owned() });
            }
            let mut identity = Identity {
                server: server.to_string(),
                other_servers: options
                    .servers
                    .iter()
                    .filter(|other| *other != server)
                    .map(ToString::to_string)
                    .collect(),
                reach: reach.clone(),
                node_id,
                region,
                identity_key: challenge.identity_key,
                job_key,
                incarnation,
                registered_at: execution::now(),
                trust: None,
                trust_told: None,
                node_key: key,
                node_key_at: None,
                next_node_key: None,
            };
            if let Some(signed) = trust {
                match trust::judge(&signed, &identity).map_err(AgentError::Protocol)? {
                    Announced::News(announced) => identity.believe(announced),
                    Announced::Known => {}
                }
            }
            Ok(identity)
        }
        other => Err(unexpected(other)),
    }
}
