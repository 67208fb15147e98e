//! Keeps the kernel in agreement with the cluster and with what is on the node.
//!
//! One thread owns it. Each change is looked at from the complete present: what is made of it begins with what was made
//! before, and a difference is put in force as one generation; the [`hooker`](crate::hooker) is asked for hooks after that,
//! so that no interface is hooked before the tables know it.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use podwitness_config::Retention;
use podwitness_datapath::{Control, Interface, Tables as KernelTables};
use podwitness_endpoints::Snapshot;
use podwitness_policy::{Cluster, Compiler, Endpoint, NetworkPolicy, ObjectName, Objects, PodsOfNode, policy_sha256};
use podwitness_runtime::{exit::sentence, memory, readiness::Condition, shutdown::Shutdown};
use podwitness_source::Update;
use podwitness_spool::Definitions as _;
use tracing::debug_span;

use crate::{
    changes::Change,
    coverage::{Account, InForce, Seen, SourceState, Statements, now_us, utc_us},
    definitions::{Definitions, LedgerError},
    hooker::{Hooked, Hooker},
    metrics::Metrics,
    numbering::{Of, number},
    step::Step,
    trails::{below_floor, keep_known, trails},
};

/// How often the controller looks whether it should stop, and tries again what has failed.
const PATIENCE: Duration = Duration::from_millis(500);

/// The least time between two times that memory is given back.
const TIDY: Duration = Duration::from_secs(10);

/// Why the controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    /// A part that tells it of changes has ended.
    #[error("{0} has ended unexpectedly; the log says why")]
    Deaf(&'static str),
}

/// Why a change could not be put in force. It is tried again.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Datapath(#[from] podwitness_datapath::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The controller.
pub(crate) struct Controller {
    /// The way into the kernel.
    pub(crate) control: Control,
    /// Who puts hooks on interfaces.
    pub(crate) hooker: Hooker,
    /// Where numbers are given.
    pub(crate) definitions: Arc<Definitions>,
    /// What it says of itself.
    pub(crate) metrics: Metrics,
    /// This node's name.
    pub(crate) node: String,
    /// Whether the node's witness mode is `audit`.
    pub(crate) audits: bool,
    /// How long evidence is kept where nobody asks for more.
    pub(crate) retention: Retention,
    /// What is enforced and witnessed here.
    pub(crate) account: Account,
    /// What was said of the source.
    pub(crate) source: SourceState,
    /// What was said of policies.
    pub(crate) statements: Statements,
    /// What it has made of the cluster.
    pub(crate) made: Made,
    /// Met while the cluster is what its source says now.
    pub(crate) source_is_whole: Condition,
    /// Met while the policy of the present cluster is in force.
    pub(crate) policy_in_force: Condition,
    /// Met while every endpoint has its hooks.
    pub(crate) hooks_on: Condition,
}

/// What was made of the cluster last, so that the next change begins with it.
pub(crate) struct Made {
    here: PodsOfNode,
    compiler: Compiler,
    /// In the kernel's numbers.
    tables: KernelTables,
    /// Whether these are in force.
    is_in_force: bool,
    /// Policies and their revision.
    revision: Option<(Objects<NetworkPolicy>, i64)>,
    /// For the endpoints of which number hooks were asked.
    hooks_asked_for: u64,
}

impl Made {
    /// Nothing yet, for a node.
    pub(crate) fn nothing(node: &str) -> Self {
        Self {
            here: PodsOfNode::new(node),
            compiler: Compiler::default(),
            tables: KernelTables::default(),
            is_in_force: false,
            revision: None,
            hooks_asked_for: 0,
        }
    }
}

/// The present, as far as it is known.
#[derive(Default)]
struct Present {
    update: Option<Update>,
    endpoints: Option<Snapshot>,
    /// How often these were told.
    endpoints_number: u64,
    /// When the endpoints were seen, microseconds since 1970 in UTC.
    endpoints_since_us: i64,
    /// When the oldest change that is not in force yet was learnt.
    oldest_change: Option<Instant>,
    /// How many changes were learnt.
    changes: u64,
    /// The newest answer to a request for hooks.
    hooked: Hooked,
}

