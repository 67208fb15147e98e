//! The witness mode of one namespace, by its `AuditTrail`: what passes and what is cut, and what the records say.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use podwitness_lab::{Conversation, Outcome, Pod, PodSpec, Server};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, PolicyRule, Row};
use podwitness_tests::scenario::{Scenario, wait};
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, SourcePorts, probe, serve};

use crate::field::{OPEN, SHUT};

/// Two namespaces with a pod each, under policies that open one port and let nothing out; and a pod without policy.
struct Town {
    scenario: Scenario,
    client: Pod,
    shop: Pod,
    bank: Pod,
    ports: SourcePorts,
    /// What was sent between whom, and what its records must be.
    told: Vec<Told>,
    servers: Vec<Server>,
}

/// Who sends, and to whom.
type Way = fn(&Town) -> (&Pod, &Pod);

/// A probe or a connection, by its first packet's source, and its records in their order: where, event and verdict.
struct Told {
    protocol: Protocol,
    local: SocketAddr,
    remote: SocketAddr,
    records: Vec<(&'static str, &'static str, &'static str)>,
}

impl Town {
    fn make() -> Result<Self> {
        let scenario = Scenario::new()?;
        let mut pods = Vec::new();
        for (number, namespace) in ["ops", "shop", "bank"].into_iter().enumerate() {
            scenario.cluster.namespace(namespace, &[])?;
            let addresses = [format!("10.10.0.{}", number + 1).parse()?, format!("fd00:10::{}", number + 1).parse()?];
            pods.push(scenario.pod(PodSpec::new(namespace, "one", &addresses))?);
        }
        let mut servers = Vec::new();
        for pod in &pods {
            servers.extend(serve(pod, &[OPEN, SHUT])?);
        }
        let [client, shop, bank] = <[Pod; 3]>::try_from(pods).map_err(|_| anyhow::anyhow!("three pods were made"))?;
        let town = Self { scenario, client, shop, bank, ports: SourcePorts::default(), told: Vec::new(), servers };
        town.policies("shop", &[OPEN])?;
        town.policies("bank", &[OPEN])?;
        Ok(town)
    }

    /// Writes a namespace's only policy, which lets in on these ports and lets nothing out.
    fn policies(&self, namespace: &str, open: &[u16]) -> Result<()> {
        let ports: Vec<String> = open
            .iter()
            .flat_map(|port| [format!("{{port: {port}}}"), format!("{{port: {port}, protocol: UDP}}")])
            .collect();
        let rules = if ports.is_empty() { String::new() } else { format!("{{ports: [{}]}}", ports.join(", ")) };
        let spec = format!("{{podSelector: {{}}, policyTypes: [Ingress, Egress], ingress: [{rules}]}}");
        Ok(self.scenario.cluster.policy(namespace, "strict", &spec)?)
    }

    fn change(&mut self, change: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let before = self.generation()?;
        change(self)?;
        wait("other tables are in force", || Ok(self.generation()? != before))
    }

    fn generation(&self) -> Result<u64> {
        self.scenario.agent_metric("podwitness_agent_table_generation")
    }

