//! Files that are refused, and the exact words in which a person is told.

use std::path::Path;

use podwitness_config::Config;

/// The least that is accepted, so that a line added to it is the only fault. It has four lines.
const MINIMAL: &str = "cluster: c\nnode: n\nsource: {directory: /objects}\nstore: {url: s3://bucket}\n";

const NAME: &str = "a name of 1 to 128 letters, digits, `-`, `_` and `.`, with a letter or digit first and last, because it stands in object paths";
const URL: &str =
    "`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `file:///FOLDER` or a folder's path";
const SIZE: &str = "a size with its unit (B, KiB, MiB, GiB, TiB)";
const DURATION: &str = "a duration with its unit (ms, s, m, h, d)";

fn faults(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new("podwitness.yaml"), &|_| None) {
        Ok(config) => panic!("accepted:\n{text}\nas {config:?}"),
        Err(faults) => faults.faults().iter().map(ToString::to_string).collect(),
    }
}

/// Asserts that `line`, added to a good file, is the one fault, told as `expected`.
#[track_caller]
fn refused(line: &str, expected: &str) {
    assert_eq!(faults(&format!("{MINIMAL}{line}\n")), [format!("line 5: {expected}")], "{line}");
}

/// As [`refused`], with `replacement` instead of what the good file has.
#[track_caller]
fn refused_instead(of: &str, replacement: &str, expected: &str) {
    assert!(MINIMAL.contains(of));
    assert_eq!(faults(&MINIMAL.replace(of, replacement)), [expected], "{replacement}");
}

#[test]
fn what_has_no_default_is_asked_for() {
    assert_eq!(
        faults("{}"),
        [
            "cluster: missing; expected the cluster's name".to_owned(),
            "source: missing; expected one of `kubernetes: {}` and `directory: PATH`".to_owned(),
            format!("store.url: missing; expected {URL}"),
        ]
    );
    assert_eq!(faults("")[0], "cluster: missing; expected the cluster's name");
    assert_eq!(faults("# nothing but a comment\n").len(), 3);
}

#[test]
fn unknown_keys_are_named_with_the_near_one() {
    refused("modes: audit", "modes: unknown key; did you mean `mode`?");
    refused("Mode: audit", "Mode: unknown key; did you mean `mode`?");
    refused("spool: {maxbytes: 1GiB}", "spool.maxbytes: unknown key; did you mean `maxBytes`?");
    refused("batch: {maxAgo: 1m}", "batch.maxAgo: unknown key; did you mean `maxAge`?");
    refused(
        "connections: {timeouts: {tcpEstablish: 1s}}",
        "connections.timeouts.tcpEstablish: unknown key; did you mean `tcpEstablished`?",
    );
    refused("log: {colour: true}", "log.colour: unknown key; expected one of `format`, `level`");
    refused_instead(
        "{directory: /objects}",
        "{kubernetes: {context: dev}}",
        "line 3: source.kubernetes.context: unknown key; this section has none",
    );
}

#[test]
fn names_that_cannot_stand_in_a_path_are_refused() {
    for name in ["a/b", "a b", "-a", "a.", "..", "ä", "a=b"] {
        refused_instead(
            "cluster: c",
            &format!("cluster: {name}"),
            &format!("line 1: cluster: expected {NAME}, found `{name}`"),
        );
    }
    let long = "x".repeat(129);
    refused_instead("node: n", &format!("node: {long}"), &format!("line 2: node: expected {NAME}, found `{long}`"));
    refused_instead("cluster: c", "cluster: \"\"", &format!("line 1: cluster: expected {NAME}, found ``"));
    refused_instead("cluster: c", "cluster:", &format!("line 1: cluster: expected {NAME}, found nothing"));
    refused_instead("cluster: c", "cluster: [c]", &format!("line 1: cluster: expected {NAME}, found a list"));
    refused_instead(
        "cluster: c",
        "cluster: 42",
        "line 1: cluster: expected a name, found the number 42; put it in quotes if it is one",
    );
}

