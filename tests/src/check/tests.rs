use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::evidence::{Side, Totals};

fn side(address: &str, port: u16) -> Side {
    Side { ip: Some(address.parse().unwrap()), port: Some(port), ..Side::default() }
}

fn row(seq: i64, event: &str, direction: &str) -> Row {
    let totals = Totals { packets_out: 5, bytes_out: 300, packets_in: 4, bytes_in: 250 };
    Row {
        time: 1_000_000 + seq,
        last_time: (event == "close").then_some(2_000_000),
        seq,
        cluster: "lab".into(),
        namespace: "shop".into(),
        node: "node-a".into(),
        boot: "boot".into(),
        event: event.into(),
        verdict: Some("allow".into()),
        direction: Some(direction.into()),
        reason: Some("not-isolated".into()),
        count: 1,
        protocol: Some("TCP".into()),
        src: side("10.0.0.1", 20_000),
        dst: side("10.0.0.2", 80),
        service: None,
        nat_resolution: None,
        backend: None,
        tcp_flags: Some(2),
        totals: (event == "close").then(|| if direction == "egress" { totals } else { totals.mirrored() }),
        policies: Vec::new(),
        policy_revision: Some(1),
        policy_sha256: None,
        previous_verdict: None,
        previous_policies: Vec::new(),
    }
}

/// One connection with its two sides, whole.
fn whole() -> Evidence {
    let rows = vec![
        row(1, "open", "egress"),
        row(2, "open", "ingress"),
        row(3, "close", "egress"),
        row(4, "close", "ingress"),
    ];
    let said = [
        (metadata::CLUSTER, "lab"),
        (metadata::NAMESPACE, "shop"),
        (metadata::NODE, "node-a"),
        (metadata::BOOT, "boot"),
        (metadata::FIRST_SEQ, "1"),
        (metadata::LAST_SEQ, "4"),
    ];
    let metadata: BTreeMap<String, String> = said.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Evidence { files: vec![EvidenceFile { path: PathBuf::from("/cluster=lab/namespace=shop/file"), metadata, rows }] }
}

fn spoilt(spoil: impl FnOnce(&mut Vec<Row>)) -> Evidence {
    let mut evidence = whole();
    spoil(&mut evidence.files[0].rows);
    evidence
}

fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn whole_evidence_passes() {
    assert_eq!(closes(&whole()).unwrap(), 2);
    assert!(sequences(&whole()).unwrap().iter().eq(["shop"]));
    let openings = || whole().events("open").map(Decision::from).collect::<Vec<_>>();
    decisions(&whole(), openings(), &BTreeSet::new()).unwrap();
}

#[test]
fn a_connection_that_is_doubled_or_half_missing_is_seen() {
    for event in ["open", "close"] {
        let doubled = spoilt(|rows| rows.push(row(5, event, "egress")));
        assert!(said(closes(&doubled)).contains("has two rows"), "{event}");
    }
    assert!(said(closes(&spoilt(|rows| drop(rows.remove(0))))).contains("never opened"));
    assert!(said(closes(&spoilt(|rows| drop(rows.remove(3))))).contains("never closed"));
}

#[test]
fn sides_that_counted_differently_are_seen() {
    let differing = spoilt(|rows| rows[3].totals.as_mut().unwrap().packets_in += 1);
    assert!(said(closes(&differing)).contains("counted differently"));
    let other_reason = spoilt(|rows| rows[2].reason = Some("rule".into()));
    assert!(said(closes(&other_reason)).contains("does not say what the opening does"));
}

#[test]
fn a_hole_a_double_and_metadata_of_another_file_are_seen() {
    assert!(said(sequences(&spoilt(|rows| drop(rows.remove(1))))).contains("should"));
    let doubled = spoilt(|rows| rows[1].seq = 1);
    assert!(format!("{:#}", sequences(&doubled).unwrap_err()).contains("not in order"));
    let mut other = whole();
    other.files[0].metadata.insert(metadata::LAST_SEQ.to_owned(), "5".to_owned());
    assert!(format!("{:#}", sequences(&other).unwrap_err()).contains("last seq"));
}

#[test]
fn a_decision_that_is_missing_too_many_or_other_is_seen() {
    let expected = || whole().events("open").map(Decision::from).collect::<Vec<_>>();
    let none = BTreeSet::new();
    let missing = spoilt(|rows| drop(rows.remove(0)));
    assert!(said(decisions(&missing, expected(), &none)).starts_with("1 decisions are missing, 0 should not be there"));
    let more = spoilt(|rows| rows.push(row(5, "deny", "egress")));
    assert!(said(decisions(&more, expected(), &none)).starts_with("0 decisions are missing, 1 should not be there"));
    let other = spoilt(|rows| rows[1].dst.pod = Some("somebody".into()));
    assert!(said(decisions(&other, expected(), &none)).starts_with("1 decisions are missing, 1 should not be there"));
}

#[test]
fn attempts_that_the_system_repeated_count_as_one_where_that_is_known() {
    let twice = spoilt(|rows| rows.extend([row(5, "deny", "egress"), row(6, "deny", "egress")]));
    let expected = || {
        let opened = whole().events("open").map(Decision::from).collect::<Vec<_>>();
        opened.into_iter().chain([Decision::from(&row(5, "deny", "egress"))])
    };
    let from = SocketAddr::new(twice.files[0].rows[0].src.ip.unwrap(), twice.files[0].rows[0].src.port.unwrap());
    decisions(&twice, expected(), &BTreeSet::from([from])).unwrap();
    let elsewhere = BTreeSet::from([SocketAddr::new(from.ip(), from.port() + 1)]);
    assert!(
        said(decisions(&twice, expected(), &elsewhere)).starts_with("0 decisions are missing, 1 should not be there")
    );
}
