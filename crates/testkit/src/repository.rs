//! Small apt repositories of real packages, made in the test: what is installed, offered, signed, held back or slow
//! is then the test's own choice (format: <https://wiki.debian.org/DebianRepository/Format>).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::process::run_bounded;

const BOUND: Duration = Duration::from_secs(60);

/// One version of a package, to be built as a real .deb.
#[derive(Debug, Clone)]
pub struct SmallPackage {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    scripts: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl SmallPackage {
    /// An empty package for every architecture; its one file, /usr/share/NAME/version, holds the version.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            fields: Vec::new(),
            scripts: Vec::new(),
            files: vec![(format!("usr/share/{name}/version"), version.to_owned())],
        }
    }

    /// For this architecture only.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// With one more control field (`Depends`, `Source`, `Priority`, `Phased-Update-Percentage`, ...).
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a maintainer script (`preinst`, `postinst`, `prerm`, `postrm`), run by `sh -e`.
    #[must_use]
    pub fn script(mut self, name: &str, body: &str) -> Self {
        self.scripts.push((name.to_owned(), format!("#!/bin/sh\nset -e\n{body}\n")));
        self
    }

    /// With one more file.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.trim_start_matches('/').to_owned(), text.to_owned()));
        self
    }

    /// What the .deb is called; the colon of an epoch is written as apt does.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Builds the .deb into `folder` and gives its path.
    ///
    /// # Errors
    /// When dpkg-deb refuses it.
    pub fn build(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let tree = tempfile::tempdir()?;
        for (path, text) in &self.files {
            write(&tree.path().join(path), text, 0o644)?;
        }
        write(&tree.path().join("DEBIAN/control"), &self.control(), 0o644)?;
        for (name, body) in &self.scripts {
            write(&tree.path().join("DEBIAN").join(name), body, 0o755)?;
        }
        // A temporary folder is closed to others, and the package's own root would be too.
        set_mode(tree.path(), 0o755)?;
        let deb = folder.join(self.file_name());
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(tree.path()).arg(&deb);
        run_bounded(&mut command, BOUND)?.expect_success("dpkg-deb")?;
        Ok(deb)
    }

    fn control(&self) -> String {
        let mut control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@localhost>\n",
            self.name, self.version, self.architecture
        );
        for (name, value) in &self.fields {
            let _ = writeln!(control, "{name}: {value}");
        }
        control.push_str("Description: made in a test\n");
        control
    }
}

/// A repository to be built: its Release file's fields, its packages.
#[derive(Debug, Clone)]
pub struct SmallRepository {
    name: String,
    codename: String,
    release_fields: Vec<(String, String)>,
    packages: Vec<SmallPackage>,
    compression: String,
    signed: bool,
}

