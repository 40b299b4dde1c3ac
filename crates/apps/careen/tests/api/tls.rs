//! TLS as people, clients and agents meet it: the server's own CA, certificates that are exchanged under way, keys that are
//! exchanged while agents believe them, and whoever sits in between.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use identity::CertificateAuthority;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use serde_json::Value;
use testkit::{Finished, run_bounded, wait_for, wait_until};

use crate::clients::{aws_program, isolate};
use crate::server::{Place, Server, free_address};

const BOUND: Duration = Duration::from_secs(90);

fn now() -> identifiers::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    identifiers::Timestamp::from_seconds(i64::try_from(since.as_secs()).unwrap())
}

/// `aws ARGUMENTS...` against a server, trusting `bundle` if there is one.
fn aws(place: &Place, server: &Server<'_>, bundle: Option<&Path>, arguments: &[&str]) -> Finished {
    let mut command = Command::new(aws_program());
    isolate(&mut command, place.path());
    command.args(["--output", "json"]).args(arguments);
    command.env("AWS_SHARED_CREDENTIALS_FILE", place.data().join("credentials"));
    command.env("AWS_ENDPOINT_URL", format!("https://{}", server.address()));
    if let Some(bundle) = bundle {
        command.env("AWS_CA_BUNDLE", bundle);
    }
    run_bounded(&mut command, BOUND).unwrap()
}

/// The certificate that is shown at an address to whoever trusts `authority`; none if the handshake fails.
fn shown(address: &str, authority: &Path) -> Option<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(authority).ok()?.flatten());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = builder.with_root_certificates(roots).with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(client), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(BOUND)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    Some(session.peer_certificates()?.first()?.clone().into_owned())
}

/// `careen agent ARGUMENTS...` with a folder of its own.
struct Agent<'p> {
    place: &'p Place,
    running: Option<Child>,
}

impl Agent<'_> {
    fn data(&self) -> PathBuf {
        self.place.path().join("agent")
    }

    fn command(&self, word: &str, arguments: &[&str]) -> Command {
        let mut command = self.place.careen(&["agent", word]);
        command.args(arguments).arg("--data").arg(self.data());
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        command
    }

    fn register(&self, server: &str, activation: &Value, more: &[&str]) -> Finished {
        let code = self.place.path().join("code");
        fs::write(&code, activation["ActivationCode"].as_str().unwrap()).unwrap();
        let id = activation["ActivationId"].as_str().unwrap();
        let arguments = ["--server", server, "--activation-id", id, "--activation-code-file", code.to_str().unwrap()];
        run_bounded(&mut self.command("register", &[&arguments[..], more].concat()), BOUND).unwrap()
    }

    /// Runs it until it is connected.
    fn run(&mut self) {
        let mut command = self.command("run", &["--reconnect-seconds-max", "1"]);
        self.running = Some(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the agent to be connected", BOUND, || self.status().0 == Some(0)).unwrap();
    }

    fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn status(&self) -> (Option<i32>, Value) {
        let ended = run_bounded(&mut self.command("status", &["--json"]), BOUND).unwrap();
        (ended.code, serde_json::from_slice(&ended.stdout).unwrap_or_default())
    }

    fn connected_since(&self) -> Value {
        let (code, status) = self.status();
        assert_eq!(code, Some(0), "{status}");
        status["status"]["connection"]["since"].clone()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", fs::read_to_string(self.data().join("agent.log")).unwrap_or_default());
        }
    }
}

fn activation(place: &Place, server: &Server<'_>, bundle: &Path) -> Value {
    let made = aws(place, server, Some(bundle), &["ssm", "create-activation", "--iam-role", "fleet"]);
    serde_json::from_str(&made.expect_success("create-activation").unwrap()).unwrap()
}

fn key(place: &Place, arguments: &[&str]) -> Finished {
    let data = place.data().display().to_string();
    let mut command = place.careen(&[&["admin", "key"], arguments, &["--data", &data]].concat());
    run_bounded(&mut command, BOUND).unwrap()
}

