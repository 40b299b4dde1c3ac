//! The node's own policy file: where it lies, whose it must be, and what it says of a job now.
//!
//! It is read again for every order, so a change holds at once. A file that cannot be used forbids everything: whoever wrote one
//! did not mean to allow all.

use agent_wire::{Job, StepAction};
use patching::{PatchOperation, RebootOption};
use policy::{Asked, Limits, LocalTime, NodePolicy, POLICY_BYTES_MAX};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The policy of the host, for every agent that has none in its data folder.
const HOST_POLICY: &str = "/etc/careen-agent/policy.toml";

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InForce {
    /// There is no file: everything is allowed, within the default limits.
    Nothing,
    /// What this file says.
    File(PathBuf, NodePolicy),
    /// This file cannot be used, so everything is forbidden; why, for people.
    Broken(PathBuf, String),
}

/// Finds and reads the policy of the agent with a data folder.
pub(crate) fn in_force(data_directory: &Path) -> InForce {
    in_force_of(&[data_directory.join("policy.toml"), PathBuf::from(HOST_POLICY)])
}

fn in_force_of(paths: &[PathBuf]) -> InForce {
    for path in paths {
        match read(path) {
            Ok(None) => {}
            Ok(Some(policy)) => return InForce::File(path.clone(), policy),
            Err(reason) => return InForce::Broken(path.clone(), reason),
        }
    }
    InForce::Nothing
}

/// Reads a policy file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<NodePolicy>, String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return match std::fs::symlink_metadata(path) {
                Ok(_) => Err("it is a link to a file that is not there".to_owned()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e.to_string()),
            };
        }
        Err(e) => return Err(e.to_string()),
    };
    let own = rustix::process::geteuid().as_raw();
    // The file that was opened, whatever its name means by now; and the folder, for whoever may write there replaces it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
    let real_folder = real.parent().unwrap_or(Path::new("/"));
    for (what, found) in [
        ("it", file.metadata()),
        ("its folder", std::fs::metadata(folder)),
        ("the folder it lies in", std::fs::metadata(real_folder)),
    ] {
        let found = found.map_err(|e| e.to_string())?;
        if found.uid() != own && found.uid() != 0 {
            return Err(format!("{what} belongs to another user; it must be root's: chown root"));
        }
        if found.mode() & 0o022 != 0 {
            return Err(format!("{what} may be written by others; chmod go-w"));
        }
    }
    let mut text = Vec::new();
    let bounded = (&mut file).take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut text);
    bounded.map_err(|e| e.to_string())?;
    let text = String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    NodePolicy::parse(&text).map(Some).map_err(|e| e.to_string())
}

impl InForce {
    /// Whether a job may run now.
    ///
    /// # Errors
    /// Why not, as a sentence that names the file and the rule.
    pub(crate) fn judge(&self, job: &Job) -> Result<(), String> {
        match self {
            Self::Nothing => Ok(()),
            Self::File(path, policy) => {
                let denied = policy.judge(&asked(job), local_time());
                denied.map_err(|denied| format!("{denied} [{}]", path.display()))
            }
            Self::Broken(path, reason) => Err(broken(path, reason)),
        }
    }

    /// Why the host may not be rebooted, if it may not.
    pub(crate) fn reboot_denied(&self) -> Option<String> {
        match self {
            Self::File(path, policy) if !policy.reboot => {
                Some(format!("The node's policy forbids it (reboot = false) [{}].", path.display()))
            }
            Self::Broken(path, reason) => Some(broken(path, reason)),
            Self::Nothing | Self::File(..) => None,
        }
    }

    /// What scripts may use of the host.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::File(_, policy) => policy.limits,
            Self::Nothing | Self::Broken(..) => Limits::default(),
        }
    }

    /// What it restricts, in one line; empty where everything is allowed.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::File(_, policy) => policy.summary(),
            Self::Broken(path, reason) => format!("{} cannot be used, so nothing is allowed: {reason}", path.display()),
        }
    }
}

