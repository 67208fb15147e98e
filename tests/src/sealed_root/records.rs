//! Records of every table, and the definitions that they refer to.

use std::sync::Arc;

use podwitness_spool::words::{CoverageEvent, PolicyEvent, WitnessMode};
use podwitness_spool::{
    Coverage, Definitions, Identity, PolicyRule, PolicyVersion, Record, Revision, RuleSet, Trail, Verdict,
};
use podwitness_wire as wire;

/// A connection of pod 1 to port 80 of pod 2, allowed by a rule, at `time` in microseconds since 1970.
pub fn open(namespace: &str, time: i64, src_port: u16) -> Record {
    Record::Verdict(Verdict {
        time_us: time,
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
        src_identity: 1,
        dst_identity: 2,
        src_known: wire::Known::Exact.number().into(),
        dst_known: wire::Known::Exact.number().into(),
        rule_set: 1,
        policy_revision: 1,
        ..Verdict::default()
    })
}

/// `count` denied attempts, the last of them `seconds` behind the first.
pub fn deny(namespace: &str, time: i64, seconds: i64, count: i64) -> Record {
    let Record::Verdict(open) = open(namespace, time, 0) else { unreachable!("it is a verdict") };
    Record::Verdict(Verdict {
        last_time_us: Some(time + seconds * 1_000_000),
        event: wire::EventKind::Deny.number().into(),
        verdict: wire::Verdict::Deny.number().into(),
        reason: wire::Reason::NoRule.number().into(),
        count,
        src_port: None,
        rule_set: 2,
        ..open
    })
}

/// `count` records that could not be kept.
pub fn loss(namespace: &str, time: i64, count: i64) -> Record {
    Record::Verdict(Verdict {
        time_us: time,
        last_time_us: Some(time + 1_000_000),
        namespace: namespace.to_owned(),
        event: wire::EventKind::Loss.number().into(),
        reason: wire::Reason::RingFull.number().into(),
        count,
        ..Verdict::default()
    })
}

fn coverage(event: CoverageEvent, time: i64) -> Coverage {
    Coverage {
        time_us: time,
        event: event.number().into(),
        mode: WitnessMode::Enforce.number().into(),
        policy_revision: 1,
        ..Coverage::default()
    }
}

/// The agent began.
pub fn agent_started(time: i64) -> Record {
    Record::Coverage(coverage(CoverageEvent::AgentStarted, time))
}

/// The agent ended in good order.
pub fn agent_stopped(time: i64) -> Record {
    Record::Coverage(coverage(CoverageEvent::AgentStopped, time))
}

/// A policy that knows the pod `pod` of `namespace` is in force.
pub fn enforced(namespace: &str, time: i64, pod: &str) -> Record {
    Record::Coverage(Coverage {
        interface: Some(7),
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        addresses: vec![vec![10, 0, 0, 2]],
        ..coverage(CoverageEvent::EndpointEnforced, time)
    })
}

/// A statement of the one policy that is in force.
pub fn policies(time: i64) -> [Record; 2] {
    let version = |event: PolicyEvent| PolicyVersion {
        time_us: time,
        event: event.number().into(),
        policy_revision: 1,
        ..PolicyVersion::default()
    };
    let statement = PolicyVersion { count: Some(1), ..version(PolicyEvent::Statement) };
    let in_force = PolicyVersion {
        namespace: "shop".to_owned(),
        name: "allow-web".to_owned(),
        text: r#"{"kind":"NetworkPolicy"}"#.to_owned(),
        revision_from: 1,
        effective_from_us: Some(time),
        understood: Some(true),
        ..version(PolicyEvent::InForce)
    };
    [statement, in_force].map(Record::Policy)
}

/// Pods 1 and 2, rule sets 1 (a rule) and 2 (isolation), any revision, and these trails.
pub struct Dictionary(pub Arc<[Trail]>);

/// SHA-256, as it were, of the policy revision `number`.
fn revision_sha256(number: i64) -> String {
    format!("{number:064x}")
}

impl Definitions for Dictionary {
    fn identity(&self, id: u32) -> Option<Identity> {
        let (pod, labels) = if id == 1 { ("web-1", r#"{"app":"web"}"#) } else { ("db-1", r#"{"app":"db"}"#) };
        Some(Identity {
            id,
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            labels: labels.to_owned(),
            ..Identity::default()
        })
    }

    fn rule_set(&self, id: u32) -> Option<RuleSet> {
        let rule = (id == 1).then_some(0);
        let policy =
            PolicyRule { namespace: "shop".to_owned(), name: "allow-web".to_owned(), uid: String::new(), rule };
        Some(RuleSet { id, policies: vec![policy] })
    }

    fn revision(&self, number: i64) -> Option<Revision> {
        Some(Revision { number, sha256: revision_sha256(number) })
    }

    fn trails(&self) -> Option<Arc<[Trail]>> {
        Some(Arc::clone(&self.0))
    }
}
