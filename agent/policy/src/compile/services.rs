//! From Services and their backends to what is decided before a Service's address is translated.
//!
//! It stands on the tables as they are without Services: what the policies say of a backend is what those tables say of its
//! address and port.
//!
//! What is behind frontends is kept, and made anew with the Services and slices that change; how to decide about one,
//! where what is behind it has changed, or what the tables say of that.

mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::Input;
use super::classes::Numbers;
use crate::model::ObjectName;
use crate::rule_set::RuleSet;
use crate::tables::{Backend, Frontend, IdentityRef, PortEntry, PortOutcome, ServiceKind, ServiceTarget, Side, Tables};
use targets::{Backends, Target, Targets, frontends_of_local_backends};

/// The Services of a cluster at a node.
#[derive(Default)]
pub(super) struct Services {
    targets: Targets,
    own: OwnClasses,
}

/// What has changed of what they are made of.
#[derive(Default)]
pub(super) struct Stale<'a> {
    /// Anything may have.
    pub(super) everything: bool,
    /// The Services themselves.
    pub(super) services: bool,
    /// The slices of these.
    pub(super) slices_of: BTreeSet<ObjectName>,
    /// The entries of these addresses and networks.
    pub(super) addresses: Option<&'a BTreeSet<IpNet>>,
}

/// What renewing has changed.
#[derive(Default)]
pub(super) struct Renewed {
    pub(super) services: bool,
    pub(super) backends: bool,
    /// Whether there are or were classes of Services' own.
    pub(super) has_own: bool,
}

impl Services {
    /// Forgets the classes that Services have for themselves: others have their numbers now.
    pub(super) fn forget(&mut self) {
        self.own = OwnClasses::default();
    }

    /// The classes that Services have for themselves.
    pub(super) fn own_classes(&self) -> BTreeSet<u32> {
        self.own.numbers.values().copied().collect()
    }

    /// Follows what has changed, in tables whose addresses, endpoints and entries for peers are up to date.
    pub(super) fn renew(
        &mut self,
        input: &Input<'_>,
        tables: &mut Tables,
        stale: &Stale<'_>,
        is_policy_stale: bool,
        free: &mut Numbers,
    ) -> Renewed {
        let mut renewed = Renewed::default();
        let known = tables.endpoints.values().filter(|endpoint| endpoint.pod.is_some());
        let local: BTreeSet<IpAddr> = known.flat_map(|endpoint| endpoint.addresses.iter().copied()).collect();
        let (mut frontends, has_other_local) = self.targets.renew(input, stale, &local);
        if stale.everything {
            frontends.extend(self.targets.by_frontend.keys());
        } else if let Some(addresses) = stale.addresses {
            frontends.extend(self.targets.on(addresses));
        }
        if has_other_local || is_policy_stale || stale.everything {
            let backends = frontends_of_local_backends(&local, &self.targets.by_frontend);
            renewed.backends = backends != tables.backends;
            tables.backends = backends;
        }
        for frontend in &frontends {
            let after = self.targets.by_frontend.get(frontend).map(|target| {
                let (kind, class, port) = self.own.kind(tables, *frontend, target, free);
                ServiceTarget { service: target.service.clone(), class, port, kind }
            });
            renewed.services |= tables.services.get(frontend) != after.as_ref();
            match after {
                Some(after) => tables.services.insert(*frontend, after),
                None => tables.services.remove(frontend),
            };
        }
        renewed.has_own = !self.own.numbers.is_empty();
        if renewed.has_own {
            self.own.keep_only(&tables.services, &self.targets.by_frontend, free);
        }
        renewed
    }

    /// The entries of the classes that Services have for themselves.
    pub(super) fn own_entries(&self, tables: &Tables) -> Vec<PortEntry> {
        self.own.port_entries(tables)
    }
}

/// What the tables can see of a backend's address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    LocalNode,
    Class(u32),
}

fn seen(tables: &Tables, address: IpAddr) -> Seen {
    match tables.address(address) {
        None => Seen::Class(0),
        Some(known) if known.identity == IdentityRef::LocalNode => Seen::LocalNode,
        Some(known) => Seen::Class(known.class),
    }
}