#[test]
fn the_servers_own_ca_is_what_the_aws_cli_trusts_and_agents_need_none() {
    let place = Place::new();
    let server = place.start_with(&["--tls"], &[]);
    let bundle = place.data().join("ca.pem");
    let asked = ["ssm", "describe-instance-information"];
    aws(&place, &server, Some(&bundle), &asked).expect_success("describe-instance-information").unwrap();
    let untrusting = aws(&place, &server, None, &asked);
    assert!(untrusting.stderr_text().contains("SSL"), "{}", untrusting.stderr_text());
    assert!(server.get("/healthz").unwrap().contains("use https:// instead of http://"));
    let data = place.data().display().to_string();
    let printed = run_bounded(&mut place.careen(&["admin", "ca", "--data", &data]), BOUND).unwrap();
    assert_eq!(printed.stdout_text().trim_end(), fs::read_to_string(&bundle).unwrap().trim_end());

    let mut agent = Agent { place: &place, running: None };
    let url = format!("https://{}", server.address());
    let activation = activation(&place, &server, &bundle);
    agent.register(&url, &activation, &[]).expect_success("register").unwrap();
    agent.run();

    // The server's identity is exchanged, the agent away at the switch.
    let announced = key(&place, &["announce", "identity"]).expect_success("announce").unwrap();
    assert!(announced.contains("identity  next"), "{announced}");
    wait_until("the agent to have written it down", BOUND, || {
        key(&place, &["list"]).stdout_text().contains("every registered node has written them down")
    })
    .unwrap();
    agent.kill();
    key(&place, &["switch", "identity"]).expect_success("switch").unwrap();
    let waits = key(&place, &["retire", "identity"]);
    assert!(waits.stderr_text().contains("1 registered nodes have not written down"), "{}", waits.stderr_text());
    agent.run();
    wait_until("the old key to be retired", BOUND, || key(&place, &["retire", "identity"]).succeeded()).unwrap();
    agent.kill();
    agent.run();
    assert_eq!(server.audit(&["--action", "careen:ExchangeServerKey"]).len(), 3);
    assert!(key(&place, &["switch", "colour"]).stderr_text().contains("there are identity, job and ca"));

    // A restart finds the keys as they were left.
    server.stop();
    let again = place.start_with(&["--tls"], &[]);
    assert!(shown(&again.address(), &bundle).is_some(), "the same CA signs after a restart");
}

/// A certificate for 127.0.0.1 from an authority, in files.
fn write_files(authority: &CertificateAuthority, [chain, private]: [&Path; 2]) {
    let issued = authority.issue(&["127.0.0.1".to_owned()], now()).unwrap();
    let key = base64_lines(&issued.private_key);
    for (path, text) in [
        (chain, identity::certificate_pem(&issued.certificate)),
        (private, format!("-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n")),
    ] {
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, path).unwrap();
    }
}

