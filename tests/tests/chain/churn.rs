//! Random changes of everything while TCP connections are open: policies, labels of pods and of namespaces, the backends of a
//! Service, the witness mode of a namespace. After each, every live connection and new ones must meet what the slow evaluator
//! says of the cluster as it is then, and in the end the records must tell that story.
//!
//! `PODWITNESS_SOAK_SECONDS` has it go on with other clusters for so long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_lab::{Backend, Conversation, Outcome, Outsider, Pod, PodSpec, Server, Services};
use podwitness_policy::Protocol;
use podwitness_policy::generate::{Random, policies};
use podwitness_tests::check;
use podwitness_tests::evidence::{Evidence, PolicyRule, Row};
use podwitness_tests::oracle::{Decision, Oracle};
use podwitness_tests::scenario::Scenario;
use podwitness_tests::traffic::{ANSWER_LIMIT, DENIAL_LIMIT, SourcePorts, address_like, in_parallel, serve};
use serde_json::Value;

use crate::field::seed;
use crate::pairs::{self, Party, Probed};

/// How many clusters a run makes that does not go on for a time, and how many changes each sees.
const CLUSTERS: u64 = 6;
const ROUNDS: usize = 16;
/// How many new probes are sent after each change.
const PROBES: usize = 36;
/// How many connections are held open.
const LIVE: usize = 12;
const NAMESPACES: [&str; 2] = ["bank", "shop"];
/// The ports that policies are made of. The last is the one that the Service's backends serve, and is not probed otherwise.
const PORTS: [u16; 4] = [80, 81, 443, 5432];
const TARGET: u16 = PORTS[3];
/// The Service's addresses and port.
const VIRTUAL: [&str; 2] = ["10.96.0.40", "fd00:96::40"];
const PORT: u16 = 8000;
/// The first of the pods can be backends, the others ask the Service.
const BACKENDS: usize = 2;
const PODS: usize = 4;
/// How long an attempt waits of which it is not known whether it will be denied: less than TCP waits before it tries again.
const EITHER_LIMIT: Duration = Duration::from_millis(900);
/// For how many changes a connection that is cut is still asked. TCP tries again ever more seldom.
const PATIENCE: usize = 2;

/// What one side of a connection decided in the time between two changes.
struct Epoch {
    verdict: Option<String>,
    policies: Vec<PolicyRule>,
    /// Whether a packet was seen for sure; without one there is no decision.
    is_certain: bool,
}

impl Epoch {
    fn of(decision: &Decision, is_certain: bool) -> Self {
        Self { verdict: decision.verdict.clone(), policies: decision.policies.clone(), is_certain }
    }

    fn is(&self, row: &Row) -> bool {
        self.verdict == row.verdict && self.policies == row.policies
    }
}

/// An open connection, and what is known of it.
struct Live {
    conversation: Conversation,
    /// Where it really goes.
    target: SocketAddr,
    /// Since how many changes it is cut.
    cut: usize,
    /// The policies by which the client's packet was let on, when the backend was not known yet.
    opening: Vec<PolicyRule>,
    /// What was decided when it was opened and after each change, at the client and at the server.
    history: [Vec<Epoch>; 2],
}

/// A connection whose end is in the records.
struct Story {
    local: SocketAddr,
    remote: SocketAddr,
    target: SocketAddr,
    opening: Vec<PolicyRule>,
    history: [Vec<Epoch>; 2],
}

struct Town {
    scenario: Scenario,
    specs: Vec<PodSpec>,
    pods: Vec<Pod>,
    /// The TCP servers of what the Service's backends serve.
    backends: Vec<Server>,
    servers: Vec<Server>,
    outside: Outsider,
    services: Services,
    ports: SourcePorts,
    /// Their manifests by number.
    policies: BTreeMap<usize, Value>,
    /// How often anything was changed.
    changes: usize,
    /// Which backends are ready.
    ready: [bool; BACKENDS],
    live: Vec<Live>,
    /// Those that were live.
    stories: Vec<Story>,
    /// Where attempts to reach the Service came from that were not answered, and whether they were denied.
    refused: BTreeMap<SocketAddr, bool>,
}

