//! The Debian roots that hosts of the lab stand on, built once and kept in a cache.
//!
//! A root is built under another name and renamed when it is whole; its name carries a digest of everything it was
//! made from and of the week, so that a half-built or stale one is never used.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::lab::{Host, HostOptions, HostPackages, Lab};
use crate::machine::AptSettings;
use crate::process::run_bounded;
use crate::repository::digest;

/// Raise it when what follows builds another root from the same settings.
const RECIPE: u32 = 1;

/// Likewise, for the layer of frozen packages.
const FROZEN_RECIPE: u32 = 2;

/// Beside the essential packages: what the tests and the agent use in a host.
const INCLUDED: &str = "ca-certificates,apt-utils,iproute2,procps";

/// How long mmdebstrap may take; alone on two cores it takes 20 seconds.
const BUILD_BOUND: Duration = Duration::from_secs(1200);

/// Roots not used for so long are removed.
const KEPT_WEEKS: u64 = 3;

const WEEK_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Where hosts get their files from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRoots {
    /// Debian bookworm as of its last point release, without security updates.
    pub base: PathBuf,
    /// What lies over it for [`HostPackages::Frozen`].
    pub frozen: Option<PathBuf>,
}

/// Where roots are kept: `CAREEN_TEST_CACHE`, else ~/.cache/careen-test.
///
/// # Errors
/// When there is neither that variable nor a home.
pub fn cache_directory() -> anyhow::Result<PathBuf> {
    if let Some(set) = std::env::var_os("CAREEN_TEST_CACHE").filter(|set| !set.is_empty()) {
        return Ok(PathBuf::from(set));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    Ok(PathBuf::from(home.context("HOME is not set; set CAREEN_TEST_CACHE")?).join(".cache/careen-test"))
}

/// The roots for this run: those that `cargo xtask test` names (`CAREEN_TEST_ROOT_BOOKWORM`,
/// `CAREEN_TEST_FROZEN_BOOKWORM`), else the last that it prepared.
///
/// # Errors
/// When there are none; the text says how to get them.
pub fn prepared_roots() -> anyhow::Result<LabRoots> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let roots = match named("CAREEN_TEST_ROOT_BOOKWORM") {
        Some(base) => LabRoots { base, frozen: named("CAREEN_TEST_FROZEN_BOOKWORM") },
        None => {
            let note = cache_directory()?.join("current.json");
            let text = fs::read(note).context("no Debian root is prepared for the lab: run `cargo xtask test`")?;
            serde_json::from_slice(&text)?
        }
    };
    for folder in [Some(&roots.base), roots.frozen.as_ref()].into_iter().flatten() {
        if !folder.is_dir() {
            bail!("{} is gone: run `cargo xtask test`", folder.display());
        }
    }
    Ok(roots)
}

/// Gives the base root of this week, and builds it if it is not in the cache.
///
/// # Errors
/// When mmdebstrap fails, or this machine's apt knows no Debian mirror.
pub fn prepare_base_root() -> anyhow::Result<PathBuf> {
    let settings = AptSettings::of_this_machine()?;
    let key = key(&format!("{RECIPE} {INCLUDED} {settings:?}"))?;
    cached("base", &key, |draft| {
        let mut command = Command::new("mmdebstrap");
        command.args(["--mode=root", "--format=directory", "--variant=minbase"]);
        command.arg(format!("--include={INCLUDED}"));
        for line in &settings.date_checks {
            command.arg(format!("--aptopt={}", line.trim_end_matches(';')));
        }
        if let Some(proxy) = &settings.proxy {
            command.arg(format!("--aptopt=Acquire::http::Proxy \"{proxy}\""));
        }
        command.arg("bookworm").arg(draft).arg(&settings.main_uri);
        run_bounded(&mut command, BUILD_BOUND)?.expect_success("mmdebstrap")?;
        configure_base(draft, &settings)
    })
}