    /// Probes the port over both protocols and families. Each must be answered or not, and have these records.
    fn probe(
        &mut self,
        of: Way,
        port: u16,
        is_answered: bool,
        records: &[(&'static str, &'static str, &'static str)],
    ) -> Result<()> {
        let (from, to) = of(self);
        let mut told = Vec::new();
        for address in to.addresses() {
            for protocol in PROTOCOLS {
                let (wanted, limit) =
                    if is_answered { (Outcome::Answered, ANSWER_LIMIT) } else { (Outcome::TimedOut, DENIAL_LIMIT) };
                let sent = probe(from, protocol, self.ports.next()?, SocketAddr::new(address, port), limit)?;
                ensure!(sent.outcome == wanted, "it should have met {wanted:?}: {sent:?}");
                let records = records.to_vec();
                told.push(Told { protocol, local: sent.local, remote: sent.remote, records });
            }
        }
        self.told.extend(told);
        Ok(())
    }

    /// Opens a TCP connection over each family.
    fn converse(&self, to: &Pod, port: u16) -> Result<Vec<Conversation>> {
        let mut conversations = Vec::new();
        for address in to.addresses() {
            let remote = SocketAddr::new(address, port);
            match self.client.open_tcp_from(self.ports.next()?, remote, ANSWER_LIMIT)? {
                Ok(conversation) => conversations.push(conversation),
                Err(attempt) => bail!("it should have been opened: {attempt:?}"),
            }
        }
        exchange(&mut conversations, Outcome::Answered)?;
        Ok(conversations)
    }
}

/// That the records are those that were told and no others, each attributed as its verdict and the mode want.
fn check(told: &[Told], evidence: &Evidence) -> Result<()> {
    let mut number = 0;
    for told in told {
        let mut rows: Vec<&Row> = evidence
            .rows()
            .filter(|row| {
                row.protocol.as_deref() == Some(told.protocol.name())
                    && (row.src.ip, row.src.port) == (Some(told.local.ip()), Some(told.local.port()))
                    && (row.dst.ip, row.dst.port) == (Some(told.remote.ip()), Some(told.remote.port()))
            })
            .collect();
        rows.sort_by_key(|row| (row.direction.clone(), row.seq));
        let mut found: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.direction.as_deref().unwrap_or(""), row.event.as_str(), row.verdict.as_deref().unwrap_or(""))
            })
            .collect();
        let mut wanted = told.records.clone();
        // A stable sort leaves the order within a direction.
        wanted.sort_by_key(|(direction, ..)| *direction);
        found.sort_by_key(|(direction, ..)| *direction);
        ensure!(found == wanted, "{:?} has the records {found:?} and not {wanted:?}: {rows:#?}", told.local);
        for row in &rows {
            is_attributed(row)?;
        }
        number += rows.len();
    }
    let all = evidence.rows().filter(|row| row.is_tcp_or_udp()).count();
    ensure!(all == number, "there are {all} records, of which {number} are known");
    check::sequences(evidence)?;
    ensure!(check::lost(evidence) == 0, "records were lost");
    Ok(())
}

fn exchange(conversations: &mut [Conversation], wanted: Outcome) -> Result<()> {
    let limit = if wanted == Outcome::Answered { ANSWER_LIMIT } else { DENIAL_LIMIT };
    for conversation in conversations {
        let outcome = conversation.exchange(limit);
        ensure!(outcome == wanted, "it met {outcome:?} and not {wanted:?}: {conversation:?}");
    }
    Ok(())
}

/// That the policies are those by which enforcement decides, before and after.
fn is_attributed(row: &Row) -> Result<()> {
    let names = |policies: &[PolicyRule]| -> Vec<(String, Option<i32>)> {
        policies.iter().map(|policy| (format!("{}/{}", policy.namespace, policy.name), policy.rule)).collect()
    };
    let strict = format!("{}/strict", row.namespace);
    let wanted = |verdict: &str| match (row.namespace.as_str(), verdict) {
        ("ops", _) => vec![],
        (_, "allow") => vec![(strict.clone(), Some(0))],
        _ => vec![(strict.clone(), None)],
    };
    let verdict = row.verdict.as_deref().unwrap_or("");
    let reason = match (row.namespace.as_str(), verdict) {
        ("ops", _) => "not-isolated",
        (_, "allow") => "rule",
        _ => "no-rule",
    };
    ensure!(row.reason.as_deref() == Some(reason), "the reason should be {reason}: {row:?}");
    ensure!(names(&row.policies) == wanted(verdict), "these are not the policies of {verdict}: {row:?}");
    if let Some(before) = &row.previous_verdict {
        ensure!(names(&row.previous_policies) == wanted(before), "before, it was {before}: {row:?}");
    } else {
        ensure!(row.event != "change" && row.previous_policies.is_empty(), "what was before? {row:?}");
    }
    Ok(())
}

const CLIENT_OPEN: (&str, &str, &str) = ("egress", "open", "allow");
const CLIENT_CLOSE: (&str, &str, &str) = ("egress", "close", "allow");