#[test]
fn a_node_name_from_the_environment_is_checked_too() {
    let env = |_: &str| Some("node a".to_owned());
    let text = MINIMAL.replace("node: n\n", "");
    let faults = Config::parse(&text, Path::new("podwitness.yaml"), &env).expect_err("refused");
    assert_eq!(
        faults.to_string(),
        format!(
            "configuration podwitness.yaml: node: missing, and the environment's NODE_NAME, `node a`, cannot be used: expected {NAME}"
        )
    );
}

#[test]
fn there_is_exactly_one_source() {
    let missing = "line 3: source: missing; expected one of `kubernetes: {}` and `directory: PATH`";
    refused_instead("{directory: /objects}", "{}", missing);
    refused_instead("{directory: /objects}", "", missing);
    refused_instead(
        "{directory: /objects}",
        "{kubernetes: {}, directory: /objects}",
        "line 3: source.directory: expected either `kubernetes` or `directory`, found both",
    );
    refused_instead(
        "{directory: /objects}",
        "/objects",
        "line 3: source: expected a section of `key: value` lines, found `/objects`",
    );
    refused_instead("/objects", "", "line 3: source.directory: expected a path, found nothing");
    refused_instead("/objects", "7", "line 3: source.directory: expected a path, found the number 7");
}

#[test]
fn only_stores_that_exist_are_accepted() {
    for url in [
        "http://bucket/x",
        "s3:bucket",
        "s3:///x",
        "s3://bucket:99/x",
        "s3://bucket/x?a=b",
        "s3://bucket/x#a",
        "s3://bucket/a//b",
        "file://host/x",
        "file:x",
    ] {
        let written = format!("\"{url}\"");
        refused_instead("s3://bucket", &written, &format!("line 4: store.url: expected {URL}, found `{url}`"));
    }
    refused_instead("s3://bucket", "\"\"", &format!("line 4: store.url: expected {URL}, found ``"));
    refused_instead("s3://bucket", "5", &format!("line 4: store.url: expected {URL}, found the number 5"));
}

#[test]
fn a_secret_in_the_store_url_is_not_repeated_in_the_message() {
    refused_instead(
        "s3://bucket",
        "s3://key:secret@bucket/x",
        "line 4: store.url: expected no credentials in the URL; they come from the environment or files, as the cloud's own tools take them",
    );
}

#[test]
fn words_come_from_their_list() {
    refused("mode: monitor", "mode: expected `enforce` or `audit`, found `monitor`");
    refused("mode: true", "mode: expected `enforce` or `audit`, found the boolean true");
    refused("mode:", "mode: expected `enforce` or `audit`, found nothing");
    refused("mode: \"a\\nb\"", "mode: expected `enforce` or `audit`, found `a\u{fffd}b`");
    refused("endpoints: {unknownEndpoints: no}", "endpoints.unknownEndpoints: expected `allow` or `deny`, found `no`");
    refused("log: {format: yaml}", "log.format: expected `json` or `text`, found `yaml`");
    refused(
        "log: {level: verbose}",
        "log.level: expected `error` or `warn` or `info` or `debug` or `trace`, found `verbose`",
    );
}

#[test]
fn sizes_have_a_unit_and_a_range() {
    let spool = |found: &str| format!("spool.maxBytes: expected {SIZE} from 128KiB to 1024TiB, found {found}");
    refused("spool: {maxBytes: 10}", &spool("the number 10"));
    refused("spool: {maxBytes: 10GB}", &spool("`10GB`"));
    refused("spool: {maxBytes: 1.5GiB}", &spool("`1.5GiB`"));
    refused("spool: {maxBytes: -1GiB}", &spool("`-1GiB`"));
    refused("spool: {maxBytes: GiB}", &spool("`GiB`"));
    refused("spool: {maxBytes: \"10 GiB\"}", &spool("`10 GiB`"));
    refused("spool: {maxBytes: 1B}", &spool("`1B`"));
    refused("spool: {maxBytes: 99999999999TiB}", &spool("`99999999999TiB`"));
    refused(
        "spool: {segmentBytes: 2GiB}",
        &format!("spool.segmentBytes: expected {SIZE} from 64KiB to 1GiB, found `2GiB`"),
    );
    refused("batch: {maxBytes: 1KiB}", &format!("batch.maxBytes: expected {SIZE} from 64KiB to 4GiB, found `1KiB`"));
}

