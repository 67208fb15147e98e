//! Which records each change of the node gives.

use std::sync::Arc;

use podwitness_datapath::{HookError, HookFault, Interface, Tables as KernelTables};
use podwitness_endpoints::{Snapshot, Unhooked};
use podwitness_policy::{Cluster, LabelSelector, NetworkPolicy, ObjectName, Objects, Phase, Pod};
use podwitness_spool::{
    Coverage, PolicyVersion, Record,
    words::{CoverageEvent, PolicyEvent},
};
use podwitness_wire::{EndpointEntry, Verdict, endpoint_flags};

use super::{Account, InForce, Journal, Seen, Statements, journal::MOST_BYTES};
use crate::hooker::Hooked;

fn taken(journal: &Journal) -> Vec<Record> {
    let records = journal.oldest(usize::MAX);
    journal.committed(records.len());
    records
}

fn coverage(journal: &Journal) -> Vec<Coverage> {
    let rows = taken(journal).into_iter().map(|record| match record {
        Record::Coverage(coverage) => coverage,
        other => panic!("{other:?} is not coverage"),
    });
    rows.collect()
}

fn policies(journal: &Journal) -> Vec<PolicyVersion> {
    let rows = taken(journal).into_iter().map(|record| match record {
        Record::Policy(version) => version,
        other => panic!("{other:?} is not about a policy"),
    });
    rows.collect()
}

/// A node with one veth, 7, and what is made of it.
struct Node {
    journal: Arc<Journal>,
    account: Account,
    cluster: Cluster,
    snapshot: Snapshot,
    pod: Option<ObjectName>,
    /// Whether an agent before has left the hooks.
    had_hooks: bool,
    /// Which request for hooks was made last; one each time that something is put in force.
    asked: u64,
    /// The newest answer is to this one, if it was made.
    answered: u64,
    /// Whether the veth is in the answers.
    is_in_answers: bool,
}

const NOW: i64 = 1_000_000_000;

impl Node {
    fn new() -> Self {
        let journal = Arc::new(Journal::default());
        let endpoint = podwitness_endpoints::Endpoint {
            name: "cni-7".to_owned(),
            interface: 7,
            interface_name: "veth7".to_owned(),
            addresses: vec!["10.0.0.7".parse().unwrap()],
        };
        Self {
            account: Account::new(Arc::clone(&journal), Verdict::Allow),
            journal,
            cluster: Cluster::default(),
            snapshot: Snapshot { endpoints: vec![endpoint], ..Snapshot::default() },
            pod: None,
            had_hooks: false,
            asked: 0,
            answered: u64::MAX,
            is_in_answers: true,
        }
    }

    fn known(mut self, uid: &str) -> Self {
        let pod = pod("web", uid, false);
        self.pod = Some(pod.name.clone());
        self.cluster.pods.insert(pod);
        self
    }

    /// What is said when it is learnt, and a microsecond later put in force, as `kind event since`.
    fn apply(&mut self, now: i64, flags: u32, faults: Vec<HookFault>) -> Vec<(&'static str, Option<i64>)> {
        self.records(now, flags, faults).iter().map(|row| (word(row), row.since_us)).collect()
    }

    fn records(&mut self, now: i64, flags: u32, faults: Vec<HookFault>) -> Vec<Coverage> {
        let endpoints: Vec<_> = self
            .snapshot
            .endpoints
            .iter()
            .map(|endpoint| podwitness_policy::Endpoint {
                interface: endpoint.interface,
                pod: self.pod.clone(),
                addresses: endpoint.addresses.clone(),
            })
            .collect();
        let seen = Seen {
            since_us: NOW,
            snapshot: &self.snapshot,
            endpoints: &endpoints,
            cluster: &self.cluster,
            node: "node-a",
            next_request: self.asked + 1,
        };
        self.account.learn(now, seen);
        let entry = EndpointEntry { flags, ..EndpointEntry::default() };
        let tables = KernelTables { endpoints: [(7, entry)].into_iter().collect(), ..KernelTables::default() };
        let interface = Interface { index: 7, name: "veth7".to_owned() };
        self.asked += 1;
        let is_hooked = faults.is_empty() && self.is_in_answers;
        let hooked = Hooked {
            request: self.asked.min(self.answered),
            interfaces: is_hooked.then_some((interface, self.had_hooks)).into_iter().collect(),
            faults,
        };
        self.account.enforced(now + 1, InForce { revision: 3, tables: &tables, hooked: &hooked });
        coverage(&self.journal)
    }
}

