//! A server that speaks the agent's protocol truly, in this process, and agents as real processes.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic, and so may what they share")]

use agent_wire::{
    ActivationCode, Bytes32, Bytes64, FromServer, FromServerHandshake, Hello, Job, JobReport, Order, OrderBody,
    Purpose, Refusal, RefusalCode, SignedOrder, Step, StepAction, ToServer, ToServerBody, ToServerHandshake,
};
use futures_util::{SinkExt, StreamExt};
use identifiers::{ActivationId, CommandId, IdSource, JobId, NodeId, RequestId, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const ACTIVATION: &str = "99999999-2222-4333-8444-555555555555";

/// The agent under test: this build's, or the one that `CAREEN_AGENT` names.
pub(crate) fn agent_program() -> PathBuf {
    std::env::var_os("CAREEN_AGENT").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_careen-agent")), PathBuf::from)
}

/// Waits until `condition` holds; a test that waits in vain fails.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Randomness for ids in tests.
pub(crate) struct Ids;

impl IdSource for Ids {
    fn fill(&mut self, bytes: &mut [u8]) {
        ring::rand::SecureRandom::fill(&SystemRandom::new(), bytes).unwrap();
    }
}

fn pair() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

pub(crate) fn public(pair: &Ed25519KeyPair) -> Bytes32 {
    Bytes32(pair.public_key().as_ref().try_into().unwrap())
}

fn sign(pair: &Ed25519KeyPair, text: &str) -> Bytes64 {
    Bytes64(pair.sign(text.as_bytes()).as_ref().try_into().unwrap())
}

fn sha256(bytes: &[u8]) -> Bytes32 {
    Bytes32(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap())
}

/// What a server is and remembers, also while it is down.
pub(crate) struct Server {
    identity: Ed25519KeyPair,
    job: Ed25519KeyPair,
    secret: [u8; 15],
    pub(crate) incarnation: u64,
    state: Mutex<State>,
    behaviour: Mutex<Behaviour>,
}

#[derive(Default)]
struct State {
    nodes: HashMap<NodeId, Bytes32>,
    /// Every text that came, decompressed, in order.
    texts: Vec<String>,
    messages: Vec<ToServer>,
    epoch: i64,
    connections: usize,
    line: Option<UnboundedSender<String>>,
    digest: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Changes the job key after the answer to the registration was signed.
    pub(crate) tampers_registration: bool,
    /// Changes the clock after the welcome was signed.
    pub(crate) tampers_welcome: bool,
    /// Signs its challenge with another key than it shows.
    pub(crate) signs_with_other_key: bool,
    pub(crate) acknowledges: bool,
    pub(crate) answers_pings: bool,
    pub(crate) heartbeat_seconds: u32,
    /// Its clock, ahead of the host's.
    pub(crate) clock_ahead_seconds: i64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            tampers_registration: false,
            tampers_welcome: false,
            signs_with_other_key: false,
            acknowledges: true,
            answers_pings: true,
            heartbeat_seconds: 30,
            clock_ahead_seconds: 0,
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        let mut secret = [0; 15];
        Ids.fill(&mut secret);
        Arc::new(Self {
            identity: pair(),
            job: pair(),
            secret,
            incarnation: 5,
            state: Mutex::default(),
            behaviour: Mutex::default(),
        })
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().unwrap()
    }

    pub(crate) fn code(&self) -> ActivationCode {
        ActivationCode::new(self.secret, sha256(&public(&self.identity).0))
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.state.lock().unwrap().texts.clone()
    }

    pub(crate) fn bodies(&self) -> Vec<ToServerBody> {
        self.state.lock().unwrap().messages.iter().map(|message| message.body.clone()).collect()
    }

    pub(crate) fn message_ids(&self) -> Vec<u64> {
        self.state.lock().unwrap().messages.iter().map(|message| message.id).filter(|id| *id > 0).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub(crate) fn results(&self, job_id: &JobId) -> Vec<JobReport> {
        let reports = self.bodies().into_iter().filter_map(|body| match body {
            ToServerBody::JobFinished(report) if report.job_id == *job_id => Some(report),
            _ => None,
        });
        reports.collect()
    }

    pub(crate) fn result(&self, job_id: &JobId) -> JobReport {
        until("the job's result arrives", || !self.results(job_id).is_empty());
        self.results(job_id).remove(0)
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        let reasons = self.bodies().into_iter().filter_map(|body| match body {
            ToServerBody::OrderRefused { reason, .. } | ToServerBody::JobRefused { reason, .. } => Some(reason),
            _ => None,
        });
        reasons.collect()
    }

    /// Says something to the connected agent.
    pub(crate) fn say(&self, message: &FromServer) {
        let text = agent_wire::write(message).unwrap();
        let mut text = Some(text);
        until("an agent is connected", || {
            let state = self.state.lock().unwrap();
            let Some(line) = &state.line else { return false };
            if line.is_closed() {
                return false;
            }
            line.send(text.take().unwrap()).unwrap();
            true
        });
    }

    pub(crate) fn order(&self, node_id: &NodeId, body: OrderBody) -> Order {
        let now = execution::now();
        Order {
            node_id: node_id.clone(),
            incarnation: self.incarnation,
            issued_at: now,
            expires_at: now.plus_seconds(3600),
            request_id: RequestId::generate(&mut Ids),
            body,
        }
    }

    pub(crate) fn sign_order(&self, order: &Order) -> SignedOrder {
        let payload = agent_wire::write(order).unwrap();
        let signature = sign(&self.job, &agent_wire::order_text(&payload));
        SignedOrder { payload, signature }
    }

    /// Orders a job and returns the signed order.
    pub(crate) fn run(&self, node_id: &NodeId, job: &Job) -> SignedOrder {
        let signed = self.sign_order(&self.order(node_id, OrderBody::Run(job.clone())));
        self.say(&FromServer::Order(signed.clone()));
        signed
    }

    pub(crate) fn cancel(&self, node_id: &NodeId, job_id: &JobId) {
        let body = OrderBody::Cancel { job_id: job_id.clone() };
        self.say(&FromServer::Order(self.sign_order(&self.order(node_id, body))));
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) -> Option<()> {
        let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
        let ToServerHandshake::Hello(hello) = self.hear(&mut socket).await? else { return None };
        let behaviour = self.behaviour();
        let epoch = {
            let mut state = self.state.lock().unwrap();
            state.epoch += 1;
            state.epoch
        };
        let mut nonce = [0; 32];
        Ids.fill(&mut nonce);
        let nonce = Bytes32(nonce);
        let text = agent_wire::challenge_text(&hello, &nonce, epoch);
        let signer = if behaviour.signs_with_other_key { &self.job } else { &self.identity };
        let identity_key = public(&self.identity);
        let challenge = FromServerHandshake::Challenge {
            protocol: 1,
            identity_key,
            nonce,
            epoch,
            channel: None,
            signature: sign(signer, &text),
        };
        say(&mut socket, &challenge).await?;
        let answer = self.hear::<ToServerHandshake>(&mut socket).await?;
        match (&hello.purpose, answer) {
            (Purpose::Register { activation_id }, ToServerHandshake::Register { node_key, proof, .. }) => {
                let text =
                    agent_wire::register_proof_text(activation_id, &hello.nonce, &nonce, &identity_key, &node_key);
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &sha256(&self.secret).0);
                if ring::hmac::verify(&key, text.as_bytes(), &proof.0).is_err() {
                    return refuse(&mut socket, RefusalCode::Activation).await;
                }
                self.register(&mut socket, &hello, nonce, node_key, behaviour).await
            }
            (Purpose::Connect { node_id }, ToServerHandshake::Prove { signature, .. }) => {
                let known = self.state.lock().unwrap().nodes.get(node_id).copied();
                let text = agent_wire::connect_text(node_id, &hello.nonce, &nonce, epoch, &identity_key);
                let holds = known.is_some_and(|key| {
                    UnparsedPublicKey::new(&ED25519, key.0).verify(text.as_bytes(), &signature.0).is_ok()
                });
                if !holds {
                    return refuse(&mut socket, RefusalCode::Node).await;
                }
                self.session(socket, &hello.nonce, &nonce, node_id, epoch).await
            }
            _ => refuse(&mut socket, RefusalCode::Protocol).await,
        }
    }

    async fn register(
        &self,
        socket: &mut Socket,
        hello: &Hello,
        nonce: Bytes32,
        node_key: Bytes32,
        behaviour: Behaviour,
    ) -> Option<()> {
        let node_id = NodeId::generate(&mut Ids);
        let mut job_key = public(&self.job);
        let region = "eu-north-1".to_owned();
        let text =
            agent_wire::registered_text(&hello.nonce, &nonce, &node_key, &node_id, &job_key, self.incarnation, &region);
        let signature = sign(&self.identity, &text);
        if behaviour.tampers_registration {
            job_key = public(&pair());
        }
        self.state.lock().unwrap().nodes.insert(node_id.clone(), node_key);
        let incarnation = self.incarnation;
        let trust = None;
        say(socket, &FromServerHandshake::Registered { node_id, job_key, incarnation, region, trust, signature }).await
    }

    async fn session(
        &self,
        mut socket: Socket,
        agent_nonce: &Bytes32,
        nonce: &Bytes32,
        node_id: &NodeId,
        epoch: i64,
    ) -> Option<()> {
        let behaviour = self.behaviour();
        let heartbeat_seconds = behaviour.heartbeat_seconds;
        let now = execution::now().plus_seconds(behaviour.clock_ahead_seconds);
        let inventory_digest = self.state.lock().unwrap().digest.clone();
        let digest = inventory_digest.as_deref();
        let text = agent_wire::welcome_text(agent_nonce, nonce, node_id, epoch, heartbeat_seconds, now, digest);
        let signature = sign(&self.identity, &text);
        let now = if behaviour.tampers_welcome { now.plus_seconds(-86_400) } else { now };
        let welcome =
            FromServerHandshake::Welcome { epoch, heartbeat_seconds, now, inventory_digest, trust: None, signature };
        say(&mut socket, &welcome).await?;
        let (line, said): (_, UnboundedReceiver<String>) = unbounded_channel();
        {
            let mut state = self.state.lock().unwrap();
            state.line = Some(line);
            state.connections += 1;
        }
        let (sink, stream) = socket.split();
        self.converse(sink, stream, said).await
    }

    async fn converse(
        &self,
        mut sink: futures_util::stream::SplitSink<Socket, Message>,
        mut stream: futures_util::stream::SplitStream<Socket>,
        mut said: UnboundedReceiver<String>,
    ) -> Option<()> {
        loop {
            // A server that reads nothing answers no ping either.
            let deaf = !self.behaviour().answers_pings;
            tokio::select! {
                text = said.recv() => sink.send(Message::Text(text?.into())).await.ok()?,
                frame = stream.next(), if !deaf => {
                    let Some(text) = text_of(frame?.ok()?) else { continue };
                    let message: ToServer = agent_wire::read(&text).unwrap();
                    let id = message.id;
                    {
                        let mut state = self.state.lock().unwrap();
                        state.texts.push(text);
                        if let ToServerBody::Inventory(report) = &message.body {
                            state.digest = Some(report.to_digest.clone());
                        }
                        state.messages.push(message);
                    }
                    if id > 0 && self.behaviour().acknowledges {
                        let text = agent_wire::write(&FromServer::Acknowledged { id }).unwrap();
                        sink.send(Message::Text(text.into())).await.ok()?;
                    }
                }
            }
        }
    }

    async fn hear<T: serde::de::DeserializeOwned>(&self, socket: &mut Socket) -> Option<T> {
        loop {
            if let Some(text) = text_of(socket.next().await?.ok()?) {
                self.state.lock().unwrap().texts.push(text.clone());
                return serde_json::from_str(&text).ok();
            }
        }
    }
}

