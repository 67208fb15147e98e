//! A field for steady traffic: four pods in two namespaces that reach each other on one port and not on another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use podwitness_lab::{NetNs, Outcome, Pod, PodSpec, Server};
use podwitness_policy::Protocol;

use crate::check;
use crate::evidence::{Connection, Evidence};
use crate::scenario::Scenario;
use crate::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, PROTOCOLS, Sent, SourcePorts, probe, serve};

/// The port on which everybody is allowed.
pub const OPEN: u16 = 80;
/// The port on which nobody is.
pub const SHUT: u16 = 81;
/// The least time between two probes of one sender: eight that are answered make up to 200 a second.
const PACE: Duration = Duration::from_millis(40);

/// The seed of this run: `PODWITNESS_TEST_SEED`, or another one each time.
pub fn seed() -> Result<u64> {
    let seed = match std::env::var("PODWITNESS_TEST_SEED") {
        Ok(seed) => seed.parse().context("PODWITNESS_TEST_SEED is no number")?,
        Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    println!("PODWITNESS_TEST_SEED={seed}");
    Ok(seed)
}

/// Who sends and serves in a field.
pub trait Party: Sync {
    /// Where it does.
    fn netns(&self) -> &NetNs;
    /// One address of each family.
    fn addresses(&self) -> [IpAddr; 2];
}

impl Party for Pod {
    fn netns(&self) -> &NetNs {
        self
    }

    fn addresses(&self) -> [IpAddr; 2] {
        let addresses = (**self).addresses();
        [addresses[0], addresses[1]]
    }
}

/// Pods that serve both ports, of which policy opens one; probes go round.
#[derive(Debug)]
pub struct Field<P = Pod> {
    /// The pods.
    pub pods: Vec<P>,
    /// The source ports that are left.
    pub ports: SourcePorts,
    _servers: Vec<Server>,
}

impl Field {
    /// Four pods in two namespaces of a scenario, with the policies.
    pub fn make(scenario: &Scenario) -> Result<Self> {
        let mut pods = Vec::new();
        for (namespace, number) in [("shop", 1), ("shop", 2), ("ops", 1), ("ops", 2)] {
            scenario.cluster.namespace(namespace, &[])?;
            let host = if namespace == "shop" { number } else { number + 2 };
            let addresses = [format!("10.2.0.{host}").parse()?, format!("fd00:2::{host}").parse()?];
            let pod = scenario.pod(PodSpec::new(namespace, &format!("pod-{number}"), &addresses))?;
            pods.push(pod);
            scenario.cluster.policy(namespace, "one-port", &one_port())?;
        }
        Self::serve(pods)
    }
}

/// The spec of the policy that each namespace of a field must have.
pub fn one_port() -> String {
    format!("{{podSelector: {{}}, ingress: [{{ports: [{{port: {OPEN}}}, {{port: {OPEN}, protocol: UDP}}]}}]}}")
}

impl<P: Party> Field<P> {
    /// Of these pods; from now on they serve.
    pub fn serve(pods: Vec<P>) -> Result<Self> {
        let mut servers = Vec::new();
        for pod in &pods {
            servers.extend(serve(pod.netns(), &[OPEN, SHUT])?);
        }
        Ok(Self { pods, ports: SourcePorts::default(), _servers: servers })
    }

    /// One probe from the pod of this number, and whether it met what policy says.
    pub fn send(&self, from: usize, turn: usize, protocol: Protocol, port: u16) -> Result<Sent> {
        let to = &self.pods[(from + 1 + turn % (self.pods.len() - 1)) % self.pods.len()];
        let remote = SocketAddr::new(to.addresses()[turn % 2], port);
        let (wanted, limit) =
            if port == OPEN { (Outcome::Answered, ANSWER_LIMIT) } else { (Outcome::TimedOut, DENIAL_LIMIT) };
        let started = Utc::now();
        let sent = probe(self.pods[from].netns(), protocol, self.ports.next()?, remote, limit)?;
        ensure!(sent.outcome == wanted, "policy says {wanted:?}, not what came of one at {started}: {sent:?}");
        Ok(sent)
    }

    /// Probes from every pod at a steady pace, over two ways that are open and one that is shut, while `work` is done.
    pub fn send_while(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Sent>> {
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
        let failures = sent.iter().filter_map(|sent| sent.as_ref().err());
        let failures: Vec<String> = failures.map(|error| format!("{error:#}")).collect();
        ensure!(failures.is_empty(), "of {} senders {} failed: {failures:#?}", sent.len(), failures.len());
        Ok(sent.into_iter().flatten().flatten().collect())
    }

    /// Probes at a steady pace until told to stop.
    pub fn send_until(&self, from: usize, port: u16, stop: &AtomicBool) -> Result<Vec<Sent>> {
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
pub fn openings(sent: &[Sent]) -> usize {
    sent.iter().map(|sent| if sent.remote.port() == OPEN { 2 } else { 1 }).sum()
}

/// That the evidence says of these probes what it must, and nothing more.
pub fn reconcile(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    reconcile_part(evidence, sent)?;
    check::sequences(evidence)?;
    Ok(())
}

/// The same of evidence that is not all that there is of the boot.
pub fn reconcile_part(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
    account(evidence, sent)?;
    ensure!(check::lost(evidence) == 0, "records were lost");
    let others = evidence.rows().find(|row| row.is_tcp_or_udp() && !["open", "close", "deny"].contains(&&*row.event));
    ensure!(others.is_none(), "there is a row of another kind: {others:?}");
    Ok(())
}

/// That each connection of these probes was opened and closed once on each side, that each denied attempt was counted once,
/// and that there are no others.
pub fn account(evidence: &Evidence, sent: &[Sent]) -> Result<()> {
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
