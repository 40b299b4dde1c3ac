//! A server on a store of its own with a small fleet in it: what the tests look at, and what the example shows.

use std::{collections::BTreeMap, sync::Arc};

use changes::{Changes, Revision, Versioned};
use commands::{
    Command, Invocation, InvocationState, LiveOutput, OutputStream, RateLimit, StepOutcome, StepOutput, StepStatus,
};
use control::{Clock, Server, Settings};
use identifiers::{
    AccountId, ActivationId, BaselineId, CommandId, DocumentName, JobId, NodeId, Region, Scope, SeededIds, Timestamp,
};
use identity::MasterKey;
use nodes::{Hold, ManagedNode, NodeFacts, NodePublicKey, NodeState, Ping, PlatformType, TagResource};
use packages::{Distribution, InstallState, InstalledPackage, Inventory};
use patching::{
    ComplianceLevel, Coverage, PatchOperation, PatchReport, PatchRow, PatchState, PatchSummary, Reason, RebootOption,
};
use store::{InventoryApply, InventoryWrite, Store, Write};
use tempfile::TempDir;
use testkit::SimulatedClock;

/// Nodes of the fleet.
pub(crate) const WEB: &str = "mi-00000000000000001";
pub(crate) const DATABASE: &str = "mi-00000000000000002";
pub(crate) const LOST: &str = "mi-00000000000000003";
pub(crate) const SILENT: &str = "mi-00000000000000004";
pub(crate) const ALPINE: &str = "mi-00000000000000005";
pub(crate) const HOSTILE: &str = "mi-00000000000000006";

/// Commands.
pub(crate) const INSTALLED: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const SCANNED: &str = "22222222-2222-4222-8222-222222222222";
pub(crate) const RUNNING: &str = "33333333-3333-4333-8333-333333333333";
pub(crate) const SHELL: &str = "44444444-4444-4444-8444-444444444444";

/// What a text of somebody's must never become on a page.
pub(crate) const SCRIPT: &str = "<script>alert(1)</script>";

pub(crate) struct Furnished {
    pub(crate) server: Arc<Server>,
    pub(crate) clock: SimulatedClock,
    _folder: TempDir,
}

struct Hands(SimulatedClock);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

pub(crate) fn scope() -> Scope {
    Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() }
}

pub(crate) fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

impl Furnished {
    /// A server without nodes.
    pub(crate) async fn empty(now: Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(&folder.path().join("careen.db")).await.unwrap();
        let master = MasterKey::open_or_create(&folder.path().join("key")).unwrap();
        let (mut keys, _) = control::set_up(&store, &master, &scope(), None, now).await.unwrap();
        keys.passwords = keys.passwords.with_hasher(identity::PasswordHasher::cheap_for_tests());
        let clock = SimulatedClock::new(now);
        let settings =
            Settings { home: scope(), replica: "one".to_owned(), retention: control::reconcilers::Retention::FOREVER };
        let hands = Arc::new(Hands(clock.clone()));
        let server = Server::new(store, keys, settings, hands, Box::new(SeededIds::new(7)));
        Self { server, clock, _folder: folder }
    }

    /// A server with a fleet in which each kind of trouble occurs once.
    pub(crate) async fn new(now: Timestamp) -> Self {
        let furnished = Self::empty(now).await;
        furnished.nodes().await;
        furnished.commands().await;
        furnished.reports().await;
        furnished.packages().await;
        furnished
    }

    pub(crate) async fn apply(&self, writes: Vec<Write>) {
        let mut changes: Changes<Write> = Changes::new();
        changes.writes = writes;
        self.server.store.apply(&scope(), changes).await.unwrap();
    }

    fn ago(&self, seconds: i64) -> Timestamp {
        self.clock.now().plus_seconds(-seconds)
    }

