//! The lab of the demo: its cluster, what listens in it, and the errands that are run.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use podwitness_lab::{Attempt, Lab, LabError, NetNs, Outsider, Pod, PodSpec, Server};
use podwitness_policy::Protocol;

use super::errands::{Errand, Party};
use super::examples::{ClusterPlan, Manifest};
use super::script::{OUTSIDE_PORT, OUTSIDERS};
use crate::failure::Failure;

/// How long an answer may take: less than a second, so that a denied connection sends one packet.
const PATIENCE: Duration = Duration::from_millis(300);

/// Everything that sends and receives.
#[derive(Debug)]
pub(super) struct Stage {
    // Before those in whose namespaces they listen.
    _servers: Vec<Server>,
    pods: Vec<Pod>,
    outsiders: Vec<(&'static str, Outsider)>,
    pub(super) lab: Lab,
}

impl Stage {
    /// Builds the pods, lets each listen on its container ports, and writes the cluster's objects for the agent.
    pub(super) fn build(plan: &ClusterPlan, manifests: &[Manifest]) -> Result<Self, Failure> {
        Self::try_build(plan, manifests).map_err(Failure::answer)
    }

    fn try_build(plan: &ClusterPlan, manifests: &[Manifest]) -> Result<Self, LabError> {
        let lab = Lab::with_node(&plan.node)?;
        let mut pods = Vec::new();
        let mut servers = Vec::new();
        for planned in plan.pods() {
            let addresses: Vec<IpAddr> = planned.addresses.iter().collect();
            let pod = lab.pod(PodSpec::new(planned.name.namespace(), planned.name.name(), &addresses))?;
            for port in &planned.template.ports {
                match port.protocol {
                    Protocol::Tcp => servers.push(pod.serve_tcp(port.port.get())?),
                    Protocol::Udp => servers.push(pod.serve_udp(port.port.get())?),
                    // Nothing here speaks it, and no errand asks.
                    Protocol::Sctp => {}
                }
            }
            pods.push(pod);
        }
        let mut outsiders = Vec::new();
        for (name, v4, v6) in OUTSIDERS {
            let addresses = [v4, v6].map(|text| text.parse().expect("the addresses in the program are right"));
            let outsider = lab.outsider(name, &addresses)?;
            servers.push(outsider.serve_tcp(OUTSIDE_PORT)?);
            outsiders.push((name, outsider));
        }
        let cluster = lab.cluster();
        for Manifest { name, text } in manifests {
            cluster.write(name, text)?;
        }
        Ok(Self { _servers: servers, pods, outsiders, lab })
    }

    /// Runs the errand over each family that both sides have, at the same time.
    pub(super) fn run(&self, errand: &Errand) -> Result<Vec<Attempt>, Failure> {
        let (from, own) = self.find(&errand.from)?;
        let (_, addresses) = self.find(&errand.to)?;
        let reachable = addresses.iter().filter(|to| own.iter().any(|from| from.is_ipv4() == to.is_ipv4()));
        thread::scope(|scope| {
            let probes: Vec<_> = reachable
                .map(|to| SocketAddr::new(*to, errand.port))
                .map(|to| {
                    scope.spawn(move || match errand.protocol {
                        Protocol::Tcp => from.connect_tcp(to, PATIENCE),
                        Protocol::Udp => from.request_udp(to, PATIENCE),
                        Protocol::Sctp => Err(LabError::Unusable("no probe speaks SCTP".to_owned())),
                    })
                })
                .collect();
            let join = |probe: thread::ScopedJoinHandle<'_, _>| {
                probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            probes.into_iter().map(join).collect::<Result<Vec<_>, LabError>>()
        })
        .map_err(Failure::answer)
    }

    fn find(&self, party: &Party) -> Result<(&NetNs, Vec<IpAddr>), Failure> {
        let found = match party {
            Party::Node => Some((self.lab.node().netns(), self.lab.node().addresses().to_vec())),
            Party::Outsider(name) => self
                .outsiders
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, outsider)| (&***outsider, outsider.addresses())),
            Party::Pod(name) => self
                .pods
                .iter()
                .find(|pod| *name == format!("{}/{}", pod.spec().namespace, pod.spec().name))
                .map(|pod| (&***pod, pod.addresses())),
        };
        found.ok_or_else(|| Failure::answer(format_args!("the cluster has no {party}")))
    }
}
