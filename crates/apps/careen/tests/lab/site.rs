//! A server on the lab's switch, hosts with the agent as a service, and the AWS CLI.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{
    Finished, Host, HostOptions, HostPackages, Lab, SWITCH_ADDRESS, ServiceSpec, SmallRepository, SwitchProcess,
    TestDatabase, binary, in_continuous_integration, run_bounded, run_bounded_with_input, wait_for, wait_until,
};

/// How long anything may take that is no installation of many packages.
pub(crate) const BOUND: Duration = Duration::from_secs(90);
/// How long an installation of real packages may take on a busy machine.
pub(crate) const LONG_BOUND: Duration = Duration::from_secs(400);
/// Between two questions of the AWS CLI, which costs half a second of a core each.
const QUESTION_PAUSE: Duration = Duration::from_millis(250);

/// Where agents call.
pub(crate) const PORT: u16 = 8470;
/// Where the server listens while someone else has [`PORT`].
pub(crate) const HIDDEN_PORT: u16 = 8471;

/// The agent's program in a host.
pub(crate) const AGENT: &str = "/usr/local/bin/careen-agent";
/// The agent's folder in a host, where it runs as root.
pub(crate) const AGENT_DATA: &str = "/var/lib/careen-agent";
/// The agent's service in a host.
pub(crate) const SERVICE: &str = "agent";

/// A lab with a server. Dropping it ends everything.
pub(crate) struct Site {
    server: RefCell<Option<SwitchProcess>>,
    port: Cell<u16>,
    aws: PathBuf,
    data: PathBuf,
    /// Dropped after the server.
    database: Option<TestDatabase>,
    hosts: RefCell<Vec<Host>>,
    pub(crate) lab: Lab,
}

/// What a registration needs.
pub(crate) struct Activation {
    pub(crate) id: String,
    pub(crate) code: String,
}

/// A command that was sent.
pub(crate) struct Sent {
    pub(crate) id: String,
    /// Which step's result is asked for; `None`: the only one.
    step: Option<&'static str>,
}

/// A host that is a managed node, its agent running as a service.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) id: String,
}

impl Site {
    /// A site whose server runs; nothing where the tests cannot run, which is then said loudly.
    pub(crate) fn for_test() -> Option<Self> {
        let site = Self::without_server()?;
        site.start_server(PORT);
        Some(site)
    }

    /// The same over a PostgreSQL database.
    pub(crate) fn for_test_on_postgres() -> Option<Self> {
        let mut site = Self::without_server()?;
        site.database = Some(TestDatabase::postgres(None).unwrap());
        site.start_server(PORT);
        Some(site)
    }

    /// A site whose server has not been started.
    pub(crate) fn without_server() -> Option<Self> {
        let lab = Lab::for_test().unwrap()?;
        let aws = aws_program()?;
        let data = lab.folder().join("server");
        Some(Self {
            server: RefCell::default(),
            port: Cell::new(PORT),
            aws,
            data,
            database: None,
            hosts: RefCell::default(),
            lab,
        })
    }

