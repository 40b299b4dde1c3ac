//! `careen-agent doctor`: looks at every prerequisite of a node, in the order in which they build on each other. It works
//! while the agent is down, and changes nothing. What each finding means is decided in `diagnosis`.

use crate::connection::Connection;
use crate::handshake::{self, Ground};
use crate::policy::{self, InForce};
use crate::reach::Reach;
use crate::{AgentError, Connectedness, Identity, ServerAddress, read_status};
use agent_wire::{Purpose, RefusalCode};
use diagnosis::{Judgement, Registration, Step};
use host::machine;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The memory that a scan may take, in bytes.
const MEMORY_WANTED_BYTES: u64 = 64 << 20;
/// A clock before this instant is wrong: 2026-11-01, in seconds since 1970.
const BUILT_AT_SECONDS: i64 = 1_793_491_200;

/// Everything, judged.
pub(crate) fn judgements(data_directory: &Path) -> Vec<Judgement> {
    let user = rustix::process::geteuid().as_raw();
    let room = machine::capacity(data_directory);
    let durable = machine::durability(data_directory);
    let durable = durable.as_ref().map(|tried| tried.as_ref().copied().map_err(String::as_str));
    let mut all = vec![
        diagnosis::privileges(user),
        diagnosis::folder(&data_directory.display().to_string(), &machine::folder(data_directory), user),
        diagnosis::capacity(room.as_ref().copied().map_err(String::as_str)),
        diagnosis::durability(durable),
    ];
    all.extend(diagnosis::machine(&machine::machine(), MEMORY_WANTED_BYTES));
    let identity = Identity::load(data_directory);
    all.push(diagnosis::registration(&match &identity {
        Ok(identity) => {
            Registration::Registered { node: identity.node_id.to_string(), server: identity.server.clone() }
        }
        Err(AgentError::NotRegistered(_)) => Registration::None,
        Err(error) => Registration::Unusable(error.to_string()),
    }));
    let policy = policy::in_force(data_directory);
    all.push(match &policy {
        InForce::Nothing => diagnosis::policy(None),
        InForce::File(path, _) => diagnosis::policy(Some((&path.display().to_string(), Ok(())))),
        InForce::Broken(path, reason) => diagnosis::policy(Some((&path.display().to_string(), Err(reason)))),
    });
    if let Ok(identity) = &identity {
        all.extend(of_server(identity));
        all.extend(of_agent(data_directory));
    }
    all.push(diagnosis::dpkg(&machine::packages()));
    all.push(diagnosis::lists(machine::lists_age_seconds()));
    all.push(diagnosis::locks(&machine::lock_holders()));
    all
}

/// The way to each address that the server has.
fn of_server(identity: &Identity) -> Vec<Judgement> {
    let addresses = std::iter::once(&identity.server).chain(&identity.other_servers);
    let judge = |text: &String| {
        let step = |step, reason: String| Err((step, reason));
        let Ok(address) = ServerAddress::parse(text) else {
            return diagnosis::way(text, None, Err((Step::Resolve, "it is no address of a server")));
        };
        let reach = match identity.reach.over_environment(&address, |name| std::env::var(name).ok()) {
            Ok(reach) => reach,
            Err(reason) => return diagnosis::way(text, None, Err((Step::Connect, &reason))),
        };
        let proxy = reach.proxy_for(&address).map(|proxy| proxy.address().authority());
        let end = match connected(reach.proxy_for(&address).map_or(&address, |proxy| proxy.address())) {
            Ok(()) => asked(identity, &address, &reach),
            Err((at, reason)) => step(at, reason),
        };
        let end = end.as_ref().copied().map_err(|(step, reason)| (step.clone(), reason.as_str()));
        diagnosis::way(text, proxy.as_deref(), end)
    };
    addresses.map(judge).collect()
}

fn connected(address: &ServerAddress) -> Result<(), (Step, String)> {
    let found = address.host_and_port().to_socket_addrs().map_err(|error| (Step::Resolve, error.to_string()))?;
    let mut last = (Step::Resolve, "it has no address".to_owned());
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(_) => return Ok(()),
            Err(error) => last = (Step::Connect, format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// Shakes hands as far as it takes to know who answers. Nothing is proved to the server, so that it takes this for no
/// connection of the node.
fn asked(identity: &Identity, address: &ServerAddress, reach: &Reach) -> Result<(), (Step, String)> {
    let converse = |error: &dyn std::fmt::Display| (Step::Converse, error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let times = [execution::now()];
    runtime.map_err(|error| converse(&error))?.block_on(async {
        let mut connection = Connection::open(address, reach).await.map_err(|error| converse(&error))?;
        let ground = Ground { reach, times: &times };
        let purpose = Purpose::Connect { node_id: identity.node_id.clone() };
        let trusted = vec![identity.identity_key];
        let shown =
            handshake::challenge(&mut connection, &ground, purpose, trusted, |key| *key == identity.identity_key);
        match shown.await {
            Ok(_) => {
                connection.close().await;
                Ok(())
            }
            Err(AgentError::Impostor { reason, .. }) => Err((Step::Identify, reason)),
            Err(AgentError::Refused { code: RefusalCode::Identity, .. }) => {
                Err((Step::Identify, "it has none of the identity keys that this node believes".to_owned()))
            }
            Err(error) => Err(converse(&error)),
        }
    })
}

/// The agent itself, if it runs.
fn of_agent(data_directory: &Path) -> Vec<Judgement> {
    let status = read_status(data_directory).ok().flatten();
    let found = status.as_ref().map(|status| {
        let connected = matches!(status.connection, Connectedness::Connected { .. });
        (connected, status.last_error.as_ref().map(|(_, error)| error.as_str()))
    });
    let ahead = status.as_ref().map(|status| status.clock_offset_seconds);
    let now = execution::now().as_seconds();
    vec![
        diagnosis::connection(found),
        diagnosis::unit(status.and_then(|status| machine::unit(status.pid)).as_ref()),
        diagnosis::clock(now, BUILT_AT_SECONDS, "the server's clock", ahead),
    ]
}
