//! What a file looks like to its readers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Bench, Dictionary, TIME, attached, checkpoint, effective, open, origin, verdict};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use podwitness_exporter::batch::Batch;
use podwitness_exporter::file::ROW_GROUP_ROWS;
use podwitness_exporter::staging::NewFile;
use podwitness_schemas::metadata;
use podwitness_spool::words::{CoverageEvent, PolicyEvent, WitnessMode};
use podwitness_spool::{
    ClockState, Coverage, Definitions, Identity, PolicyVersion, Reader, Record, Revision, RuleSet, Service, Trail,
    Verdict,
};
use podwitness_wire as wire;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the exporter makes of `records`, in commits of at most 500, kept for a day.
fn files(records: &[Record]) -> Vec<NewFile> {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    for (part, position) in records.chunks(500).zip(1..) {
        writer.commit(part.to_vec(), &Dictionary, &checkpoint(position)).unwrap();
    }
    let mut reader = Reader::open(&bench.spool()).unwrap();
    let mut batch = Batch::begin(&reader.next().unwrap().unwrap(), ["app".to_owned()].into());
    while let Some(spooled) = reader.next().unwrap() {
        assert!(batch.accepts(&spooled));
        batch.append(&spooled);
    }
    assert_eq!(batch.unresolved(), 0);
    batch.into_files(DAY).unwrap()
}

fn reader(file: &NewFile) -> SerializedFileReader<Bytes> {
    let bloom = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(bloom).with_page_index().build();
    SerializedFileReader::new_with_options(file.bytes.clone().into(), options).unwrap()
}

/// Each row as `column: value` of those columns that are not null.
fn rows(file: &NewFile) -> Vec<HashMap<String, String>> {
    let reader = reader(file);
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        row.get_column_iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
            .filter(|(_, value)| value != "null")
            .collect()
    })
    .collect()
}

fn assert_row(actual: &HashMap<String, String>, expected: &[(&str, &str)]) {
    let mut actual: Vec<_> = actual.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut expected = expected.to_vec();
    actual.sort_unstable();
    expected.sort_unstable();
    assert_eq!(actual, expected);
}

const EVERYWHERE: [(&str, &str); 3] = [("cluster", "\"lab\""), ("node", "\"node-a\""), ("boot", "\"5c1f\"")];

#[test]
fn a_connection_has_its_identities_labels_and_rules() {
    let files = files(&[open("shop", 40_000)]);
    assert_eq!(files.len(), 1);
    let side = |side: &str, pod: &str, uid: &str, app: &str, ip: &str| {
        let labels = format!(r#""{{"app":"{app}","tier":"x"}}""#);
        [
            ("ip", format!("\"{ip}\"")),
            ("namespace", "\"shop\"".to_owned()),
            ("pod", format!("\"{pod}\"")),
            ("pod_uid", format!("\"{uid}\"")),
            ("service_account", "\"default\"".to_owned()),
            ("workload_kind", "\"Deployment\"".to_owned()),
            ("workload", format!("\"{app}\"")),
            ("node", "\"node-a\"".to_owned()),
            ("identity", "\"exact\"".to_owned()),
            ("labels", labels),
            ("label_app", format!("\"{app}\"")),
        ]
        .map(|(name, value)| (format!("{side}_{name}"), value))
    };
    let sides = [side("src", "web-1", "uid-1", "web", "10.0.0.1"), side("dst", "db-1", "uid-2", "db", "10.0.0.2")];
    let sha256 = format!("\"{:064x}\"", 1);
    let mut expected: Vec<_> =
        sides.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).chain(EVERYWHERE).collect();
    expected.extend([
        ("time", "2026-01-02 03:04:05.040006 +00:00"),
        ("seq", "1"),
        ("namespace", "\"shop\""),
        ("event", "\"open\""),
        ("verdict", "\"allow\""),
        ("direction", "\"ingress\""),
        ("reason", "\"rule\""),
        ("count", "1"),
        ("protocol", "\"TCP\""),
        ("protocol_number", "6"),
        ("src_port", "40000"),
        ("dst_port", "80"),
        ("tcp_flags", "2"),
        (
            "policies",
            "[{namespace: \"shop\", name: \"allow-web\", uid: \"uid-a\", rule: 0}, \
             {namespace: \"shop\", name: \"b\", uid: null, rule: 3}]",
        ),
        ("policy_revision", "1"),
        ("policy_sha256", &sha256),
    ]);
    assert_row(&rows(&files[0])[0], &expected);
}

