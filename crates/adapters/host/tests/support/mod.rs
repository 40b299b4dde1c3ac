//! A host made for one test: a root folder with dpkg's and apt's databases, and a repository on loopback with packages made
//! on the spot. apt and dpkg themselves are the real ones; maintainer scripts run with `--force-script-chrootless`.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use host::{HostRoot, PatchOutcome, RunContext, run_patch};
use identifiers::{CommandId, JobId, Timestamp};
use patching::{PatchBaseline, PatchOperation, RebootOption, RebootPolicy};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

pub(crate) const BOOT: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const NEXT_BOOT: &str = "22222222-2222-4222-8222-222222222222";

/// One package to be made.
#[derive(Clone, Default)]
pub(crate) struct Deb<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// Further control fields, a line each.
    pub(crate) fields: &'a str,
    /// Maintainer scripts: name and text.
    pub(crate) scripts: &'a [(&'a str, &'a str)],
}

pub(crate) fn deb<'a>(name: &'a str, version: &'a str) -> Deb<'a> {
    Deb { name, version, ..Deb::default() }
}

pub(crate) struct TestHost {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) host: HostRoot,
    /// Index of each suite: its Packages file so far.
    suites: Mutex<std::collections::BTreeMap<&'static str, String>>,
    pub(crate) address: String,
}

/// Whether this process may install into a root of its own. Says so where not; continuous integration fails then.
pub(crate) fn can_install() -> bool {
    let root = rustix_is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "these tests need root");
        eprintln!("SKIPPED: installing packages into a test root needs root");
    }
    root
}

fn rustix_is_root() -> bool {
    HostRoot::under("/nowhere", "/nowhere").privileged
}

impl TestHost {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for path in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/dpkg/triggers",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/log/apt",
            "etc/apt/apt.conf.d",
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "etc/apt/trusted.gpg.d",
            "usr/share",
            "run",
            "tmp",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        let os = "ID=debian\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        fs::write(root.join("etc/os-release"), os).unwrap();
        // Downloads as root, because the folder of a test is closed to others; scripts outside a chroot.
        let settings = "APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n\
                        DPkg::Options:: \"--force-script-chrootless\";\nDPkg::Options:: \"--force-unsafe-io\";\n\
                        Acquire::Retries \"0\";\n";
        fs::write(root.join("etc/apt/apt.conf.d/10test"), settings).unwrap();
        let repository = folder.path().join("repository");
        fs::create_dir_all(repository.join("pool")).unwrap();
        let address = serve(repository);
        let host = HostRoot { root, state_dir: folder.path().join("state"), privileged: true };
        let this = Self { folder, host, suites: Mutex::default(), address };
        this.write_sources(&["bookworm", "bookworm-security"]);
        // apt keeps no list of a suite that offers nothing.
        this.publish("bookworm", &[deb("unrelated", "1.0")]);
        this.publish("bookworm-security", &[deb("unrelated", "1.1")]);
        this
    }

    pub(crate) fn root(&self, path: &str) -> PathBuf {
        self.host.root.join(path)
    }

    pub(crate) fn write_sources(&self, suites: &[&str]) {
        let line = |suite: &&str| format!("deb [trusted=yes] http://{} {suite} main\n", self.address);
        let text: String = suites.iter().map(line).collect();
        fs::write(self.root("etc/apt/sources.list"), text).unwrap();
    }

    /// Makes packages and adds them to a suite.
    pub(crate) fn publish(&self, suite: &'static str, debs: &[Deb<'_>]) {
        let repository = self.folder.path().join("repository");
        let mut suites = self.suites.lock().unwrap();
        let packages = suites.entry(suite).or_default();
        for deb in debs {
            let file = build(&self.folder.path().join("build"), &repository.join("pool"), deb);
            let bytes = fs::read(&file).unwrap();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            packages.push_str(&format!(
                "{}Filename: pool/{name}\nSize: {}\nSHA256: {}\n\n",
                control(deb),
                bytes.len(),
                hex(&bytes)
            ));
        }
        let folder = repository.join("dists").join(suite);
        fs::create_dir_all(folder.join("main/binary-amd64")).unwrap();
        fs::write(folder.join("main/binary-amd64/Packages"), packages.as_bytes()).unwrap();
        let label = if suite.ends_with("-security") { "Debian-Security" } else { "Debian" };
        let release = format!(
            "Origin: Debian\nLabel: {label}\nSuite: {suite}\nCodename: {suite}\nDate: Sat, 21 Nov 2026 00:00:00 UTC\n\
             Architectures: amd64\nComponents: main\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            hex(packages.as_bytes()),
            packages.len()
        );
        fs::write(folder.join("Release"), release).unwrap();
    }

    /// Takes a package's file away from the repository, which still lists it.
    pub(crate) fn lose_file(&self, name: &str, version: &str) {
        let file = format!("{name}_{}_amd64.deb", version.replace(':', "%3a"));
        fs::remove_file(self.folder.path().join("repository/pool").join(file)).unwrap();
    }

    /// Installs a package behind apt's back, with dpkg.
    pub(crate) fn has_installed(&self, debs: &[Deb<'_>]) {
        let folder = self.folder.path().join("installed");
        fs::create_dir_all(&folder).unwrap();
        let files: Vec<PathBuf> =
            debs.iter().map(|deb| build(&self.folder.path().join("build"), &folder, deb)).collect();
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.host.root.display()));
        command.args(["--force-script-chrootless", "--force-unsafe-io", "-i"]).args(files);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The version and state of a package, as dpkg-query says: e.g. `2.0 installed`.
    pub(crate) fn dpkg_says(&self, name: &str) -> String {
        let admin = format!("--admindir={}", self.root("var/lib/dpkg").display());
        let output = Command::new("dpkg-query")
            .args([admin.as_str(), "-W", "-f=${Version} ${db:Status-Status}", name])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn mark_automatic(&self, names: &[&str]) {
        let stanza = |name: &&str| format!("Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n\n");
        let text: String = names.iter().map(stanza).collect();
        fs::write(self.root("var/lib/apt/extended_states"), text).unwrap();
    }

    pub(crate) fn automatic(&self) -> String {
        fs::read_to_string(self.root("var/lib/apt/extended_states")).unwrap_or_default()
    }

    pub(crate) fn job_dir(&self) -> PathBuf {
        self.folder.path().join("job")
    }

    /// How many package transactions the job has run.
    pub(crate) fn transactions(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.job_dir()) else { return 0 };
        let is_transaction = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("transaction-");
        entries.filter_map(Result::ok).filter(is_transaction).count()
    }

    pub(crate) fn run(&self, step: &agent_wire::PatchStep) -> (PatchOutcome, String) {
        self.run_in(step, BOOT, false)
    }

    pub(crate) fn run_in(&self, step: &agent_wire::PatchStep, boot_id: &str, resumed: bool) -> (PatchOutcome, String) {
        let mut log = Vec::new();
        let outcome = run_with(&self.host, &self.job_dir(), step, boot_id, resumed, &mut log, &|| false);
        (outcome, String::from_utf8_lossy(&log).into_owned())
    }
}

