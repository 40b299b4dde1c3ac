//! Nodes whose key two hosts hold: nobody may connect as them until somebody has looked.

use std::sync::Arc;

use access::{Action, Decision, Principal, Resource};
use changes::{Changes, Versioned};
use identifiers::{NodeId, Scope};
use store::{ApplyError, Write};

use crate::{Error, Server, commit::ATTEMPTS_MAX};

impl Server {
    /// Holds a node: its connections end on every replica.
    pub(super) async fn hold_node(self: &Arc<Self>, scope: &Scope, node: &NodeId, reason: &str) -> Result<(), Error> {
        tracing::error!(%node, "the node is held: {reason}");
        let context = self.context(scope.clone(), Principal::System, String::new());
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.node_get(scope, node).await?;
            let Some(row) = found.row else { return Ok(()) };
            let held = nodes::hold_node(&Versioned::new(found.revision, row), reason, context.now);
            if held.is_empty() {
                return Ok(());
            }
            let mut changes: Changes<Write> = held.map(Write::from);
            let arn = scope.ssm_arn(&format!("managed-instance/{node}"));
            let after = serde_json::json!({ "held": reason });
            changes.audit.push(context.audit("careen:HoldNode", arn, &serde_json::Value::Null, &after));
            match self.store.apply(scope, changes).await {
                Ok(_) => {
                    self.sessions.end(node);
                    return Ok(());
                }
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }

    /// Lets a held node connect again, for whoever administers this server.
    ///
    /// # Errors
    /// When there is no such node, or it is not held.
    pub async fn release_node(self: &Arc<Self>, given: &str) -> Result<(), Error> {
        let unknown = || Error::validation(format!("There is no node {}.", given.chars().take(64).collect::<String>()));
        let node = NodeId::parse(given).map_err(|_| unknown())?;
        let scope = self.store.node_scope_get(&node).await?.ok_or_else(unknown)?;
        let context = self.context(scope.clone(), Principal::System, String::new());
        let action = "careen:ReleaseNode";
        let arn = scope.ssm_arn(&format!("managed-instance/{node}"));
        let resource = Resource::new(&arn);
        if let Decision::Deny(reason) = access::authorise(&context.principal, &Action::new(action), &[resource], &scope)
        {
            return Err(Error::new("AccessDeniedException", reason.to_string()));
        }
        crate::commit::commit(&context, || async {
            let found = self.store.node_get(&scope, &node).await?;
            let row = found.row.ok_or_else(unknown)?;
            let before = serde_json::json!({ "held": row.held.as_ref().map(|held| &held.reason) });
            let released = nodes::release_node(&Versioned::new(found.revision, row), context.now)?;
            let mut changes: Changes<Write> = released.map(Write::from);
            changes.audit.push(context.audit(action, arn.clone(), &before, &serde_json::Value::Null));
            Ok((changes, ()))
        })
        .await
    }
}