/// What every host has, whatever its packages.
fn configure_base(root: &Path, settings: &AptSettings) -> anyhow::Result<()> {
    // A nameserver that cannot be reached costs seconds each time.
    fs::write(root.join("etc/resolv.conf"), "")?;
    // Packages must not start daemons when they are configured (invoke-rc.d(8), policy-rc.d).
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(&policy, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    // mmdebstrap's own settings, the proxy among them, were for the building only.
    let conf = root.join("etc/apt/apt.conf.d");
    let _ = fs::remove_file(conf.join("99mmdebstrap"));
    let lines = format!("{}\nAcquire::Languages \"none\";\n", settings.date_checks.join("\n"));
    fs::write(conf.join("90testkit"), lines)?;
    Ok(())
}

/// Gives the layer of frozen packages over `base`, and builds it in a lab if it is not in the cache.
///
/// # Errors
/// When the mirror cannot be reached or does not offer what its lists say.
pub fn prepare_frozen_layer(base: &Path) -> anyhow::Result<LabRoots> {
    let key = key(&format!("{FROZEN_RECIPE} {}", base.display()))?;
    let layer = cached("frozen", &key, |draft| {
        let lab = Lab::over(LabRoots { base: base.to_owned(), frozen: None })?;
        let host = lab.host("freezer", HostOptions { packages: HostPackages::Mirror })?;
        freeze(&host, draft)
    })?;
    let roots = LabRoots { base: base.to_owned(), frozen: Some(layer) };
    let cache = cache_directory()?;
    let draft = cache.join(format!("current.json.{}", std::process::id()));
    fs::write(&draft, serde_json::to_vec(&roots)?)?;
    fs::rename(&draft, cache.join("current.json"))?;
    Ok(roots)
}

/// The archives of a frozen layer, as folder under /srv/frozen and suite.
const FROZEN_SUITES: [(&str, &str); 3] =
    [("main", "bookworm"), ("main", "bookworm-updates"), ("security", "bookworm-security")];

/// Turns a host into one whose sources are files: the archives' own signed Release files and package lists, and
/// of the packages those that an upgrade would fetch. Copies what makes the difference to `draft`.
fn freeze(host: &Host, draft: &Path) -> anyhow::Result<()> {
    let sources = host.read_text("/etc/apt/sources.list")?;
    let uris: Vec<&str> = sources.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    host.shell("apt-get -qq update")?;
    let mut lines = String::new();
    let mut fetches = Vec::new();
    for ((folder, suite), uri) in FROZEN_SUITES.iter().zip(uris) {
        let target = format!("/srv/frozen/{folder}/dists/{suite}");
        let script = format!(
            "set -- /var/lib/apt/lists/*_dists_{suite}_InRelease; mkdir -p {target}/main/binary-amd64; \
             cp \"$1\" {target}/InRelease; cat \"$1\""
        );
        let hash = index_hash(&host.shell(&script)?).with_context(|| format!("Packages.xz of {suite}"))?;
        let from = format!("{uri}/dists/{suite}/main/binary-amd64/by-hash/SHA256/{hash}");
        fetches.extend([from, format!("{target}/main/binary-amd64/Packages.xz"), format!("SHA256:{hash}")]);
        lines.push_str(&format!("deb file:/srv/frozen/{folder} {suite} main\n"));
    }
    download(host, &fetches)?;
    host.write_file("/etc/apt/sources.list", &lines, 0o644)?;
    host.shell("rm -rf /var/lib/apt/lists/*; apt-get -qq update")?;
    let pending = host.shell("apt-get -qq --print-uris dist-upgrade")?;
    let settings = AptSettings::of_this_machine()?;
    let fetches = pending_fetches(&pending, &settings);
    if fetches.is_empty() {
        bail!("a fresh root has no pending updates: is the mirror's security archive empty?");
    }
    for fetch in fetches.chunks(3) {
        if let Some(folder) = fetch.get(1).and_then(|path| Path::new(path).parent()) {
            host.exec([Path::new("mkdir"), Path::new("-p"), folder])?.expect_success("mkdir")?;
        }
    }
    download(host, &fetches)?;
    host.shell("rm -f /var/cache/apt/*.bin; rm -rf /var/lib/apt/lists/partial/* /var/lib/apt/lists/auxfiles")?;
    for folder in ["srv/frozen", "var/lib/apt/lists", "etc/apt/sources.list"] {
        let to = draft.join(folder);
        fs::create_dir_all(to.parent().context("a parent")?)?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--no-target-directory"]).arg(host.root_path().join(folder)).arg(to);
        run_bounded(&mut copy, Duration::from_secs(300))?.expect_success("cp")?;
    }
    Ok(())
}

/// The SHA256 of Packages.xz in a Release file.
fn index_hash(release: &str) -> Option<String> {
    let hashes = release.split_once("\nSHA256:\n")?.1;
    hashes.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let hash = words.next()?;
        (words.nth(1)? == "main/binary-amd64/Packages.xz").then(|| hash.to_owned())
    })
}

