use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use podwitness_manifests::{assemble, read_documents};
use podwitness_policy::Protocol;
use serde_json::Value;

use super::{Family, Party, Table, World, addresses, all};
use crate::oracle::Oracle;

/// The fields of `NetworkPolicySpec`, as `kubectl explain networkpolicy.spec --recursive` lists them.
const FIELDS: [&str; 37] = [
    "podSelector",
    "podSelector.matchLabels",
    "podSelector.matchExpressions",
    "podSelector.matchExpressions.key",
    "podSelector.matchExpressions.operator",
    "podSelector.matchExpressions.values",
    "policyTypes",
    "ingress",
    "ingress.from",
    "ingress.from.podSelector",
    "ingress.from.podSelector.matchLabels",
    "ingress.from.podSelector.matchExpressions",
    "ingress.from.namespaceSelector",
    "ingress.from.namespaceSelector.matchLabels",
    "ingress.from.namespaceSelector.matchExpressions",
    "ingress.from.ipBlock",
    "ingress.from.ipBlock.cidr",
    "ingress.from.ipBlock.except",
    "ingress.ports",
    "ingress.ports.protocol",
    "ingress.ports.port",
    "ingress.ports.endPort",
    "egress",
    "egress.to",
    "egress.to.podSelector",
    "egress.to.podSelector.matchLabels",
    "egress.to.podSelector.matchExpressions",
    "egress.to.namespaceSelector",
    "egress.to.namespaceSelector.matchLabels",
    "egress.to.namespaceSelector.matchExpressions",
    "egress.to.ipBlock",
    "egress.to.ipBlock.cidr",
    "egress.to.ipBlock.except",
    "egress.ports",
    "egress.ports.protocol",
    "egress.ports.port",
    "egress.ports.endPort",
];

/// What a field can hold that means something of its own.
const VALUES: [&str; 27] = [
    "podSelector = {}",
    "podSelector.matchExpressions.operator = In",
    "podSelector.matchExpressions.operator = NotIn",
    "podSelector.matchExpressions.operator = Exists",
    "podSelector.matchExpressions.operator = DoesNotExist",
    "ingress.from.podSelector.matchExpressions.operator = In",
    "ingress.from.podSelector.matchExpressions.operator = NotIn",
    "ingress.from.podSelector.matchExpressions.operator = Exists",
    "ingress.from.podSelector.matchExpressions.operator = DoesNotExist",
    "ingress.from.namespaceSelector.matchExpressions.operator = In",
    "ingress.from.namespaceSelector.matchExpressions.operator = NotIn",
    "ingress.from.namespaceSelector.matchExpressions.operator = Exists",
    "ingress.from.namespaceSelector.matchExpressions.operator = DoesNotExist",
    "policyTypes = Ingress",
    "policyTypes = Egress",
    "ingress = []",
    "ingress = {}",
    "ingress.from = []",
    "ingress.from.podSelector = {}",
    "ingress.from.namespaceSelector = {}",
    "ingress.ports.protocol = TCP",
    "ingress.ports.protocol = UDP",
    "ingress.ports.protocol = SCTP",
    "ingress.ports.port = number",
    "ingress.ports.port = name",
    "egress.ports.port = number",
    "egress.ports.port = name",
];

#[test]
fn every_field_of_the_api_and_each_of_its_values_is_in_a_case() {
    let mut said = BTreeSet::new();
    for case in all().unwrap() {
        for object in case.steps.iter().flat_map(|step| &step.apply) {
            if object["kind"] == "NetworkPolicy" {
                collect(&object["spec"], "", &mut said);
            }
        }
    }
    let missing: Vec<_> = FIELDS.iter().chain(&VALUES).filter(|known| !said.contains(**known)).collect();
    assert!(missing.is_empty(), "no case has {missing:#?}");
}

