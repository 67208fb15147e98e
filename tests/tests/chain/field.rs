//! A field for steady traffic: four pods in two namespaces that reach each other on one port and not on another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use podwitness_lab::{Outcome, Pod, PodSpec, Server};
use podwitness_policy::Protocol;
use podwitness_tests::check;
use podwitness_tests::evidence::{Connection, Evidence};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, SourcePorts, probe, serve};

/// The port on which everybody is allowed.
pub(crate) const OPEN: u16 = 80;
/// The port on which nobody is.
pub(crate) const SHUT: u16 = 81;
/// The least time between two probes of one sender: eight that are answered make up to 200 a second.
const PACE: Duration = Duration::from_millis(40);

/// The seed of this run: `PODWITNESS_TEST_SEED`, or another one each time.
pub(crate) fn seed() -> Result<u64> {
    let seed = match std::env::var("PODWITNESS_TEST_SEED") {
        Ok(seed) => seed.parse().context("PODWITNESS_TEST_SEED is no number")?,
        Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    println!("PODWITNESS_TEST_SEED={seed}");
    Ok(seed)
}

/// Four pods that serve both ports, of which policy opens one; probes go round.
pub(crate) struct Field {
    pub(crate) pods: Vec<Pod>,
    _servers: Vec<Server>,
    pub(crate) ports: SourcePorts,
}

impl Field {
    pub(crate) fn make(scenario: &Scenario) -> Result<Self> {
        let mut pods = Vec::new();
        let mut servers = Vec::new();
        for (namespace, number) in [("shop", 1), ("shop", 2), ("ops", 1), ("ops", 2)] {
            scenario.cluster.namespace(namespace, &[])?;
            let host = if namespace == "shop" { number } else { number + 2 };
            let addresses = [format!("10.2.0.{host}").parse()?, format!("fd00:2::{host}").parse()?];
            let pod = scenario.pod(PodSpec::new(namespace, &format!("pod-{number}"), &addresses))?;
            servers.extend(serve(&pod, &[OPEN, SHUT])?);
            pods.push(pod);
            let spec = format!(
                "{{podSelector: {{}}, ingress: [{{ports: [{{port: {OPEN}}}, {{port: {OPEN}, protocol: UDP}}]}}]}}"
            );
            scenario.cluster.policy(namespace, "one-port", &spec)?;
        }
        Ok(Self { pods, _servers: servers, ports: SourcePorts::default() })
    }

    /// One probe from the pod of this number, and whether it met what policy says.
    pub(crate) fn send(&self, from: usize, turn: usize, protocol: Protocol, port: u16) -> Result<Sent> {
        let to = &self.pods[(from + 1 + turn % (self.pods.len() - 1)) % self.pods.len()];
        let remote = SocketAddr::new(to.addresses()[turn % 2], port);
        let (wanted, limit) =
            if port == OPEN { (Outcome::Answered, ANSWER_LIMIT) } else { (Outcome::TimedOut, DENIAL_LIMIT) };
        let sent = probe(&self.pods[from], protocol, self.ports.next()?, remote, limit)?;
        ensure!(sent.outcome == wanted, "policy says {wanted:?}: {sent:?}");
        Ok(sent)
    }

    /// Probes from every pod at a steady pace, over two ways that are open and one that is shut, while `work` is done.
    pub(crate) fn send_while(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Sent>> {
        let stop = AtomicBool::new(false);
        let (worked, sent) = thread::scope(|scope| {
            let senders: Vec<_> = (0..self.pods.len())
                .flat_map(|from| [(from, OPEN), (from, OPEN), (from, SHUT)])
                .map(|(from, port)| {
                    let stop = &stop;
                    scope.spawn(move || self.send_until(from, port, stop))
                })
                .collect();
            let worked = work();
            stop.store(true, Ordering::Relaxed);
            let sent: Vec<Result<Vec<Sent>>> =
                senders.into_iter().map(|sender| sender.join().unwrap_or_else(|panic| resume_unwind(panic))).collect();
            (worked, sent)
        });
        worked?;
        Ok(sent.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Probes at a steady pace until told to stop.
    pub(crate) fn send_until(&self, from: usize, port: u16, stop: &AtomicBool) -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let turn = sent.len();
            sent.push(self.send(from, turn / 4, PROTOCOLS[turn % 2], port)?);
            next = (next + PACE).max(Instant::now());
            thread::sleep(next - Instant::now());
        }
        Ok(sent)
    }
}

/// How many openings there must be of these probes: at the source always, at the destination where it is allowed.
pub(crate) fn openings(sent: &[Sent]) -> usize {
    sent.iter().map(|sent| if sent.remote.port() == OPEN { 2 } else { 1 }).sum()
}

/// That the evidence says of these probes what it must, and nothing more.
pub(crate) fn reconcile(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    reconcile_part(evidence, sent)?;
    check::sequences(evidence)?;
    Ok(())
}

/// The same of evidence that is not all that there is of the boot.
pub(crate) fn reconcile_part(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    account(evidence, sent)?;
    ensure!(check::lost(evidence) == 0, "records were lost");
    let others = evidence.rows().find(|row| row.is_tcp_or_udp() && !["open", "close", "deny"].contains(&&*row.event));
    ensure!(others.is_none(), "there is a row of another kind: {others:?}");
    Ok(())
}

/// That each connection of these probes was opened and closed once on each side, that each denied attempt was counted once,
/// and that there are no others.
pub(crate) fn account(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    let mut opened: BTreeSet<Connection> = BTreeSet::new();
    // How often each was tried at the least, and at the most.
    let mut denied: BTreeMap<(Protocol, SocketAddr, SocketAddr), (i64, i64)> = BTreeMap::new();
    for probe @ Sent { protocol, local, remote, took, .. } in sent {
        let connection = |direction: &str| {
            let (from, to) = (*local, *remote);
            let protocol = protocol.name().to_owned();
            (protocol, direction.to_owned(), from.ip(), Some(from.port()), to.ip(), Some(to.port()))
        };
        opened.insert(connection("egress"));
        if remote.port() == OPEN {
            opened.insert(connection("ingress"));
        } else {
            let (least, most) = denied.entry((*protocol, SocketAddr::new(local.ip(), 0), *remote)).or_default();
            *least += 1;
            *most += 1 + if probe.may_be_repeated() { i64::try_from(took.as_secs())? } else { 0 };
        }
    }
    let found: Vec<Connection> = check::unique(evidence, "open")?.into_keys().collect();
    check::same("openings", &check::multiset(opened), &check::multiset(found))?;
    check::closes(evidence)?;

    let mut counted: BTreeMap<(Protocol, SocketAddr, SocketAddr), i64> = BTreeMap::new();
    for row in evidence.events("deny").filter(|row| row.is_tcp_or_udp()) {
        let (protocol, direction, from, _, to, port) = row.connection()?;
        ensure!(direction == "ingress", "only what comes in is denied: {row:?}");
        let protocol = if protocol == "TCP" { Protocol::Tcp } else { Protocol::Udp };
        let to = SocketAddr::new(to, port.context("a denied attempt has a destination port")?);
        *counted.entry((protocol, SocketAddr::new(from, 0), to)).or_default() += row.count;
    }
    let differences: Vec<_> = denied
        .keys()
        .chain(counted.keys())
        .filter(|key| {
            let (least, most) = denied.get(key).copied().unwrap_or_default();
            !(least..=most).contains(&counted.get(key).copied().unwrap_or_default())
        })
        .map(|key| format!("{key:?}: tried {:?}, counted {:?}", denied.get(key), counted.get(key)))
        .collect();
    ensure!(differences.is_empty(), "denied attempts are not counted as they were made: {differences:#?}");
    Ok(())
}