fn word(row: &Coverage) -> &'static str {
    u8::try_from(row.event).ok().and_then(CoverageEvent::from_number).map_or("?", CoverageEvent::name)
}

fn pod(name: &str, uid: &str, host_network: bool) -> Pod {
    Pod {
        name: ObjectName::new("shop", name),
        uid: uid.into(),
        template: Arc::default(),
        addresses: vec!["10.0.0.7".parse().unwrap()].into(),
        node: Some("node-a".into()),
        host_network,
        phase: Phase::Running,
        is_being_deleted: false,
        created: None,
    }
}

const KNOWN: u32 = endpoint_flags::KNOWN;

#[test]
fn nothing_is_said_of_an_endpoint_before_its_hooks_were_tried() {
    let mut node = Node { answered: 0, ..Node::new().known("1") };
    assert_eq!(node.apply(NOW + 10, KNOWN, vec![]), []);
    node.answered = 1;
    let told = [("endpoint-attached", Some(NOW)), ("endpoint-enforced", Some(NOW + 21))];
    assert_eq!(node.apply(NOW + 20, KNOWN, vec![]), told);
}

#[test]
fn an_endpoint_that_is_gone_before_the_answer_is_told_of_if_it_had_hooks() {
    for is_in_answers in [true, false] {
        let mut node = Node { answered: 0, is_in_answers, ..Node::new().known("1") };
        assert_eq!(node.apply(NOW + 10, KNOWN, vec![]), []);
        node.snapshot.endpoints.clear();
        assert_eq!(node.apply(NOW + 20, 0, vec![]), []);
        node.answered = 1;
        let told = [("endpoint-attached", Some(NOW)), ("endpoint-detached", Some(NOW + 31))];
        assert_eq!(node.apply(NOW + 30, 0, vec![]), if is_in_answers { &told[..] } else { &[] });
        assert_eq!(node.apply(NOW + 40, 0, vec![]), []);
    }
}

#[test]
fn a_pod_that_became_known_while_its_hooks_came_on_was_unknown_until_then() {
    let mut node = Node { answered: 0, ..Node::new() };
    assert_eq!(node.apply(NOW + 10, 0, vec![]), []);
    node = node.known("1");
    node.answered = 1;
    let told = node.records(NOW + 20, KNOWN, vec![]);
    assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["endpoint-attached", "endpoint-known", "endpoint-enforced"]);
    let allowed = Verdict::Allow.number().into();
    assert_eq!(told.iter().map(|row| row.unknown_endpoints).collect::<Vec<_>>(), [allowed, allowed, 0]);
    // Where the answer is to a request that was made when the tables knew it, it was not.
    let mut node = Node { answered: 0, ..Node::new() };
    assert_eq!(node.apply(NOW + 10, 0, vec![]), []);
    node = node.known("1");
    node.answered = 2;
    let told = node.records(NOW + 20, KNOWN, vec![]);
    assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["endpoint-attached", "endpoint-enforced"]);
    assert_eq!(told[0].unknown_endpoints, 0);
}

#[test]
fn an_answer_about_an_interface_before_says_nothing_of_the_one_that_has_its_number_now() {
    let mut node = Node::new().known("1");
    node.apply(NOW + 10, KNOWN, vec![]);
    node.answered = 1;
    node.snapshot.endpoints[0].name = "cni-8".to_owned();
    assert_eq!(node.apply(NOW + 20, KNOWN, vec![]), [("endpoint-detached", Some(NOW + 11))]);
    node.answered = 2;
    let told = [("endpoint-attached", Some(NOW)), ("endpoint-enforced", Some(NOW + 31))];
    assert_eq!(node.apply(NOW + 30, KNOWN, vec![]), told);
}

