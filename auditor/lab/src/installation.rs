//! The two node programs, installed on the lab's node as a cluster would do it: the agent with the kernel's privileges,
//! the exporter with none.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::error::LabError;
use crate::lab::{Inner, Lab};
use crate::program::Program;

const AGENT: &str = "podwitness-agent";
const EXPORTER: &str = "podwitness-exporter";
/// `nobody` and its group: the exporter's user, and the group that shares the spool.
const UNPRIVILEGED: u32 = 65534;

/// Where the two programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `podwitness-agent`.
    pub agent: PathBuf,
    /// `podwitness-exporter`.
    pub exporter: PathBuf,
}

/// The programs' folders and their configuration on the lab's node.
#[derive(Debug)]
pub struct Installation {
    lab: Arc<Inner>,
    settings: Value,
    agent_listen: SocketAddr,
    exporter_listen: SocketAddr,
}

impl Programs {
    /// Those beside the executable that is running; a test's own lies one folder deeper.
    pub fn beside_this() -> Result<Self, LabError> {
        let this = std::env::current_exe().map_err(LabError::system("tell where this program is"))?;
        let folder = this.parent().unwrap_or(Path::new("/"));
        let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        Self::in_folder(folder)
    }

    /// Those in `folder`.
    pub fn in_folder(folder: &Path) -> Result<Self, LabError> {
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                let folder = folder.display();
                Err(LabError::Unusable(format!("{name} is not in {folder}: build it with `cargo build -p {name}`")))
            }
        };
        Ok(Self { agent: find(AGENT)?, exporter: find(EXPORTER)? })
    }
}

impl Lab {
    /// Installs the programs, with a configuration that keeps everything in the lab's folder and writes evidence soon.
    /// Evidence goes to `evidence`, a folder that is there and will belong to the exporter's user, or into the lab's
    /// own folder.
    pub fn install(&self, programs: &Programs, evidence: Option<&Path>) -> Result<Installation, LabError> {
        let root = self.path();
        require_open_way(root)?;
        for (name, mode, owner, group) in [
            ("bin", 0o755, 0, 0),
            ("log", 0o755, 0, 0),
            ("spool", 0o2770, 0, UNPRIVILEGED),
            ("key", 0o700, UNPRIVILEGED, UNPRIVILEGED),
            ("evidence", 0o755, UNPRIVILEGED, UNPRIVILEGED),
        ] {
            let path = root.join(name);
            fs::create_dir(&path).map_err(LabError::path("create", &path))?;
            own(&path, mode, owner, group)?;
        }
        for (name, program) in [(AGENT, &programs.agent), (EXPORTER, &programs.exporter)] {
            put(program, &root.join("bin").join(name))?;
        }
        if let Some(folder) = evidence {
            own(folder, 0o755, UNPRIVILEGED, UNPRIVILEGED)?;
            bind(folder, &root.join("evidence"))?;
        }
        let agent_listen = SocketAddr::from(([127, 0, 0, 1], 9464));
        let exporter_listen = SocketAddr::from(([127, 0, 0, 1], 9465));
        let settings = json!({
            "cluster": "lab",
            "node": self.node().name(),
            "source": {"directory": self.cluster_path()},
            "endpoints": {"netns": self.netns_path()},
            "store": {"url": root.join("evidence")},
            "spool": {"path": root.join("spool")},
            "bpffs": self.bpffs_path().join("podwitness"),
            "batch": {"maxAge": "500ms"},
            "seal": {"keyFile": root.join("key/node.key")},
            "privacy": {"hmacKeyFile": root.join("privacy/hmac.key")},
            "listen": {"agent": agent_listen, "exporter": exporter_listen},
            "log": {"format": "text", "level": "info"},
        });
        Ok(Installation { lab: Arc::clone(&self.inner), settings, agent_listen, exporter_listen })
    }
}

