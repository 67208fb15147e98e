//! Which of a namespace's interfaces can be hooked from the host, which cannot, and which need no hook.

use std::net::IpAddr;

use crate::netlink::{Address, Link};

/// The pod's side of a veth whose other side is in the agent's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodVeth {
    /// The index of the other side.
    pub(crate) host_interface: u32,
    /// Sorted.
    pub(crate) addresses: Vec<IpAddr>,
}

/// An interface that leads out of the namespace past any veth of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayPast {
    pub(crate) interface: String,
    pub(crate) kind: String,
    pub(crate) reason: &'static str,
}

/// The interfaces of one namespace, sorted out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SortedOut {
    pub(crate) veths: Vec<PodVeth>,
    pub(crate) ways_past: Vec<WayPast>,
}

enum Use<'a> {
    Hook { host_interface: u32 },
    PastHooks { kind: &'a str, reason: &'static str },
    Inside,
}

/// Sorts out what was read in a namespace. `host` is the id by which that namespace knows the agent's.
pub(crate) fn sort_out(links: &[Link], addresses: &[Address], host: Option<i32>) -> SortedOut {
    let mut sorted = SortedOut::default();
    for link in links {
        match use_of(link, host) {
            Use::Hook { host_interface } => {
                let mut own: Vec<IpAddr> = addresses
                    .iter()
                    .filter(|address| address.interface == link.index)
                    .map(|address| address.ip)
                    .collect();
                own.sort_unstable();
                own.dedup();
                sorted.veths.push(PodVeth { host_interface, addresses: own });
            }
            Use::PastHooks { kind, reason } => {
                sorted.ways_past.push(WayPast { interface: link.name.clone(), kind: kind.to_owned(), reason });
            }
            Use::Inside => {}
        }
    }
    sorted
}

/// An unknown kind counts as leading past the hooks, so that a gap is said and never inferred.
fn use_of(link: &Link, host: Option<i32>) -> Use<'_> {
    if link.loopback {
        return Use::Inside;
    }
    let Some(kind) = link.kind.as_deref() else {
        return Use::PastHooks { kind: "device", reason: "a hardware device in the pod has no host side" };
    };
    match (kind, link.lower, link.lower_namespace) {
        ("veth", Some(host_interface), Some(id)) if Some(id) == host => Use::Hook { host_interface },
        ("veth", _, Some(_)) => {
            Use::PastHooks { kind, reason: "the veth's other side is in another namespace than the agent's" }
        }
        ("ipvlan" | "ipvtap" | "macvlan" | "macvtap", ..) => {
            Use::PastHooks { kind, reason: "the interface shares the host's device and has no host side" }
        }
        ("netkit", ..) => Use::PastHooks { kind, reason: "netkit interfaces are not hooked, only veth" },
        (_, _, Some(_)) => Use::PastHooks { kind, reason: "the interface sends through a device of another namespace" },
        // These send through the pod's own interfaces, or nowhere; a veth here has both its sides in the pod.
        (
            "bond" | "bridge" | "dummy" | "erspan" | "geneve" | "gre" | "gretap" | "ifb" | "ip6erspan" | "ip6gre"
            | "ip6gretap" | "ip6tnl" | "ipip" | "nlmon" | "sit" | "team" | "tun" | "vcan" | "vlan" | "vrf" | "vti"
            | "veth" | "vti6" | "vxcan" | "vxlan" | "xfrm",
            ..,
        ) => Use::Inside,
        _ => Use::PastHooks { kind, reason: "it is not known whether this kind sends past the pod's veth" },
    }
}

#[cfg(test)]
mod tests;
