//! What goes to agents: invocations as signed orders. An order may be sent more than once; an agent runs each job once.

use std::sync::Arc;

use access::Principal;
use agent_wire::{FromServer, Job, Order, OrderBody, PatchStep, SignedOrder, Step, StepAction, order_text};
use changes::{Changes, Versioned};
use commands::{
    AgentRefusal, Command, Disposition, Invocation, InvocationEvent, Platform, Report, ResolvedStep, built_in_document,
    check_parameters,
};
use identifiers::{NodeId, RequestId, Scope};
use nodes::{ManagedNode, patch_group_of};
use packages::{Distribution, OperatingSystem};
use patching::{PatchOperation, RebootOption};
use store::Write;

use super::AgentSession;
use crate::{Context, Error, Server, snapshot};

/// How long a cancel order is good for, in seconds; it is sent again as long as it is needed.
const CANCEL_SECONDS: i64 = 300;

impl Server {
    /// Sends again what waits for a node that has just connected.
    pub(super) async fn redeliver_to(self: &Arc<Self>, session: &AgentSession) {
        let nodes = Some(vec![session.node_id.clone()]);
        let open = self.store.invocation_list_open(&session.scope, nodes, None, snapshot::WHOLE_MAX).await;
        let open = match open {
            Ok(open) => open,
            Err(error) => {
                return tracing::error!(node = %session.node_id, "what waits for it could not be read: {error}");
            }
        };
        for invocation in open {
            self.deliver(&session.scope, &invocation.row).await;
        }
    }

    /// Sends an invocation's order, or its cancel order, if its state calls for one, its node is connected here, and
    /// it was not said over this connection a moment ago. After its time nothing is begun, so no order to run is sent: a
    /// node that has it already would only have to refuse it.
    pub(crate) async fn deliver(self: &Arc<Self>, scope: &Scope, invocation: &Invocation) -> bool {
        let run = invocation.is_to_be_sent() && self.now() < invocation.delivery_until;
        let cancel = invocation.is_cancel_to_be_sent();
        let what = format!("{} {}", if run { "run" } else { "cancel" }, invocation.job_id);
        if !(run || cancel) || !self.sessions.is_due(&invocation.node_id, &what, self.now()) {
            return false;
        }
        let order = match run {
            true => self.run_order(scope, invocation).await,
            false => self.cancel_order(scope, invocation).await,
        };
        match order {
            Ok(order) => self.sessions.send(&invocation.node_id, FromServer::Order(order), what, self.now()),
            Err(NoOrder::Never(reason)) => {
                tracing::error!(node = %invocation.node_id, command = %invocation.command_id, "no order can be made: {reason}");
                self.give_up(scope, invocation, &reason).await;
                false
            }
            Err(NoOrder::NotNow(error)) => {
                let detail = error.detail.as_deref().unwrap_or(&error.message);
                tracing::warn!(node = %invocation.node_id, command = %invocation.command_id, "no order could be made now: {detail}");
                false
            }
        }
    }

