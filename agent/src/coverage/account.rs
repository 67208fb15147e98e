//! The account of the node's endpoints: what is the case for each, and a record of each change of it.
//!
//! An endpoint is seen, has its hooks on, has a pod that is known, and is enforced, in this order; or it cannot have hooks.
//! Each record says since when the state was that it ends.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use podwitness_datapath::{Interface, Tables as KernelTables};
use podwitness_endpoints::{Snapshot, Unhooked};
use podwitness_policy::{Cluster, Endpoint, Pod};
use podwitness_runtime::exit::sentence;
use podwitness_spool::{
    Coverage,
    words::{CoverageEvent, WitnessMode},
};
use podwitness_wire::{Verdict, endpoint_flags};

use super::Journal;
use crate::hooker::Hooked;

/// `reason` of a pod that has the node's network.
const HOST_NETWORK: &str = "host-network";

/// `reason` of an interface to which the kernel did not let the hooks be attached.
const ATTACH: &str = "attach";

/// The node as it is.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// When the endpoints were seen, microseconds since 1970 in UTC.
    pub(crate) since_us: i64,
    /// The node's interfaces.
    pub(crate) snapshot: &'a Snapshot,
    /// Those that can be hooked, with their pods, in the snapshot's order.
    pub(crate) endpoints: &'a [Endpoint],
    /// The cluster that says who the pods are.
    pub(crate) cluster: &'a Cluster,
    /// This node's name.
    pub(crate) node: &'a str,
    /// The first request for hooks that is made when the tables in force know all this.
    pub(crate) next_request: u64,
}

/// What was put in force.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// The revision of the policy.
    pub(crate) revision: i64,
    /// What the kernel decides by.
    pub(crate) tables: &'a KernelTables,
    /// The newest answer to a request for hooks.
    pub(crate) hooked: &'a Hooked,
}

/// `detail` of an endpoint whose hooks an agent before has left.
const HAD_HOOKS: &str = "its hooks were on already: what was in force there went on while no agent was there";

/// `detail` of an endpoint that was gone by then.
const WAS_GONE: &str = "it was gone before the agent had put hooks on all interfaces that came with it";

/// The account.
pub(crate) struct Account {
    journal: Arc<Journal>,
    /// What is done with the traffic of endpoints whose pod is not known.
    unknown_endpoints: Verdict,
    endpoints: BTreeMap<u32, Tracked>,
    /// Endpoints that are gone, of which it is not known whether they had hooks.
    leaving: Vec<(u32, Tracked)>,
    /// Interfaces and pods that cannot have hooks, and since when they are there.
    bypasses: BTreeMap<Bypass, i64>,
}

/// An endpoint that can be hooked.
struct Tracked {
    netns: String,
    interface_name: String,
    addresses: Vec<IpAddr>,
    pod: Option<PodName>,
    /// The first request for hooks that may name it.
    asked_by: u64,
    /// The first one by which the tables in force know its pod, where it became known without hooks.
    known_by: u64,
    standing: Standing,
    since_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Seen, and of its hooks nothing is known yet.
    Bare,
    /// The hooks could not be attached.
    Unhooked { cause: String },
    /// Hooked, and decided as `unknown_endpoints` says.
    Unknown,
    /// Hooked, its pod known, and nothing in force yet that knows it.
    Known,
    /// Under the policy of its pod.
    Enforced { mode: WitnessMode },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct PodName {
    namespace: String,
    name: String,
    uid: String,
}

/// What cannot have hooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bypass {
    Interface(Unhooked),
    HostNetwork(PodName, Vec<IpAddr>),
}

impl Account {
    /// An account of nothing, which begins with the agent.
    pub(crate) fn new(journal: Arc<Journal>, unknown_endpoints: Verdict) -> Self {
        Self { journal, unknown_endpoints, endpoints: BTreeMap::new(), leaving: Vec::new(), bypasses: BTreeMap::new() }
    }