/// Notes every field below this one, and the values of those that have values of their own.
fn collect(value: &Value, path: &str, said: &mut BTreeSet<String>) {
    let mut note = |what: &str| said.insert(format!("{path} = {what}"));
    match value {
        Value::Object(fields) if path.ends_with("matchLabels") || fields.is_empty() => {
            note("{}");
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                said.insert(path.clone());
                collect(value, &path, said);
            }
        }
        Value::Array(items) => {
            if items.is_empty() {
                note("[]");
            }
            for item in items {
                collect(item, path, said);
            }
        }
        Value::Number(_) => {
            note("number");
        }
        Value::String(_) if path.rsplit('.').next() == Some("port") => {
            note("name");
        }
        Value::String(text) => {
            note(text);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[test]
fn titles_are_there_once_and_say_something() {
    let cases = all().unwrap();
    let titles: BTreeSet<&str> = cases.iter().map(|case| case.title.as_str()).collect();
    assert_eq!(titles.len(), cases.len(), "two cases have the same title");
    assert!(cases.len() >= 70, "there are {} cases", cases.len());
}

/// Without a packet: what a person says that the policies mean is what the evaluator says.
#[test]
fn truth_tables_are_what_the_evaluator_says() {
    let (node, node_addresses): (&str, [IpAddr; 2]) =
        ("node-a", ["172.30.0.2".parse().unwrap(), "fd00:172:30::2".parse().unwrap()]);
    let at = |party: Party, family: Family| {
        let [v4, v6] = addresses(party).unwrap_or(node_addresses);
        if family == Family::V4 { v4 } else { v6 }
    };
    let mut wrong = Vec::new();
    for case in all().unwrap() {
        let mut world = World::new(node);
        for (number, step) in (1..).zip(&case.steps) {
            step.apply.iter().for_each(|object| world.apply(object).unwrap());
            step.delete.iter().for_each(|object| world.delete(object).unwrap());
            let documents = read_documents(&world.text(0), &case.place);
            assert!(documents.faults.is_empty(), "{}: {:?}", case.place, documents.faults);
            let oracle = Oracle::new(assemble(documents.objects).0, node, &node_addresses, 0).unwrap();
            for probe in step.tables.iter().flat_map(Table::probes) {
                let local = SocketAddr::new(at(probe.from, probe.family), 1);
                let remote = SocketAddr::new(at(probe.to, probe.family), probe.port);
                let answered = probe.from == probe.to || oracle.expect(probe.protocol, local, remote).answered;
                if answered != probe.allowed {
                    wrong.push(format!("{} step {number}: {probe:?}", case.place));
                }
            }
        }
    }
    let first = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} cells differ from what the evaluator says: {first:#?}", wrong.len());
}

fn table(text: &str) -> Result<Table, String> {
    Table::read(text).map_err(|error| error.to_string())
}

#[test]
fn a_pattern_stands_for_those_who_have_no_nearer_name() {
    let read = table(
        "on TCP 80, UDP 81 over IPv6
        from\\to  x/a  x/*  *
        x/b        x    .    -
        near       x    -    -
        *          .    -    x
        ",
    )
    .unwrap();
    let at = |from: Party, to: Party| {
        let found: Vec<bool> =
            read.pairs.iter().filter(|pair| (pair.0, pair.1) == (from, to)).map(|pair| pair.2).collect();
        found
    };
    let pod = Party::Pod;
    assert_eq!(at(pod("x", "b"), pod("x", "a")), [false]);
    assert_eq!(at(pod("x", "b"), pod("x", "b")), [true]);
    assert_eq!(at(pod("x", "b"), pod("x", "c")), [true]);
    assert!(at(pod("x", "b"), pod("y", "a")).is_empty());
    assert_eq!(at(Party::Near, pod("x", "a")), [false]);
    assert_eq!(at(pod("z", "c"), pod("y", "a")), [false]);
    assert_eq!(at(pod("z", "c"), pod("z", "c")), [true], "a pod reaches itself whatever the pattern says");
    assert_eq!((read.on, read.over), (vec![(Protocol::Tcp, 80), (Protocol::Udp, 81)], vec![Family::V6]));
}

#[test]
fn a_table_that_leaves_something_open_is_refused() {
    for (text, said) in [
        ("TCP 80", "a table begins with `on `"),
        ("on SCTP 80\nfrom\\to *\n* .", "`SCTP` is neither TCP nor UDP"),
        ("on TCP 80 over IPX\nfrom\\to *\n* .", "`IPX` is neither IPv4 nor IPv6"),
        ("on TCP 80\nfrom\\to x/*\n* .", "these are not in the table"),
        ("on TCP 80\nfrom\\to *\nx/a .", "these are not in the table"),
        ("on TCP 80\nfrom\\to x/a x/a *\n* . . .", "x/a is named twice"),
        ("on TCP 80\nfrom\\to x/d *\n* . .", "`x/d` is nobody"),
        ("on TCP 80\nfrom\\to *\n* . .", "a row has not one cell for each column"),
        ("on TCP 80\nfrom\\to *\n* ?", "a cell is `.`, `x` or `-`, and not `?`"),
        ("on TCP 80\nfrom\\to near *\nfar . .\n* . .", "far -> near meets no pod of this node"),
    ] {
        let error = table(text).unwrap_err();
        assert!(error.contains(said), "{text:?}: {error}");
    }
}