    /// Ends an invocation for which no order can be made: it would not get better by waiting.
    async fn give_up(self: &Arc<Self>, scope: &Scope, invocation: &Invocation, detail: &str) {
        let given_up = async {
            let found = self.store.invocation_get(scope, &invocation.command_id, &invocation.node_id).await?;
            let Some(row) = found.row else { return Ok(()) };
            let event = InvocationEvent::AgentRefused(AgentRefusal::Unreadable);
            let report = Report::because(event, format!("No order could be made of it: {detail}"));
            let decided = commands::apply_report(&Versioned::new(found.revision, row), &report, self.now());
            let changes: Changes<Write> = decided.map_err(Error::internal)?.map(Write::from);
            self.store.apply(scope, changes).await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = given_up.await {
            tracing::error!(command = %invocation.command_id, "{}", error.detail.unwrap_or(error.message));
        }
    }

    async fn run_order(self: &Arc<Self>, scope: &Scope, invocation: &Invocation) -> Result<SignedOrder, NoOrder> {
        let context = self.context(scope.clone(), Principal::System, String::new());
        let command = snapshot::command(&context, &invocation.command_id).await?.row;
        let document = built_in_document(command.document_name.as_str())
            .ok_or_else(|| NoOrder::Never(format!("no document {}", command.document_name)))?;
        let values =
            check_parameters(document, &command.parameters).map_err(|refused| NoOrder::Never(refused.to_string()))?;
        let node = snapshot::node(&context, invocation.node_id.as_str()).await?.row;
        let mut steps = Vec::new();
        for resolved in commands::resolve_steps(document, &values, Platform::Linux) {
            steps.push(step(&context, &node, resolved).await?);
        }
        let job = Job {
            job_id: invocation.job_id.clone(),
            command_id: command.command_id.clone(),
            document_name: command.document_name.to_string(),
            steps,
        };
        Ok(self.signed(&context, &invocation.node_id, &command, invocation.delivery_until, OrderBody::Run(job))?)
    }

    async fn cancel_order(self: &Arc<Self>, scope: &Scope, invocation: &Invocation) -> Result<SignedOrder, NoOrder> {
        let context = self.context(scope.clone(), Principal::System, String::new());
        let command = snapshot::command(&context, &invocation.command_id).await?.row;
        let until = context.now.plus_seconds(CANCEL_SECONDS);
        let body = OrderBody::Cancel { job_id: invocation.job_id.clone() };
        Ok(self.signed(&context, &invocation.node_id, &command, until, body)?)
    }

    fn signed(
        &self,
        context: &Context,
        node_id: &NodeId,
        command: &Command,
        expires_at: identifiers::Timestamp,
        body: OrderBody,
    ) -> Result<SignedOrder, Error> {
        let order = Order {
            node_id: node_id.clone(),
            incarnation: self.keys.incarnation,
            issued_at: context.now,
            expires_at,
            request_id: RequestId::parse(&command.request_id).unwrap_or_else(|_| context.request_id.clone()),
            body,
        };
        let payload = serde_json::to_string(&order)?;
        let signature = agent_wire::Bytes64(self.keys.job.sign(&order_text(&payload)));
        Ok(SignedOrder { payload, signature })
    }
}

/// Why there is no order.
enum NoOrder {
    /// It would not get better by waiting.
    Never(String),
    /// What it is made of could not be read; the next turn tries again.
    NotNow(Error),
}

impl<E: Into<Error>> From<E> for NoOrder {
    fn from(error: E) -> Self {
        Self::NotNow(error.into())
    }
}

async fn step(context: &Context, node: &ManagedNode, resolved: ResolvedStep) -> Result<Step, NoOrder> {
    let action = match resolved.disposition {
        Disposition::Skip { reason } => StepAction::Skip { reason },
        Disposition::Fail { reason } => return Err(NoOrder::Never(reason)),
        Disposition::Run => match resolved.plugin.as_str() {
            "aws:runShellScript" => shell(&resolved.inputs),
            "careen:patch" => StepAction::Patch(Box::new(patch(context, node, &resolved.inputs).await?)),
            other => return Err(NoOrder::Never(format!("no plugin {other}"))),
        },
    };
    Ok(Step {
        name: resolved.name,
        plugin: resolved.plugin,
        timeout_seconds: u32::try_from(resolved.timeout_seconds).unwrap_or(u32::MAX),
        action,
    })
}

fn text(inputs: &serde_json::Value, name: &str) -> String {
    inputs.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn shell(inputs: &serde_json::Value) -> StepAction {
    let lines = match inputs.get("runCommand") {
        Some(serde_json::Value::Array(lines)) => {
            lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
        }
        Some(serde_json::Value::String(line)) => vec![line.clone()],
        _ => Vec::new(),
    };
    StepAction::RunShellScript { lines, working_directory: text(inputs, "workingDirectory") }
}

/// The patch step with the baseline that governs the node at this moment.
async fn patch(context: &Context, node: &ManagedNode, inputs: &serde_json::Value) -> Result<PatchStep, NoOrder> {
    let unknown = |what: &str| NoOrder::Never(format!("the patch step's {what} cannot be read"));
    let tags = context.server.store.tags_get(&context.scope, &nodes::TagResource::node(&node.node_id)).await?.row;
    let patch_group = patch_group_of(&tags);
    let operating_system = operating_system(node).ok_or_else(|| unknown("operating system"))?;
    let effective = snapshot::effective_baseline(context, patch_group.as_ref(), operating_system).await?;
    Ok(PatchStep {
        operation: PatchOperation::parse(&text(inputs, "operation")).ok_or_else(|| unknown("operation"))?,
        reboot_option: RebootOption::parse(&text(inputs, "rebootOption")).ok_or_else(|| unknown("reboot option"))?,
        baseline: effective.baseline,
        patch_group: patch_group.map(|group| group.to_string()).unwrap_or_default(),
        snapshot_id: text(inputs, "snapshotId"),
    })
}

/// The operating system that a node's baseline is chosen by. One without a name in SSM counts as Debian: the node itself
/// then says what it cannot do.
pub(crate) fn operating_system(node: &ManagedNode) -> Option<OperatingSystem> {
    let distribution = Distribution {
        id: node.facts.distribution_id.clone(),
        version_id: node.facts.distribution_version_id.clone(),
        ..Distribution::default()
    };
    OperatingSystem::of(&distribution).or(Some(OperatingSystem::Debian))
}