#[test]
fn a_loss_has_no_connection() {
    let loss = Verdict {
        time_us: TIME,
        last_time_us: Some(TIME + 1_000_000),
        namespace: "_unknown".to_owned(),
        event: wire::EventKind::Loss.number().into(),
        reason: wire::Reason::RingFull.number().into(),
        count: 7,
        ..Verdict::default()
    };
    let files = files(&[Record::Verdict(loss)]);
    let mut expected = EVERYWHERE.to_vec();
    expected.extend([
        ("time", "2026-01-02 03:04:05.000006 +00:00"),
        ("last_time", "2026-01-02 03:04:06.000006 +00:00"),
        ("seq", "1"),
        ("namespace", "\"_unknown\""),
        ("event", "\"loss\""),
        ("reason", "\"ring-full\""),
        ("count", "7"),
        ("policies", "[]"),
    ]);
    assert_row(&rows(&files[0])[0], &expected);
}

#[test]
fn a_change_has_what_decided_before_and_a_service_its_name() {
    let open = verdict(open("shop", 1));
    let change = Verdict {
        event: wire::EventKind::Change.number().into(),
        verdict: wire::Verdict::Deny.number().into(),
        reason: wire::Reason::NoRule.number().into(),
        src_ip: "2001:db8:0:0:0:0:0:1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        protocol: Some(wire::ICMPV6.into()),
        src_port: None,
        dst_port: None,
        tcp_flags: None,
        icmp_type: Some(128),
        icmp_code: Some(0),
        src_identity: 3,
        src_known: wire::Known::Node.number().into(),
        rule_set: 2,
        previous_rule_set: 1,
        previous_verdict: wire::Verdict::Allow.number().into(),
        packets_out: Some(1),
        bytes_out: Some(2),
        packets_in: Some(3),
        bytes_in: Some(i64::MAX),
        service: Some(service("exact")),
        ..open
    };
    let rows = rows(&files(&[Record::Verdict(change)])[0]);
    let value = |name: &str| rows[0].get(name).map(String::as_str);
    assert_eq!(value("src_ip"), Some("\"2001:db8::1\""));
    assert_eq!((value("src_node"), value("src_identity")), (Some("\"node-b\""), Some("\"node\"")));
    assert_eq!((value("src_pod"), value("src_labels"), value("src_label_app")), (None, None, None));
    assert_eq!(
        (value("protocol"), value("icmp_type"), value("icmp_code")),
        (Some("\"ICMPv6\""), Some("128"), Some("0"))
    );
    assert_eq!((value("src_port"), value("dst_port"), value("tcp_flags")), (None, None, None));
    assert_eq!(
        (value("verdict"), value("policies")),
        (Some("\"deny\""), Some("[{namespace: \"shop\", name: \"deny-all\", uid: \"uid-d\", rule: null}]"))
    );
    assert_eq!(value("previous_verdict"), Some("\"allow\""));
    assert!(value("previous_policies").unwrap().contains("allow-web"));
    assert_eq!((value("service_namespace"), value("service")), (Some("\"shop\""), Some("\"db\"")));
    assert_eq!((value("service_ip"), value("service_port")), (Some("\"10.96.0.1\""), Some("5432")));
    assert_eq!(value("nat_resolution"), Some("\"exact\""));
    assert_eq!((value("backend_ip"), value("backend_port")), (Some("\"10.0.0.2\""), Some("5433")));
    assert_eq!((value("packets_out"), value("bytes_in")), (Some("1"), Some(i64::MAX.to_string().as_str())));
}