    async fn nodes(&self) {
        let nodes = [
            node(WEB, "web-1.example.net", "debian", "Debian GNU/Linux", "12", self.ago(90 * DAY)),
            node(DATABASE, "db-1.example.net", "debian", "Debian GNU/Linux", "12", self.ago(90 * DAY)),
            node(LOST, "cache-1.example.net", "ubuntu", "Ubuntu", "22.04", self.ago(60 * DAY)),
            node(SILENT, "build-7.example.net", "debian", "Debian GNU/Linux", "13", self.ago(DAY)),
            node(ALPINE, "edge-3.example.net", "alpine", "Alpine Linux", "3.20.1", self.ago(5 * DAY)),
            node(HOSTILE, SCRIPT, "debian", "<b>Debian</b>", "\"12\"", self.ago(DAY)),
        ];
        let mut writes: Vec<Write> = Vec::new();
        for node in nodes {
            let resource = TagResource::node(&node.node_id);
            let group = if node.node_id.as_str() == HOSTILE { "\"><img src=x onerror=alert(1)>" } else { "production" };
            writes.push(nodes::Write::NodePut(Box::new(node)).into());
            let (key, value) = ("PatchGroup".to_owned(), group.to_owned());
            writes.push(nodes::Write::TagPut { resource, key, value }.into());
        }
        self.apply(writes).await;
        for (node, ago) in [(WEB, 5), (DATABASE, 12), (LOST, 3 * DAY), (SILENT, 20), (HOSTILE, 1)] {
            self.ping(node, self.ago(ago)).await;
        }
    }

    pub(crate) async fn ping(&self, node: &str, at: Timestamp) {
        let ping = Ping {
            node_id: id(node),
            last_ping_at: at,
            connected: true,
            epoch: 1,
            replica: "one".to_owned(),
            boot_id: "b".to_owned(),
            last_boot_at: Some(at.plus_seconds(-20 * DAY)),
        };
        self.server.store.pings_put(vec![(scope(), ping)]).await.unwrap();
    }

    async fn commands(&self) {
        let patching = |operation: &str| {
            BTreeMap::from([
                ("Operation".to_owned(), vec![operation.to_owned()]),
                ("RebootOption".to_owned(), vec!["NoReboot".to_owned()]),
            ])
        };
        let shell = BTreeMap::from([("commands".to_owned(), vec!["uptime".to_owned(), format!("echo '{SCRIPT}'")])]);
        self.command(INSTALLED, "AWS-RunPatchBaseline", patching("Install"), 2 * DAY, "Success", &[WEB]).await;
        self.command(SCANNED, "AWS-RunPatchBaseline", patching("Scan"), 3_600, "Success", &[WEB, DATABASE]).await;
        self.command(SHELL, "AWS-RunShellScript", shell, 1_800, "Failed", &[HOSTILE]).await;
        self.command(RUNNING, "AWS-RunPatchBaseline", patching("Scan"), 40, "InProgress", &[DATABASE]).await;
        let output = |command: &str, node: &str, step: &str, stdout: &str, stderr: &str| {
            let output = StepOutput {
                command_id: CommandId::parse(command).unwrap(),
                node_id: id(node),
                step: step.to_owned(),
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
                stdout_truncated: command == SHELL,
                stderr_truncated: false,
            };
            Write::from(commands::Write::StepOutputPut(Box::new(output)))
        };
        self.apply(vec![
            output(INSTALLED, WEB, "PatchLinux", INSTALL_OUTPUT, ""),
            output(SCANNED, WEB, "PatchLinux", "3 patches are missing, 1 of them held.\n", ""),
            output(
                SHELL,
                HOSTILE,
                "runShellScript",
                &format!("{SCRIPT}\n\u{1b}[31mred\n"),
                "sh: 1: </pre>: not found\n",
            ),
        ])
        .await;
    }

    /// One more piece of what the running command has written; the pieces are numbered.
    pub(crate) async fn live(&self, number: u64, text: &str) {
        let piece = LiveOutput {
            command_id: CommandId::parse(RUNNING).unwrap(),
            node_id: id(DATABASE),
            step: "PatchLinux".to_owned(),
            stream: OutputStream::Stdout,
            from: number * 1_000,
            until: number * 1_000 + text.len() as u64,
            text_from: number * 1_000,
            text: text.to_owned(),
        };
        self.apply(vec![commands::Write::LiveOutputAdd(vec![piece]).into()]).await;
    }

