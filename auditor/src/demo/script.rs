//! What is tried in the cluster that is built in, and what a reader of its policies expects.

use podwitness_policy::Protocol;
use podwitness_wire::{Direction, Reason, Verdict};

use super::errands::{Decision, Errand, Expected, Party};

/// The hosts outside the cluster that [`script`] has: name, IPv4 and IPv6 address.
pub(super) const OUTSIDERS: [(&str, &str, &str); 2] =
    [("customer", "203.0.113.10", "2001:db8::10"), ("abuser", "203.0.113.200", "2001:db8:bad::10")];

/// The port on which hosts outside the cluster listen.
pub(super) const OUTSIDE_PORT: u16 = 443;

/// What is tried in the cluster that is built in. Each line was written from the policies, and not from what the
/// programs made of them: the demo fails where they differ.
pub(super) fn script() -> Vec<Errand> {
    use Protocol::{Tcp, Udp};

    let frontend = || pod("shop/frontend");
    let api = || pod("shop/api");
    let db = || pod("shop/db");
    let monitor = || pod("ops/monitor");
    let resolver = || pod("ops/resolver");
    let visitor = || pod("guests/visitor");
    let customer = || Party::Outsider("customer");
    let abuser = || Party::Outsider("abuser");

    let free = decision(Direction::Egress, Verdict::Allow, Reason::NotIsolated, &[]);
    let out = |rule| decision(Direction::Egress, Verdict::Allow, Reason::Rule, &[rule]);
    let into = |rule| decision(Direction::Ingress, Verdict::Allow, Reason::Rule, &[rule]);
    let stopped_out = |by: &[&str]| decision(Direction::Egress, Verdict::Deny, Reason::NoRule, by);
    let stopped_in = |by: &[&str]| decision(Direction::Ingress, Verdict::Deny, Reason::NoRule, by);
    let kubelet = decision(Direction::Ingress, Verdict::Allow, Reason::Node, &[]);

    let answered = |from, to, protocol, port, about, decisions: &[&Decision]| {
        errand(from, to, protocol, port, about, true, decisions)
    };
    let denied = |from, to, protocol, port, about, decisions: &[&Decision]| {
        errand(from, to, protocol, port, about, false, decisions)
    };
    vec![
        answered(customer(), frontend(), Tcp, 8080, "a customer visits the shop", &[&into("shop/customers[0]")]),
        answered(
            frontend(),
            resolver(),
            Udp,
            53,
            "the front end resolves a name",
            &[&out("shop/dns[0]"), &into("ops/resolver[0]")],
        ),
        answered(
            frontend(),
            api(),
            Tcp,
            8000,
            "the front end calls the API by a named port",
            &[&out("shop/frontend-to-api[0]"), &into("shop/api-callers[0]")],
        ),
        answered(
            api(),
            db(),
            Tcp,
            5432,
            "the API asks the database",
            &[&out("shop/api-to-db[0]"), &into("shop/db-callers[0]")],
        ),
        answered(monitor(), api(), Tcp, 9090, "monitoring, by its namespace", &[&free, &into("shop/api-callers[1]")]),
        answered(
            monitor(),
            api(),
            Tcp,
            9095,
            "monitoring, within the range of ports",
            &[&free, &into("shop/api-callers[1]")],
        ),
        answered(visitor(), resolver(), Udp, 53, "any pod may resolve names", &[&free, &into("ops/resolver[0]")]),
        answered(Party::Node, db(), Tcp, 5432, "the kubelet probes its own pods", &[&kubelet]),
        denied(
            frontend(),
            db(),
            Tcp,
            5432,
            "the front end goes around the API",
            &[&stopped_out(&["shop/default-deny", "shop/dns", "shop/frontend-to-api"])],
        ),
        denied(
            monitor(),
            api(),
            Tcp,
            9100,
            "monitoring, past the range of ports",
            &[&free, &stopped_in(&["shop/api-callers", "shop/default-deny"])],
        ),
        denied(
            visitor(),
            api(),
            Tcp,
            8000,
            "a stranger in the cluster calls the API",
            &[&free, &stopped_in(&["shop/api-callers", "shop/default-deny"])],
        ),
        denied(
            visitor(),
            db(),
            Udp,
            5432,
            "a stranger pokes at the database over UDP",
            &[&free, &stopped_in(&["shop/db-callers", "shop/default-deny"])],
        ),
        denied(
            api(),
            resolver(),
            Tcp,
            53,
            "one side allows it, the other does not",
            &[&out("shop/dns[0]"), &stopped_in(&["ops/resolver"])],
        ),
        denied(
            abuser(),
            frontend(),
            Tcp,
            8080,
            "an address that the ipBlock excepts",
            &[&stopped_in(&["shop/customers", "shop/default-deny"])],
        ),
        denied(
            frontend(),
            customer(),
            Tcp,
            OUTSIDE_PORT,
            "data tries to leave the cluster",
            &[&stopped_out(&["shop/default-deny", "shop/dns", "shop/frontend-to-api"])],
        ),
    ]
}

fn pod(name: &str) -> Party {
    Party::Pod(name.to_owned())
}

fn decision(direction: Direction, verdict: Verdict, reason: Reason, policies: &[&str]) -> Decision {
    Decision::new(direction, verdict, reason, policies.iter().map(|policy| (*policy).to_owned()).collect())
}

fn errand(
    from: Party,
    to: Party,
    protocol: Protocol,
    port: u16,
    about: &'static str,
    answered: bool,
    decisions: &[&Decision],
) -> Errand {
    // The policies treat both families alike.
    let expected = Expected { answered, decisions: decisions.iter().map(|decision| (*decision).clone()).collect() };
    Errand { from, to, protocol, port, about, over_v4: expected.clone(), over_v6: expected }
}

#[cfg(test)]
mod tests;