fn service(nat_resolution: &str) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        ip: vec![10, 96, 0, 1],
        port: 5432,
        nat_resolution: nat_resolution.to_owned(),
        backend_ip: vec![10, 0, 0, 2],
        backend_port: Some(5433),
    }
}

#[test]
fn a_backend_that_is_not_known_exactly_is_not_named() {
    let verdict = Verdict { service: Some(service("all-backends")), ..verdict(open("shop", 1)) };
    let rows = rows(&files(&[Record::Verdict(verdict)])[0]);
    let value = |name: &str| rows[0].get(name).map(String::as_str);
    assert_eq!((value("service"), value("nat_resolution")), (Some("\"db\""), Some("\"all-backends\"")));
    assert_eq!((value("backend_ip"), value("backend_port")), (None, None));
}

#[test]
fn coverage_says_of_an_endpoint_all_that_is_known_and_of_the_agent_little() {
    let enforced = Coverage {
        time_us: TIME,
        event: CoverageEvent::EndpointEnforced.number().into(),
        interface: Some(7),
        interface_name: "veth7".to_owned(),
        netns: "cni-7".to_owned(),
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        pod_uid: "uid-web".to_owned(),
        addresses: vec![vec![10, 0, 0, 1], "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()],
        since_us: Some(TIME - 1_000_000),
        mode: WitnessMode::Audit.number().into(),
        unknown_endpoints: wire::Verdict::Deny.number().into(),
        policy_revision: 4,
        reason: "late".to_owned(),
        detail: "a sentence".to_owned(),
        count: Some(2),
        ..Coverage::default()
    };
    let newer = Coverage { time_us: TIME, event: 200, ..Coverage::default() };
    let files = files(&[Record::Coverage(enforced), Record::Coverage(newer)]);
    assert_eq!(files[0].path, "coverage/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet");
    assert_eq!((files.len(), &files[0].content.namespace), (1, &None));
    let rows = rows(&files[0]);
    let sha256 = format!("\"{:064x}\"", 4);
    let mut expected = EVERYWHERE.to_vec();
    expected.extend([
        ("time", "2026-01-02 03:04:05.000006 +00:00"),
        ("seq", "1"),
        ("event", "\"endpoint-enforced\""),
        ("interface", "7"),
        ("interface_name", "\"veth7\""),
        ("netns", "\"cni-7\""),
        ("namespace", "\"shop\""),
        ("pod", "\"web\""),
        ("pod_uid", "\"uid-web\""),
        ("addresses", "[\"10.0.0.1\", \"fd00::1\"]"),
        ("since", "2026-01-02 03:04:04.000006 +00:00"),
        ("mode", "\"audit\""),
        ("unknown_endpoints", "\"deny\""),
        ("policy_revision", "4"),
        ("policy_sha256", &sha256),
        ("reason", "\"late\""),
        ("detail", "\"a sentence\""),
        ("count", "2"),
    ]);
    assert_row(&rows[0], &expected);
    let mut expected = EVERYWHERE.to_vec();
    expected.extend([
        ("time", "2026-01-02 03:04:05.000006 +00:00"),
        ("seq", "2"),
        ("event", "\"200\""),
        ("addresses", "[]"),
    ]);
    assert_row(&rows[1], &expected);
}

#[test]
fn coverage_has_the_balance_as_it_was_stated_and_the_clock() {
    let statement = r#"{"events_read":5,"ring":"7"}"#;
    let balance = Coverage {
        time_us: TIME,
        event: CoverageEvent::Balance.number().into(),
        balance: statement.to_owned(),
        ..Coverage::default()
    };
    let state = ClockState { synchronised: false, offset_us: -12, error_us: 9000, step_us: 250_000 };
    let clock = Coverage {
        time_us: TIME,
        event: CoverageEvent::Clock.number().into(),
        clock: Some(state),
        ..Coverage::default()
    };
    let rows = rows(&files(&[Record::Coverage(balance), Record::Coverage(clock)])[0]);
    let value = |row: usize, name: &str| rows[row].get(name).map(String::as_str);
    assert_eq!((value(0, "event"), value(0, "clock_synchronised")), (Some("\"balance\""), None));
    assert_eq!(value(0, "balance"), Some(format!("\"{statement}\"").as_str()));
    assert_eq!((value(1, "event"), value(1, "balance")), (Some("\"clock\""), None));
    let clock = ["clock_synchronised", "clock_offset_us", "clock_error_us", "clock_step_us"].map(|name| value(1, name));
    assert_eq!(clock, [Some("false"), Some("-12"), Some("9000"), Some("250000")]);
}

#[test]
fn policies_have_the_text_with_its_name_and_the_revisions_that_have_it() {
    let ended = PolicyVersion {
        time_us: TIME,
        event: PolicyEvent::Ended.number().into(),
        namespace: "shop".to_owned(),
        name: "one-port".to_owned(),
        uid: "uid-policy".to_owned(),
        generation: 3,
        resource_version: "812".to_owned(),
        text: r#"{"spec":{}}"#.to_owned(),
        policy_revision: 6,
        revision_from: 4,
        revision_to: 5,
        effective_from_us: Some(TIME - 2_000_000),
        effective_to_us: Some(TIME),
        understood: Some(false),
        faults: vec!["ingress[0]: unknown operator".to_owned()],
        ..PolicyVersion::default()
    };
    let statement = PolicyVersion {
        time_us: TIME,
        event: PolicyEvent::Statement.number().into(),
        policy_revision: 6,
        count: Some(0),
        ..PolicyVersion::default()
    };
    let files = files(&[Record::Policy(ended), Record::Policy(statement)]);
    assert_eq!(files[0].path, "policies/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet");
    let rows = rows(&files[0]);
    let sha256 = format!("\"{:064x}\"", 6);
    let mut expected = EVERYWHERE.to_vec();
    expected.extend([
        ("time", "2026-01-02 03:04:05.000006 +00:00"),
        ("seq", "1"),
        ("event", "\"ended\""),
        ("namespace", "\"shop\""),
        ("name", "\"one-port\""),
        ("uid", "\"uid-policy\""),
        ("generation", "3"),
        ("resource_version", "\"812\""),
        ("text", "\"{\"spec\":{}}\""),
        // As `sha256sum` says.
        ("text_sha256", "\"53aa778a9b137a0ca7ab79937d069870b14440dae5922f51d940ffa4b178d5cb\""),
        ("policy_revision", "6"),
        ("policy_sha256", &sha256),
        ("revision_from", "4"),
        ("revision_to", "5"),
        ("effective_from", "2026-01-02 03:04:03.000006 +00:00"),
        ("effective_to", "2026-01-02 03:04:05.000006 +00:00"),
        ("understood", "false"),
        ("faults", "[\"ingress[0]: unknown operator\"]"),
    ]);
    assert_row(&rows[0], &expected);
    let mut expected = EVERYWHERE.to_vec();
    expected.extend([
        ("time", "2026-01-02 03:04:05.000006 +00:00"),
        ("seq", "2"),
        ("event", "\"statement\""),
        ("policy_revision", "6"),
        ("policy_sha256", &sha256),
        ("faults", "[]"),
        ("count", "0"),
    ]);
    assert_row(&rows[1], &expected);
}

#[test]
fn a_file_of_coverage_has_the_rows_of_one_day_also_where_the_clock_was_set_back() {
    let day = |record: Record, days: i64| match record {
        Record::Coverage(coverage) => {
            Record::Coverage(Coverage { time_us: coverage.time_us + days * 24 * 60 * 60 * 1_000_000, ..coverage })
        }
        other => other,
    };
    let records = [0, 0, 1, 0].map(|days| day(attached(1), days));
    let files = files(&[&records[..], &[open("shop", 1), effective(1)]].concat());
    let found: Vec<_> = files
        .iter()
        .map(|file| (file.path.as_str(), file.content.first_seq, file.content.last_seq, file.content.rows))
        .collect();
    assert_eq!(
        found,
        [
            ("policies/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet", 1, 1, 1),
            ("coverage/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet", 1, 2, 2),
            ("coverage/cluster=lab/date=2026-01-03/node-a-5c1f-000000000003.parquet", 3, 3, 1),
            ("coverage/cluster=lab/date=2026-01-02/node-a-5c1f-000000000004.parquet", 4, 4, 1),
            ("verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet", 1, 1, 1),
        ]
    );
}

#[test]
fn a_word_of_a_newer_agent_is_its_number() {
    let open = verdict(open("shop", 1));
    let newer = Verdict { event: 200, verdict: 201, reason: 70_000, protocol: Some(47), src_known: 9, ..open };
    let rows = rows(&files(&[Record::Verdict(newer)])[0]);
    let words = ["event", "verdict", "reason", "protocol", "src_identity"].map(|name| rows[0][name].as_str());
    assert_eq!(words, ["\"200\"", "\"201\"", "\"70000\"", "\"47\"", "\"9\""]);
}

#[test]
fn each_namespace_has_a_file_that_says_what_it_holds() {
    let later = verdict(open("shop", 9));
    let later = Verdict { last_time_us: Some(later.time_us + 60_000_000), policy_revision: 5, ..later };
    let files = files(&[open("shop", 8), open("bank", 7), Record::Verdict(later)]);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "verdicts/cluster=lab/namespace=bank/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet",
            "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet",
        ]
    );
    let shop = &files[1];
    assert_eq!((shop.content.rows, shop.content.first_seq, shop.content.last_seq), (2, 1, 2));
    let reader = reader(shop);
    let found: HashMap<_, _> = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap()))
        .collect();
    let object = "ab".repeat(32);
    for (key, value) in [
        (metadata::TABLE, "verdicts"),
        (metadata::SCHEMA_VERSION, "2"),
        (metadata::CLUSTER, "lab"),
        (metadata::NAMESPACE, "shop"),
        (metadata::NODE, "node-a"),
        (metadata::BOOT, "5c1f"),
        (metadata::FIRST_SEQ, "1"),
        (metadata::LAST_SEQ, "2"),
        (metadata::FIRST_TIME, "2026-01-02T03:04:05.000014Z"),
        (metadata::LAST_TIME, "2026-01-02T03:05:05.000015Z"),
        (metadata::AGENT_VERSION, "0.1.0"),
        (metadata::OBJECT_SHA256, &object),
        (metadata::FIRST_POLICY_REVISION, "1"),
        (metadata::LAST_POLICY_REVISION, "5"),
        (metadata::RETAIN_UNTIL, "2026-01-03T03:05:05.000015Z"),
    ] {
        assert_eq!(found.get(key), Some(&value), "{key}");
    }
}