    /// Starts the server on its data, at the switch's address, and waits until it is ready.
    pub(crate) fn start_server(&self, port: u16) {
        self.port.set(port);
        let mut command = self.lab.switch_command(env!("CARGO_BIN_EXE_careen"));
        command.arg("server").arg("--data").arg(&self.data).arg("--allow-plaintext");
        command.arg("--listen").arg(format!("{SWITCH_ADDRESS}:{port}")).env_remove("RUST_LOG");
        if let Some(database) = &self.database {
            command.arg("--database").arg(database.url());
        }
        // Nothing of this machine's own settings.
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.to_str().is_some_and(|name| name.starts_with("CAREEN_"))) {
            command.env_remove(name);
        }
        let mut server = self.lab.spawn_in_switch(command).unwrap();
        wait_until("the server to be ready", BOUND, || {
            assert!(server.is_running(), "the server has ended: {}", server.log_text());
            server.log_text().contains("ready")
        })
        .unwrap();
        *self.server.borrow_mut() = Some(server);
    }

    /// Ends the server with SIGKILL.
    pub(crate) fn kill_server(&self) {
        self.server.borrow_mut().take().unwrap().kill().unwrap();
    }

    /// Ends the server as its administrator would.
    pub(crate) fn stop_server(&self) {
        let mut server = self.server.borrow_mut().take().unwrap();
        server.terminate().unwrap();
        assert!(server.wait_end(BOUND).unwrap().success(), "{}", server.log_text());
    }

    /// Runs `aws ssm ARGUMENTS...`, whatever comes of it.
    pub(crate) fn try_ssm(&self, arguments: &[&str]) -> Finished {
        let mut command = self.lab.switch_command(&self.aws);
        command.args(["--output", "json", "ssm"]).args(arguments).env_clear().envs([
            ("PATH", OsStr::new("/usr/local/bin:/usr/bin:/bin")),
            ("HOME", self.lab.folder().as_os_str()),
            ("AWS_SHARED_CREDENTIALS_FILE", self.data.join("credentials").as_os_str()),
            ("AWS_ENDPOINT_URL", OsStr::new(&format!("http://{SWITCH_ADDRESS}:{}", self.port.get()))),
            ("AWS_PAGER", OsStr::new("")),
        ]);
        run_bounded(&mut command, BOUND.max(Duration::from_secs(120))).unwrap()
    }

    /// The answer of `aws ssm ARGUMENTS...`; null where it has none.
    pub(crate) fn ssm(&self, arguments: &[&str]) -> Value {
        let finished = self.try_ssm(arguments);
        let text = finished.expect_success(&format!("aws ssm {}", arguments.join(" "))).unwrap();
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// The error that `aws ssm ARGUMENTS...` ends with.
    pub(crate) fn ssm_error(&self, arguments: &[&str]) -> String {
        let finished = self.try_ssm(arguments);
        assert!(!finished.succeeded(), "it should have been refused: {finished:?}");
        finished.stderr_text()
    }

    /// Runs `careen ARGUMENTS... --data DATA` beside the server.
    pub(crate) fn careen(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careen"));
        command.args(arguments).arg("--data").arg(&self.data);
        run_bounded(&mut command, BOUND).unwrap().expect_success("careen").unwrap()
    }

    /// The audit records of an action.
    pub(crate) fn audit(&self, action: &str) -> Vec<Value> {
        self.careen(&["audit", "--action", action]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Creates an activation; `more` goes to the AWS CLI.
    pub(crate) fn activation(&self, more: &[&str]) -> Activation {
        let answer = self.ssm(&[&["create-activation", "--iam-role", "fleet"], more].concat());
        Activation { id: text(&answer["ActivationId"]), code: text(&answer["ActivationCode"]) }
    }

    /// A host with the agent's program, not registered.
    pub(crate) fn host(&self, name: &str, packages: HostPackages) -> Host {
        let host = self.lab.host(name, HostOptions { packages }).unwrap();
        host.copy_in(&binary("careen-agent").unwrap(), AGENT, 0o755).unwrap();
        self.hosts.borrow_mut().push(host.clone());
        host
    }

    /// A new host that is a managed node and online.
    pub(crate) fn node(&self, name: &str, packages: HostPackages) -> Node {
        let host = self.host(name, packages);
        self.enrol(&host, &self.activation(&[]))
    }

    /// Makes a host a managed node, its agent a service, and waits until it is connected.
    pub(crate) fn enrol(&self, host: &Host, activation: &Activation) -> Node {
        register(host, activation).expect_success("register").unwrap();
        let node = Node { id: node_id(host, AGENT_DATA), host: host.clone() };
        node.start_service();
        node
    }

    /// Sends a script; `more` says to whom.
    pub(crate) fn send_script_to(&self, more: &[&str], script: &str) -> Sent {
        let parameters = serde_json::json!({"commands": [script]}).to_string();
        let arguments = ["send-command", "--document-name", "AWS-RunShellScript", "--parameters", &parameters];
        let answer = self.ssm(&[&arguments[..], more].concat());
        Sent { id: text(&answer["Command"]["CommandId"]), step: None }
    }

    /// Sends a script to a node.
    pub(crate) fn send_script(&self, node: &Node, script: &str) -> Sent {
        self.send_script_to(&["--instance-ids", &node.id], script)
    }

    /// Sends a patch operation (`Scan`, `Install,RebootOption=NoReboot`); `more` says to whom.
    pub(crate) fn send_patch_to(&self, more: &[&str], operation: &str) -> Sent {
        let parameters = format!("Operation={operation}");
        let arguments = ["send-command", "--document-name", "AWS-RunPatchBaseline", "--parameters", &parameters];
        let answer = self.ssm(&[&arguments[..], more].concat());
        Sent { id: text(&answer["Command"]["CommandId"]), step: Some("PatchLinux") }
    }

    /// Sends a patch operation to a node.
    pub(crate) fn send_patch(&self, node: &Node, operation: &str) -> Sent {
        self.send_patch_to(&["--instance-ids", &node.id], operation)
    }

    /// Sends a patch operation and waits until it has succeeded; gives the invocation's answer.
    pub(crate) fn patch(&self, node: &Node, operation: &str) -> Value {
        let command = self.send_patch(node, operation);
        let ended = self.wait_ended(&command, node, LONG_BOUND);
        assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
        ended
    }

    /// `list-command-invocations --details` of one command, by node.
    pub(crate) fn invocations(&self, command: &Sent) -> Vec<Value> {
        let answer = self.ssm(&["list-command-invocations", "--command-id", &command.id, "--details"]);
        let mut all = answer["CommandInvocations"].as_array().unwrap().clone();
        all.sort_by_key(|invocation| text(&invocation["InstanceId"]));
        all
    }

    /// `get-command-invocation` of the command's step.
    pub(crate) fn invocation(&self, command: &Sent, node: &Node) -> Value {
        let mut arguments = vec!["get-command-invocation", "--command-id", &command.id, "--instance-id", &node.id];
        arguments.extend(command.step.iter().flat_map(|step| ["--plugin-name", step]));
        self.ssm(&arguments)
    }

    /// The invocation once it is over.
    pub(crate) fn wait_ended(&self, command: &Sent, node: &Node, bound: Duration) -> Value {
        self.wait_invocation(command, node, bound, |invocation| {
            !["Pending", "InProgress", "Delayed", "Cancelling"].contains(&invocation["Status"].as_str().unwrap())
        })
    }

    /// The invocation once it is as wanted.
    pub(crate) fn wait_invocation(
        &self,
        command: &Sent,
        node: &Node,
        bound: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let until = Instant::now() + bound;
        loop {
            let invocation = self.invocation(command, node);
            if wanted(&invocation) {
                return invocation;
            }
            assert!(Instant::now() < until, "waited in vain for {}: {}", command.id, pretty(&invocation));
            thread::sleep(QUESTION_PAUSE);
        }
    }

    /// What `describe-instance-information` says of a node, if it knows it.
    pub(crate) fn information(&self, node: &Node) -> Option<Value> {
        let filter = format!("Key=InstanceIds,Values={}", node.id);
        let answer = self.ssm(&["describe-instance-information", "--filters", &filter]);
        answer["InstanceInformationList"].as_array().unwrap().first().cloned()
    }

    /// The counts of a node's last report.
    pub(crate) fn patch_state(&self, node: &Node) -> Value {
        let answer = self.ssm(&["describe-instance-patch-states", "--instance-ids", &node.id]);
        answer["InstancePatchStates"][0].clone()
    }

    /// All patches of a node.
    pub(crate) fn patches(&self, node: &Node) -> Vec<Value> {
        let answer = self.ssm(&["describe-instance-patches", "--instance-id", &node.id]);
        answer["Patches"].as_array().unwrap().clone()
    }

    /// The state of one package of a node, e.g. `Missing`.
    pub(crate) fn patch_of(&self, node: &Node, kb_id: &str) -> String {
        let filter = format!("Key=KBId,Values={kb_id}");
        let answer = self.ssm(&["describe-instance-patches", "--instance-id", &node.id, "--filters", &filter]);
        text(&answer["Patches"][0]["State"])
    }

    /// Whether someone listens at a port of the switch's address.
    pub(crate) fn is_open(&self, port: u16) -> bool {
        let address = SocketAddrV4::new(SWITCH_ADDRESS, port).into();
        self.lab.in_switch(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            for host in self.hosts.borrow().iter() {
                eprintln!("--- agent of {} ---\n{}", host.name(), host.service_log(SERVICE));
            }
        }
    }
}

impl Node {
    /// The answer of `careen-agent status --json`, with its exit code.
    pub(crate) fn status(&self) -> (Option<i32>, Value) {
        let finished = self.host.exec([AGENT, "status", "--json"]).unwrap();
        (finished.code, serde_json::from_slice(&finished.stdout).unwrap_or_default())
    }

    /// Makes the agent a service and waits until it is connected.
    pub(crate) fn start_service(&self) {
        self.start_service_with(&[]);
    }

    /// The same with further arguments.
    pub(crate) fn start_service_with(&self, arguments: &[&str]) {
        let run = [&[AGENT, "run", "--reconnect-seconds-max", "1"], arguments].concat();
        self.host.install_service(SERVICE, &ServiceSpec::always(run)).unwrap();
        self.wait_connected();
    }

    /// Waits until the agent says that it is connected.
    pub(crate) fn wait_connected(&self) {
        wait_until("the agent to be connected", BOUND, || self.status().0 == Some(0)).unwrap();
    }

    /// Waits until the agent says that it is not connected, and gives what it says of that.
    pub(crate) fn wait_disconnected(&self, why: &str) -> String {
        wait_for(&format!("the agent to say: {why}"), BOUND, || {
            let (code, status) = self.status();
            let said = status["status"]["last_error"][1].as_str().unwrap_or_default().to_owned();
            (code == Some(1) && said.contains(why)).then_some(said)
        })
        .unwrap()
    }

    /// Waits until a file of the host is there.
    pub(crate) fn wait_file(&self, path: &str) {
        wait_until(&format!("{path} on {}", self.host.name()), BOUND, || self.host.read_file(path).is_ok()).unwrap();
    }

    /// How many lines a file of the host has; 0 if it is not there.
    pub(crate) fn lines(&self, path: &str) -> usize {
        self.host.read_text(path).map_or(0, |text| text.lines().count())
    }

    /// Process ids, inside the host, of the supervisors that run now.
    pub(crate) fn supervisors(&self) -> Vec<String> {
        let found = self.host.exec(["pgrep", "-f", "[c]areen-agent supervise"]).unwrap().stdout_text();
        found.lines().map(str::to_owned).collect()
    }

    /// Ends the agent with SIGKILL; its service starts it again.
    pub(crate) fn kill_agent(&self) {
        wait_until("the agent to run", BOUND, || self.host.service_process(SERVICE).is_some()).unwrap();
        self.host.kill_service(SERVICE).unwrap();
    }

    /// The installed version of a package and how dpkg sees it, e.g. `2.0 installed`.
    pub(crate) fn dpkg_says(&self, package: &str) -> String {
        let format = "${Version} ${db:Status-Status}";
        self.host.exec(["dpkg-query", "-W", "-f", format, package]).unwrap().stdout_text()
    }

    /// Offers a repository's packages to the host; those of its main archive are installed at once.
    pub(crate) fn offer(&self, site: &Site, repository: &SmallRepository, install: &[&str]) {
        self.host.add_repository(&repository.build(&site.lab.folder().join(self.host.name())).unwrap()).unwrap();
        if !install.is_empty() {
            self.host.shell(&format!("apt-get -qq update; apt-get -qq -y install {}", install.join(" "))).unwrap();
        }
    }

    /// Asserts that dpkg finds nothing wrong.
    pub(crate) fn assert_dpkg_is_content(&self) {
        let audit = self.host.exec(["dpkg", "--audit"]).unwrap();
        assert!(audit.succeeded() && audit.stdout.is_empty(), "dpkg --audit: {audit:?}");
    }
}

/// The AWS CLI; nothing where there is none, which is then said loudly.
pub(crate) fn aws_program() -> Option<PathBuf> {
    let program = std::env::var_os("CAREEN_TEST_AWS").map(PathBuf::from);
    if program.is_none() {
        let text = "NOT TESTED: there is no AWS CLI (CAREEN_TEST_AWS); run the tests with `cargo xtask test`";
        assert!(!in_continuous_integration(), "{text}");
        eprintln!("{text}");
    }
    program
}

/// `careen-agent register` on a host, the code from a file.
pub(crate) fn register(host: &Host, activation: &Activation) -> Finished {
    host.write_file("/root/code", &activation.code, 0o600).unwrap();
    let server = format!("http://{SWITCH_ADDRESS}:{PORT}");
    let arguments = ["--activation-id", &activation.id, "--activation-code-file", "/root/code"];
    host.exec([&[AGENT, "register", "--server", &server], &arguments[..]].concat()).unwrap()
}

/// `careen-agent register ARGUMENTS...` on a host, the code from standard input.
pub(crate) fn register_by_input(host: &Host, activation: &Activation, arguments: &[&str]) -> Finished {
    let mut command = host.command(AGENT).unwrap();
    command.args(["register", "--server", &format!("http://{SWITCH_ADDRESS}:{PORT}")]);
    command.args(["--activation-id", &activation.id]).args(arguments);
    run_bounded_with_input(&mut command, format!("{}\n", activation.code).as_bytes(), BOUND).unwrap()
}

/// The id in a host's registration.
pub(crate) fn node_id(host: &Host, data: &str) -> String {
    let identity = host.read_file(Path::new(data).join("identity.json")).unwrap();
    text(&serde_json::from_slice::<Value>(&identity).unwrap()["node_id"])
}

/// A text of an answer.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// An answer for people.
pub(crate) fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap();
    text.replace("\\n", "\n")
}