#[test]
fn a_namespace_is_audited_by_its_trail_while_another_is_enforced_and_nothing_is_cut_before_the_way_back() -> Result<()>
{
    let allowed = [CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "open", "allow"), ("ingress", "close", "allow")];
    let denied = [CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "deny", "deny")];
    let audited = [CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "open", "audit"), ("ingress", "close", "audit")];
    let (to_shop, to_bank): (Way, Way) = (|town| (&town.client, &town.shop), |town| (&town.client, &town.bank));
    let (from_shop, from_bank): (Way, Way) = (|town| (&town.shop, &town.client), |town| (&town.bank, &town.client));
    let (stopped, out) = (
        [("egress", "deny", "deny")],
        [
            ("egress", "open", "audit"),
            ("egress", "close", "audit"),
            ("ingress", "open", "allow"),
            ("ingress", "close", "allow"),
        ],
    );

    let mut town = Town::make()?;
    town.scenario.start()?;
    let mut steady = town.converse(&town.shop, OPEN)?;
    let mut enforced = town.converse(&town.bank, OPEN)?;
    town.probe(to_shop, SHUT, false, &denied)?;
    town.probe(from_shop, OPEN, false, &stopped)?;

    town.change(|town| Ok(town.scenario.cluster.mode("shop", "audit")?))?;
    exchange(&mut steady, Outcome::Answered)?;
    exchange(&mut enforced, Outcome::Answered)?;
    town.probe(to_shop, OPEN, true, &allowed)?;
    town.probe(to_shop, SHUT, true, &audited)?;
    town.probe(from_shop, OPEN, true, &out)?;
    town.probe(to_bank, SHUT, false, &denied)?;
    town.probe(from_bank, OPEN, false, &stopped)?;
    // One that lives only because of the mode.
    let mut tolerated = town.converse(&town.shop, SHUT)?;

    // Policy denies now what it allowed: that is cut where it is enforced.
    town.change(|town| town.policies("shop", &[]))?;
    exchange(&mut steady, Outcome::Answered)?;
    town.change(|town| town.policies("bank", &[]))?;
    exchange(&mut enforced, Outcome::TimedOut)?;
    exchange(&mut tolerated, Outcome::Answered)?;

    town.change(|town| Ok(town.scenario.cluster.mode("shop", "enforce")?))?;
    exchange(&mut steady, Outcome::TimedOut)?;
    exchange(&mut tolerated, Outcome::TimedOut)?;
    town.probe(to_shop, SHUT, false, &denied)?;
    town.probe(from_shop, OPEN, false, &stopped)?;
    // Without the object it is as the node's mode says, which is the same.
    town.scenario.cluster.remove_mode("shop")?;
    town.change(|town| town.policies("shop", &[OPEN]))?;
    exchange(&mut steady, Outcome::Answered)?;
    exchange(&mut tolerated, Outcome::TimedOut)?;
    town.probe(to_shop, SHUT, false, &denied)?;

    for (conversations, changes, last) in [
        (&steady, &["audit", "deny", "allow"][..], "allow"),
        (&enforced, &["deny"][..], "deny"),
        (&tolerated, &["deny"][..], "deny"),
    ] {
        for conversation in conversations {
            let first = if conversation.remote().port() == OPEN { "allow" } else { "audit" };
            let mut records = vec![CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "open", first)];
            records.extend(changes.iter().map(|verdict| ("ingress", "change", *verdict)));
            records.push(("ingress", "close", last));
            let (local, remote) = (conversation.local(), conversation.remote());
            town.told.push(Told { protocol: Protocol::Tcp, local, remote, records });
        }
    }
    drop((steady, enforced, tolerated));
    end(town)
}

#[test]
fn a_namespace_is_enforced_by_its_trail_on_a_node_that_audits() -> Result<()> {
    let denied = [CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "deny", "deny")];
    let audited = [CLIENT_OPEN, CLIENT_CLOSE, ("ingress", "open", "audit"), ("ingress", "close", "audit")];
    let (to_shop, to_bank): (Way, Way) = (|town| (&town.client, &town.shop), |town| (&town.client, &town.bank));
    let mut town = Town::make()?;
    town = Town { scenario: town.scenario.set("mode", "audit"), ..town };
    town.scenario.cluster.mode("bank", "enforce")?;
    town.scenario.start()?;
    town.probe(to_shop, SHUT, true, &audited)?;
    town.probe(to_bank, SHUT, false, &denied)?;
    town.change(|town| Ok(town.scenario.cluster.remove_mode("bank")?))?;
    town.probe(to_shop, SHUT, true, &audited)?;
    town.probe(to_bank, SHUT, true, &audited)?;
    end(town)
}

/// Takes all pods away, which ends the connections that were cut, and checks all records.
fn end(town: Town) -> Result<()> {
    let Town { mut scenario, client, shop, bank, told, servers, .. } = town;
    let openings = told.iter().flat_map(|told| &told.records).filter(|(_, event, _)| *event == "open").count();
    drop(servers);
    drop((client, shop, bank));
    check(&told, &scenario.stop(openings)?)
}