#[test]
fn columns_are_encoded_for_those_who_ask() {
    let rows = ROW_GROUP_ROWS + 5;
    let records: Vec<_> = (0..rows).map(|row| open("shop", u16::try_from(row % 60_000).unwrap())).collect();
    let files = files(&records);
    let reader = reader(&files[0]);
    let metadata = reader.metadata();
    let groups: Vec<_> = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [i64::try_from(ROW_GROUP_ROWS).unwrap(), 5]);

    let group = metadata.row_group(0);
    let column = |name: &str| group.columns().iter().position(|column| column.column_path().string() == name).unwrap();
    for column in group.columns() {
        let name = column.column_path().string();
        let is_compressed = matches!(column.compression(), Compression::ZSTD(_));
        assert_eq!(is_compressed, !["cluster", "namespace", "node", "boot", "time"].contains(&name.as_str()), "{name}");
        assert!(column.column_index_offset().is_some(), "{} has a page index", column.column_path());
        assert!(column.offset_index_offset().is_some(), "{} has a page index", column.column_path());
    }
    for name in ["time", "seq"] {
        let column = group.column(column(name));
        let encodings: Vec<_> = column.encodings().collect();
        assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{name}: {encodings:?}");
        assert!(column.dictionary_page_offset().is_none(), "{name}");
    }
    for name in ["namespace", "event", "src_ip", "src_pod", "src_labels", "policies.list.element.name"] {
        assert!(group.column(column(name)).dictionary_page_offset().is_some(), "{name} is a dictionary");
    }
    let group = reader.get_row_group(0).unwrap();
    for (name, there, absent) in [
        ("src_ip", "10.0.0.1", "10.9.9.9"),
        ("dst_ip", "10.0.0.2", "10.9.9.9"),
        ("src_pod", "web-1", "web-2"),
        ("dst_pod", "db-1", "web-1"),
    ] {
        let filter = group.get_column_bloom_filter(column(name)).unwrap_or_else(|| panic!("{name} has no filter"));
        assert!(filter.check(there) && !filter.check(absent), "{name}");
    }
    assert!(group.get_column_bloom_filter(column("reason")).is_none());
    assert!(files[0].bytes.len() < rows * 8, "{} bytes for {rows} rows", files[0].bytes.len());
}