    /// Takes in what is there, before it is put in force.
    pub(crate) fn learn(&mut self, now_us: i64, seen: Seen<'_>) {
        self.forget_gone(now_us, seen.snapshot);
        for (endpoint, with_pod) in seen.snapshot.endpoints.iter().zip(seen.endpoints) {
            let pod = with_pod.pod.as_ref().and_then(|name| seen.cluster.pods.get(name)).map(PodName::of);
            let tracked = self.endpoints.entry(endpoint.interface).or_insert_with(|| Tracked {
                netns: endpoint.name.clone(),
                interface_name: endpoint.interface_name.clone(),
                addresses: Vec::new(),
                pod: None,
                asked_by: seen.next_request,
                known_by: seen.next_request,
                standing: Standing::Bare,
                since_us: seen.since_us,
            });
            tracked.addresses.clone_from(&endpoint.addresses);
            if tracked.pod == pod {
                continue;
            }
            if !tracked.is_hooked() {
                tracked.pod = pod;
                tracked.known_by = seen.next_request;
                continue;
            }
            let unknown_endpoints = self.unknown_endpoints.number().into();
            if tracked.pod.is_some() {
                let record = tracked.record(endpoint.interface, now_us, CoverageEvent::EndpointUnknown);
                self.journal.coverage(Coverage { unknown_endpoints, ..record });
                tracked.enter(Standing::Unknown, now_us);
            }
            tracked.pod = pod;
            if tracked.pod.is_some() {
                let record = tracked.record(endpoint.interface, now_us, CoverageEvent::EndpointKnown);
                self.journal.coverage(Coverage { unknown_endpoints, ..record });
                tracked.enter(Standing::Known, now_us);
            }
        }
        self.learn_bypasses(now_us, &seen);
    }

    /// Takes in what is in force.
    pub(crate) fn enforced(&mut self, now_us: i64, in_force: InForce<'_>) {
        let InForce { revision, tables, hooked } = in_force;
        self.leave(now_us, hooked);
        let flags: BTreeMap<u32, u32> = tables.endpoints.iter().map(|(index, entry)| (*index, entry.flags)).collect();
        for (&index, tracked) in &mut self.endpoints {
            let flags = flags.get(&index).copied().unwrap_or(0);
            let mode = if flags & endpoint_flags::AUDIT != 0 { WitnessMode::Audit } else { WitnessMode::Enforce };
            if !tracked.is_hooked() {
                // An older answer may be about another interface that had the same number and name.
                if hooked.request < tracked.asked_by {
                    continue;
                }
                let interface = tracked.interface(index);
                if let Some(fault) = hooked.faults.iter().find(|fault| fault.interface == interface) {
                    let cause = sentence(&fault.cause);
                    let standing = Standing::Unhooked { cause: cause.clone() };
                    if tracked.standing != standing {
                        let record = tracked.record(index, now_us, CoverageEvent::EndpointUnhooked);
                        self.journal.coverage(Coverage { reason: ATTACH.to_owned(), detail: cause, ..record });
                        tracked.enter(standing, now_us);
                    }
                    continue;
                }
                let Some(&had_hooks) = hooked.interfaces.get(&interface) else { continue };
                let unknown_endpoints = self.unknown_endpoints.number().into();
                let was_known = tracked.was_known(hooked);
                let record = tracked.record(index, now_us, CoverageEvent::EndpointAttached);
                self.journal.coverage(Coverage {
                    detail: if had_hooks { HAD_HOOKS.to_owned() } else { String::new() },
                    mode: mode.number().into(),
                    unknown_endpoints: if was_known { 0 } else { unknown_endpoints },
                    policy_revision: revision,
                    ..record
                });
                tracked.enter(if was_known { Standing::Known } else { Standing::Unknown }, now_us);
                if !was_known && tracked.pod.is_some() {
                    let record = tracked.record(index, now_us, CoverageEvent::EndpointKnown);
                    self.journal.coverage(Coverage { unknown_endpoints, ..record });
                    tracked.enter(Standing::Known, now_us);
                }
            }
            let standing = Standing::Enforced { mode };
            let is_news = match tracked.standing {
                Standing::Known => flags & endpoint_flags::KNOWN != 0,
                Standing::Enforced { .. } => tracked.standing != standing,
                Standing::Bare | Standing::Unhooked { .. } | Standing::Unknown => false,
            };
            if is_news {
                let record = tracked.record(index, now_us, CoverageEvent::EndpointEnforced);
                let mode = mode.number().into();
                self.journal.coverage(Coverage { mode, policy_revision: revision, ..record });
                tracked.enter(standing, now_us);
            }
        }
    }

