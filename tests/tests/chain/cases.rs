//! The table of cases (`tests/cases`) on real packets: each cell is tried on each port over each family, must meet what the
//! table and the slow evaluator say, and must have its records and no others. `PODWITNESS_TEST_CASE` chooses cases by words of
//! their titles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::{NetNs, Outcome, Outsider, Pod, PodSpec, Server};
use podwitness_tests::cases::{self, Case, Family, PODS, Party, Probe, Step, Table, World};
use podwitness_tests::check;
use podwitness_tests::evidence::{Connection, Evidence, Row};
use podwitness_tests::oracle::{Decision, Expected, Oracle};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, Sent, SourcePorts, in_parallel, probe, serve};

/// The ports that everybody serves.
const PORTS: [u16; 4] = [80, 81, 82, 83];
/// On how many nodes at once the cases are tried.
const NODES: usize = 2;
/// How many probes that are to be answered are on their way at a time on one node.
const ANSWERED_AT_A_TIME: usize = 16;
/// How many that are to be denied: they only wait.
const DENIED_AT_A_TIME: usize = 256;
/// How many failures are shown.
const SHOWN: usize = 12;

/// The node with everybody who takes part.
struct Stage {
    scenario: Scenario,
    pods: BTreeMap<Party, Pod>,
    outsiders: BTreeMap<Party, Outsider>,
    _servers: Vec<Server>,
    /// Each party's own, because there are more probes than ports.
    source_ports: BTreeMap<Party, SourcePorts>,
    /// How often the cluster was written, so that each text differs.
    written: usize,
}

/// A probe that was sent.
struct Tried {
    case: String,
    step: usize,
    probe: Probe,
    sent: Sent,
    expected: Expected,
}

impl Stage {
    /// A node on which the common cluster is in force.
    fn set() -> Result<Self> {
        // Few files, because the evidence is looked at in the end only.
        let mut scenario = Scenario::new()?.set("batch.maxAge", "3s");
        // Long, so that a machine that is busy for a while does not make two connections of one.
        for state in ["tcpSyn", "tcpFin", "tcpTimeWait", "tcpClose", "udp", "udpStream"] {
            scenario = scenario.set(&format!("connections.timeouts.{state}"), "10s");
        }
        let (mut pods, mut outsiders) = (BTreeMap::new(), BTreeMap::new());
        for party in PODS {
            let name = party.to_string();
            let (namespace, name) = name.split_once('/').context("pods are called so")?;
            // The object is one of the world's.
            pods.insert(party, scenario.lab.pod(PodSpec::new(namespace, name, &own_addresses(party)?))?);
        }
        for party in [Party::RemotePod, Party::OtherNode, Party::Near, Party::Far] {
            let name = party.to_string().replace('/', "-");
            outsiders.insert(party, scenario.lab.outsider(&name, &own_addresses(party)?)?);
        }
        let mut servers = serve(scenario.lab.node().netns(), &PORTS)?;
        for netns in pods.values().map(|pod| -> &NetNs { pod }).chain(outsiders.values().map(|host| -> &NetNs { host }))
        {
            servers.extend(serve(netns, &PORTS)?);
        }
        let everybody = pods.keys().chain(outsiders.keys()).copied().chain([Party::Node]);
        let source_ports = everybody.map(|party| (party, SourcePorts::default())).collect();
        scenario.cluster.write("world.yaml", &World::new(scenario.lab.node().name()).text(0))?;
        scenario.start()?;
        Ok(Self { scenario, pods, outsiders, _servers: servers, source_ports, written: 0 })
    }

    fn netns(&self, party: Party) -> &NetNs {
        let pod = self.pods.get(&party).map(|pod| -> &NetNs { pod });
        let outsider = self.outsiders.get(&party).map(|host| -> &NetNs { host });
        pod.or(outsider).unwrap_or(self.scenario.lab.node().netns())
    }

    fn address(&self, party: Party, family: Family) -> Result<IpAddr> {
        let addresses =
            if party == Party::Node { self.scenario.lab.node().addresses().to_vec() } else { own_addresses(party)? };
        let found = addresses.into_iter().find(|address| address.is_ipv4() == (family == Family::V4));
        found.with_context(|| format!("{party} has no address of {family:?}"))
    }