/// The lines of a PEM block, by way of the one that there is for certificates.
fn base64_lines(der: &[u8]) -> String {
    let pem = identity::certificate_pem(der);
    pem.lines().filter(|line| !line.starts_with("-----")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_new_certificate_is_shown_at_once_and_agents_stay_connected() {
    let place = Place::new();
    let authority = CertificateAuthority::generate(now()).unwrap();
    let [chain, private, bundle] = ["chain.pem", "key.pem", "authority.pem"].map(|name| place.path().join(name));
    fs::write(&bundle, authority.certificate_pem()).unwrap();
    write_files(&authority, [&chain, &private]);
    let files = ["--tls-certificate", chain.to_str().unwrap(), "--tls-key", private.to_str().unwrap()];
    let server = place.start_with(&files, &[]);
    let first = shown(&server.address(), &bundle).unwrap();
    let mut agent = Agent { place: &place, running: None };
    let activation = activation(&place, &server, &bundle);
    agent.register(&format!("https://{}", server.address()), &activation, &[]).expect_success("register").unwrap();
    agent.run();
    let since = agent.connected_since();

    write_files(&authority, [&chain, &private]);
    let second = wait_for("the new certificate to be shown", BOUND, || {
        shown(&server.address(), &bundle).filter(|now| *now != first)
    })
    .unwrap();
    fs::write(&chain, "no certificate").unwrap();
    wait_until("the broken file to be complained of", BOUND, || server.log().contains("holds no PEM block")).unwrap();
    assert_eq!(shown(&server.address(), &bundle).unwrap(), second, "the old one is still shown");
    write_files(&authority, [&chain, &private]);
    wait_until("the third to be shown", BOUND, || {
        shown(&server.address(), &bundle).is_some_and(|now| now != second && now != first)
    })
    .unwrap();
    assert_eq!(agent.connected_since(), since, "nobody was cut off");
}

/// Ends TLS with a certificate of its own and speaks TLS to the server.
fn relay(server: SocketAddr, authority: &CertificateAuthority) -> SocketAddr {
    let issued = authority.issue(&["127.0.0.1".to_owned()], now()).unwrap();
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(issued.certificate)];
    let private = PrivateKeyDer::try_from(issued.private_key).unwrap();
    let acceptor = Arc::new(builder.with_no_client_auth().with_single_cert(chain, private).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(acceptor);
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut agent = acceptor.accept(stream).await.ok()?;
                    let upstream = tokio::net::TcpStream::connect(server).await.ok()?;
                    let mut upstream =
                        trusting_all().connect(ServerName::try_from("127.0.0.1").ok()?, upstream).await.ok()?;
                    tokio::io::copy_bidirectional(&mut agent, &mut upstream).await.ok()
                });
            }
        });
    });
    address
}

fn trusting_all() -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let client = builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(client))
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_relay_that_ends_tls_is_refused_unless_the_host_trusts_its_certificate() {
    let place = Place::new();
    let server = place.start_with(&["--tls"], &[]);
    let bundle = place.data().join("ca.pem");
    let between = CertificateAuthority::generate(now()).unwrap();
    let relay = relay(server.address().parse().unwrap(), &between);
    let agent = Agent { place: &place, running: None };
    let activation = activation(&place, &server, &bundle);
    let url = format!("https://{relay}");
    let refused = agent.register(&url, &activation, &[]);
    assert!(refused.stderr_text().contains("TLS ends at someone else"), "{}", refused.stderr_text());
    assert!(!agent.data().join("identity.json").exists());
    // The server's own authority has not signed it either.
    let refused = agent.register(&url, &activation, &["--ca-file", bundle.to_str().unwrap()]);
    assert!(refused.stderr_text().contains("no authority in"), "{}", refused.stderr_text());
    let plain = agent.register(&format!("http://{}", server.address()), &activation, &[]);
    assert!(!plain.succeeded() && plain.stderr_text().contains("no agent endpoint"), "{}", plain.stderr_text());
    // A balancer of the administrator's: its authority is named.
    let trusted = place.path().join("between.pem");
    fs::write(&trusted, between.certificate_pem()).unwrap();
    let named = ["--ca-file", trusted.to_str().unwrap()];
    agent.register(&url, &activation, &named).expect_success("register").unwrap();
}

#[test]
fn each_address_serves_its_own_and_loopback_answers_to_its_names_alone() {
    let place = Place::new();
    let agents = free_address().to_string();
    let server = place.start_with(&["--listen-agents", &agents, "--tls-name", "careen.example"], &[]);
    assert!(server.get("/console/sign-in").unwrap().starts_with("HTTP/1.1 200"));
    assert!(server.get("/agent/v1").unwrap().starts_with("HTTP/1.1 404"));
    let answer = |path: &str, host: &str| {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(&agents).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    };
    assert!(answer("/console/sign-in", &agents).starts_with("HTTP/1.1 404"));
    assert!(answer("/healthz", &agents).ends_with("ok\n"));
    assert!(answer("/healthz", "careen.example").ends_with("ok\n"));
    // A page of somebody else's, whose name leads here.
    for path in ["/agent/v1", "/healthz", "/"] {
        assert!(answer(path, "evil.example:8470").starts_with("HTTP/1.1 421"), "{path}");
    }
}