    async fn command(
        &self,
        command_id: &str,
        document: &str,
        parameters: BTreeMap<String, Vec<String>>,
        ago: i64,
        state: &str,
        on: &[&str],
    ) {
        let at = self.ago(ago);
        let ended = state != "InProgress";
        let command = command_row(command_id, document, parameters, at, state, on);
        let mut writes: Vec<Write> = vec![commands::Write::CommandPut(Box::new(command)).into()];
        let stored = if ended { state } else { "Running" };
        for (number, node) in on.iter().enumerate() {
            let step = StepOutcome {
                name: if document == "AWS-RunShellScript" { "runShellScript" } else { "PatchLinux" }.to_owned(),
                plugin: if document == "AWS-RunShellScript" { "aws:runShellScript" } else { "careen:patch" }.to_owned(),
                status: StepStatus::parse(state).unwrap(),
                response_code: match state {
                    "Success" => 0,
                    "Failed" => 127,
                    _ => commands::RESPONSE_CODE_UNKNOWN,
                },
                started_at: Some(at.plus_seconds(1)),
                finished_at: ended.then(|| at.plus_seconds(75)),
            };
            let invocation = Invocation {
                command_id: CommandId::parse(command_id).unwrap(),
                node_id: id(node),
                instance_name: String::new(),
                job_id: JobId::parse(&format!("{}{number}", &command_id[..35])).unwrap(),
                state: InvocationState::parse(stored).unwrap(),
                trace: if state == "Failed" { format!("step runShellScript failed {SCRIPT}") } else { String::new() },
                requested_at: at,
                sent_at: Some(at),
                started_at: Some(at.plus_seconds(1)),
                finished_at: ended.then(|| at.plus_seconds(75)),
                delivery_until: at.plus_seconds(3_600),
                expires_at: at.plus_seconds(7_200),
                steps: vec![step],
            };
            writes.push(commands::Write::InvocationPut(Box::new(invocation)).into());
        }
        self.apply(writes).await;
    }

    async fn reports(&self) {
        let hostile = row("<img src=x onerror=alert(1)>", "1\"><script>", Some("2&amp;"), PatchState::Failed, {
            Reason::InstallFailed { message: format!("dpkg: error {SCRIPT}\nexit 1") }
        });
        self.report(WEB, SCANNED, self.ago(3_600), web_rows()).await;
        let quiet = vec![
            row("libc6", "2.36-9+deb12u13", None, PatchState::Installed, covered()),
            row("postgresql-15", "15.14-0+deb12u1", None, PatchState::Installed, covered()),
        ];
        self.report(DATABASE, SCANNED, self.ago(3_600), quiet).await;
        let pending = row("linux-image-generic", "5.15.0.160.1", None, PatchState::InstalledPendingReboot, {
            Reason::PendingReboot
        });
        self.report(LOST, INSTALLED, self.ago(12 * DAY), vec![pending]).await;
        self.report(HOSTILE, SHELL, self.ago(1_800), vec![hostile]).await;
    }

    pub(crate) async fn report(&self, node: &str, command: &str, at: Timestamp, rows: Vec<PatchRow>) {
        let report = PatchReport { summary: summary(&rows, at), rows, notes: Vec::new() };
        let first = Versioned::new(Revision(0), None);
        let changes = patching::record_report(&id(node), &CommandId::parse(command).unwrap(), &first, &report);
        self.server.store.apply(&scope(), changes.map(Write::from)).await.unwrap();
    }

    async fn packages(&self) {
        let before = [("libssl3", "3.0.15-1~deb12u1"), ("curl", "7.88.1-10+deb12u8"), ("telnet", "0.17-1")];
        let after = [("libssl3", "3.0.17-1~deb12u3"), ("curl", "7.88.1-10+deb12u14"), ("ripgrep", "13.0.0-4")];
        self.inventory(WEB, 3 * DAY, None, &before).await;
        self.inventory(WEB, 2 * DAY - 60, Some(INSTALLED), &[after[0], after[1], before[2]]).await;
        self.inventory(WEB, DAY, None, &after).await;
        self.inventory(HOSTILE, DAY, None, &[("<b>one</b>", "1")]).await;
        self.inventory(HOSTILE, 600, None, &[("<b>one</b>", "<i>2</i>")]).await;
    }

    pub(crate) async fn inventory(&self, node: &str, ago: i64, command: Option<&str>, packages: &[(&str, &str)]) {
        let distribution =
            Distribution { id: "debian".to_owned(), version_id: "12".to_owned(), ..Distribution::default() };
        let packages = packages.iter().map(|(name, version)| installed(name, version)).collect();
        let inventory = Inventory::new(distribution.clone(), packages);
        self.apply(vec![
            InventoryWrite::Apply(Box::new(InventoryApply {
                node_id: id(node),
                at: self.ago(ago),
                command_id: command.map(|command| CommandId::parse(command).unwrap()),
                from_digest: None,
                to_digest: inventory.digest(),
                distribution,
                present: inventory.packages,
                absent: Vec::new(),
            }))
            .into(),
        ])
        .await;
    }