fn broken(path: &Path, reason: &str) -> String {
    let path = path.display();
    format!(
        "The node's policy cannot be read, so everything is forbidden: {path}: {reason}. See: careen-agent policy check"
    )
}

fn asked(job: &Job) -> Asked<'_> {
    let mut asked = Asked { document: &job.document_name, shell: false, installs: false, may_reboot: false };
    for step in &job.steps {
        match &step.action {
            StepAction::RunShellScript { .. } => asked.shell = true,
            StepAction::Patch(patch) if patch.operation == PatchOperation::Install => {
                asked.installs = true;
                asked.may_reboot |= patch.reboot_option != RebootOption::NoReboot;
            }
            StepAction::Patch(_) | StepAction::Skip { .. } => {}
        }
    }
    asked
}

/// Now, on this host's clocks on the wall.
fn local_time() -> LocalTime {
    let now = jiff::Zoned::now();
    let day = u8::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    let minute = i16::from(now.hour()) * 60 + i16::from(now.minute());
    LocalTime::new(day, u16::try_from(minute).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_wire::Step;
    use identifiers::{CommandId, JobId};
    use std::os::unix::fs::PermissionsExt;

    fn job(document: &str, actions: Vec<StepAction>) -> Job {
        let id = "11111111-2222-4333-8444-555555555555";
        let step = |action| Step { name: "a".to_owned(), plugin: "a".to_owned(), timeout_seconds: 1, action };
        Job {
            job_id: JobId::parse(id).unwrap(),
            command_id: CommandId::parse(id).unwrap(),
            document_name: document.to_owned(),
            steps: actions.into_iter().map(step).collect(),
        }
    }

    fn script() -> StepAction {
        StepAction::RunShellScript { lines: Vec::new(), working_directory: String::new() }
    }

    fn write(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("policy.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn the_first_file_counts_and_none_allows_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let other = folder.path().join("other.toml");
        assert_eq!(in_force_of(&[path.clone(), other.clone()]), InForce::Nothing);
        assert_eq!(InForce::Nothing.judge(&job("Any", vec![script()])), Ok(()));
        write(folder.path(), "shell = false");
        std::fs::copy(&path, &other).unwrap();
        assert!(matches!(in_force_of(&[path.clone(), other.clone()]), InForce::File(found, _) if found == path));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(in_force_of(&[path, other.clone()]), InForce::File(found, _) if found == other));
    }

    #[test]
    fn a_job_is_measured_by_what_its_steps_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "shell = false");
        let policy = in_force_of(std::slice::from_ref(&path));
        let denied = policy.judge(&job("Any", vec![script()])).unwrap_err();
        let expected =
            format!("The node's policy forbids it (shell = false): it allows no scripts. [{}]", path.display());
        assert_eq!(denied, expected);
        let skipped = StepAction::Skip { reason: String::new() };
        assert_eq!(policy.judge(&job("Any", vec![skipped])), Ok(()));
        assert_eq!(policy.reboot_denied(), None);
        assert_eq!(policy.summary(), "no scripts");
    }

    #[test]
    fn a_file_that_cannot_be_used_forbids_everything_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        for (text, mode, said) in [
            ("shell = maybe", 0o600, "line 1"),
            ("", 0o602, "may be written by others"),
            ("", 0o620, "may be written by others"),
        ] {
            let path = write(folder.path(), text);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let policy = in_force_of(&[path]);
            let denied = policy.judge(&job("Any", Vec::new())).unwrap_err();
            assert!(denied.contains(said) && denied.contains("everything is forbidden"), "{denied}");
            assert!(policy.summary().contains(said) && policy.reboot_denied().is_some());
        }
        write(folder.path(), "");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let policy = in_force_of(&[folder.path().join("policy.toml")]);
        assert!(policy.summary().contains("its folder may be written by others"), "{}", policy.summary());
    }

    #[test]
    fn the_local_time_is_one_of_a_week() {
        assert!(local_time().minute < 1440);
    }
}