    /// An index that another namespace has now is another endpoint.
    fn forget_gone(&mut self, now_us: i64, snapshot: &Snapshot) {
        let present: BTreeMap<u32, (&str, &str)> = snapshot
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.interface, (endpoint.name.as_str(), endpoint.interface_name.as_str())))
            .collect();
        let is_gone = |(index, tracked): &(&u32, &Tracked)| {
            present.get(index) != Some(&(tracked.netns.as_str(), tracked.interface_name.as_str()))
        };
        let gone: Vec<u32> = self.endpoints.iter().filter(is_gone).map(|(index, _)| *index).collect();
        for index in gone {
            let Some(tracked) = self.endpoints.remove(&index) else { continue };
            if tracked.standing == Standing::Bare {
                self.leaving.push((index, tracked));
            } else {
                self.journal.coverage(tracked.record(index, now_us, CoverageEvent::EndpointDetached));
            }
        }
    }

    /// Says of endpoints that are gone that they had hooks, where they had.
    fn leave(&mut self, now_us: i64, hooked: &Hooked) {
        for (index, mut tracked) in self.leaving.extract_if(.., |(_, tracked)| tracked.asked_by <= hooked.request) {
            if hooked.interfaces.contains_key(&tracked.interface(index)) {
                let unknown_endpoints =
                    if tracked.was_known(hooked) { 0 } else { self.unknown_endpoints.number().into() };
                let record = tracked.record(index, now_us, CoverageEvent::EndpointAttached);
                self.journal.coverage(Coverage { detail: WAS_GONE.to_owned(), unknown_endpoints, ..record });
                tracked.enter(Standing::Unknown, now_us);
                self.journal.coverage(tracked.record(index, now_us, CoverageEvent::EndpointDetached));
            }
        }
    }

    fn learn_bypasses(&mut self, now_us: i64, seen: &Seen<'_>) {
        let interfaces = seen.snapshot.unhooked.iter().cloned().map(Bypass::Interface);
        let ours = seen
            .cluster
            .pods
            .iter()
            .filter(|pod| pod.host_network && !pod.phase.is_terminated() && pod.node.as_deref() == Some(seen.node));
        let pods = ours.map(|pod| Bypass::HostNetwork(PodName::of(pod), pod.addresses.iter().collect()));
        let present: Vec<Bypass> = interfaces.chain(pods).collect();
        let journal = &self.journal;
        self.bypasses.retain(|bypass, since_us| {
            let stays = present.contains(bypass);
            if !stays {
                let record = bypass.record(now_us, CoverageEvent::EndpointDetached);
                journal.coverage(Coverage { since_us: Some(*since_us), ..record });
            }
            stays
        });
        for bypass in present {
            if let Entry::Vacant(vacant) = self.bypasses.entry(bypass) {
                journal.coverage(vacant.key().record(now_us, CoverageEvent::EndpointUnhooked));
                vacant.insert(now_us);
            }
        }
    }
}

impl Tracked {
    fn is_hooked(&self) -> bool {
        !matches!(self.standing, Standing::Bare | Standing::Unhooked { .. })
    }

    /// Whether the tables knew its pod when its hooks came on.
    fn was_known(&self, hooked: &Hooked) -> bool {
        self.pod.is_some() && self.known_by <= hooked.request
    }

    fn interface(&self, index: u32) -> Interface {
        Interface { index, name: self.interface_name.clone() }
    }

    fn enter(&mut self, standing: Standing, now_us: i64) {
        self.standing = standing;
        self.since_us = now_us;
    }

    fn record(&self, index: u32, now_us: i64, event: CoverageEvent) -> Coverage {
        let pod = self.pod.clone().unwrap_or_default();
        Coverage {
            time_us: now_us,
            event: event.number().into(),
            interface: Some(index),
            interface_name: self.interface_name.clone(),
            netns: self.netns.clone(),
            namespace: pod.namespace,
            pod: pod.name,
            pod_uid: pod.uid,
            addresses: self.addresses.iter().map(octets).collect(),
            since_us: Some(self.since_us),
            ..Coverage::default()
        }
    }
}

impl Bypass {
    fn record(&self, now_us: i64, event: CoverageEvent) -> Coverage {
        let record = Coverage { time_us: now_us, event: event.number().into(), ..Coverage::default() };
        match self.clone() {
            Self::Interface(Unhooked { name, interface, kind, reason }) => {
                Coverage { netns: name, interface_name: interface, reason: kind, detail: reason, ..record }
            }
            Self::HostNetwork(pod, addresses) => Coverage {
                namespace: pod.namespace,
                pod: pod.name,
                pod_uid: pod.uid,
                addresses: addresses.iter().map(octets).collect(),
                reason: HOST_NETWORK.to_owned(),
                detail: "the pod uses the network of its node, where policies select nothing".to_owned(),
                ..record
            },
        }
    }
}

impl PodName {
    fn of(pod: &Pod) -> Self {
        Self { namespace: pod.name.namespace().to_owned(), name: pod.name.name().to_owned(), uid: pod.uid.to_string() }
    }
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
