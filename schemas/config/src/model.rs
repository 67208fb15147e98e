//! The configuration after it was read and checked. Every field is documented with its key, unit and default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration, checked: each value is possible by itself and together with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `cluster`, required: the cluster's name in records and object paths. 1 to 128 letters, digits, `-`, `_` and
    /// `.`, with a letter or digit first and last.
    pub cluster: String,
    /// `node`: this node's name as Kubernetes knows it, of the same characters as `cluster`. Default: the environment's
    /// `NODE_NAME`, else the host's name.
    pub node: String,
    /// `source`, required: where the cluster's objects come from.
    pub source: Source,
    /// `startupTaint`: the key of the taint that the agent takes off its node when the node's policy is in force for the first
    /// time; with `source.kubernetes` alone. Default: none.
    pub startup_taint: Option<String>,
    /// `endpoints`: how pods are found.
    pub endpoints: Endpoints,
    /// `mode`: what a denial means. Default: [`Mode::Enforce`].
    pub mode: Mode,
    /// `store`: where evidence goes.
    pub store: Store,
    /// `spool`: the folder between the agent and the exporter.
    pub spool: Spool,
    /// `bpffs`: the folder, on a BPF file system, that holds the pins. Default: `/sys/fs/bpf/podwitness`.
    pub bpffs: PathBuf,
    /// `labels`: pod labels in the evidence.
    pub labels: Labels,
    /// `batch`: when a Parquet file is closed.
    pub batch: Batch,
    /// `seal`: how evidence is signed.
    pub seal: Seal,
    /// `retention`: how long evidence is kept.
    pub retention: Retention,
    /// `privacy`: how addresses outside the cluster are hidden where a namespace asks for that.
    pub privacy: Privacy,
    /// `listen`: where metrics and health are served.
    pub listen: Listen,
    /// `log`: what the programs say about themselves.
    pub log: Log,
    /// `connections`: the kernel's table of connections.
    pub connections: Connections,
    /// `events`: how verdicts leave the kernel.
    pub events: Events,
}

/// Where the cluster's objects come from: exactly one of the keys of `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `source.kubernetes`: the API server, in-cluster or by `KUBECONFIG`.
    Kubernetes,
    /// `source.directory`: a folder of ordinary Kubernetes objects as YAML or JSON, watched. An absolute path.
    Directory(PathBuf),
}

/// How pods are found on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `endpoints.netns`: the folder in which the container runtime bind-mounts network namespaces. Default:
    /// `/var/run/netns`.
    pub netns: PathBuf,
    /// `endpoints.unknownEndpoints`: what happens to an endpoint whose pod is not known yet. Default:
    /// [`UnknownEndpoints::Allow`].
    pub unknown_endpoints: UnknownEndpoints,
}

/// What happens to the traffic of an endpoint whose pod is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownEndpoints {
    /// `allow`: it passes, and is recorded.
    Allow,
    /// `deny`: it is dropped, and is recorded.
    Deny,
}

/// The witness mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enforce`: what policy does not allow is dropped.
    Enforce,
    /// `audit`: everything passes, and what enforcement would have dropped is recorded as such.
    Audit,
}

/// Where evidence goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `store.url`, required: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or `file:///folder`
    /// (a plain path becomes one). An absolute URL without a slash at its end, a query, a fragment or credentials.
    pub url: String,
    /// `store.objectLock`: whether each object is locked by the store until its time. Default: [`ObjectLock::Auto`].
    pub object_lock: ObjectLock,
}

/// What is wanted of the store's own lock (Object Lock of S3, in compliance mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectLock {
    /// `auto`: objects are locked where the bucket has it.
    Auto,
    /// `required`: nothing is put into a store that has it not.
    Required,
    /// `off`: nothing is locked.
    Off,
}

/// The folder of checksummed segments between the agent and the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// `spool.path`: the folder. Default: `/var/lib/podwitness/spool`.
    pub path: PathBuf,
    /// `spool.maxBytes`: bytes that the spool may take on the disk before the agent stops reading from the kernel.
    /// Default: 10 GiB; at least twice `segment_bytes`.
    pub max_bytes: u64,
    /// `spool.segmentBytes`: bytes after which a new segment is begun. Default: 16 MiB; 64 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// `spool.commitInterval`: how long records may wait for a group commit. Default: 100 ms; 1 ms to 1 s.
    pub commit_interval: Duration,
}

/// Pod labels in the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `labels.columns`: the label keys that have columns of their own, in the file's order, none twice. Default: none.
    pub columns: Vec<String>,
}

/// When a Parquet file is closed and uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `batch.maxAge`: age of the oldest record in a file. Default: 5 min; 100 ms to 1 d.
    pub max_age: Duration,
    /// `batch.maxBytes`: bytes of a file. Default: 64 MiB; 64 KiB to 4 GiB.
    pub max_bytes: u64,
}

