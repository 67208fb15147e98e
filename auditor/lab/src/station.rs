//! A network namespace with one interface, `eth0`, to the node.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::LabError;
use crate::ip;
use crate::netns::NetNs;
use crate::node::Node;
use crate::settle::{until_neighbours_are_heard, until_running};

/// An interface of the node, as an agent on the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// The index in the node's network namespace.
    pub index: u32,
    /// The name there.
    pub name: String,
}

/// Something with addresses that is wired to the node and routed by it: a pod, or a host outside the cluster. It is
/// unwired and its namespace taken away on drop. Servers and probes are those of its network namespace, [`NetNs`].
///
/// The wiring is that of the CNI plugin `ptp`: a veth pair, the pod's addresses as /32 and /128 on `eth0`, default
/// routes by way of the node's addresses, and on the node one host route for each of the pod's addresses.
#[derive(Debug)]
pub struct Station {
    netns: NetNs,
    node: Arc<Node>,
    host_interface: HostInterface,
    mac: [u8; 6],
    gateway_mac: [u8; 6],
    addresses: Mutex<Vec<IpAddr>>,
}

/// Numbers the interfaces, so that none is named like one that was there before.
static NEXT_INTERFACE: AtomicU32 = AtomicU32::new(1);

impl Station {
    /// Wires a namespace that is there and empty to the node.
    pub(crate) fn wire(node: Arc<Node>, netns: NetNs, addresses: &[IpAddr]) -> Result<Self, LabError> {
        require_one_per_family(addresses)?;
        let number = NEXT_INTERFACE.fetch_add(1, Ordering::Relaxed);
        let [_, high, middle, low] = number.to_be_bytes();
        let mac = [0x02, 0x50, high, middle, low, 0x01];
        let gateway_mac = [0x02, 0x50, high, middle, low, 0x02];
        let host = format!("veth{number}");

        prepare(&netns)?;
        let pair = format!(
            "link add {host} address {} type veth peer name eth0 address {} netns {}",
            mac_text(gateway_mac),
            mac_text(mac),
            netns.path().display()
        );
        ip::batch(node.netns(), &[pair, format!("link set {host} up")])?;
        ip::batch(&netns, &["link set lo up".to_owned(), "link set eth0 up".to_owned()])?;
        until_running(node.netns(), &host)?;

        let mut outside = Vec::new();
        for gateway in node.addresses() {
            outside.push(format!("address add {} dev {host} nodad", host_prefix(gateway)));
        }
        for address in addresses {
            outside.push(format!("route add {} dev {host}", host_prefix(address)));
        }
        ip::batch(node.netns(), &outside)?;
        let mut inside: Vec<String> = addresses.iter().map(add_inside).collect();
        for gateway in node.addresses() {
            inside.push(format!("route add {} dev eth0", host_prefix(gateway)));
            inside.push(format!("route add default via {gateway} dev eth0 onlink"));
        }
        ip::batch(&netns, &inside)?;
        until_neighbours_are_heard(node.netns(), &host, node.addresses())?;
        until_neighbours_are_heard(&netns, "eth0", addresses)?;

        let index = node
            .netns()
            .run(|| nix::net::if_::if_nametoindex(host.as_str()))?
            .map_err(LabError::system(format!("look up the interface {host}")))?;
        let host_interface = HostInterface { index, name: host };
        Ok(Self { netns, node, host_interface, mac, gateway_mac, addresses: Mutex::new(addresses.to_vec()) })
    }

    /// The node's side of the wire.
    pub fn host_interface(&self) -> &HostInterface {
        &self.host_interface
    }

    /// The hardware address of `eth0`, for crafted frames.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The hardware address of the node's side, for crafted frames.
    pub fn gateway_mac(&self) -> [u8; 6] {
        self.gateway_mac
    }

    /// The addresses it has now.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address it has now in the family of `like`.
    pub fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        self.addresses().into_iter().find(|address| address.is_ipv4() == like.is_ipv4())
    }

    /// Gives up the address `from` and takes `to`, of the same family, on both sides of the wire.
    pub fn move_address(&self, from: IpAddr, to: IpAddr) -> Result<(), LabError> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = addresses.iter_mut().find(|address| **address == from) else {
            return Err(LabError::Unusable(format!("{} has no address {from}", self.netns.path().display())));
        };
        if from.is_ipv4() != to.is_ipv4() {
            return Err(LabError::Unusable(format!("{from} and {to} are not of the same family")));
        }
        let host = &self.host_interface.name;
        ip::batch(&self.netns, &[add_inside(&to), format!("address del {} dev eth0", host_prefix(&from))])?;
        ip::batch(
            self.node.netns(),
            &[
                format!("route add {} dev {host}", host_prefix(&to)),
                format!("route del {} dev {host}", host_prefix(&from)),
            ],
        )?;
        *held = to;
        until_neighbours_are_heard(&self.netns, "eth0", &[to])
    }
}

impl Deref for Station {
    type Target = NetNs;

    fn deref(&self) -> &NetNs {
        &self.netns
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // The kernel ends the pair with the namespace, but later; deleting it here means that it is gone on return.
        let _ = ip::batch(self.node.netns(), &[format!("link del {}", self.host_interface.name)]);
    }
}

/// Makes a namespace answer as probes expect: no wait for duplicate address detection, no limit on ICMP errors (one of
/// which is what `Refused` is known by), and echo sockets without privilege.
pub(crate) fn prepare(netns: &NetNs) -> Result<(), LabError> {
    for (name, value) in [
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv6/icmp/ratelimit", "0"),
        ("ipv4/ping_group_range", "0 2147483647"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
    ] {
        netns.sysctl(name, value)?;
    }
    Ok(())
}

/// As in Kubernetes, where `status.podIPs` has at most one of each family; it makes the source of an answer certain.
fn require_one_per_family(addresses: &[IpAddr]) -> Result<(), LabError> {
    let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    if v4 > 1 || addresses.len() - v4 > 1 {
        return Err(LabError::Unusable(format!("at most one address of each family can be given, not {addresses:?}")));
    }
    Ok(())
}

fn add_inside(address: &IpAddr) -> String {
    format!("address add {} dev eth0 nodad", host_prefix(address))
}

/// The address with the length of a prefix that holds it alone.
pub(crate) fn host_prefix(address: &IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