/// From `'file:/srv/frozen/main/pool/x.deb' x.deb 10 SHA256:...` lines (apt-get(8), --print-uris): where from, where
/// to and the hash of each, which is empty where apt gives none. URIs are percent-encoded, file names are not.
fn pending_fetches(printed: &str, settings: &AptSettings) -> Vec<String> {
    let mut fetches = Vec::new();
    for line in printed.lines() {
        let mut words = line.split(' ');
        let Some(path) = words.next().and_then(|uri| uri.trim_matches('\'').strip_prefix("file:")) else { continue };
        let hash = words.nth(2).unwrap_or_default();
        let archives = [("/srv/frozen/main", &settings.main_uri), ("/srv/frozen/security", &settings.security_uri)];
        if let Some(from) = archives.iter().find_map(|(at, uri)| Some(format!("{uri}{}", path.strip_prefix(at)?))) {
            fetches.extend([from, percent_decoded(path), hash.to_owned()]);
        }
    }
    fetches
}

/// A path as the file system has it (RFC 3986, section 2.1). What is no escape stays as it is.
fn percent_decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(piece.bytes().skip(2));
            }
            None => {
                bytes.push(b'%');
                bytes.extend(piece.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fetches (from, to, hash) triples inside the host, over its proxy.
fn download(host: &Host, triples: &[String]) -> anyhow::Result<()> {
    let helper = ["/usr/lib/apt/apt-helper", "-qq", "download-file"].map(str::to_owned);
    let command = helper.iter().chain(triples);
    host.exec_bounded(command, BUILD_BOUND)?.expect_success("apt-helper download-file")?;
    Ok(())
}

/// A digest of what something is made from and of the week.
fn key(made_from: &str) -> anyhow::Result<String> {
    let week = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / WEEK_SECONDS;
    Ok(digest(format!("{week} {made_from}").as_bytes()).chars().take(16).collect())
}

/// The folder `kind`-`key` of the cache; built by `build` under another name first if it is not there.
fn cached(kind: &str, key: &str, build: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let cache = cache_directory()?;
    fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
    let lock = File::options().create(true).truncate(false).write(true).open(cache.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let whole = cache.join(format!("{kind}-{key}"));
    if whole.is_dir() {
        return Ok(whole);
    }
    remove_stale(&cache)?;
    let draft = cache.join(format!("draft-{kind}-{key}"));
    fs::create_dir(&draft)?;
    fs::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    build(&draft)?;
    fs::rename(&draft, &whole)?;
    Ok(whole)
}

/// Removes drafts (we hold the lock: nobody builds them) and what is some weeks old.
fn remove_stale(cache: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(cache)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kept = Duration::from_secs(KEPT_WEEKS * WEEK_SECONDS);
        let old = entry.metadata()?.created().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > kept));
        let ours = name.starts_with("base-") || name.starts_with("frozen-");
        if name.starts_with("draft-") || (ours && old) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_found_among_the_hashes() {
        let release = "Origin: Debian\nMD5Sum:\n 00 5 main/binary-amd64/Packages.xz\nSHA256:\n \
                       11 9 main/binary-amd64/Packages\n 22 5 main/binary-amd64/Packages.xz\n";
        assert_eq!(index_hash(release).as_deref(), Some("22"));
        assert_eq!(index_hash("Origin: Debian\n"), None);
    }

    #[test]
    fn pending_packages_are_fetched_from_their_archive() {
        let settings = AptSettings {
            main_uri: "http://m.example/debian".to_owned(),
            security_uri: "http://m.example/debian-security".to_owned(),
            proxy: None,
            date_checks: Vec::new(),
        };
        let printed = "'file:/srv/frozen/security/pool/main/o/o_1.deb' o_1_amd64.deb 12 SHA256:ab\nother\n\
                       'file:/srv/frozen/main/pool/p/p_1%2b1%7e2.deb' p_1+1~2_amd64.deb 12";
        assert_eq!(
            pending_fetches(printed, &settings),
            [
                "http://m.example/debian-security/pool/main/o/o_1.deb",
                "/srv/frozen/security/pool/main/o/o_1.deb",
                "SHA256:ab",
                "http://m.example/debian/pool/p/p_1%2b1%7e2.deb",
                "/srv/frozen/main/pool/p/p_1+1~2.deb",
                ""
            ]
        );
    }
}
