//! The PostgreSQL server of one test run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{is_root, run_bounded, wait_until};

use crate::machine::{program, succeeds};

const BOUND: Duration = Duration::from_secs(120);

/// What the folders of these servers are called; the owner's process id follows.
const FOLDER_PREFIX: &str = "careen-postgres-";

/// Less memory than this is left alone: containers often have 64 MiB there, and each test database takes 8.
const ROOM_BYTES_MIN: u64 = 4 << 30;

/// The superuser inside the server.
const SUPERUSER: &str = "postgres";

/// The folder with `initdb` and `postgres`: Debian keeps them off the path, one folder for each version.
pub(crate) fn binaries() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .collect();
    versions.sort();
    let on_path = || program("initdb").and_then(|initdb| initdb.parent().map(Path::to_owned));
    let newest = versions.pop().map(|(_, folder)| folder);
    newest.or_else(on_path).filter(|_| program("psql").is_some()).context("no initdb, postgres and psql")
}

/// A running server. It listens on a socket only; its data are gone with it.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) url: String,
}

impl Server {
    /// Makes a cluster and starts it; as another user when this is root, which PostgreSQL refuses.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let binaries = binaries()?;
        let user = if is_root() { Some(User::without_rights()?) } else { None };
        let folder = new_folder(user.as_ref())?;
        let data = folder.join("data");
        let mut initdb = as_user(user.as_ref(), &binaries.join("initdb"));
        initdb.arg("--pgdata").arg(&data).args(["--username", SUPERUSER, "--auth", "trust", "--no-sync"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C.UTF-8"]).current_dir(&folder);
        run_bounded(&mut initdb, BOUND)?.expect_success("initdb")?;
        let mut postgres = as_user(user.as_ref(), &binaries.join("postgres"));
        postgres.arg("-D").arg(&data).arg("-k").arg(&folder);
        // Nothing of it is to outlive the run; many tests connect at once.
        let settings = ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"];
        for setting in settings.iter().chain(&["max_connections=300", "unix_socket_permissions=0777"]) {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(folder.join("log"))?;
        postgres.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&folder);
        // Ctrl-C is for the test runner; this ends the server when the tests have ended.
        let child = postgres.process_group(0).spawn().context("cannot start postgres")?;
        let url = format!("postgres://{SUPERUSER}@localhost/postgres?host={}", folder.display());
        let server = Self { child, folder, url };
        let up = wait_until("PostgreSQL to answer", BOUND, || {
            succeeds("psql", &["--no-psqlrc", "--quiet", "--command", "SELECT 1", &server.url])
        });
        up.with_context(|| fs::read_to_string(server.folder.join("log")).unwrap_or_default())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // "Fast shutdown" (postgres(1)): without waiting for clients.
            let _ = kill_process(pid, Signal::INT);
        }
        let ended =
            wait_until("PostgreSQL to end", Duration::from_secs(20), || matches!(self.child.try_wait(), Ok(Some(_))));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} should be removed: {error}", self.folder.display());
        }
    }
}

/// A user whose rights the server gets.
struct User {
    id: String,
    group: String,
}

impl User {
    /// `postgres`, where there is one, else `nobody`.
    fn without_rights() -> anyhow::Result<Self> {
        let users = fs::read_to_string("/etc/passwd")?;
        ["postgres", "nobody"].iter().find_map(|name| Self::named(&users, name)).context("no user postgres or nobody")
    }

    fn named(users: &str, name: &str) -> Option<Self> {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
        Some(Self { id: fields.nth(2)?.to_owned(), group: fields.next()?.to_owned() })
    }
}

fn as_user(user: Option<&User>, program: &Path) -> Command {
    // The server must not outlive this process, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if let Some(user) = user {
        command.args(["--reuid", &user.id, "--regid", &user.group, "--clear-groups"]);
    }
    command.arg(program).env("LC_ALL", "C.UTF-8");
    command
}

/// A folder for data and socket, in memory where there is room, owned by the server's user.
fn new_folder(user: Option<&User>) -> anyhow::Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let place = if room_bytes(memory) >= ROOM_BYTES_MIN { memory.to_owned() } else { std::env::temp_dir() };
    remove_leftovers(&place)?;
    let folder = place.join(format!("{FOLDER_PREFIX}{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    if let Some(user) = user {
        let (id, group) = (user.id.parse()?, user.group.parse()?);
        std::os::unix::fs::chown(&folder, Some(id), Some(group))?;
    }
    if folder.as_os_str().len() > 80 {
        bail!("{} is too long for a socket's folder (unix(7))", folder.display());
    }
    Ok(folder)
}

/// How much may still be written there; nothing where there is no such place.
fn room_bytes(place: &Path) -> u64 {
    rustix::fs::statvfs(place).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Removes the folders of runs whose process is gone.
fn remove_leftovers(place: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(place)?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be removing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_the_list() {
        let users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\n";
        let user = User::named(users, "nobody").unwrap();
        assert_eq!((user.id.as_str(), user.group.as_str()), ("65534", "65533"));
        assert!(User::named(users, "postgres").is_none());
    }
}
