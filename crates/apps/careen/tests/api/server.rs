//! The real server, started as people start it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{Finished, run_bounded, wait_for, wait_until};

use crate::clients::{Clients, isolate};

const BOUND: Duration = Duration::from_secs(60);

/// A folder for a server's data, its log and its clients; gone with the test.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `careen ARGUMENTS`, with nothing of this machine's settings.
    pub(crate) fn careen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careen"));
        isolate(&mut command, self.path());
        let foreign = std::env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| name.to_str().is_some_and(|name| name.starts_with("CAREEN_"))) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").args(arguments);
        command
    }

    /// `careen server` on this folder and a free port, with more arguments and variables.
    pub(crate) fn server_command(&self, address: SocketAddr, arguments: &[&str]) -> Command {
        let data = self.data().display().to_string();
        let mut all = vec!["server".to_owned(), "--data".into(), data, "--listen".into(), address.to_string()];
        all.extend(arguments.iter().map(|word| (*word).to_owned()));
        self.careen(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs a server that is expected to refuse its start; gives how it ended.
    pub(crate) fn refused_start(&self, variables: &[(&str, &str)]) -> Finished {
        let mut command = self.server_command(free_address(), &[]);
        command.envs(variables.iter().copied());
        run_bounded(&mut command, BOUND).unwrap()
    }

    pub(crate) fn start(&self) -> Server<'_> {
        self.start_with(&[], &[])
    }

    /// Starts a server; another program may take the port between our look and its bind, so it is tried again.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Server<'_> {
        self.start_as(|address| {
            let mut command = self.server_command(address, arguments);
            command.envs(variables.iter().copied());
            command
        })
    }

    /// Starts a server whose data folder is a file system of its own with little room, which only the server sees;
    /// [`Server::inside`] leads there. The credentials lie where they always do.
    pub(crate) fn start_with_room(&self, bytes: u64) -> Server<'_> {
        fs::create_dir_all(self.data()).unwrap();
        let server = self.start_as(|address| {
            let inner = self.server_command(address, &[]);
            let mut command = self.careen(&[]);
            let script = format!("mount -t tmpfs -o size={bytes},mode=700 tmpfs \"$0\" && exec \"$@\"");
            let mut outer = Command::new("unshare");
            if !rustix::process::geteuid().is_root() {
                outer.args(["--user", "--map-root-user"]);
            }
            outer.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(self.data());
            outer.arg(inner.get_program()).args(inner.get_args());
            for (name, value) in command.envs([("RUST_LOG", "info")]).get_envs() {
                match value {
                    Some(value) => outer.env(name, value),
                    None => outer.env_remove(name),
                };
            }
            outer
        });
        fs::copy(server.inside().join("credentials"), self.data().join("credentials")).unwrap();
        server
    }

    fn start_as(&self, command: impl Fn(SocketAddr) -> Command) -> Server<'_> {
        for _ in 0..5 {
            if let Some(server) = self.start_once(free_address(), &command) {
                return server;
            }
        }
        panic!("no port was free");
    }

    /// Starts a server at this address.
    pub(crate) fn start_at(&self, address: SocketAddr) -> Server<'_> {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = self.server_command(address, &[]);
        let child = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let server = Server { place: self, child, address };
        let answers = || server.get("/healthz").is_some_and(|answer| answer.ends_with("ok\n"));
        wait_until("the server to be up", BOUND, answers).unwrap();
        server
    }

    /// Starts a server on this port; none if another program has it.
    pub(crate) fn start_with_at(
        &self,
        address: SocketAddr,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<Server<'_>> {
        self.start_once(address, &|address| {
            let mut command = self.server_command(address, arguments);
            command.envs(variables.iter().copied());
            command
        })
    }

    fn start_once(&self, address: SocketAddr, command: &dyn Fn(SocketAddr) -> Command) -> Option<Server<'_>> {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = command(address);
        command.stdin(Stdio::null()).stderr(log);
        let mut server = Server { place: self, child: command.spawn().unwrap(), address };
        let up = wait_for("the server to be up", BOUND, || {
            let ended = server.child.try_wait().unwrap().is_some();
            // One that speaks TLS says so to whoever does not.
            let up = |answer: String| answer.ends_with("ok\n") || answer.contains("This port speaks TLS");
            (ended || server.get("/healthz").is_some_and(up)).then_some(!ended)
        });
        match up {
            Ok(true) => Some(server),
            Ok(false) if server.log().contains("cannot listen") => None,
            other => panic!("the server did not come up ({other:?}): {}", server.log()),
        }
    }

    /// The key that the server has written down.
    pub(crate) fn key(&self) -> (String, String) {
        let file = fs::read_to_string(self.data().join("credentials")).unwrap();
        let value = |name: &str| {
            let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.unwrap_or_else(|| panic!("no {name} in {file}")).to_owned()
        };
        (value("aws_access_key_id"), value("aws_secret_access_key"))
    }

    /// Every byte of the database's files.
    pub(crate) fn database_bytes(&self) -> Vec<u8> {
        let files = fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> =
            files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("careen.db")).collect();
        assert!(files.len() >= 2, "database and lock at least: {files:?}");
        files.iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running server.
pub(crate) struct Server<'p> {
    place: &'p Place,
    child: Child,
    address: SocketAddr,
}

impl Server<'_> {
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap()
    }

    /// The server's data folder as the server sees it.
    pub(crate) fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.place.data().strip_prefix("/").unwrap())
    }

    /// The clients of this server, with its credentials file.
    pub(crate) fn clients(&self) -> Clients {
        Clients::new(&self.address(), &self.place.data(), self.place.path())
    }

    /// The whole answer to a plain GET; none if nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        self.get_as(path, "*/*")
    }

    /// The same for whoever accepts `media_type`.
    pub(crate) fn get_as(&self, path: &str, media_type: &str) -> Option<String> {
        let mut socket = TcpStream::connect_timeout(&self.address, BOUND).ok()?;
        socket.set_read_timeout(Some(BOUND)).ok()?;
        let headers = format!("Host: {}\r\nAccept: {media_type}\r\nConnection: close\r\n", self.address);
        write!(socket, "GET {path} HTTP/1.1\r\n{headers}\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The records that `careen audit` prints, oldest first.
    pub(crate) fn audit(&self, arguments: &[&str]) -> Vec<Value> {
        let data = self.place.data().display().to_string();
        let mut all = vec!["audit", "--data", &data];
        all.extend(arguments);
        let ended = run_bounded(&mut self.place.careen(&all), BOUND).unwrap();
        let lines = ended.expect_success("careen audit").unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends it as systemd would, and waits until it has ended well.
    pub(crate) fn stop(mut self) {
        // The server listens to signals only a moment after it listens to requests; before that they just end it.
        wait_until("the server to listen to signals", BOUND, || self.catches(Signal::TERM)).unwrap();
        self.signal(Signal::TERM);
        wait_until("the server to end", BOUND, || self.child.try_wait().unwrap().is_some()).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Lets it stand still.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether the process has a handler for a signal (`SigCgt` of proc_pid_status(5), bit 0 is signal 1).
    fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        mask & (1 << (signal.as_raw() - 1)) != 0
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}