pub(crate) fn run_with(
    host: &HostRoot,
    job_dir: &Path,
    step: &agent_wire::PatchStep,
    boot_id: &str,
    resumed: bool,
    log: &mut dyn Write,
    cancelled: &dyn Fn() -> bool,
) -> PatchOutcome {
    let context = RunContext {
        job_id: &JobId::parse("0d0d0d0d-0d0d-4d0d-8d0d-0d0d0d0d0d0d").unwrap(),
        command_id: &CommandId::parse("0c0c0c0c-0c0c-4c0c-8c0c-0c0c0c0c0c0c").unwrap(),
        report_id: "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a".to_owned(),
        job_dir,
        boot_id,
        now: &now,
        resumed,
        reboot_policy: RebootPolicy::Needed,
        log,
        cancelled,
    };
    run_patch(host, step, context)
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// A step with the predefined baseline for Debian: every security update.
pub(crate) fn step(operation: PatchOperation, reboot_option: RebootOption) -> agent_wire::PatchStep {
    let baseline: PatchBaseline = patching::predefined_default(packages::OperatingSystem::Debian).unwrap();
    agent_wire::PatchStep {
        operation,
        reboot_option,
        baseline,
        patch_group: String::new(),
        snapshot_id: String::new(),
        reboot_policy: None,
    }
}

/// The state and reason of each package's row, as text: `Missing: approval rule 1 ...`.
pub(crate) fn row(outcome: &PatchOutcome, name: &str) -> String {
    let report = &outcome.report.as_ref().expect("a report").report;
    let row = report.rows.iter().find(|row| row.name == name).expect("a row");
    format!("{} {} {}", row.version, row.state.wire_name(), row.reason)
}

fn control(deb: &Deb<'_>) -> String {
    format!(
        "Package: {}\nVersion: {}\nArchitecture: amd64\nMaintainer: Test <test@example.org>\nPriority: optional\n\
         Section: misc\nInstalled-Size: 1\nDescription: made for a test\n{}",
        deb.name, deb.version, deb.fields
    )
}

fn build(scratch: &Path, into: &Path, deb: &Deb<'_>) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::remove_dir_all(scratch);
    let tree = scratch.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/share").join(deb.name)).unwrap();
    fs::write(tree.join("usr/share").join(deb.name).join("version"), deb.version).unwrap();
    fs::write(tree.join("DEBIAN/control"), control(deb)).unwrap();
    for (name, text) in deb.scripts {
        let path = tree.join("DEBIAN").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(tree.join("DEBIAN"), fs::Permissions::from_mode(0o755)).unwrap();
    // As repositories name them: the epoch's colon is written %3a.
    let file = into.join(format!("{}_{}_amd64.deb", deb.name, deb.version.replace(':', "%3a")));
    let output = Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "-b"]).arg(&tree).arg(&file).output();
    let output = output.expect("dpkg-deb");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves a folder over HTTP on loopback until the test process ends.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    address
}

fn answer(stream: TcpStream, folder: &Path) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::from("x");
        while !header.trim().is_empty() {
            header.clear();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        // apt asks for `%253a` where the file's name has `%3a`.
        let path = path.replace("%25", "%").replace("%2b", "+").replace("%7e", "~");
        let (status, body) = match fs::read(folder.join(path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body)).is_err() {
            return;
        }
    }
}
