//! The file's sections, keys and defaults, in the order of the documentation.

use std::path::Path;
use std::time::Duration;

use crate::fault::Fault;
use crate::model::{
    Batch, Config, Connections, Endpoints, Events, Labels, Listen, Log, LogFormat, LogLevel, Mode, ObjectLock, Privacy,
    Retention, Seal, Source, Spool, Store, Timeouts, UnknownEndpoints,
};
use crate::section::{Faults, Section};
use crate::store_url;
use crate::tree::Node;
use crate::values::{
    self, GIB, KIB, MIB, TIB, address, count, days, duration, label_key, minutes, path, ring_size, size, word,
};

const HOUR: Duration = minutes(60);
const SECOND: Duration = Duration::from_secs(1);

/// Entries that a kernel table may have.
const TABLE: std::ops::RangeInclusive<u32> = 16..=1 << 24;

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The whole file, or everything that is wrong with it: what is missing first, then from its top to its end.
/// Relative paths start at `folder`, which is absolute.
pub(crate) fn config(tree: &Node, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Fault>> {
    let faults = Faults::default();
    let mut root = Section::root(tree, &faults);
    let cluster = root.required("cluster", "the cluster's name", values::name);
    let node = node(&mut root, env);
    let source = source(&mut root, folder);
    let startup_taint = startup_taint(&mut root, source.as_ref());
    let endpoints = endpoints(root.section("endpoints"), folder);
    let mode =
        root.or("mode", Mode::Enforce, |value| word(&[("enforce", Mode::Enforce), ("audit", Mode::Audit)], value));
    let store = store(root.section("store"), folder);
    let spool = spool(root.section("spool"), folder);
    let bpffs = root.or("bpffs", "/sys/fs/bpf/podwitness".into(), path(folder));
    let labels = labels(root.section("labels"));
    let batch = batch(root.section("batch"));
    let seal = seal(root.section("seal"), folder);
    let retention = retention(root.section("retention"));
    let privacy = privacy(root.section("privacy"), folder);
    let listen = listen(root.section("listen"));
    let log = log(root.section("log"));
    let connections = connections(root.section("connections"));
    let events = events(root.section("events"));
    root.finish();

    let mut faults = faults.into_inner();
    match (cluster, node, source, store) {
        (Some(cluster), Some(node), Some(source), Some(store)) if faults.is_empty() => Ok(Config {
            cluster,
            node,
            source,
            startup_taint,
            endpoints,
            mode,
            store,
            spool,
            bpffs,
            labels,
            batch,
            seal,
            retention,
            privacy,
            listen,
            log,
            connections,
            events,
        }),
        _ => {
            faults.sort_by_key(|fault| fault.line);
            Err(faults)
        }
    }
}

fn node(root: &mut Section, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if root.has("node") {
        return root.optional("node", values::name);
    }
    let (name, whence) = match env("NODE_NAME").filter(|name| !name.is_empty()) {
        Some(name) => (name, "the environment's NODE_NAME"),
        None => match nix::unistd::gethostname() {
            Ok(name) => (name.to_string_lossy().into_owned(), "this host's name"),
            Err(error) => {
                root.fault("node", format!("missing, and this host's name cannot be read: {error}"));
                return None;
            }
        },
    };
    if !values::is_name(&name) {
        root.fault("node", format!("missing, and {whence}, `{name}`, cannot be used: expected {}", values::NAME));
        return None;
    }
    Some(name)
}

fn source(root: &mut Section, folder: &Path) -> Option<Source> {
    let mut source = root.section("source");
    let (in_kubernetes, in_directory) = (source.has("kubernetes"), source.has("directory"));
    source.section("kubernetes").finish();
    let directory = source.optional("directory", path(folder));
    let chosen = match (in_kubernetes, in_directory) {
        (true, false) => Some(Source::Kubernetes),
        (false, true) => directory.map(Source::Directory),
        (true, true) => {
            source.fault("directory", "expected either `kubernetes` or `directory`, found both".to_owned());
            None
        }
        (false, false) => {
            if source.is_sound() {
                source.fault_here("missing; expected one of `kubernetes: {}` and `directory: PATH`".to_owned());
            }
            None
        }
    };
    source.finish();
    chosen
}

fn startup_taint(root: &mut Section, source: Option<&Source>) -> Option<String> {
    let key = root.optional("startupTaint", label_key);
    if key.is_some() && matches!(source, Some(Source::Directory(_))) {
        root.fault("startupTaint", "nodes have taints with `source: {kubernetes: {}}` alone".to_owned());
    }
    key
}

fn endpoints(mut section: Section, folder: &Path) -> Endpoints {
    let words = [("allow", UnknownEndpoints::Allow), ("deny", UnknownEndpoints::Deny)];
    let endpoints = Endpoints {
        netns: section.or("netns", "/var/run/netns".into(), path(folder)),
        unknown_endpoints: section.or("unknownEndpoints", UnknownEndpoints::Allow, |value| word(&words, value)),
    };
    section.finish();
    endpoints
}

fn store(mut section: Section, folder: &Path) -> Option<Store> {
    let url = section.required("url", store_url::EXPECTED, |value| store_url::read(value, folder));
    let words = [("auto", ObjectLock::Auto), ("required", ObjectLock::Required), ("off", ObjectLock::Off)];
    let object_lock = section.or("objectLock", ObjectLock::Auto, |value| word(&words, value));
    section.finish();
    url.map(|url| Store { url, object_lock })
}

fn spool(mut section: Section, folder: &Path) -> Spool {
    let spool = Spool {
        path: section.or("path", "/var/lib/podwitness/spool".into(), path(folder)),
        max_bytes: section.or("maxBytes", 10 * GIB, size(128 * KIB..=1024 * TIB)),
        segment_bytes: section.or("segmentBytes", 16 * MIB, size(64 * KIB..=GIB)),
        commit_interval: section.or("commitInterval", millis(100), duration(millis(1)..=SECOND)),
    };
    if section.is_sound() && spool.max_bytes < 2 * spool.segment_bytes {
        let (found, segment) = (values::show_size(spool.max_bytes), values::show_size(spool.segment_bytes));
        section.fault("maxBytes", format!("expected at least twice spool.segmentBytes ({segment}), found {found}"));
    }
    section.finish();
    spool
}

fn labels(mut section: Section) -> Labels {
    let labels = Labels { columns: section.list("columns", label_key) };
    section.finish();
    labels
}

fn batch(mut section: Section) -> Batch {
    let batch = Batch {
        max_age: section.or("maxAge", minutes(5), duration(millis(100)..=days(1))),
        max_bytes: section.or("maxBytes", 64 * MIB, size(64 * KIB..=4 * GIB)),
    };
    section.finish();
    batch
}

fn seal(mut section: Section, folder: &Path) -> Seal {
    let seal = Seal {
        interval: section.or("interval", minutes(5), duration(SECOND..=days(1))),
        key_file: section.or("keyFile", "/var/lib/podwitness/key/node.key".into(), path(folder)),
    };
    section.finish();
    seal
}

fn retention(mut section: Section) -> Retention {
    let possible = SECOND..=days(36_500);
    let retention = Retention {
        default: section.or("default", days(400), duration(possible.clone())),
        minimum: section.or("minimum", days(90), duration(possible)),
    };
    if section.is_sound() && retention.default < retention.minimum {
        let (default, minimum) = (values::show_duration(retention.default), values::show_duration(retention.minimum));
        section.fault("default", format!("expected at least retention.minimum ({minimum}), found {default}"));
    }
    section.finish();
    retention
}

fn privacy(mut section: Section, folder: &Path) -> Privacy {
    let privacy = Privacy {
        hmac_key_file: section.or("hmacKeyFile", "/var/lib/podwitness/privacy/hmac.key".into(), path(folder)),
    };
    section.finish();
    privacy
}

fn listen(mut section: Section) -> Listen {
    let listen = Listen {
        agent: section.or("agent", ([127, 0, 0, 1], 9464).into(), address),
        exporter: section.or("exporter", ([127, 0, 0, 1], 9465).into(), address),
    };
    if section.is_sound() && listen.agent == listen.exporter && listen.agent.port() != 0 {
        let both = listen.agent;
        section.fault("exporter", format!("expected another address than listen.agent's, found `{both}` for both"));
    }
    section.finish();
    listen
}

fn log(mut section: Section) -> Log {
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]
        .map(|level| (level.name(), level));
    let log = Log {
        format: section.or("format", LogFormat::Json, |value| word(&formats, value)),
        level: section.or("level", LogLevel::Info, |value| word(&levels, value)),
    };
    section.finish();
    log
}