fn labels(random: &mut Random, spec: &mut PodSpec) {
    spec.labels.clear();
    for (key, values) in [("app", ["api", "web"]), ("tier", ["back", "front"])] {
        if random.percent(75) {
            spec.labels.insert(key.to_owned(), random.pick(&values).to_string());
        }
    }
}

impl Town {
    fn make(random: &mut Random) -> Result<Self> {
        let scenario = Scenario::new()?;
        for (namespace, team) in NAMESPACES.into_iter().zip(["blue", "red"]) {
            scenario.cluster.namespace(namespace, &[("team", team)])?;
        }
        let (mut specs, mut pods, mut servers, mut backends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 1..=PODS {
            let addresses = [format!("10.12.0.{number}").parse()?, format!("fd00:12::{number}").parse()?];
            let namespace = NAMESPACES[number % NAMESPACES.len()];
            let mut spec = PodSpec::new(namespace, &format!("pod-{number}"), &addresses);
            labels(random, &mut spec);
            for name in ["http", "sql"] {
                if random.percent(60) {
                    spec = spec.port(name, *random.pick(&PORTS), random.pick::<&str>(&["TCP", "UDP"]));
                }
            }
            let pod = scenario.pod(spec.clone())?;
            servers.extend(serve(&pod, &PORTS[..3])?);
            if number <= BACKENDS {
                backends.push(pod.serve_tcp(TARGET)?);
            }
            specs.push(spec);
            pods.push(pod);
        }
        let outside = scenario.lab.outsider("outside", &["203.0.113.77".parse()?, "2001:db8::77".parse()?])?;
        servers.extend(serve(&outside, &PORTS[..3])?);
        servers.extend(serve(scenario.lab.node().netns(), &PORTS[..3])?);
        let spec = format!(
            "{{clusterIPs: [{}, '{}'], ports: [{{name: sql, port: {PORT}, targetPort: {TARGET}}}]}}",
            VIRTUAL[0], VIRTUAL[1]
        );
        scenario.cluster.service(NAMESPACES[0], "sql", &spec)?;
        let services = scenario.lab.services();
        let town = Self {
            scenario,
            specs,
            pods,
            backends,
            servers,
            outside,
            services,
            ports: SourcePorts::default(),
            policies: BTreeMap::new(),
            changes: 0,
            ready: [true; BACKENDS],
            live: Vec::new(),
            stories: Vec::new(),
            refused: BTreeMap::new(),
        };
        town.write_backends()?;
        town.write_policies()?;
        Ok(town)
    }

    fn write_backends(&self) -> Result<()> {
        let node = self.scenario.lab.node().name();
        let backends = self.pods.iter().zip(self.ready);
        let backends: Vec<Backend> =
            backends.map(|(pod, ready)| Backend { addresses: pod.addresses(), node: node.to_owned(), ready }).collect();
        self.scenario.cluster.backends(NAMESPACES[0], "sql", &[("sql", TARGET, "TCP")], &backends)?;
        Ok(self.services.sync()?)
    }

    /// Writes all policies, and one that selects nobody and differs each time: by its revision it is known what is in force.
    fn write_policies(&self) -> Result<()> {
        let marker = serde_json::json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": NAMESPACES[0], "name": "marker"},
            "spec": {"podSelector": {"matchLabels": {"nobody": self.changes.to_string()}}},
        });
        let texts: Vec<String> = self.policies.values().chain([&marker]).map(Value::to_string).collect();
        Ok(self.scenario.cluster.write("policies.yaml", &texts.join("\n---\n"))?)
    }

    /// Changes one thing, and says what.
    fn change(&mut self, random: &mut Random) -> Result<String> {
        let what = match random.below(10) {
            0..4 => self.change_policy(random)?,
            4..6 => {
                let spec = &mut self.specs[random.below(PODS)];
                labels(random, spec);
                self.scenario.cluster.pod(spec)?;
                format!("labels of {}: {:?}", spec.name, spec.labels)
            }
            6 => {
                let namespace = *random.pick(&NAMESPACES);
                let team = *random.pick(&["blue", "red"]);
                self.scenario.cluster.namespace(namespace, &[("team", team)])?;
                format!("namespace {namespace} is of team {team}")
            }
            7 => {
                self.ready = std::array::from_fn(|_| random.percent(65));
                self.write_backends()?;
                format!("backends are ready: {:?}", self.ready)
            }
            _ => {
                let (namespace, mode) = (*random.pick(&NAMESPACES), *random.pick(&["audit", "enforce"]));
                self.scenario.cluster.mode(namespace, mode)?;
                format!("mode of {namespace} is {mode}")
            }
        };
        self.changes += 1;
        let before = self.scenario.policy_revision()?;
        self.write_policies()?;
        self.scenario.wait_other_revision(before)?;
        Ok(what)
    }

    fn change_policy(&mut self, random: &mut Random) -> Result<String> {
        let numbers: Vec<usize> = self.policies.keys().copied().collect();
        if numbers.len() > 2 && random.percent(40) {
            let number = *random.pick(&numbers);
            self.policies.remove(&number);
            return Ok(format!("policy {number} is gone"));
        }
        let number = if numbers.len() > 4 || (!numbers.is_empty() && random.percent(30)) {
            *random.pick(&numbers)
        } else {
            self.changes + 1
        };
        let cluster = self.oracle()?.cluster().clone();
        let made = policies(random, &cluster, 1, &PORTS);
        let policy = made.iter().next().context("one was to be made")?;
        let mut manifest: Value = serde_json::from_str(&policy.text.to_string())?;
        manifest["metadata"]["name"] = format!("policy-{number}").into();
        let said = format!("policy {number} is {manifest}");
        self.policies.insert(number, manifest);
        Ok(said)
    }

    fn oracle(&self) -> Result<Oracle> {
        let revision = if self.scenario.agent.is_some() { self.scenario.policy_revision()? } else { 0 };
        Oracle::of(&self.scenario.lab, revision)
    }

    /// Asks every live connection, which must be answered where policy allows it.
    fn exchange(&mut self, oracle: &Oracle) -> Result<()> {
        let jobs = std::mem::take(&mut self.live);
        self.live = in_parallel(LIVE, jobs, |mut live: Live| {
            let local = live.conversation.local();
            let sides = oracle.sides(Protocol::Tcp, local, live.target);
            let [client, server] = &sides[..] else { bail!("both sides are pods of this node: {sides:?}") };
            let is_allowed = sides.iter().all(|side| side.event != "deny");
            let was_healthy = live.cut == 0;
            live.cut = if is_allowed { live.cut } else { live.cut + 1 };
            if live.cut <= PATIENCE {
                let outcome = live.conversation.exchange(if is_allowed { ANSWER_LIMIT } else { DENIAL_LIMIT });
                let wanted = if is_allowed { Outcome::Answered } else { Outcome::TimedOut };
                ensure!(
                    outcome == wanted,
                    "a live connection from {local} to {} met {outcome:?}: {client:?} {server:?}",
                    live.target
                );
            }
            let is_answered = is_allowed && live.cut <= PATIENCE;
            if is_answered {
                live.cut = 0;
            }
            live.history[0].push(Epoch::of(client, is_answered || was_healthy));
            live.history[1].push(Epoch::of(server, is_answered || (was_healthy && client.event != "deny")));
            Ok(live)
        })?;
        Ok(())
    }

    /// Closes connections that are not cut, so that there is room for others.
    fn close_some(&mut self, random: &mut Random) {
        while self.live.len() > LIVE {
            let healthy: Vec<usize> = (0..self.live.len()).filter(|number| self.live[*number].cut == 0).collect();
            if healthy.is_empty() {
                return;
            }
            let Live { conversation, target, opening, history, .. } = self.live.swap_remove(*random.pick(&healthy));
            let (local, remote) = (conversation.local(), conversation.remote());
            conversation.close(ANSWER_LIMIT);
            self.stories.push(Story { local, remote, target, opening, history });
        }
    }

    /// Opens a connection from one pod to another, where that is allowed.
    fn open(&mut self, random: &mut Random, oracle: &Oracle) -> Result<()> {
        let (from, to) = (random.below(PODS), random.below(PODS));
        let address = *random.pick(&self.pods[to].addresses());
        let local = address_like(&self.pods[from].addresses(), address).context("every pod has both families")?;
        let target = SocketAddr::new(address, *random.pick(&PORTS[..3]));
        let sides = oracle.sides(Protocol::Tcp, SocketAddr::new(local, 0), target);
        if from == to || sides.iter().any(|side| side.event == "deny") {
            return Ok(());
        }
        match self.pods[from].open_tcp_from(self.ports.next()?, target, ANSWER_LIMIT)? {
            Ok(conversation) => self.hold(conversation, target, &sides, None),
            Err(attempt) => bail!("it should have been opened: {attempt:?}"),
        }
    }

    /// Tries to open one to the Service. Which backend it will be is not known before.
    fn ask(&mut self, random: &mut Random, oracle: &Oracle) -> Result<()> {
        let client = &self.pods[BACKENDS + random.below(PODS - BACKENDS)];
        let remote = SocketAddr::new(random.pick(&VIRTUAL).parse()?, PORT);
        let local = address_like(&client.addresses(), remote.ip()).context("every pod has both families")?;
        let local = SocketAddr::new(local, self.ports.next()?);
        let targets = (0..BACKENDS).filter(|number| self.ready[*number]).map(|number| -> Result<SocketAddr> {
            let address = address_like(&self.pods[number].addresses(), remote.ip());
            Ok(SocketAddr::new(address.context("every pod has both families")?, TARGET))
        });
        let targets: Vec<SocketAddr> = targets.collect::<Result<_>>()?;
        let is_answered = |target: &SocketAddr| oracle.expect(Protocol::Tcp, local, *target).answered;
        match client.open_tcp_from(local.port(), remote, EITHER_LIMIT)? {
            Ok(mut conversation) => {
                ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "it is open and not answered");
                let asked = self.backends.iter().position(|server| server.callers().contains(&local));
                let asked = asked.context("no backend saw it")?;
                let address = address_like(&self.pods[asked].addresses(), remote.ip());
                let target = SocketAddr::new(address.context("every pod has both families")?, TARGET);
                ensure!(
                    targets.contains(&target) && is_answered(&target),
                    "{target} should not be reached from {local}"
                );
                let sides = oracle.sides(Protocol::Tcp, local, target);
                // Where all backends are allowed, it was let on by the rules of all, whichever it was.
                let clients =
                    targets.iter().filter_map(|target| oracle.sides(Protocol::Tcp, local, *target).into_iter().next());
                let clients: Vec<Decision> = clients.collect();
                let is_alike = clients.iter().all(|client| client.verdict == clients[0].verdict);
                let rules: BTreeSet<PolicyRule> = clients.into_iter().flat_map(|client| client.policies).collect();
                self.hold(conversation, target, &sides, is_alike.then(|| rules.into_iter().collect()))
            }
            Err(attempt) => {
                let is_right = match attempt.outcome {
                    Outcome::TimedOut => targets.is_empty() || !targets.iter().all(is_answered),
                    Outcome::Refused => targets.is_empty(),
                    _ => false,
                };
                ensure!(is_right, "of the backends {targets:?} it met something else: {attempt:?}");
                self.refused.insert(local, attempt.outcome == Outcome::TimedOut);
                Ok(())
            }
        }
    }

    fn hold(
        &mut self,
        mut conversation: Conversation,
        target: SocketAddr,
        sides: &[Decision],
        opening: Option<Vec<PolicyRule>>,
    ) -> Result<()> {
        let [client, server] = sides else { bail!("both sides are pods of this node: {sides:?}") };
        ensure!(conversation.exchange(ANSWER_LIMIT) == Outcome::Answered, "it was opened and is not answered");
        let history = [vec![Epoch::of(client, true)], vec![Epoch::of(server, true)]];
        let opening = opening.unwrap_or_else(|| client.policies.clone());
        self.live.push(Live { conversation, target, cut: 0, opening, history });
        Ok(())
    }

    fn probe(&self, random: &mut Random, oracle: &Oracle) -> Result<Vec<Probed>> {
        let node = self.scenario.lab.node();
        let mut parties: Vec<Party<'_>> =
            self.pods.iter().map(|pod| Party { netns: pod, addresses: pod.addresses(), has_hooks: true }).collect();
        parties.push(Party { netns: &self.outside, addresses: self.outside.addresses(), has_hooks: false });
        parties.push(Party { netns: node.netns(), addresses: node.addresses().to_vec(), has_hooks: false });
        let mut errands = pairs::errands(&parties, &PORTS[..3], &SourcePorts::default())?;
        while errands.len() > PROBES {
            errands.swap_remove(random.below(errands.len()));
        }
        for errand in &mut errands {
            errand.leave_by(self.ports.next()?);
        }
        pairs::send(oracle, errands)
    }

    /// Takes everything away and checks what the records say. Returns how many changes they tell, and an account.
    fn end(self, probed: Vec<Probed>) -> Result<(usize, String)> {
        let Self { mut scenario, pods, backends, servers, live, mut stories, refused, .. } = self;
        // The pods go first: what their sockets still have to say when they end is not sent.
        drop(pods);
        for Live { conversation, target, opening, history, .. } in live {
            let (local, remote) = (conversation.local(), conversation.remote());
            stories.push(Story { local, remote, target, opening, history });
        }
        drop((backends, servers));
        let evidence = scenario.stop(pairs::openings(&probed) + 2 * stories.len())?;
        check::sequences(&evidence)?;
        for story in &stories {
            for (direction, remote, history) in
                [("egress", story.remote, &story.history[0]), ("ingress", story.target, &story.history[1])]
            {
                is_told(&evidence, story, direction, remote, history)?;
            }
        }
        for (local, is_denied) in &refused {
            let rows: Vec<&Row> = evidence.events("deny").filter(|row| is_from(row, *local)).collect();
            ensure!(rows.is_empty() != *is_denied, "an attempt from {local} has the denials {rows:#?}");
        }
        let apart: BTreeSet<SocketAddr> =
            stories.iter().map(|story| story.local).chain(refused.keys().copied()).collect();
        let mut others = evidence.clone();
        for file in &mut others.files {
            file.rows.retain(|row| !apart.iter().any(|local| is_from(row, *local)));
        }
        pairs::check(&others, probed)?;
        ensure!(check::lost(&evidence) == 0, "records were lost");
        let changes: Vec<&Row> = evidence.events("change").collect();
        let to = |verdict: &str| changes.iter().filter(|row| row.verdict.as_deref() == Some(verdict)).count();
        let said = format!(
            "{} connections held open, {} of them to the Service, {} attempts at it refused, {} changed to allow, {} to deny, \
             {} to audit",
            stories.len(),
            stories.iter().filter(|story| story.remote != story.target).count(),
            refused.len(),
            to("allow"),
            to("deny"),
            to("audit")
        );
        Ok((changes.len(), said))
    }
}