#[test]
fn durations_have_a_unit_and_a_range() {
    let age = |found: &str| format!("batch.maxAge: expected {DURATION} from 100ms to 1d, found {found}");
    refused("batch: {maxAge: 5}", &age("the number 5"));
    refused("batch: {maxAge: 5min}", &age("`5min`"));
    refused("batch: {maxAge: 2d}", &age("`2d`"));
    refused("batch: {maxAge: 99ms}", &age("`99ms`"));
    refused("batch: {maxAge: 99999999999999999999s}", &age("`99999999999999999999s`"));
    for (line, key, range) in [
        ("spool: {commitInterval: 2s}", "spool.commitInterval", "1ms to 1s"),
        ("seal: {interval: 2s5}", "seal.interval", "1s to 1d"),
        ("connections: {closeAfter: 2d}", "connections.closeAfter", "0s to 1h"),
        ("connections: {progress: 2d}", "connections.progress", "100ms to 1d"),
        ("connections: {timeouts: {udp: 31d}}", "connections.timeouts.udp", "100ms to 30d"),
        ("events: {drainInterval: 2m}", "events.drainInterval", "10ms to 1m"),
        ("events: {sweepInterval: 1ms}", "events.sweepInterval", "10ms to 1m"),
        ("retention: {minimum: 0d}", "retention.minimum", "1s to 36500d"),
    ] {
        let found = line.rsplit([' ', '}']).find(|part| !part.is_empty()).expect("the line has a value");
        refused(line, &format!("{key}: expected {DURATION} from {range}, found `{found}`"));
    }
}

#[test]
fn kernel_tables_have_a_possible_size() {
    let max = |found: &str| format!("connections.max: expected a whole number from 16 to 16777216, found {found}");
    refused("connections: {max: 0}", &max("the number 0"));
    refused("connections: {max: -1}", &max("the number -1"));
    refused("connections: {max: 1.5}", &max("the number 1.5"));
    refused("connections: {max: 99999999999}", &max("the number 99999999999"));
    refused("connections: {max: many}", &max("`many`"));
    refused("events: {denials: 1}", "events.denials: expected a whole number from 16 to 16777216, found the number 1");
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("told").expect("known") / 1024;
    let ring = |found: &str| {
        format!(
            "events.ringBytes: expected a size with its unit that is a power of two, from one page ({page}KiB) to 1GiB, found {found}"
        )
    };
    refused("events: {ringBytes: 3MiB}", &ring("`3MiB`"));
    refused("events: {ringBytes: 2KiB}", &ring("`2KiB`"));
    refused("events: {ringBytes: 2GiB}", &ring("`2GiB`"));
    refused("events: {ringBytes: 65536}", &ring("the number 65536"));
}