    /// Tries every step of a case.
    fn play(&mut self, case: &Case) -> Result<Vec<Tried>> {
        let mut world = World::new(self.scenario.lab.node().name());
        let mut tried = Vec::new();
        for (number, step) in (1..).zip(&case.steps) {
            for object in &step.apply {
                world.apply(object)?;
            }
            for object in &step.delete {
                world.delete(object)?;
            }
            let oracle = self.put_in_force(&world).with_context(|| format!("step {number}"))?;
            tried.extend(self.send(case, number, step, &oracle)?);
        }
        Ok(tried)
    }

    /// Waits until exactly these objects decide.
    fn put_in_force(&mut self, world: &World) -> Result<Oracle> {
        self.written += 1;
        let before = self.scenario.policy_revision()?;
        self.scenario.cluster.write("world.yaml", &world.text(self.written))?;
        let revision = self.scenario.wait_other_revision(before)?;
        let faults = self.scenario.agent_metric("podwitness_agent_faults{place=\"objects\"}")?;
        ensure!(faults == 0, "the agent finds {faults} faults in the objects, which its log names");
        Oracle::of(&self.scenario.lab, revision)
    }

    fn send(&self, case: &Case, step: usize, tables: &Step, oracle: &Oracle) -> Result<Vec<Tried>> {
        let (allowed, denied): (Vec<Probe>, Vec<Probe>) =
            tables.tables.iter().flat_map(Table::probes).partition(|probe| probe.allowed);
        let send = |wanted: Probe| {
            let local = self.address(wanted.from, wanted.family)?;
            let local = SocketAddr::new(local, self.source_ports[&wanted.from].next()?);
            let remote = SocketAddr::new(self.address(wanted.to, wanted.family)?, wanted.port);
            let expected = if wanted.from == wanted.to {
                Expected { answered: true, decisions: Vec::new() }
            } else {
                oracle.expect(wanted.protocol, local, remote)
            };
            let limit = if wanted.allowed { ANSWER_LIMIT } else { DENIAL_LIMIT };
            let sent = probe(self.netns(wanted.from), wanted.protocol, local.port(), remote, limit)?;
            let case = format!("{} ({})", case.title, case.place);
            Ok(Tried { case, step, probe: wanted, sent: Sent { local, ..sent }, expected })
        };
        let mut tried = in_parallel(ANSWERED_AT_A_TIME, allowed, send)?;
        tried.extend(in_parallel(DENIED_AT_A_TIME, denied, send)?);
        Ok(tried)
    }
}

fn own_addresses(party: Party) -> Result<Vec<IpAddr>> {
    Ok(cases::addresses(party).with_context(|| format!("{party} has no addresses of its own"))?.to_vec())
}

impl Tried {
    fn connection(&self, direction: &str) -> Connection {
        let Sent { protocol, local, remote, .. } = self.sent;
        let (from, to) = (local, remote);
        (protocol.name().to_owned(), direction.to_owned(), from.ip(), Some(from.port()), to.ip(), Some(to.port()))
    }

    /// What is wrong with it, where something is.
    fn fault(&self, records: &BTreeMap<Connection, Vec<&Row>>) -> Option<String> {
        let rows: Vec<&Row> = ["egress", "ingress"]
            .iter()
            .filter_map(|side| records.get(&self.connection(side)))
            .flatten()
            .copied()
            .collect();
        let wanted = if self.probe.allowed { Outcome::Answered } else { Outcome::TimedOut };
        let mut faults = Vec::new();
        if self.sent.outcome != wanted {
            faults.push(format!("the table says {wanted:?}, and the packet met {:?}", self.sent.outcome));
        }
        if self.expected.answered != self.probe.allowed {
            faults.push(format!("the slow evaluator says allowed = {}", self.expected.answered));
        }
        let mut found: Vec<Decision> =
            rows.iter().filter(|row| row.event != "close").map(|row| Decision::from(*row)).collect();
        if self.sent.may_be_repeated() {
            found = check::denied_once(found);
        }
        if let Err(error) =
            check::same("records", &check::multiset(self.expected.decisions.iter().cloned()), &check::multiset(found))
        {
            faults.push(error.to_string());
        }
        if faults.is_empty() {
            return None;
        }
        let Probe { from, to, protocol, port, family, .. } = self.probe;
        let mut text =
            format!("{}\n  step {}: {from} -> {to} on {protocol} {port} over {family:?}", self.case, self.step);
        let _ = write!(text, ", which took {:?}", self.sent.took);
        for fault in faults {
            let _ = write!(text, "\n  {}", fault.replace('\n', "\n    "));
        }
        for row in rows {
            let _ = write!(text, "\n  record: {}", short(row));
        }
        Some(text)
    }
}