fn is_from(row: &Row, local: SocketAddr) -> bool {
    (row.src.ip, row.src.port) == (Some(local.ip()), Some(local.port()))
}

/// That the records of one side are an opening, changes, and a close, by what was decided in the course of time.
fn is_told(evidence: &Evidence, story: &Story, direction: &str, remote: SocketAddr, history: &[Epoch]) -> Result<()> {
    let is_it = |row: &&Row| {
        is_from(row, story.local)
            && row.direction.as_deref() == Some(direction)
            && (row.dst.ip, row.dst.port) == (Some(remote.ip()), Some(remote.port()))
    };
    let mut rows: Vec<&Row> = evidence.rows().filter(is_it).collect();
    rows.sort_by_key(|row| row.seq);
    let [decided @ .., close] = &rows[..] else { bail!("there is no {direction} record of {:?}", story.local) };
    let [open, changes @ ..] = decided else { bail!("there is one {direction} record alone: {close:?}") };
    let kinds = open.event == "open" && changes.iter().all(|row| row.event == "change") && close.event == "close";
    let opening = if direction == "egress" { &story.opening } else { &history[0].policies };
    ensure!(
        kinds && open.verdict == history[0].verdict && open.policies == *opening,
        "the opening is not by {opening:?}: {rows:#?}"
    );
    for (before, row) in decided.iter().zip(changes) {
        ensure!(row.previous_verdict == before.verdict, "the verdict before was another: {rows:#?}");
    }
    ensure!(close.verdict == decided[changes.len()].verdict, "the last verdict was another: {rows:#?}");
    if direction == "egress" && story.remote != story.target {
        let is_exact = |row: &&Row| row.nat_resolution.as_deref() == Some("exact") && row.backend == Some(story.target);
        ensure!(rows.iter().all(is_exact), "it went to {}: {rows:#?}", story.target);
    }
    // The numbers of records that may have been made so far.
    let mut reached = BTreeSet::from([0]);
    for epoch in &history[1..] {
        let mut next = BTreeSet::new();
        for at in reached {
            if !epoch.is_certain || epoch.verdict == decided[at].verdict {
                next.insert(at);
            }
            if epoch.verdict != decided[at].verdict && decided.get(at + 1).is_some_and(|row| epoch.is(row)) {
                next.insert(at + 1);
            }
        }
        reached = next;
    }
    let told: Vec<_> = history.iter().map(|epoch| (&epoch.verdict, epoch.is_certain, &epoch.policies)).collect();
    ensure!(reached.contains(&changes.len()), "the {direction} records {rows:#?} do not tell {told:#?}");
    Ok(())
}