impl Target {
    /// How to decide, with the class and port under which the entries stand; `None` where it takes a class of its own.
    fn kind(&self, tables: &Tables, frontend: Frontend) -> Option<(ServiceKind, u32, u16)> {
        let mut behind = self.backends.iter().map(|backend| (seen(tables, backend.address), backend.port));
        let Some((first, port)) = behind.next() else {
            return Some((ServiceKind::Empty, 0, frontend.port));
        };
        match first {
            Seen::LocalNode if behind.clone().all(|(seen, _)| seen == Seen::LocalNode) => {
                Some((ServiceKind::Node, 0, frontend.port))
            }
            Seen::Class(class) if behind.all(|other| other == (first, port)) => Some((ServiceKind::Alike, class, port)),
            _ => None,
        }
    }
}

/// The classes of Services whose backends differ: one for each set of backends and each way to see the client.
#[derive(Default)]
struct OwnClasses {
    numbers: BTreeMap<(Backends, bool), u32>,
    /// At which ports each class must have entries. The protocol is the backends'.
    ports: BTreeSet<(u32, u16)>,
}

impl OwnClasses {
    /// How to decide about these backends, with the class and port under which the entries stand.
    fn kind(
        &mut self,
        tables: &Tables,
        frontend: Frontend,
        target: &Target,
        free: &mut Numbers,
    ) -> (ServiceKind, u32, u16) {
        target.kind(tables, frontend).unwrap_or_else(|| {
            let class = *self.numbers.entry(target.group()).or_insert_with(|| free.take());
            (ServiceKind::Own, class, frontend.port)
        })
    }

    /// Forgets what none of the Services has any more, and learns their ports.
    fn keep_only(
        &mut self,
        services: &BTreeMap<Frontend, ServiceTarget>,
        targets: &BTreeMap<Frontend, Target>,
        free: &mut Numbers,
    ) {
        let own = services.iter().filter(|(_, target)| target.kind == ServiceKind::Own);
        self.ports = own.clone().map(|(frontend, target)| (target.class, frontend.port)).collect();
        let groups: BTreeSet<(Backends, bool)> =
            own.filter_map(|(frontend, _)| Some(targets.get(frontend)?.group())).collect();
        self.numbers.retain(|group, number| {
            let stays = groups.contains(group);
            if !stays {
                free.give_back(*number);
            }
            stays
        });
    }

    fn port_entries(&self, tables: &Tables) -> Vec<PortEntry> {
        let isolated: BTreeMap<u32, &RuleSet> = tables
            .endpoints
            .values()
            .filter_map(|endpoint| match &endpoint.egress {
                Side::Isolated { subject, isolating } => Some((*subject, isolating)),
                Side::Open => None,
            })
            .collect();
        let mut entries = Vec::new();
        for ((backends, keeps_source), &class) in &self.numbers {
            let protocol = backends.first().map(|backend| backend.protocol.number());
            let decides = |backend: &Backend| *keeps_source && tables.backends.contains_key(backend);
            for (&subject, &isolating) in &isolated {
                let Some((rule_set, outcome)) = outcome(tables, subject, isolating, backends, decides) else {
                    continue;
                };
                let ports = self.ports.range((class, 0)..=(class, u16::MAX));
                entries.extend(ports.map(|&(class, port)| {
                    let rule_set = rule_set.clone();
                    PortEntry { subject, class, protocol, port, port_bits: 16, rule_set, outcome }
                }));
            }
        }
        entries
    }
}

/// What becomes of a subject's connection to one of these backends, of which some may be able to decide; `None` where none of
/// them is allowed.
fn outcome(
    tables: &Tables,
    subject: u32,
    isolating: &RuleSet,
    backends: &[Backend],
    decides: impl Fn(&Backend) -> bool,
) -> Option<(RuleSet, PortOutcome)> {
    let mut allowing = BTreeSet::new();
    let mut denied = Vec::new();
    for backend in backends {
        match seen(tables, backend.address) {
            Seen::LocalNode => {}
            Seen::Class(class) => match tables.allowing(subject, class, backend.protocol.number(), backend.port) {
                Some(entry) => {
                    allowing.insert(&entry.rule_set);
                }
                None => denied.push(backend),
            },
        }
    }
    if denied.len() == backends.len() {
        return None;
    }
    let allowing = || allowing.iter().flat_map(|rules| rules.iter()).cloned().collect();
    Some(if denied.is_empty() {
        (allowing(), PortOutcome::Allowed)
    } else if denied.into_iter().all(decides) {
        (allowing(), PortOutcome::Deferred)
    } else {
        (isolating.clone(), PortOutcome::MixedDenied)
    })
}
