//! A spool written as the agent writes it, and the exporter run over it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use podwitness_spool::words::{CoverageEvent, PolicyEvent};
use podwitness_spool::{
    Checkpoint, Coverage, Definitions, Identity, Origin, PolicyRule, PolicyVersion, Record, Revision, RuleSet, Verdict,
    Writer, WriterOptions,
};
use podwitness_wire as wire;
use tempfile::{NamedTempFile, TempDir};

/// Long enough for a slow machine; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// One node's folders.
pub(crate) struct Bench {
    folder: TempDir,
    store: PathBuf,
}

impl Bench {
    /// A bench whose store is the folder [`Bench::store`].
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with_store(folder.path().join("store"), folder)
    }

    /// Another node, whose store is that of `other`.
    pub(crate) fn with_store_of(other: &Self) -> Self {
        Self::with_store(other.store(), tempfile::tempdir().unwrap())
    }

    pub(crate) fn with_store(store: PathBuf, folder: TempDir) -> Self {
        let bench = Self { folder, store };
        bench.configure(&format!("file://{}", bench.store().display()));
        bench
    }

    /// Writes the configuration, with `url` as the store.
    pub(crate) fn configure(&self, url: &str) {
        let text = format!(
            "cluster: lab\nnode: node-a\nsource: {{directory: ./cluster}}\nstore: {{url: '{url}'}}\n\
             spool: {{path: ./spool}}\nbatch: {{maxAge: 100ms}}\nseal: {{interval: 1s, keyFile: ./key/node.key}}\nlabels: {{columns: [app]}}\n\
             listen: {{agent: '127.0.0.1:0', exporter: '127.0.0.1:0'}}\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("podwitness.yaml")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.path("spool/exporter/staging")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// The agent's side of the spool, in small segments.
    pub(crate) fn writer(&self, origin: Origin) -> Writer {
        let options = WriterOptions { max_bytes: 1 << 30, segment_bytes: 64 << 10 };
        Writer::open(&self.spool(), options, origin).unwrap().0
    }

    /// Starts the exporter.
    pub(crate) fn start(&self) -> Exporter {
        self.start_with(("AWS_REGION", "test"))
    }

    /// Starts the exporter with one more variable in its environment.
    pub(crate) fn start_with(&self, (name, value): (&str, &str)) -> Exporter {
        let log = tempfile::Builder::new().prefix("log-").tempfile_in(self.folder.path()).unwrap();
        let child = self
            .command()
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env(name, value)
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Exporter { child, log }
    }

    /// The exporter's program with this configuration, and no environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podwitness-exporter"));
        command.arg("--config").arg(self.config()).env_clear();
        command
    }

    /// Every Parquet file in the store, by path from the root.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        files_below(&self.store())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|is| is == "parquet"))
            .collect()
    }
}

/// An exporter that runs; killed on drop.
pub(crate) struct Exporter {
    child: Child,
    log: NamedTempFile,
}

impl Exporter {
    /// Everything that it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Waits until it says `words`, and gives the first line with them.
    pub(crate) fn wait_for(&self, words: &str) -> String {
        wait_until(&format!("the exporter says `{words}`"), || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_owned)
        })
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has stopped itself (SIGSTOP).
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
    }

    /// Lets it go on after it has stopped itself.
    pub(crate) fn go_on(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT).unwrap();
    }

    /// SIGTERM, once it is there to handle it.
    pub(crate) fn terminate(&self) {
        self.wait_for("exporter started");
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the exporter ends", || self.child.try_wait().unwrap())
    }

    /// SIGTERM, and waits for its end, which must be a success.
    pub(crate) fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}: {}", self.log());
        assert!(self.log().contains("stopped"), "{}", self.log());
        assert!(!self.log().contains("stopped before the store had taken everything"), "{}", self.log());
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition; `what` is for the failure.
pub(crate) fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

pub(crate) fn open_parquet(path: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

/// `(sequence, seq, number)` of every row of a file, in the file's order. The sequence is the namespace of a verdict, else
/// the table; the number is what [`open`], [`attached`] and [`effective`] were given.
pub(crate) fn rows_of(path: &Path) -> Vec<(String, i64, i32)> {
    let reader = open_parquet(path);
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        let columns: std::collections::HashMap<_, _> =
            row.get_column_iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
        let number = |name: &str| columns[name].parse::<i64>().unwrap();
        let (sequence, name) = if columns.contains_key("src_port") {
            (columns["namespace"].trim_matches('"').to_owned(), "src_port")
        } else if columns.contains_key("interface") {
            ("/coverage".to_owned(), "interface")
        } else {
            ("/policies".to_owned(), "generation")
        };
        (sequence, number("seq"), i32::try_from(number(name)).unwrap())
    })
    .collect()
}