impl Installation {
    /// Sets a key of the configuration by its path, such as `batch.maxAge`. It holds for what is started from now on.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.settings;
        for part in key.split('.') {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[part];
        }
        *place = value.into();
        self
    }

    /// The configuration file, once a program was started.
    pub fn configuration_path(&self) -> PathBuf {
        self.root().join("podwitness.yaml")
    }

    /// The evidence root.
    pub fn evidence_path(&self) -> PathBuf {
        self.root().join("evidence")
    }

    /// The spool's folder.
    pub fn spool_path(&self) -> PathBuf {
        self.root().join("spool")
    }

    /// Starts the agent on the node, as root.
    pub fn start_agent(&self) -> Result<Program, LabError> {
        self.start_agent_with(|_| {})
    }

    /// Starts the agent with more arguments or variables than it has otherwise.
    pub fn start_agent_with(&self, more: impl FnOnce(&mut Command)) -> Result<Program, LabError> {
        self.start(AGENT, self.agent_listen, more)
    }

    /// Starts the agent on the node as a container would: root, in the group that shares the spool and in no other, with
    /// these capabilities alone (their numbers of `capabilities(7)`).
    pub fn start_agent_confined_to(&self, capabilities: &[u32]) -> Result<Program, LabError> {
        let kept = capabilities.iter().fold(0_u64, |kept, capability| kept | 1 << capability);
        self.start(AGENT, self.agent_listen, |command| {
            command.gid(UNPRIVILEGED);
            // SAFETY: between fork and exec the closure makes system calls, and allocates and locks nothing.
            unsafe { command.pre_exec(move || confine(kept)) };
        })
    }

    /// Starts the exporter on the node, as `nobody`: the change of user takes its capabilities, and nothing that it
    /// executes can give it new ones. (The agent cannot gain any either, but has all.)
    pub fn start_exporter(&self) -> Result<Program, LabError> {
        self.start_exporter_with(|_| {})
    }

    /// Starts the exporter with more arguments or variables than it has otherwise.
    pub fn start_exporter_with(&self, more: impl FnOnce(&mut Command)) -> Result<Program, LabError> {
        self.start(EXPORTER, self.exporter_listen, |command| {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
            more(command);
        })
    }

    fn start(
        &self,
        name: &'static str,
        listen: SocketAddr,
        adapt: impl FnOnce(&mut Command),
    ) -> Result<Program, LabError> {
        self.write_configuration()?;
        let log = self.root().join("log").join(format!("{name}.log"));
        let output = OpenOptions::new().create(true).append(true).open(&log).map_err(LabError::path("open", &log))?;
        let errors = output.try_clone().map_err(LabError::path("open", &log))?;
        let program = self.root().join("bin").join(name);
        let mut command = Command::new(&program);
        command
            .arg("--config")
            .arg(self.configuration_path())
            .env_clear()
            .current_dir(self.root())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C is for the program that made the lab, which then stops these in order.
            .process_group(0);
        adapt(&mut command);
        let bind_fate = || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(prctl::set_no_new_privs()?)
        };
        // SAFETY: between fork and exec the closure makes two system calls, and allocates and locks nothing. It runs
        // after the change of user, which would undo the parent-death signal.
        unsafe { command.pre_exec(bind_fate) };
        let child = self.lab.node.spawn_kept(command).map_err(LabError::path("start", &program))?;
        Ok(Program::new(name, child, listen, log, Arc::clone(&self.lab)))
    }

    fn write_configuration(&self) -> Result<(), LabError> {
        let path = self.configuration_path();
        let text = serde_saphyr::to_string(&self.settings)
            .map_err(|error| LabError::Unusable(format!("the configuration cannot be written as YAML: {error}")))?;
        // A program that was started before may be reading it at this moment.
        let unfinished = path.with_extension("yaml.new");
        fs::write(&unfinished, text).map_err(LabError::path("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(LabError::path("write", &path))?;
        own(&path, 0o644, 0, 0)
    }

    fn root(&self) -> &Path {
        self.lab.folder.path()
    }
}

/// Leaves this process no other group than its own, and those of all capabilities that are `kept`, a bit each, once it executes
/// a program.
fn confine(kept: u64) -> io::Result<()> {
    // SAFETY: of no groups there is nothing to point to.
    if unsafe { libc::setgroups(0, std::ptr::null()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for capability in (0..u64::BITS).filter(|capability| kept & 1 << capability == 0) {
        // SAFETY: the call takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            // The kernel has no capability of this number, nor of a higher one.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Everybody must be able to come to the lab's folder, because the exporter is nobody.
fn require_open_way(root: &Path) -> Result<(), LabError> {
    for folder in root.ancestors() {
        let mode = fs::metadata(folder).map_err(LabError::path("look at", folder))?.permissions().mode();
        if mode & 0o001 == 0 {
            return Err(LabError::Unusable(format!(
                "the temporary folder is not open to other users ({} has mode {:o}): set TMPDIR to one that is, such as /tmp",
                folder.display(),
                mode & 0o7777
            )));
        }
    }
    Ok(())
}

/// Makes a program everybody's to run: bound, because the exporter's user may not come to where it is (a home folder is
/// often closed), or copied where that user could not read it there either.
fn put(program: &Path, at: &Path) -> Result<(), LabError> {
    let mode = fs::metadata(program).map_err(LabError::path("look at", program))?.permissions().mode();
    if mode & 0o005 == 0o005 {
        File::create_new(at).map_err(LabError::path("create", at))?;
        bind(program, at)
    } else {
        fs::copy(program, at).map_err(LabError::path("copy", program))?;
        own(at, 0o755, 0, 0)
    }
}

fn own(path: &Path, mode: u32, owner: u32, group: u32) -> Result<(), LabError> {
    // In this order, because a change of owner clears the set-group-id bit.
    chown(path, Some(owner), Some(group)).map_err(LabError::path("change the owner of", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(LabError::path("change the mode of", path))
}

fn bind(what: &Path, at: &Path) -> Result<(), LabError> {
    mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(LabError::path_errno("bind into the lab", what))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::require_open_way;

    #[test]
    fn a_temporary_folder_that_the_exporter_could_not_come_to_is_named() {
        let closed = tempfile::tempdir().unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
        let error = require_open_way(&inner).unwrap_err().to_string();
        assert!(error.contains(&format!("({} has mode 700): set TMPDIR", closed.path().display())), "{error}");
        fs::set_permissions(closed.path(), Permissions::from_mode(0o711)).unwrap();
        require_open_way(&inner).unwrap();
    }
}