impl SmallRepository {
    /// An empty one that says it is Debian's main archive of bookworm. `name` is that of its folder.
    #[must_use]
    pub fn main(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            codename: "bookworm".to_owned(),
            release_fields: vec![
                ("Origin".to_owned(), "Debian".to_owned()),
                ("Label".to_owned(), "Debian".to_owned()),
                ("Suite".to_owned(), "oldstable".to_owned()),
            ],
            packages: Vec::new(),
            compression: "gz".to_owned(),
            signed: false,
        }
    }

    /// An empty one that says it is Debian's security archive of bookworm.
    #[must_use]
    pub fn security(name: &str) -> Self {
        let mut repository = Self::main(name).label("Debian-Security").release_field("Suite", "oldstable-security");
        repository.codename = "bookworm-security".to_owned();
        repository
    }

    /// With another codename, which is also its folder under dists.
    #[must_use]
    pub fn codename(mut self, codename: &str) -> Self {
        self.codename = codename.to_owned();
        self
    }

    /// With another label.
    #[must_use]
    pub fn label(self, label: &str) -> Self {
        self.release_field("Label", label)
    }

    /// With a field of its Release file set (`Origin`, `NotAutomatic`, `Valid-Until`, ...).
    #[must_use]
    pub fn release_field(mut self, name: &str, value: &str) -> Self {
        self.release_fields.retain(|(known, _)| known != name);
        self.release_fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With one more package.
    #[must_use]
    pub fn package(mut self, package: SmallPackage) -> Self {
        self.packages.push(package);
        self
    }

    /// With its Packages file compressed as `gz` (unless said otherwise), `xz`, or not at all (empty).
    #[must_use]
    pub fn compression(mut self, suffix: &str) -> Self {
        self.compression = suffix.to_owned();
        self
    }

    /// Signed with a key of its own (needs gpg), instead of trusted without a signature.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Builds it under `folder`, in place of a former one.
    ///
    /// # Errors
    /// When dpkg-deb, a compressor or gpg fails.
    pub fn build(&self, folder: &Path) -> anyhow::Result<BuiltRepository> {
        let root = folder.join(&self.name);
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let pool = root.join("pool");
        fs::create_dir_all(&pool)?;
        let mut packages = String::new();
        for package in &self.packages {
            let bytes = fs::read(package.build(&pool)?)?;
            let file_name = package.file_name();
            let (size, hash) = (bytes.len(), digest(&bytes));
            let _ =
                writeln!(packages, "{}Filename: pool/{file_name}\nSize: {size}\nSHA256: {hash}\n", package.control());
        }
        let dists = root.join("dists").join(&self.codename);
        let index = dists.join("main/binary-amd64/Packages");
        write(&index, &packages, 0o644)?;
        match self.compression.as_str() {
            "" => {}
            suffix @ ("gz" | "xz") => {
                let program = if suffix == "gz" { "gzip" } else { "xz" };
                run_bounded(Command::new(program).arg(&index), BOUND)?.expect_success(program)?;
            }
            other => bail!("not a compression of this builder: {other}"),
        }
        write(&dists.join("Release"), &self.release(&dists, &packages)?, 0o644)?;
        let key = root.join("key.gpg");
        if self.signed {
            sign(&dists, &key)?;
        }
        Ok(BuiltRepository { name: self.name.clone(), codename: self.codename.clone(), folder: root })
    }

    fn release(&self, dists: &Path, packages: &str) -> anyhow::Result<String> {
        let mut date = Command::new("date");
        date.env("LC_ALL", "C").args(["-u", "+%a, %d %b %Y %H:%M:%S UTC"]);
        let date = run_bounded(&mut date, BOUND)?.expect_success("date")?;
        let mut release = format!("Codename: {}\nDate: {date}\n", self.codename);
        for (name, value) in &self.release_fields {
            let _ = writeln!(release, "{name}: {value}");
        }
        release.push_str("Architectures: amd64 all\nComponents: main\nSHA256:\n");
        let mut entries = vec![("main/binary-amd64/Packages".to_owned(), packages.as_bytes().to_vec())];
        if !self.compression.is_empty() {
            let path = format!("main/binary-amd64/Packages.{}", self.compression);
            let bytes = fs::read(dists.join(&path))?;
            entries.push((path, bytes));
        }
        for (path, bytes) in entries {
            let _ = writeln!(release, " {} {} {path}", digest(&bytes), bytes.len());
        }
        Ok(release)
    }
}

/// A repository on disk.
#[derive(Debug, Clone)]
pub struct BuiltRepository {
    name: String,
    codename: String,
    folder: PathBuf,
}

impl BuiltRepository {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its codename: the folder under dists.
    #[must_use]
    pub fn codename(&self) -> &str {
        &self.codename
    }

    /// Where it lies on the machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its public key, if it is signed.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn key_bytes(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.folder.join("key.gpg");
        if path.exists() { Ok(Some(fs::read(path)?)) } else { Ok(None) }
    }
}

/// Signs the Release file of `dists` with a new key and writes its public half to `key`.
fn sign(dists: &Path, key: &Path) -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(home.path()).args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", ""]).args(arguments).current_dir(dists);
        run_bounded(&mut command, BOUND).context("gpg (gnupg) is needed")?.expect_success("gpg")
    };
    gpg(&["--quick-generate-key", "test@localhost", "ed25519", "sign", "never"])?;
    gpg(&["--clearsign", "--output", "InRelease", "Release"])?;
    gpg(&["--export", "--output", &key.to_string_lossy()])?;
    // The agent that gpg started for this home ends with it.
    let mut end = Command::new("gpgconf");
    run_bounded(end.arg("--homedir").arg(home.path()).args(["--kill", "all"]), BOUND)?.expect_success("gpgconf")?;
    Ok(())
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(())
}