/// What matters of a record, on one line.
fn short(row: &Row) -> String {
    let policies: Vec<String> = row
        .policies
        .iter()
        .map(|policy| {
            format!("{}/{}[{}]", policy.namespace, policy.name, policy.rule.map_or("-".into(), |rule| rule.to_string()))
        })
        .collect();
    format!(
        "{} at {} us in {} {} {} because of {} by {:?} at revision {}",
        row.event,
        row.time,
        row.namespace,
        row.direction.as_deref().unwrap_or("-"),
        row.verdict.as_deref().unwrap_or("-"),
        row.reason.as_deref().unwrap_or("-"),
        policies,
        row.policy_revision.unwrap_or_default()
    )
}

/// Plays the cases on one node, and says what is wrong.
fn play_all(cases: &[Case]) -> Result<(usize, Vec<String>)> {
    let mut stage = Stage::set()?;
    let mut tried = Vec::new();
    for case in cases {
        tried.extend(stage.play(case).with_context(|| format!("{} ({})", case.title, case.place))?);
    }
    let opened =
        tried.iter().flat_map(|tried| &tried.expected.decisions).filter(|decision| decision.event == "open").count();
    let surprises =
        tried.iter().filter(|tried| (tried.sent.outcome == Outcome::Answered) != tried.expected.answered).count();
    // Where something went otherwise, there may be fewer: what is wrong is told from what there is.
    let evidence = stage.scenario.stop(if surprises == 0 { opened } else { 0 })?;
    drop(stage);
    Ok((tried.len(), faults(&evidence, &tried)?))
}

/// Everything in which the evidence, the packets and the expectations differ.
fn faults(evidence: &Evidence, tried: &[Tried]) -> Result<Vec<String>> {
    let mut records: BTreeMap<Connection, Vec<&Row>> = BTreeMap::new();
    let mut others = Vec::new();
    for row in evidence.rows().filter(|row| row.is_tcp_or_udp()) {
        records.entry(row.connection()?).or_default().push(row);
    }
    let ours: BTreeSet<Connection> =
        tried.iter().flat_map(|tried| ["egress", "ingress"].map(|side| tried.connection(side))).collect();
    for (connection, rows) in &records {
        if !ours.contains(connection) {
            others.push(format!("nobody sent this: {connection:?}\n  record: {}", short(rows[0])));
        }
    }
    let mut faults: Vec<String> = tried.iter().filter_map(|tried| tried.fault(&records)).chain(others).collect();
    let lost = check::lost(evidence);
    if lost > 0 {
        faults.push(format!("{lost} records were lost"));
    }
    if faults.is_empty() {
        check::closes(evidence)?;
        check::sequences(evidence)?;
    }
    Ok(faults)
}

#[test]
fn every_case_is_enforced_and_witnessed_as_its_truth_table_says() -> Result<()> {
    let mut cases = cases::all()?;
    // Not set but by a person who looks at one of them.
    if let Ok(words) = std::env::var("PODWITNESS_TEST_CASE") {
        cases.retain(|case| case.title.contains(&words));
    }
    ensure!(!cases.is_empty(), "no case has PODWITNESS_TEST_CASE in its title");
    let shares = cases.chunks(cases.len().div_ceil(NODES)).collect::<Vec<_>>();
    let done = in_parallel(NODES, shares, play_all)?;
    let tried: usize = done.iter().map(|(tried, _)| tried).sum();
    println!("{} cases, {tried} probes", cases.len());
    let faults: Vec<String> = done.into_iter().flat_map(|(_, faults)| faults).collect();
    if !faults.is_empty() {
        bail!("{} of {tried} probes are wrong:\n\n{}", faults.len(), faults[..faults.len().min(SHOWN)].join("\n\n"));
    }
    Ok(())
}