fn connections(mut section: Section) -> Connections {
    let connections = Connections {
        max: section.or("max", None, |value| count(TABLE)(value).map(Some)),
        timeouts: timeouts(section.section("timeouts")),
        close_after: section.or("closeAfter", SECOND, duration(Duration::ZERO..=HOUR)),
        progress: section.or("progress", minutes(5), duration(millis(100)..=days(1))),
    };
    section.finish();
    connections
}

fn timeouts(mut section: Section) -> Timeouts {
    let mut timeout = |key, default| section.or(key, default, duration(millis(100)..=days(30)));
    let timeouts = Timeouts {
        tcp_syn: timeout("tcpSyn", seconds(120)),
        tcp_established: timeout("tcpEstablished", days(5)),
        tcp_fin: timeout("tcpFin", seconds(120)),
        tcp_time_wait: timeout("tcpTimeWait", seconds(120)),
        tcp_close: timeout("tcpClose", seconds(10)),
        udp: timeout("udp", seconds(30)),
        udp_stream: timeout("udpStream", seconds(120)),
        icmp: timeout("icmp", seconds(30)),
        generic: timeout("generic", seconds(600)),
    };
    section.finish();
    timeouts
}

fn events(mut section: Section) -> Events {
    let interval = || duration(millis(10)..=minutes(1));
    let events = Events {
        ring_bytes: section.or("ringBytes", 8 << 20, ring_size(page_bytes())),
        denials: section.or("denials", 65_536, count(TABLE)),
        drain_interval: section.or("drainInterval", SECOND, interval()),
        sweep_interval: section.or("sweepInterval", SECOND, interval()),
    };
    section.finish();
    events
}

/// The size of a page of this machine's memory, in bytes.
fn page_bytes() -> u64 {
    let known = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    known.and_then(|bytes| u64::try_from(bytes).ok()).expect("every Linux tells its page size")
}