#[test]
fn a_pod_known_beforehand_is_attached_and_enforced_and_later_gone() {
    let mut node = Node::new().known("1");
    let first = node.records(NOW + 10, KNOWN, vec![]);
    let [attached, enforced] = &first[..] else { panic!("{first:#?}") };
    assert_eq!((word(attached), attached.since_us, attached.time_us), ("endpoint-attached", Some(NOW), NOW + 11));
    assert_eq!((word(enforced), enforced.since_us), ("endpoint-enforced", Some(NOW + 11)));
    for row in [attached, enforced] {
        assert_eq!((row.namespace.as_str(), row.pod.as_str(), row.pod_uid.as_str()), ("shop", "web", "1"));
        assert_eq!((row.interface, row.interface_name.as_str(), row.netns.as_str()), (Some(7), "veth7", "cni-7"));
        assert_eq!((&row.addresses, row.policy_revision), (&vec![vec![10, 0, 0, 7]], 3));
        assert_eq!((row.mode, row.unknown_endpoints), (1, 0));
    }
    assert_eq!(node.apply(NOW + 20, KNOWN, vec![]), []);
    node.snapshot.endpoints.clear();
    assert_eq!(node.apply(NOW + 30, KNOWN, vec![]), [("endpoint-detached", Some(NOW + 11))]);
}

#[test]
fn a_pod_known_later_says_how_long_it_was_not_and_what_decided_meanwhile() {
    let mut node = Node::new();
    let attached = node.records(NOW + 10, 0, vec![]);
    assert_eq!((attached.len(), word(&attached[0]), attached[0].pod.as_str()), (1, "endpoint-attached", ""));
    assert_eq!(attached[0].unknown_endpoints, u32::from(Verdict::Allow.number()));
    let mut node = node.known("1");
    let known = node.records(NOW + 500, KNOWN, vec![]);
    let told: Vec<_> = known.iter().map(|row| (word(row), row.since_us, row.time_us)).collect();
    assert_eq!(
        told,
        [("endpoint-known", Some(NOW + 11), NOW + 500), ("endpoint-enforced", Some(NOW + 500), NOW + 501)]
    );
    assert_eq!(known[0].unknown_endpoints, u32::from(Verdict::Allow.number()));

    // The tables that know it may not be the ones in force.
    let mut node = Node::new().known("1");
    assert_eq!(node.apply(NOW + 10, 0, vec![]), [("endpoint-attached", Some(NOW))]);
    assert_eq!(node.apply(NOW + 20, KNOWN, vec![]), [("endpoint-enforced", Some(NOW + 11))]);
}

#[test]
fn hooks_that_an_agent_before_has_left_are_told_apart_from_new_ones() {
    for (had_hooks, detail) in [(false, ""), (true, "its hooks were on already")] {
        let mut node = Node { had_hooks, ..Node::new().known("1") };
        let rows = node.records(NOW + 10, KNOWN, vec![]);
        assert_eq!(word(&rows[0]), "endpoint-attached");
        assert!(rows[0].detail.starts_with(detail) && rows[0].detail.is_empty() != had_hooks, "{rows:?}");
    }
}

#[test]
fn a_pod_that_is_known_no_more_and_one_in_its_place_are_told() {
    let mut node = Node::new().known("1");
    node.apply(NOW + 10, KNOWN, vec![]);
    node.pod = None;
    assert_eq!(node.apply(NOW + 20, 0, vec![]), [("endpoint-unknown", Some(NOW + 11))]);
    let mut node = node.known("1");
    assert_eq!(
        node.apply(NOW + 30, KNOWN, vec![]),
        [("endpoint-known", Some(NOW + 20)), ("endpoint-enforced", Some(NOW + 30))]
    );
    let mut node = node.known("2");
    let rows = node.records(NOW + 40, KNOWN, vec![]);
    let told: Vec<_> = rows.iter().map(|row| (word(row), row.pod_uid.as_str())).collect();
    assert_eq!(told, [("endpoint-unknown", "1"), ("endpoint-known", "2"), ("endpoint-enforced", "2")]);
}

