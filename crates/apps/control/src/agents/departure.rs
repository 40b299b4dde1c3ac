//! What becomes of the commands of a node that was sent away: nobody will ever tell how they went.

use std::{collections::BTreeSet, sync::Arc};

use changes::Changes;
use commands::{InvocationEvent, Report};
use identifiers::{NodeId, Scope};
use nodes::NodeState;
use store::{ApplyError, Write};

use crate::{Error, Server, commit::ATTEMPTS_MAX, snapshot::WHOLE_MAX};

impl Server {
    /// Ends what is unfinished on a node that was deregistered.
    pub(crate) async fn end_commands_of(self: &Arc<Self>, scope: &Scope, node: &NodeId) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let open = self.store.invocation_list_open(scope, Some(vec![node.clone()]), None, WHOLE_MAX).await?;
            let mut met_others = false;
            for invocation in open {
                let report = Report::of(InvocationEvent::NodeGone);
                let decided = commands::apply_report(&invocation, &report, self.now());
                let changes: Changes<Write> = decided.map_err(Error::internal)?.map(Write::from);
                match self.apply(scope, changes).await {
                    Ok(_) => {}
                    Err(ApplyError::Conflict { .. }) => met_others = true,
                    Err(error) => return Err(error.into()),
                }
            }
            if !met_others {
                // Others of the commands may have become due, or they are over.
                self.wake();
                return Ok(());
            }
        }
        Err(Error::contended())
    }

    /// The same for every node that was deregistered, should its commands have been left open (a server that died
    /// between the two).
    pub(crate) async fn end_commands_of_departed(self: &Arc<Self>, scope: &Scope) -> Result<(), Error> {
        let open = self.store.invocation_list_open(scope, None, None, WHOLE_MAX).await?;
        let silent: BTreeSet<NodeId> = open.into_iter().map(|invocation| invocation.row.node_id).collect();
        for node in silent.into_iter().filter(|node| !self.sessions.is_connected(node)) {
            let known = self.store.node_get(scope, &node).await?.row;
            if known.is_none_or(|row| row.state != NodeState::Registered) {
                self.end_commands_of(scope, &node).await?;
            }
        }
        Ok(())
    }
}