pub(crate) fn origin() -> Origin {
    Origin {
        cluster: "lab".to_owned(),
        node: "node-a".to_owned(),
        boot: "5c1f".to_owned(),
        agent_version: "0.1.0".to_owned(),
        object_sha256: "ab".repeat(32),
    }
}

pub(crate) fn checkpoint(ring_position: u64) -> Checkpoint {
    Checkpoint { ring: "ring".to_owned(), ring_position, drained_epoch: 0, drained_entries: 0, sums: None }
}

/// 2026-01-02T03:04:05.000006Z.
pub(crate) const TIME: i64 = 1_767_323_045_000_006;

/// An endpoint whose hooks are on, a second later an `interface`.
pub(crate) fn attached(interface: u16) -> Record {
    Record::Coverage(Coverage {
        time_us: TIME + i64::from(interface) * 1_000_000,
        event: CoverageEvent::EndpointAttached.number().into(),
        interface: Some(interface.into()),
        ..Coverage::default()
    })
}

/// A policy version that took effect.
pub(crate) fn effective(generation: u16) -> Record {
    Record::Policy(PolicyVersion {
        time_us: TIME,
        event: PolicyEvent::Effective.number().into(),
        namespace: "shop".to_owned(),
        name: "one-port".to_owned(),
        generation: generation.into(),
        text: "{}".to_owned(),
        policy_revision: 3,
        revision_from: 3,
        effective_from_us: Some(TIME),
        understood: Some(true),
        ..PolicyVersion::default()
    })
}

/// The verdict that [`open`] makes.
pub(crate) fn verdict(record: Record) -> Verdict {
    let Record::Verdict(verdict) = record else { panic!("{record:?} is no verdict") };
    verdict
}

/// An allowed TCP connection from pod 1 to pod 2 in `namespace`.
pub(crate) fn open(namespace: &str, src_port: u16) -> Record {
    Record::Verdict(Verdict {
        time_us: TIME + i64::from(src_port),
        namespace: namespace.to_owned(),
        event: wire::EventKind::Open.number().into(),
        verdict: wire::Verdict::Allow.number().into(),
        direction: wire::Direction::Ingress.number().into(),
        reason: wire::Reason::Rule.number().into(),
        count: 1,
        protocol: Some(wire::TCP.into()),
        src_ip: vec![10, 0, 0, 1],
        dst_ip: vec![10, 0, 0, 2],
        src_port: Some(src_port.into()),
        dst_port: Some(80),
        tcp_flags: Some(2),
        src_identity: 1,
        dst_identity: 2,
        src_known: wire::Known::Exact.number().into(),
        dst_known: wire::Known::Exact.number().into(),
        rule_set: 1,
        policy_revision: 1,
        ..Verdict::default()
    })
}

/// Pods 1 and 2, rule sets 1 (a rule) and 2 (isolation), and any revision.
pub(crate) struct Dictionary;

impl Definitions for Dictionary {
    fn identity(&self, id: u32) -> Option<Identity> {
        let pod = |pod: &str, app: &str| Identity {
            id,
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            pod_uid: format!("uid-{id}"),
            service_account: "default".to_owned(),
            workload_kind: "Deployment".to_owned(),
            workload: app.to_owned(),
            node: "node-a".to_owned(),
            labels: format!(r#"{{"app":"{app}","tier":"x"}}"#),
        };
        match id {
            1 => Some(pod("web-1", "web")),
            2 => Some(pod("db-1", "db")),
            3 => Some(Identity { id, node: "node-b".to_owned(), ..Identity::default() }),
            _ => None,
        }
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        let policy = |name: &str, uid: &str, rule| PolicyRule {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            rule,
        };
        match id {
            1 => Some(RuleSet { id, policies: vec![policy("allow-web", "uid-a", Some(0)), policy("b", "", Some(3))] }),
            2 => Some(RuleSet { id, policies: vec![policy("deny-all", "uid-d", None)] }),
            _ => None,
        }
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        Some(Revision { number, sha256: format!("{number:064x}") })
    }
}
