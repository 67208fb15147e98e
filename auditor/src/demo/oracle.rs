//! What the policies say, by the evaluator that goes through all of them for each question.

use std::net::IpAddr;

use podwitness_policy::{Cluster, Evaluation, Pod, Protocol, RuleSet, Subject, evaluate};
use podwitness_wire::{Direction, Reason, Verdict};

use super::errands::{Decision, Expected};

/// The policies of a cluster, and its one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oracle<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) node_addresses: &'a [IpAddr],
}

impl Oracle<'_> {
    /// What must come of a connection: each pod that it leaves or enters decides, until one denies.
    pub(super) fn expect(&self, from: IpAddr, to: IpAddr, protocol: Protocol, port: u16) -> Expected {
        let mut decisions = Vec::new();
        for (direction, own, peer) in [(Direction::Egress, from, to), (Direction::Ingress, to, from)] {
            let Some(pod) = self.cluster.pod_at(own) else { continue };
            let (verdict, decision) = self.decide(pod, direction, peer, protocol, port);
            decisions.push(decision);
            if verdict == Verdict::Deny {
                return Expected { answered: false, decisions };
            }
        }
        Expected { answered: true, decisions }
    }

    fn decide(
        &self,
        pod: &Pod,
        direction: Direction,
        peer: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> (Verdict, Decision) {
        let subject = Subject { pod, node_addresses: self.node_addresses };
        let none = RuleSet::default();
        let evaluation = evaluate(self.cluster, &subject, direction, peer, protocol.number(), Some(port));
        let (verdict, reason, rules) = match &evaluation {
            Evaluation::Node => (Verdict::Allow, Reason::Node, &none),
            Evaluation::NotIsolated => (Verdict::Allow, Reason::NotIsolated, &none),
            Evaluation::Allowed(rules) => (Verdict::Allow, Reason::Rule, rules),
            Evaluation::Denied(policies) => (Verdict::Deny, Reason::NoRule, policies),
        };
        let text = |rule: Option<u32>| rule.map(|rule| format!("[{rule}]")).unwrap_or_default();
        let policies = rules.iter().map(|rule| format!("{}{}", rule.policy, text(rule.rule))).collect();
        (verdict, Decision::new(direction, verdict, reason, policies))
    }
}