    /// The id of one of [`Furnished::many_nodes`].
    pub(crate) fn numbered(number: usize) -> String {
        format!("mi-1{number:016}")
    }

    /// More nodes, of which nothing is known.
    pub(crate) async fn many_nodes(&self, number: usize) {
        let one = |n: usize| {
            let node =
                node(&Self::numbered(n), &format!("more-{n}"), "debian", "Debian GNU/Linux", "12", self.ago(DAY));
            Write::from(nodes::Write::NodePut(Box::new(node)))
        };
        self.apply((0..number).map(one).collect()).await;
    }

    /// So many packages that came at once, after one that was there.
    pub(crate) async fn many_changes(&self, node: &str, number: usize) {
        self.inventory(node, DAY, None, &[]).await;
        let names: Vec<String> = (0..number).map(|n| format!("package-{n}")).collect();
        let packages: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1.0")).collect();
        self.inventory(node, 60, None, &packages).await;
    }

    /// So many scans of a node in the past.
    pub(crate) async fn many_commands(&self, node: &str, number: usize) {
        for n in 0..number {
            let command = format!("99999999-9999-4999-8999-{n:012}");
            let ago = 3 * DAY + i64::try_from(n).unwrap();
            self.command(&command, "AWS-RunPatchBaseline", BTreeMap::new(), ago, "Success", &[node]).await;
        }
    }

    /// A one-time link's token.
    pub(crate) async fn link(&self) -> String {
        self.server.sign_in_link().await.unwrap()
    }
}

pub(crate) const DAY: i64 = 86_400;

const INSTALL_OUTPUT: &str = "Refreshing the package lists\n2 approved patches are missing\nlibssl3 3.0.15-1~deb12u1 -> 3.0.17-1~deb12u3\ncurl 7.88.1-10+deb12u8 -> 7.88.1-10+deb12u14\nInstalled 2 packages; no reboot is needed\n";

fn node(node_id: &str, host: &str, distribution: &str, platform: &str, version: &str, at: Timestamp) -> ManagedNode {
    ManagedNode {
        node_id: id(node_id),
        activation_id: ActivationId::parse("6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab").unwrap(),
        iam_role: "fleet".to_owned(),
        name: String::new(),
        registered_at: at,
        public_key: NodePublicKey([7; 32]),
        facts: NodeFacts {
            platform_type: PlatformType::Linux,
            platform_name: platform.to_owned(),
            platform_version: version.to_owned(),
            computer_name: host.to_owned(),
            ip_address: "10.0.0.7".to_owned(),
            agent_version: "0.1.0".to_owned(),
            architecture: "amd64".to_owned(),
            distribution_id: distribution.to_owned(),
            distribution_version_id: version.to_owned(),
            distribution_codename: String::new(),
            policy: if node_id == WEB { "no scripts; no reboot".to_owned() } else { String::new() },
        },
        state: NodeState::Registered,
        deregistered_at: None,
        inventory_digest: Some("d".to_owned()),
        inventory_at: (node_id != ALPINE).then(|| at.plus_seconds(60)),
        held: (node_id == LOST).then(|| Hold { at, reason: "Two hosts, lately from 10.0.0.7.".to_owned() }),
    }
}

fn command_row(
    command_id: &str,
    document: &str,
    parameters: BTreeMap<String, Vec<String>>,
    at: Timestamp,
    state: &str,
    on: &[&str],
) -> Command {
    let number = u32::try_from(on.len()).unwrap();
    let ended = state != "InProgress";
    Command {
        command_id: CommandId::parse(command_id).unwrap(),
        document_name: DocumentName::parse(document).unwrap(),
        document_version: String::new(),
        document_version_resolved: "1".to_owned(),
        comment: String::new(),
        parameters,
        instance_ids: on.iter().map(|node| id(node)).collect(),
        targets: Vec::new(),
        delivery_timeout_seconds: 3_600,
        execution_timeout_seconds: 3_600,
        requested_at: at,
        delivery_until: at.plus_seconds(3_600),
        expires_at: at.plus_seconds(7_200),
        max_concurrency: RateLimit::CONCURRENCY_DEFAULT,
        max_errors: RateLimit::ERRORS_DEFAULT,
        state: commands::CommandState::parse(state).unwrap(),
        target_count: number,
        completed_count: if ended { number } else { 0 },
        error_count: u32::from(state == "Failed"),
        delivery_timed_out_count: 0,
        cancel_requested_at: None,
        finished_at: ended.then(|| at.plus_seconds(75)),
        requested_by: "key/AKIA0123456789ABCDEF".to_owned(),
        request_id: "55555555-5555-4555-8555-555555555555".to_owned(),
    }
}