#[test]
fn a_mode_that_changes_is_told() {
    let mut node = Node::new().known("1");
    node.apply(NOW + 10, KNOWN, vec![]);
    let audit = node.records(NOW + 20, KNOWN | endpoint_flags::AUDIT, vec![]);
    assert_eq!((audit.len(), word(&audit[0]), audit[0].mode), (1, "endpoint-enforced", 2));
    assert_eq!(node.apply(NOW + 30, KNOWN | endpoint_flags::AUDIT, vec![]), []);
}

#[test]
fn an_interface_without_hooks_is_told_once_with_the_cause_and_attached_when_it_has_them() {
    let mut node = Node::new().known("1");
    let interface = Interface { index: 7, name: "veth7".to_owned() };
    let fault = || vec![HookFault { interface: interface.clone(), cause: HookError::NoPriority }];
    let unhooked = node.records(NOW + 10, KNOWN, fault());
    assert_eq!((unhooked.len(), word(&unhooked[0]), unhooked[0].since_us), (1, "endpoint-unhooked", Some(NOW)));
    assert_eq!(
        (unhooked[0].reason.as_str(), unhooked[0].detail.as_str()),
        ("attach", "the filters of others leave no priority for ours")
    );
    assert_eq!(node.apply(NOW + 20, KNOWN, fault()), []);
    assert_eq!(
        node.apply(NOW + 30, KNOWN, vec![]),
        [("endpoint-attached", Some(NOW + 11)), ("endpoint-enforced", Some(NOW + 31))]
    );
}

#[test]
fn what_cannot_have_hooks_at_all_is_told_and_so_is_its_end() {
    let mut node = Node::new();
    node.snapshot.endpoints.clear();
    let netkit = Unhooked {
        name: "cni-9".to_owned(),
        interface: "eth0".to_owned(),
        kind: "netkit".to_owned(),
        reason: "it has no side on the node".to_owned(),
    };
    node.snapshot.unhooked.push(netkit);
    let on_host = pod("proxy", "9", true);
    node.cluster.pods.insert(on_host);
    let rows = node.records(NOW + 10, 0, vec![]);
    let told: Vec<_> =
        rows.iter().map(|row| (word(row), row.reason.as_str(), row.netns.as_str(), row.pod.as_str())).collect();
    assert_eq!(
        told,
        [("endpoint-unhooked", "netkit", "cni-9", ""), ("endpoint-unhooked", "host-network", "", "proxy")]
    );
    assert_eq!((rows[0].interface, rows[0].interface_name.as_str()), (None, "eth0"));
    assert_eq!(node.apply(NOW + 20, 0, vec![]), []);
    node.snapshot.unhooked.clear();
    node.cluster.pods = Objects::default();
    assert_eq!(
        node.apply(NOW + 30, 0, vec![]),
        [("endpoint-detached", Some(NOW + 10)), ("endpoint-detached", Some(NOW + 10))]
    );
}

#[test]
fn an_index_that_another_namespace_has_now_is_another_endpoint() {
    let mut node = Node::new().known("1");
    node.apply(NOW + 10, KNOWN, vec![]);
    node.snapshot.endpoints[0].name = "cni-8".to_owned();
    let events: Vec<_> = node.apply(NOW + 20, KNOWN, vec![]).into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["endpoint-detached", "endpoint-attached", "endpoint-enforced"]);
}

fn cluster(policies: &[(&str, &str)]) -> Arc<Cluster> {
    let policies = policies.iter().map(|(name, text)| NetworkPolicy {
        name: ObjectName::new("shop", *name),
        uid: "uid".into(),
        generation: 1,
        resource_version: String::new(),
        pod_selector: LabelSelector::default(),
        ingress: None,
        egress: None,
        text: (*text).into(),
        faults: if text.is_empty() { vec!["empty".to_owned()] } else { Vec::new() },
    });
    Arc::new(Cluster { policies: policies.collect(), ..Cluster::default() })
}