/// Returns how often a live connection was decided anew, with another verdict.
fn run(seed: u64) -> Result<usize> {
    let random = &mut Random::new(seed);
    let mut town = Town::make(random)?;
    town.scenario.start()?;
    let (mut probed, mut story) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        if round > 0 {
            story.push(town.change(random)?);
        }
        let mut act = || -> Result<()> {
            let oracle = town.oracle()?;
            town.exchange(&oracle)?;
            town.close_some(random);
            town.open(random, &oracle)?;
            town.open(random, &oracle)?;
            town.ask(random, &oracle)?;
            probed.extend(town.probe(random, &oracle)?);
            Ok(())
        };
        act().with_context(|| format!("after change {round} of\n{}", story.join("\n")))?;
    }
    let number = probed.len();
    let (decided_anew, held) = town.end(probed).with_context(|| format!("after\n{}", story.join("\n")))?;
    println!("seed {seed}: {ROUNDS} changes, {number} probes, {held}");
    Ok(decided_anew)
}

#[test]
fn live_connections_and_their_records_follow_random_changes_of_everything() -> Result<()> {
    let seconds = match std::env::var("PODWITNESS_SOAK_SECONDS") {
        Ok(seconds) => seconds.parse().context("PODWITNESS_SOAK_SECONDS is no number")?,
        Err(_) => 0,
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let first = seed()?;
    let seeds = (first..).take_while(|seed| *seed < first + CLUSTERS || Instant::now() < end);
    let done = in_parallel(2, seeds, |seed| {
        run(seed).with_context(|| format!("set PODWITNESS_TEST_SEED={seed} to have this cluster first"))
    })?;
    ensure!(done.len() as u64 >= CLUSTERS);
    ensure!(done.iter().sum::<usize>() > 0, "no change of a live connection is recorded");
    Ok(())
}