/// How evidence is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// `seal.interval`: the time between two seals. Default: 5 min; 1 s to 1 d.
    pub interval: Duration,
    /// `seal.keyFile`: the node's signing key. Default: `/var/lib/podwitness/key/node.key`.
    pub key_file: PathBuf,
}

/// How long evidence is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `retention.default`: for a namespace that asks for nothing. Default: 400 d; 1 s to 36500 d, not less than
    /// `minimum`.
    pub default: Duration,
    /// `retention.minimum`: the floor that no namespace can go below. Default: 90 d; 1 s to 36500 d.
    pub minimum: Duration,
}

/// How addresses outside the cluster are hidden where a namespace asks for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// `privacy.hmacKeyFile`: the key of the hashes, made by the agent where it is missing; the same address has the same
    /// hash on the nodes that have the same key. Default: `/var/lib/podwitness/privacy/hmac.key`.
    pub hmac_key_file: PathBuf,
}

impl Retention {
    /// How long a namespace's records are kept that asks for `asked`, or for nothing, in seconds: the default where it asks
    /// for nothing, the floor at least. A part of a second counts as a whole one: less would be less than was asked for.
    pub fn seconds(&self, asked: Option<Duration>) -> u64 {
        whole_seconds(asked.unwrap_or(self.default).max(self.minimum))
    }
}

/// The seconds of `time`, of which a part counts as a whole one.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Where each program serves `/metrics`, `/healthz` and `/readyz`. Port 0 takes any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `listen.agent`. Default: `127.0.0.1:9464`.
    pub agent: SocketAddr,
    /// `listen.exporter`. Default: `127.0.0.1:9465`; never the agent's.
    pub exporter: SocketAddr,
}

/// What the programs say about themselves, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `log.format`. Default: [`LogFormat::Json`].
    pub format: LogFormat,
    /// `log.level`. Default: [`LogLevel::Info`].
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `json`: one object a line.
    Json,
    /// `text`: for a person at a terminal.
    Text,
}

/// The least important line that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

impl LogLevel {
    /// The word in the file, which is also a filter of `tracing-subscriber`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The kernel's table of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// `connections.max`: entries of the table, of about 250 bytes each, which the kernel takes when the table is made.
    /// Default: 4096 for each endpoint that is on the node when the table is made, at least 65536 (16 MiB) and at most
    /// 1048576 (250 MiB); 16 to 16777216.
    pub max: Option<u32>,
    /// `connections.timeouts`: how long a connection may be quiet.
    pub timeouts: Timeouts,
    /// `connections.closeAfter`: how long a closed connection must have been quiet before its `close` is recorded.
    /// Default: 1 s; 0 to 1 h.
    pub close_after: Duration,
    /// `connections.progress`: the interval of the `progress` records of a long-lived connection. Default: 5 min;
    /// 100 ms to 1 d.
    pub progress: Duration,
}

/// How long a connection may be quiet before it is taken as ended: each 100 ms to 30 d. The defaults are those of the
/// kernel's own `nf_conntrack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `tcpSyn`: TCP, not yet answered. Default: 120 s.
    pub tcp_syn: Duration,
    /// `tcpEstablished`: TCP, both sides have spoken. Default: 5 d.
    pub tcp_established: Duration,
    /// `tcpFin`: TCP, one side has finished. Default: 120 s.
    pub tcp_fin: Duration,
    /// `tcpTimeWait`: TCP, both sides have finished. Default: 120 s.
    pub tcp_time_wait: Duration,
    /// `tcpClose`: TCP, reset. Default: 10 s.
    pub tcp_close: Duration,
    /// `udp`: UDP, one side has spoken. Default: 30 s.
    pub udp: Duration,
    /// `udpStream`: UDP, both sides have spoken. Default: 120 s.
    pub udp_stream: Duration,
    /// `icmp`: ICMP and `ICMPv6`. Default: 30 s.
    pub icmp: Duration,
    /// `generic`: every other protocol. Default: 600 s.
    pub generic: Duration,
}

/// How verdicts leave the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// `events.ringBytes`: bytes of the ring buffer. Default: 8 MiB; a power of two from one page to 1 GiB.
    pub ring_bytes: u32,
    /// `events.denials`: entries of the table in which denied attempts are counted, of about 220 bytes each. It holds
    /// what is denied between two readings. Default: 65536 (14 MiB); 16 to 16777216.
    pub denials: u32,
    /// `events.drainInterval`: the time between two readings of the denied attempts. Default: 1 s; 10 ms to 1 min.
    pub drain_interval: Duration,
    /// `events.sweepInterval`: the time between two walks through the table of connections. Default: 1 s; 10 ms to
    /// 1 min.
    pub sweep_interval: Duration,
}