impl Present {
    fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.update.as_ref()?.cluster.as_ref()
    }
}

impl Controller {
    /// Follows changes until a shutdown is requested. What is in force stays.
    pub(crate) fn run(mut self, changes: &Receiver<Change>, shutdown: &Shutdown) -> Result<(), ControllerError> {
        let mut present = Present::default();
        let (mut is_tidy, mut next_tidying) = (true, Instant::now());
        while !shutdown.is_requested() {
            match changes.recv_timeout(PATIENCE) {
                Ok(change) => {
                    let before = present.changes;
                    self.learn(&mut present, change)?;
                    for change in changes.try_iter() {
                        self.learn(&mut present, change)?;
                    }
                    is_tidy &= present.changes == before;
                }
                Err(RecvTimeoutError::Timeout)
                    if !is_tidy && self.made.is_in_force && next_tidying <= Instant::now() =>
                {
                    memory::give_back();
                    is_tidy = true;
                    next_tidying = Instant::now() + TIDY;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ControllerError::Deaf("whoever tells of changes"));
                }
            }
            self.statements.state_each_day(now_us());
            if present.oldest_change.is_none() {
                continue;
            }
            match self.apply(&present) {
                Ok(()) => present.oldest_change = None,
                Err(error) => {
                    self.policy_in_force.set(false);
                    tracing::error!(%error, "the present cluster is not in force; trying again");
                    shutdown.wait_timeout(PATIENCE);
                }
            }
        }
        // An endpoint that has got its hooks by now is told of before the agent says that it stops.
        self.hooker.stop();
        for change in changes.try_iter() {
            if let Change::Hooked(outcome) = change {
                self.learn_hooked(&mut present, outcome);
            }
        }
        Ok(())
    }

    fn learn(&mut self, present: &mut Present, change: Change) -> Result<(), ControllerError> {
        let learnt = match change {
            Change::Ended(part) => return Err(ControllerError::Deaf(part)),
            Change::Hooked(outcome) => {
                self.learn_hooked(present, outcome);
                return Ok(());
            }
            Change::Cluster(update) => {
                let before = present.update.as_ref().map_or(&[][..], |before| &before.faults);
                for fault in update.faults.iter().filter(|fault| !before.contains(fault)) {
                    if fault.effect.is_some() {
                        tracing::warn!(%fault, "an object cannot be used; the others are");
                    } else {
                        tracing::warn!(%fault, "the cluster's objects cannot all be read");
                    }
                }
                self.metrics.faults("objects", update.faults.len());
                if let Some(cluster) = &update.cluster {
                    self.tell_below_floor(cluster, present.cluster());
                    let policies = cluster.policies.iter();
                    self.metrics.faults("policies", policies.filter(|policy| !policy.faults.is_empty()).count());
                }
                let learnt = update.received;
                self.source.learn(utc_us(learnt), &update);
                present.update = Some(update);
                learnt
            }
            Change::Endpoints(snapshot, learnt) => {
                let before = present.endpoints.as_ref();
                for fault in &snapshot.faults {
                    if before.is_none_or(|before| !before.faults.contains(fault)) {
                        tracing::warn!(path = %fault.path.display(), fault = fault.message, "cannot look for endpoints");
                    }
                }
                for unhooked in &snapshot.unhooked {
                    if before.is_none_or(|before| !before.unhooked.contains(unhooked)) {
                        tracing::warn!(
                            namespace = unhooked.name,
                            interface = unhooked.interface,
                            kind = unhooked.kind,
                            reason = unhooked.reason,
                            "an interface cannot have hooks: its traffic is not enforced"
                        );
                    }
                }
                self.metrics.faults("namespaces", snapshot.faults.len());
                self.metrics.faults("unhooked", snapshot.unhooked.len());
                present.endpoints = Some(snapshot);
                present.endpoints_number += 1;
                present.endpoints_since_us = utc_us(learnt);
                learnt
            }
        };
        present.oldest_change = Some(present.oldest_change.map_or(learnt, |oldest| oldest.min(learnt)));
        present.changes += 1;
        Ok(())
    }

    fn learn_hooked(&mut self, present: &mut Present, outcome: Result<Hooked, podwitness_datapath::Error>) {
        let hooked = match outcome {
            Ok(hooked) => hooked,
            Err(error) => {
                tracing::error!(%error, "interfaces may be without hooks; trying again");
                self.metrics.faults("hooks", 1);
                self.hooks_on.set(false);
                return;
            }
        };
        for fault in &hooked.faults {
            let cause = sentence(&fault.cause);
            tracing::warn!(interface = fault.interface.name, cause, "an interface has no hooks");
        }
        self.metrics.endpoints(hooked.interfaces.len());
        self.metrics.faults("hooks", hooked.faults.len());
        self.hooks_on.set(hooked.faults.is_empty());
        present.hooked = hooked;
        Step::Hooked.reached();
        // Otherwise it is said when they are.
        if self.made.is_in_force {
            self.tell_enforced(&present.hooked);
        }
    }

    /// Says of each endpoint that has its hooks by what it is decided.
    fn tell_enforced(&mut self, hooked: &Hooked) {
        let revision = self.definitions.revision_of(self.control.generation());
        self.account.enforced(now_us(), InForce { revision, tables: &self.made.tables, hooked });
    }

    /// Says which namespaces ask for less than the floor, unless that was said before.
    fn tell_below_floor(&self, cluster: &Cluster, before: Option<&Arc<Cluster>>) {
        for (namespace, asked) in below_floor(cluster, &self.retention) {
            if before.and_then(|before| before.trails.get(namespace)) != cluster.trails.get(namespace) {
                tracing::warn!(
                    namespace,
                    asked_seconds = asked.as_secs(),
                    minimum_seconds = self.retention.minimum.as_secs(),
                    "a namespace asks for less than retention.minimum, which holds"
                );
            }
        }
    }

    /// Puts the present in force. Before both sides of it are known once, what an agent before has left stays.
    fn apply(&mut self, present: &Present) -> Result<(), ApplyError> {
        let (Some(update), Some(snapshot)) = (&present.update, &present.endpoints) else { return Ok(()) };
        let Some(cluster) = &update.cluster else { return Ok(()) };
        let _span = tracing::debug_span!("apply", changes = present.changes).entered();
        let endpoints = debug_span!("match").in_scope(|| self.endpoints(cluster, snapshot));
        let seen = Seen {
            since_us: present.endpoints_since_us,
            snapshot,
            endpoints: &endpoints,
            cluster,
            node: &self.node,
            next_request: self.hooker.last_request() + 1,
        };
        debug_span!("account").in_scope(|| self.account.learn(now_us(), seen));
        let revision = self.make(cluster, snapshot, &endpoints);
        let generation = self.control.generation();
        // Before a record that it applies to can be made.
        let mut trails = trails(cluster, &self.retention);
        if !update.complete {
            keep_known(&mut trails, self.definitions.trails().as_deref().unwrap_or_default());
        }
        self.definitions.set_trails(trails)?;
        Step::TrailsKept.reached();
        let same_revision = self.definitions.revision_of(generation) == revision;
        let Made { tables, is_in_force, .. } = &mut self.made;
        if !same_revision || !*is_in_force {
            let next = debug_span!("plan").in_scope(|| self.control.next(tables, same_revision));
            let generation = next.generation();
            debug_span!("define").in_scope(|| self.definitions.write_generation(generation, revision))?;
            Step::Defined.reached();
            debug_span!("fill").in_scope(|| self.control.fill(&next, tables))?;
            Step::Filled.reached();
            self.control.switch(&next);
            Step::Switched.reached();
            *is_in_force = true;
            self.statements.in_force(now_us(), revision, cluster);
            self.definitions.set_present(generation, tables);
            self.metrics.in_force(generation, revision);
            if let Some(learnt) = present.oldest_change {
                self.metrics.applied_within(learnt.elapsed());
            }
            tracing::info!(
                generation,
                revision,
                endpoints = tables.endpoints.len(),
                addresses = tables.addresses.len(),
                entries = tables.policy.len(),
                "policy in force"
            );
        }
        self.source_is_whole.set(update.complete);
        if update.complete {
            self.source.in_force(now_us());
        }
        self.policy_in_force.set(true);
        self.want_hooks(present);
        self.tell_enforced(&present.hooked);
        if let Err(error) = debug_span!("prepare").in_scope(|| self.control.prepare(&self.made.tables)) {
            tracing::warn!(%error, "the next change of policy takes longer");
        }
        Ok(())
    }

    /// Brings the tables and the revision up to the cluster; returns the revision.
    fn make(&mut self, cluster: &Arc<Cluster>, snapshot: &Snapshot, endpoints: &[Endpoint]) -> i64 {
        self.make_tables(cluster, snapshot, endpoints);
        let known = self.made.revision.as_ref().filter(|(policies, _)| *policies == cluster.policies);
        if let Some(&(_, revision)) = known {
            return revision;
        }
        let sha256 = debug_span!("sha256").in_scope(|| policy_sha256(cluster));
        let revision = self.definitions.number_revision(&sha256);
        self.made.revision = Some((cluster.policies.clone(), revision));
        revision
    }

    /// Brings the tables up to the cluster.
    fn make_tables(&mut self, cluster: &Arc<Cluster>, snapshot: &Snapshot, endpoints: &[Endpoint]) {
        let Self { node, audits, definitions, made, .. } = self;
        let Made { compiler, tables: kernel, is_in_force, .. } = made;
        let (tables, changed) =
            debug_span!("compile").in_scope(|| compiler.compile(cluster, node, &snapshot.host_addresses, endpoints));
        let of = Of { cluster, node, audits: *audits };
        let is_different = debug_span!("number").in_scope(|| number(kernel, tables, &changed, of, definitions));
        *is_in_force &= !is_different;
    }

    /// Asks for hooks on the interfaces that are there, which the tables in force know; not where that was asked for and done.
    fn want_hooks(&mut self, present: &Present) {
        let Some(snapshot) = &present.endpoints else { return };
        let is_done = present.hooked.request == self.hooker.last_request() && present.hooked.faults.is_empty();
        if is_done && self.made.hooks_asked_for == present.endpoints_number {
            return;
        }
        self.made.hooks_asked_for = present.endpoints_number;
        let interface = |endpoint: &podwitness_endpoints::Endpoint| Interface {
            index: endpoint.interface,
            name: endpoint.interface_name.clone(),
        };
        self.hooker.want(snapshot.endpoints.iter().map(interface).collect());
    }

    /// The endpoints with their pods: the one of this node that has one of the endpoint's addresses.
    fn endpoints(&mut self, cluster: &Cluster, snapshot: &Snapshot) -> Vec<Endpoint> {
        let here = self.made.here.follow(cluster);
        let pod_of = |endpoint: &podwitness_endpoints::Endpoint| -> Option<ObjectName> {
            let mut pods = endpoint.addresses.iter().filter_map(|address| here.get(address).copied().flatten());
            pods.next().map(|pod| pod.name.clone())
        };
        snapshot
            .endpoints
            .iter()
            .map(|endpoint| Endpoint {
                interface: endpoint.interface,
                pod: pod_of(endpoint),
                addresses: endpoint.addresses.clone(),
            })
            .collect()
    }
}
