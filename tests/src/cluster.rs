//! A cluster of `tests/cluster`, its commands and how they are run; `kubectl` there or on a developer's own cluster.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, process};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::NetNs;
use serde_json::{Value, json};

/// A running cluster. It ends, and its folder goes, on drop.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    /// Ends the cluster when this program ends, however it ends: then its standard input is closed.
    end: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.end.stdin.take());
        // It says itself what it cannot do.
        let _ = self.end.wait();
    }
}

impl Cluster {
    /// Starts one with these arguments of `up`, in a temporary folder named with this `name`.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Self> {
        let folder = env::temp_dir().join(format!("{name}-{}", process::id()));
        let end = Command::new("bash")
            .args(["-c", r#"read -r _; exec "$1" -C "$2""#, "bash"])
            .args([&script("down"), &folder])
            .stdin(Stdio::piped())
            // Ctrl-C is for this program, whose end is then its own.
            .process_group(0)
            .spawn()?;
        let cluster = Self { folder, end };
        run(cluster.command("up").args(arguments))?;
        Ok(cluster)
    }

    /// A command of `tests/cluster`, on this cluster.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(script(name));
        command.arg("-C").arg(&self.folder);
        command
    }

    /// Its administrator.
    pub fn administrator(&self) -> Administrator {
        Administrator(vec![script("kubectl").into(), "-C".into(), self.folder.clone().into()])
    }

    /// `kubectl`, and what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.administrator().kubectl(arguments)
    }

    /// `kubectl` with a text on its standard input, and what it prints.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.administrator().kubectl_with(arguments, input)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The number of its first process, in this machine's `/proc`.
    pub fn first_process(&self) -> Result<u32> {
        let path = self.folder.join("pid");
        let number = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        number.trim().parse().with_context(|| format!("{} holds no number", path.display()))
    }

    /// The network namespace of its control plane.
    pub fn netns(&self) -> Result<NetNs> {
        Ok(NetNs::open(Path::new("/proc").join(self.first_process()?.to_string()).join("ns/net"))?)
    }
}

/// `kubectl` as the administrator of a cluster: the program, and the arguments that come first.
#[derive(Clone, Debug)]
pub struct Administrator(Vec<OsString>);

impl Administrator {
    /// Of the cluster that this file says is the current one, by the `kubectl` on the path.
    pub fn of_kubeconfig(path: &Path) -> Self {
        Self(vec!["kubectl".into(), "--kubeconfig".into(), path.into()])
    }

    /// `kubectl`, and what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// `kubectl` with a text on its standard input, and what it prints.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        run_with(Command::new(&self.0[0]).args(&self.0[1..]).args(arguments), input)
    }

    /// A kubeconfig of this cluster alone, as the agent that the manifests install.
    pub fn kubeconfig_of_agent(&self) -> Result<Value> {
        let text = self.kubectl(&["config", "view", "--minify", "--flatten", "--raw", "-o", "json"])?;
        let mut kubeconfig: Value = serde_json::from_str(&text)?;
        let token = self.kubectl(&["--namespace", "podwitness", "create", "token", "podwitness", "--duration=24h"])?;
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        Ok(kubeconfig)
    }
}

/// Below the repository's root.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn script(name: &str) -> PathBuf {
    repository("tests/cluster").join(name)
}

/// Runs it, and returns what it prints. It must succeed.
pub fn run(command: &mut Command) -> Result<String> {
    run_with(command, "")
}

/// The same, with a text on its standard input.
pub fn run_with(command: &mut Command, input: &str) -> Result<String> {
    let (code, out, said) = outcome_with(command, input)?;
    ensure!(code == Some(0), "{command:?} ended with {code:?}: {said}{out}");
    Ok(out)
}

/// Runs it, and returns its exit code, what it prints, and what it says on standard error.
pub fn outcome(command: &mut Command) -> Result<(Option<i32>, String, String)> {
    outcome_with(command, "")
}

fn outcome_with(command: &mut Command, input: &str) -> Result<(Option<i32>, String, String)> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {command:?}"))?;
    match child.stdin.take().context("its input is piped")?.write_all(input.as_bytes()) {
        // It ended before it had read all: its exit code says why.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => bail!("cannot write to {command:?}: {error}"),
        Ok(()) => {}
    }
    let output = child.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}