fn installed(name: &str, version: &str) -> InstalledPackage {
    InstalledPackage {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: version.to_owned(),
        source: name.to_owned(),
        source_version: version.to_owned(),
        section: String::new(),
        priority: String::new(),
        state: InstallState::Installed,
        held: false,
    }
}

fn covered() -> Reason {
    Reason::UpToDate { coverage: Coverage::ApprovedByRule { rule: 0 } }
}

fn web_rows() -> Vec<PatchRow> {
    let other = || Reason::UpToDate { coverage: Coverage::NotFromSecurityArchive };
    let mut rows = vec![
        row("openssh-server", "1:9.2p1-2+deb12u3", Some("1:9.2p1-2+deb12u7"), PatchState::Missing, {
            Reason::ApprovedByRule { rule: 0 }
        }),
        row("libxml2", "2.9.14+dfsg-1.3~deb12u1", Some("2.9.14+dfsg-1.3~deb12u4"), PatchState::Missing, {
            Reason::ApprovedByRule { rule: 0 }
        }),
        row("nginx", "1.22.1-9+deb12u1", Some("1.22.1-9+deb12u3"), PatchState::Missing, Reason::Held),
        row("linux-image-6.1.0-40-amd64", "6.1.153-1", None, PatchState::InstalledPendingReboot, Reason::PendingReboot),
        row("vim-common", "2:9.0.1378-2", Some("2:9.0.1378-2+deb12u2"), PatchState::InstalledOther, {
            Reason::NotFromSecurityArchive
        }),
        row("libssl3", "3.0.17-1~deb12u3", None, PatchState::Installed, covered()),
    ];
    rows.extend(
        (0..320).map(|n| row(&format!("lib-quiet-{n:03}"), "1.0-1", None, PatchState::InstalledOther, other())),
    );
    rows
}

pub(crate) fn row(name: &str, installed: &str, offered: Option<&str>, state: PatchState, reason: Reason) -> PatchRow {
    PatchRow {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: offered.unwrap_or(installed).to_owned(),
        classification: if state == PatchState::InstalledOther { "" } else { "Security" }.to_owned(),
        severity: String::new(),
        state,
        installed_at: Timestamp::EPOCH,
        compliance_level: match state {
            PatchState::Missing => ComplianceLevel::High,
            _ => ComplianceLevel::Unspecified,
        },
        reason,
        installed_version: installed.to_owned(),
        available_version: offered.map(str::to_owned),
    }
}

fn summary(rows: &[PatchRow], at: Timestamp) -> PatchSummary {
    let count = |state: PatchState| u32::try_from(rows.iter().filter(|row| row.state == state).count()).unwrap();
    let security = rows.iter().filter(|row| row.state.is_non_compliant() && row.classification == "Security").count();
    PatchSummary {
        notes: Vec::new(),
        operation: PatchOperation::Scan,
        baseline_id: BaselineId::parse("pb-09a5f8eb62bde80b1").unwrap(),
        patch_group: "production".to_owned(),
        snapshot_id: String::new(),
        reboot_option: RebootOption::NoReboot,
        started_at: at.plus_seconds(-4),
        ended_at: at,
        last_no_reboot_install_at: None,
        installed_count: count(PatchState::Installed),
        installed_other_count: count(PatchState::InstalledOther),
        installed_pending_reboot_count: count(PatchState::InstalledPendingReboot),
        installed_rejected_count: count(PatchState::InstalledRejected),
        missing_count: count(PatchState::Missing),
        failed_count: count(PatchState::Failed),
        critical_non_compliant_count: 0,
        security_non_compliant_count: u32::try_from(security).unwrap(),
        other_non_compliant_count: 0,
    }
}