/// What [`Dictionary`] knows, and that these namespaces ask for so many seconds.
struct Asking(&'static [(&'static str, u64)]);

impl Definitions for Asking {
    fn identity(&self, id: u32) -> Option<Identity> {
        Dictionary.identity(id)
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        Dictionary.rule_set(id)
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        Dictionary.revision(number)
    }

    fn trails(&self) -> Option<Arc<[Trail]>> {
        let trails = self.0.iter().map(|&(namespace, retention_seconds)| Trail {
            namespace: namespace.to_owned(),
            retention_seconds,
            ..Trail::default()
        });
        Some(trails.collect())
    }
}

#[test]
fn a_file_is_kept_for_the_longest_that_its_namespace_asked_for_while_its_records_were_made() {
    let bench = Bench::new();
    let mut writer = bench.writer(origin());
    let all = || vec![open("bank", 1), open("lab", 1), open("shop", 1), open("_unknown", 1), attached(7), effective(1)];
    let day = DAY.as_secs();
    let commits: [&'static [(&'static str, u64)]; 3] =
        [&[("bank", 60), ("shop", 3 * 86_400)], &[("bank", 60), ("shop", 60)], &[("bank", 120)]];
    for (trails, position) in commits.into_iter().zip(1..) {
        writer.commit(all(), &Asking(trails), &checkpoint(position)).unwrap();
    }
    let mut reader = Reader::open(&bench.spool()).unwrap();
    let mut batch = Batch::begin(&reader.next().unwrap().unwrap(), ["app".to_owned()].into());
    while let Some(spooled) = reader.next().unwrap() {
        batch.append(&spooled);
    }
    let files = batch.into_files(DAY).unwrap();
    let kept: HashMap<_, _> = files
        .iter()
        .map(|file| {
            let content = &file.content;
            let table = file.path.split('/').next().unwrap().to_owned();
            let kept = (content.retain_until - content.last_time).num_seconds().cast_unsigned();
            (content.namespace.clone().unwrap_or(table), kept)
        })
        .collect();
    let expected = [
        ("bank", 120),
        ("lab", day),
        ("shop", 3 * day),
        // Nobody's alone, so as long as anybody asked for.
        ("_unknown", 3 * day),
        ("coverage", 3 * day),
        ("policies", 3 * day),
    ];
    assert_eq!(kept, expected.map(|(name, seconds)| (name.to_owned(), seconds)).into());
}