#[test]
fn addresses_are_numbers_and_programs_do_not_share_one() {
    let agent = |found: &str| {
        format!(
            "listen.agent: expected an IP address and a port such as `127.0.0.1:9464` or `\"[::1]:9464\"`, found {found}"
        )
    };
    refused("listen: {agent: localhost:9464}", &agent("`localhost:9464`"));
    refused("listen: {agent: 127.0.0.1}", &agent("`127.0.0.1`"));
    refused("listen: {agent: 9464}", &agent("the number 9464"));
    refused(
        "listen: {agent: 127.0.0.1:9465}",
        "listen.exporter: expected another address than listen.agent's, found `127.0.0.1:9465` for both",
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    refused(
        "spool: {maxBytes: 1MiB, segmentBytes: 1MiB}",
        "spool.maxBytes: expected at least twice spool.segmentBytes (1MiB), found 1MiB",
    );
    refused("retention: {default: 30d}", "retention.default: expected at least retention.minimum (90d), found 30d");
    refused("retention: {minimum: 500d}", "retention.default: expected at least retention.minimum (500d), found 400d");
}

#[test]
fn a_faulty_value_makes_no_second_fault_by_comparison() {
    refused(
        "retention: {default: soon, minimum: 500d}",
        &format!("retention.default: expected {DURATION} from 1s to 36500d, found `soon`"),
    );
}

#[test]
fn label_columns_are_label_keys_and_none_twice() {
    refused("labels: {columns: app}", "labels.columns: expected a list such as `[a, b]`, found `app`");
    let key = "a label key such as `app` or `app.kubernetes.io/name`";
    refused("labels: {columns: [app, \"a b\"]}", &format!("labels.columns[1]: expected {key}, found `a b`"));
    refused("labels: {columns: [/app]}", &format!("labels.columns[0]: expected {key}, found `/app`"));
    refused("labels: {columns: [Org/app]}", &format!("labels.columns[0]: expected {key}, found `Org/app`"));
    refused("labels: {columns: [7]}", &format!("labels.columns[0]: expected {key}, found the number 7"));
    refused("labels: {columns: [app, tier, app]}", "labels.columns[2]: `app` stands in the list already");
}

#[test]
fn sections_are_sections_and_the_file_is_one() {
    refused("spool: /spool", "spool: expected a section of `key: value` lines, found `/spool`");
    refused("labels: [app]", "labels: expected a section of `key: value` lines, found a list");
    assert_eq!(faults("- a\n- b\n")[3], "line 1: expected a section of `key: value` lines, found a list");
}

#[test]
fn every_fault_is_told_at_once_from_top_to_end() {
    let text = "\
cluster: a/b
source: {}
mode: off
spool:
  maxBytes: 10
  path: 5
  segment: 1MiB
labels:
  columns:
    - app
    - \"!\"
retentions: {default: 1d}
";
    let faults =
        Config::parse(text, Path::new("conf/podwitness.yaml"), &|_| Some("n".to_owned())).expect_err("refused");
    assert_eq!(
        faults.to_string(),
        format!(
            "configuration conf/podwitness.yaml: 9 faults
  store.url: missing; expected {URL}
  line 1: cluster: expected {NAME}, found `a/b`
  line 2: source: missing; expected one of `kubernetes: {{}}` and `directory: PATH`
  line 3: mode: expected `enforce` or `audit`, found `off`
  line 5: spool.maxBytes: expected {SIZE} from 128KiB to 1024TiB, found the number 10
  line 6: spool.path: expected a path, found the number 5
  line 7: spool.segment: unknown key; expected one of `path`, `maxBytes`, `segmentBytes`, `commitInterval`
  line 11: labels.columns[1]: expected a label key such as `app` or `app.kubernetes.io/name`, found `!`
  line 12: retentions: unknown key; did you mean `retention`?"
        )
    );
}

#[test]
fn what_is_not_yaml_is_told_with_its_place() {
    for (text, what, place) in [
        ("cluster: [a\n", "unclosed bracket", "line 1, column 10"),
        ("cluster: c\n\tnode: n\n", "found a tab", "line 1, column 10"),
        ("cluster: c\ncluster: d\n", "duplicate mapping key `cluster`", "line 2, column 1"),
        ("cluster: c\n---\ncluster: d\n", "multiple", "line 3, column 1"),
        ("? [a]\n: b\n", "expected string", "line 1, column 3"),
    ] {
        let [fault] = faults(text).try_into().expect("one fault");
        assert!(fault.starts_with("not YAML that can be read: "), "{fault}");
        assert!(fault.contains(what) && fault.ends_with(place), "{fault}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let faults = Config::load(Path::new("no/such/podwitness.yaml"), &|_| None).expect_err("refused");
    assert_eq!(
        faults.to_string(),
        "configuration no/such/podwitness.yaml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_taint_is_of_a_node_that_an_api_server_has() {
    refused(
        "startupTaint: podwitness.io/agent-not-ready",
        "startupTaint: nodes have taints with `source: {kubernetes: {}}` alone",
    );
    assert!(faults(&format!("{MINIMAL}startupTaint: a b\n"))[0].starts_with("line 5: startupTaint: expected a label"));
}