async fn say<T: serde::Serialize>(socket: &mut Socket, message: &T) -> Option<()> {
    socket.send(Message::Text(agent_wire::write(message).unwrap().into())).await.ok()
}

async fn refuse(socket: &mut Socket, code: RefusalCode) -> Option<()> {
    say(socket, &FromServerHandshake::Refused(Refusal { code, message: "no".to_owned() })).await
}

fn text_of(frame: Message) -> Option<String> {
    match frame {
        Message::Text(text) => Some(text.as_str().to_owned()),
        Message::Binary(bytes) => {
            let mut text = String::new();
            let mut decoder = zstd::stream::read::Decoder::new(bytes.as_ref()).unwrap();
            decoder.read_to_string(&mut text).unwrap();
            Some(text)
        }
        _ => None,
    }
}

/// A listening server; when dropped it is gone, with its connections.
pub(crate) struct Listening {
    runtime: Option<tokio::runtime::Runtime>,
    pub(crate) port: u16,
}

impl Listening {
    /// `port`: 0 for any.
    pub(crate) fn start(server: &Arc<Server>, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = server.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        Self { runtime: Some(runtime), port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits until the port is free.
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

/// A host with an agent.
pub(crate) struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn register_with(&self, url: &str, code: &ActivationCode, more: &[&str]) -> Output {
        let file = self.path("code");
        std::fs::write(&file, code.reveal() + "\n").unwrap();
        let mut command = Command::new(agent_program());
        command.args(["register", "--server", url, "--activation-id", ACTIVATION, "--data"]).arg(self.data());
        command.arg("--activation-code-file").arg(file).args(more).output().unwrap()
    }

    pub(crate) fn register(&self, server: &Server, listening: &Listening) -> NodeId {
        let output = self.register_with(&listening.url(), &server.code(), &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.node_id()
    }

    pub(crate) fn node_id(&self) -> NodeId {
        agent::Identity::load(&self.data()).unwrap().node_id
    }

    pub(crate) fn start(&self) -> Agent {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, more: &[&str]) -> Agent {
        let log = std::fs::File::create(self.path("stderr")).unwrap();
        let mut command = Command::new(agent_program());
        command.args(["run", "--reconnect-seconds-max", "1", "--data"]).arg(self.data()).args(more);
        Agent(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("agent.log")).unwrap_or_default()
    }

    /// The exit code and the text of `careen-agent status`.
    pub(crate) fn status(&self, more: &[&str]) -> (i32, String) {
        let output =
            Command::new(agent_program()).args(["status", "--data"]).arg(self.data()).args(more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text)
    }

    pub(crate) fn job_path(&self, job_id: &JobId) -> PathBuf {
        self.data().join(self.node_id().as_str()).join("jobs").join(job_id.as_str())
    }

    /// The pid of the job's supervisor: the process that was started for its folder.
    pub(crate) fn supervisor(&self, job_id: &JobId) -> i32 {
        let path = self.job_path(job_id).to_string_lossy().into_owned();
        let mut found = None;
        until("the supervisor is found", || {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
                let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let words: Vec<_> = words.split(|byte| *byte == 0).collect();
                if words.contains(&b"supervise".as_slice()) && words.contains(&path.as_bytes()) {
                    found = Some(pid);
                }
            }
            found.is_some()
        });
        found.unwrap()
    }
}

/// A running agent; when dropped it is killed.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    /// SIGKILL: it has no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        signal(i32::try_from(self.0.id()).unwrap(), rustix::process::Signal::TERM);
        self.0.wait().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether a process lives; one that has ended but was not reaped does not.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn script(lines: &str) -> Job {
    scripts(&[lines])
}

pub(crate) fn scripts(scripts: &[&str]) -> Job {
    let step = |(place, lines): (usize, &&str)| Step {
        name: format!("step{place}"),
        plugin: "aws:runShellScript".to_owned(),
        timeout_seconds: 600,
        action: StepAction::RunShellScript {
            lines: lines.lines().map(str::to_owned).collect(),
            working_directory: String::new(),
        },
    };
    Job {
        job_id: JobId::generate(&mut Ids),
        command_id: CommandId::generate(&mut Ids),
        document_name: "AWS-RunShellScript".to_owned(),
        steps: scripts.iter().enumerate().map(step).collect(),
    }
}

pub(crate) fn line_count(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

pub(crate) fn activation_id() -> ActivationId {
    ActivationId::parse(ACTIVATION).unwrap()
}

pub(crate) fn long_ago() -> Timestamp {
    Timestamp::from_seconds(1_000_000_000)
}
