//! Files that are accepted, and what they come to.

use std::path::Path;
use std::time::Duration;

use podwitness_config::{
    Batch, Config, Connections, Endpoints, Events, Labels, Listen, Log, LogFormat, LogLevel, Mode, ObjectLock, Privacy,
    Retention, Seal, Source, Spool, Store, Timeouts, UnknownEndpoints,
};

const MINIMAL: &str = "cluster: c\nnode: n\nsource: {directory: /objects}\nstore: {url: s3://bucket}\n";

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/podwitness/podwitness.yaml"), &|_| None).expect("the file is accepted")
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn defaults() -> Config {
    Config {
        cluster: "c".to_owned(),
        node: "n".to_owned(),
        source: Source::Directory("/objects".into()),
        startup_taint: None,
        endpoints: Endpoints { netns: "/var/run/netns".into(), unknown_endpoints: UnknownEndpoints::Allow },
        mode: Mode::Enforce,
        store: Store { url: "s3://bucket".to_owned(), object_lock: ObjectLock::Auto },
        spool: Spool {
            path: "/var/lib/podwitness/spool".into(),
            max_bytes: 10_737_418_240,
            segment_bytes: 16_777_216,
            commit_interval: Duration::from_millis(100),
        },
        bpffs: "/sys/fs/bpf/podwitness".into(),
        labels: Labels { columns: Vec::new() },
        batch: Batch { max_age: seconds(300), max_bytes: 67_108_864 },
        seal: Seal { interval: seconds(300), key_file: "/var/lib/podwitness/key/node.key".into() },
        retention: Retention { default: days(400), minimum: days(90) },
        privacy: Privacy { hmac_key_file: "/var/lib/podwitness/privacy/hmac.key".into() },
        listen: Listen {
            agent: "127.0.0.1:9464".parse().expect("an address"),
            exporter: "127.0.0.1:9465".parse().expect("an address"),
        },
        log: Log { format: LogFormat::Json, level: LogLevel::Info },
        connections: Connections {
            max: None,
            timeouts: Timeouts {
                tcp_syn: seconds(120),
                tcp_established: days(5),
                tcp_fin: seconds(120),
                tcp_time_wait: seconds(120),
                tcp_close: seconds(10),
                udp: seconds(30),
                udp_stream: seconds(120),
                icmp: seconds(30),
                generic: seconds(600),
            },
            close_after: seconds(1),
            progress: seconds(300),
        },
        events: Events {
            ring_bytes: 8_388_608,
            denials: 65_536,
            drain_interval: seconds(1),
            sweep_interval: seconds(1),
        },
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    assert_eq!(parse(MINIMAL), defaults());
}

#[test]
fn a_section_without_keys_is_all_defaults() {
    assert_eq!(parse(&format!("{MINIMAL}spool:\nbatch: {{}}\nlog:\n  # level: debug\n")), defaults());
}

#[test]
fn the_documented_file_says_what_the_defaults_are() {
    let expected = Config {
        cluster: "prod-eu-1".to_owned(),
        node: "node-a".to_owned(),
        source: Source::Kubernetes,
        store: Store { url: "s3://evidence/prod".to_owned(), object_lock: ObjectLock::Auto },
        labels: Labels { columns: vec!["app".to_owned(), "app.kubernetes.io/name".to_owned()] },
        ..defaults()
    };
    assert_eq!(parse(include_str!("fixtures/documented.yaml")), expected);
}

#[test]
fn every_key_is_read_into_its_own_field() {
    let expected = Config {
        cluster: "other.cluster_1".to_owned(),
        node: "node-b".to_owned(),
        source: Source::Directory("/etc/podwitness/objects".into()),
        startup_taint: None,
        endpoints: Endpoints { netns: "/etc/podwitness/run/netns".into(), unknown_endpoints: UnknownEndpoints::Deny },
        mode: Mode::Audit,
        store: Store { url: "file:///evidence/here".to_owned(), object_lock: ObjectLock::Required },
        spool: Spool {
            path: "/etc/podwitness/spool".into(),
            max_bytes: 1 << 40,
            segment_bytes: 1 << 20,
            commit_interval: seconds(1),
        },
        bpffs: "/sys/fs/bpf/other".into(),
        labels: Labels { columns: vec!["app".to_owned(), "team.example.org/name".to_owned()] },
        batch: Batch { max_age: seconds(2), max_bytes: 131_072 },
        seal: Seal { interval: seconds(60), key_file: "/etc/podwitness/../key".into() },
        retention: Retention { default: days(2), minimum: seconds(36 * 3600) },
        privacy: Privacy { hmac_key_file: "/etc/podwitness/keys/hmac".into() },
        listen: Listen {
            agent: "127.0.0.1:0".parse().expect("an address"),
            exporter: "[::1]:9000".parse().expect("an address"),
        },
        log: Log { format: LogFormat::Text, level: LogLevel::Debug },
        connections: Connections {
            max: Some(1024),
            timeouts: Timeouts {
                tcp_syn: seconds(1),
                tcp_established: seconds(2),
                tcp_fin: seconds(3),
                tcp_time_wait: seconds(4),
                tcp_close: seconds(5),
                udp: seconds(6),
                udp_stream: seconds(7),
                icmp: seconds(8),
                generic: seconds(9),
            },
            close_after: Duration::ZERO,
            progress: Duration::from_millis(500),
        },
        events: Events {
            ring_bytes: 65_536,
            denials: 4096,
            drain_interval: Duration::from_millis(250),
            sweep_interval: Duration::from_millis(100),
        },
    };
    assert_eq!(parse(include_str!("fixtures/every-key.yaml")), expected);
}

#[test]
fn the_node_is_named_by_the_file_then_the_environment_then_the_host() {
    let origin = Path::new("podwitness.yaml");
    let unnamed = MINIMAL.replace("node: n\n", "");
    let node = |text: &str, value: Option<&str>| {
        let env = |name: &str| if name == "NODE_NAME" { value.map(str::to_owned) } else { None };
        Config::parse(text, origin, &env).expect("the file is accepted").node
    };
    assert_eq!(node(MINIMAL, Some("from-env")), "n");
    assert_eq!(node(&unnamed, Some("from-env")), "from-env");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel tells the host's name");
    assert_eq!(node(&unnamed, None), host.trim_end());
    assert_eq!(node(&unnamed, Some("")), host.trim_end(), "an empty variable is none");
}

#[test]
fn a_taint_is_lifted_where_it_is_named() {
    let text =
        MINIMAL.replace("{directory: /objects}", "{kubernetes: {}}") + "startupTaint: podwitness.io/agent-not-ready\n";
    assert_eq!(parse(&text).startup_taint.as_deref(), Some("podwitness.io/agent-not-ready"));
}

#[test]
fn store_urls_have_one_normal_form() {
    for (written, normal) in [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/prefix", "gs://bucket/prefix"),
        ("az://container/prefix", "az://container/prefix"),
        ("file:///evidence/", "file:///evidence"),
        ("file:///", "file:///"),
        ("/evidence", "file:///evidence"),
        ("/evidence/", "file:///evidence"),
        ("/", "file:///"),
        ("evidence", "file:///etc/podwitness/evidence"),
        ("./evidence", "file:///etc/podwitness/evidence"),
        ("../a b", "file:///etc/a%20b"),
    ] {
        let text = MINIMAL.replace("s3://bucket", &format!("\"{written}\""));
        assert_eq!(parse(&text).store.url, normal, "{written}");
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file_that_was_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("podwitness.yaml");
    std::fs::write(&file, MINIMAL.replace("/objects", "objects")).expect("written");
    let config = Config::load(&file, &|_| None).expect("the file is accepted");
    assert_eq!(config.source, Source::Directory(folder.path().join("objects")));
}
