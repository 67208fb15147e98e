//! Every ordered pair of parties over both families and protocols: the probes, and what must come of them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{NetNs, Outcome};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::Evidence;
use podwitness_tests::oracle::{Expected, Oracle};
use podwitness_tests::traffic::{
    ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, SourcePorts, address_like, in_parallel, probe,
};

/// Who sends and is sent to.
pub(crate) struct Party<'lab> {
    pub(crate) netns: &'lab NetNs,
    /// One of each family.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether it is a pod of the node.
    pub(crate) has_hooks: bool,
}

/// A probe to be sent.
pub(crate) struct Errand<'lab> {
    from: &'lab NetNs,
    protocol: Protocol,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Errand<'_> {
    /// Has it leave by another port.
    pub(crate) fn leave_by(&mut self, port: u16) {
        self.local.set_port(port);
    }
}

/// A probe that was sent, and what must come of it.
pub(crate) type Probed = (Sent, Expected);

/// Every pair of which one at the least has hooks, with every port.
pub(crate) fn errands<'lab>(
    parties: &[Party<'lab>],
    to_ports: &[u16],
    source_ports: &SourcePorts,
) -> Result<Vec<Errand<'lab>>> {
    let mut errands = Vec::new();
    for (number, from) in parties.iter().enumerate() {
        for (other, to) in parties.iter().enumerate() {
            if number == other || !(from.has_hooks || to.has_hooks) {
                continue;
            }
            for to in &to.addresses {
                let local = address_like(&from.addresses, *to).context("every party has both families")?;
                for protocol in PROTOCOLS {
                    for port in to_ports {
                        let local = SocketAddr::new(local, source_ports.next()?);
                        let remote = SocketAddr::new(*to, *port);
                        errands.push(Errand { from: from.netns, protocol, local, remote });
                    }
                }
            }
        }
    }
    Ok(errands)
}

/// Sends them all. Each must meet what the oracle says.
pub(crate) fn send(oracle: &Oracle, errands: Vec<Errand<'_>>) -> Result<Vec<Probed>> {
    let results = in_parallel(24, errands, |Errand { from, protocol, local, remote }| {
        let expected = oracle.expect(protocol, local, remote);
        let limit = if expected.answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
        let sent = probe(from, protocol, local.port(), remote, limit)?;
        ensure!(sent.local == local, "it should have left from {local}: {sent:?}");
        Ok((sent, expected))
    })?;
    let is_wrong = |(sent, expected): &&Probed| {
        sent.outcome != if expected.answered { Outcome::Answered } else { Outcome::TimedOut }
    };
    let wrong: Vec<_> = results.iter().filter(is_wrong).collect();
    ensure!(wrong.is_empty(), "{} probes met something else, such as {:?}", wrong.len(), wrong[0]);
    Ok(results)
}

/// How many connections must have been opened.
pub(crate) fn openings(probed: &[Probed]) -> usize {
    probed.iter().flat_map(|(_, expected)| &expected.decisions).filter(|decision| decision.event == "open").count()
}

/// That the evidence says what it must of these probes, to the last column, and nothing else.
pub(crate) fn check(evidence: &Evidence, probed: Vec<Probed>) -> Result<()> {
    let opened = openings(&probed);
    let repeated = probed.iter().filter(|(sent, _)| sent.may_be_repeated()).map(|(sent, _)| sent.local).collect();
    let expected = probed.into_iter().flat_map(|(_, Expected { decisions, .. })| decisions);
    check::decisions(evidence, expected, &repeated)?;
    ensure!(check::closes(evidence)? == opened, "the openings are not those that were expected");
    ensure!(check::lost(evidence) == 0, "records were lost");
    Ok(())
}