/// `event name text revision_from revision_to` of each.
fn told(journal: &Journal) -> Vec<String> {
    let rows = policies(journal);
    let rows = rows.iter().map(|row| {
        let event = u8::try_from(row.event).ok().and_then(PolicyEvent::from_number).map_or("?", PolicyEvent::name);
        let PolicyVersion { name, text, policy_revision, revision_from, revision_to, .. } = row;
        format!("{policy_revision} {event} {name} {text} {revision_from} {revision_to}")
    });
    rows.collect()
}

#[test]
fn what_changes_in_the_policies_is_told_and_all_is_stated_at_the_start_and_each_day() {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let journal = Arc::new(Journal::default());
    let mut statements = Statements::new(Arc::clone(&journal));
    statements.state_each_day(NOW);
    assert_eq!(told(&journal), [""; 0], "nothing is in force");
    statements.in_force(NOW, 4, &cluster(&[("a", "one"), ("b", "two")]));
    assert_eq!(told(&journal), ["4 statement   0 0", "4 in-force a one 4 0", "4 in-force b two 4 0"]);
    statements.in_force(NOW + 1, 4, &cluster(&[("a", "one"), ("b", "two")]));
    statements.state_each_day(NOW + 2);
    assert_eq!(told(&journal), [""; 0]);
    statements.in_force(NOW + 3, 5, &cluster(&[("b", "three"), ("c", "")]));
    let rows = journal.oldest(1);
    let Record::Policy(ended) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!((ended.effective_from_us, ended.effective_to_us), (Some(NOW), Some(NOW + 3)));
    assert_eq!(
        told(&journal),
        ["5 ended a one 4 4", "5 ended b two 4 4", "5 effective b three 5 0", "5 effective c  5 0"]
    );
    statements.state_each_day(NOW + DAY);
    let rows = policies(&journal);
    assert_eq!((rows[0].count, rows[0].understood), (Some(2), None));
    assert_eq!((rows[1].effective_from_us, rows[1].understood), (Some(NOW + 3), Some(true)));
    assert_eq!((rows[2].understood, &rows[2].faults), (Some(false), &vec!["empty".to_owned()]));
    statements.in_force(NOW + DAY + 1, 6, &cluster(&[]));
    assert_eq!(told(&journal), ["6 ended b three 5 5", "6 ended c  5 5"]);
    statements.state_each_day(NOW + 2 * DAY);
    assert_eq!(told(&journal), ["6 statement   0 0"]);
}

#[test]
fn records_wait_in_order_and_what_finds_no_room_is_a_record_with_its_count() {
    let journal = Journal::default();
    let large = |name: &str| PolicyVersion {
        name: name.to_owned(),
        text: "x".repeat(MOST_BYTES / 2 - 1000),
        ..PolicyVersion::default()
    };
    for name in ["a", "b", "c", "d"] {
        journal.policy(large(name));
    }
    journal.coverage(Coverage::default());
    let names = |records: &[Record]| -> Vec<String> {
        let name = |record: &Record| match record {
            Record::Policy(version) => version.name.clone(),
            Record::Coverage(row) => format!("{} {}", word(row), row.count.unwrap_or(0)),
            Record::Verdict(_) => panic!("no verdict was written"),
        };
        records.iter().map(name).collect()
    };
    assert_eq!(names(&journal.oldest(usize::MAX)), ["a", "b"], "there is no room");
    assert_eq!(names(&journal.oldest(1)), ["a"]);
    journal.committed(1);
    journal.coverage(Coverage::default());
    assert_eq!(names(&journal.oldest(usize::MAX)), ["b", "records-lost 3", "? 0"]);
    journal.give_up_oldest();
    assert_eq!(names(&taken(&journal)), ["records-lost 3", "? 0", "records-lost 1"]);
    assert_eq!((journal.len(), journal.oldest(1)), (0, Vec::new()));
}
