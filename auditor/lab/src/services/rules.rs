//! The text of the rules.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::objects::{Backend, ServicePort};

/// The bit of a packet's mark that says that it is to leave from the node's address, as kube-proxy has it.
const MASQUERADE: &str = "0x4000";

/// What becomes of a connection to a Service's address.
enum Fate<'a> {
    /// It goes to one of these.
    Spread(Vec<&'a Backend>),
    /// It is refused: the Service has no backend at all.
    Refuse,
    /// It is dropped: its backends are on other nodes.
    Drop,
}

/// The rules for these Services on a node with these addresses, in place of all rules that were in force before.
pub(super) fn ruleset(services: &[ServicePort], node_addresses: &[IpAddr]) -> String {
    let (mut chains, mut gates, mut ways) = (String::new(), String::new(), String::new());
    for (number, service) in services.iter().enumerate() {
        let _ = writeln!(ways, "    # {}", service.name);
        let internal = service.cluster_addresses.iter().map(|address| (*address, service.port, true));
        let external = service.external_addresses.iter().map(|address| (*address, service.port, false));
        let on_node = service.node_port.into_iter();
        let on_node = on_node.flat_map(|port| node_addresses.iter().map(move |address| (*address, port, false)));
        for (place, (address, port, is_internal)) in internal.chain(external).chain(on_node).enumerate() {
            let local_only = if is_internal { service.internal_local } else { service.external_local };
            let to = format!("{} daddr {address} {} dport {port}", family(&address), service.protocol);
            match fate(service, &address, local_only) {
                Fate::Refuse => _ = writeln!(gates, "    ct state new {to} reject"),
                Fate::Drop => _ = writeln!(gates, "    ct state new {to} drop"),
                Fate::Spread(backends) => {
                    let chain = format!("way_{number}_{place}");
                    let leaves_from_node = !is_internal && !service.external_local;
                    let mark = if leaves_from_node { mark() } else { String::new() };
                    let _ = writeln!(ways, "    {to} {mark}goto {chain}");
                    spread(&mut chains, &chain, &backends, &service.protocol);
                }
            }
        }
    }
    // Named and deleted before it is made, so that it need not be there, and nothing of it stays.
    format!(
        "table inet services
delete table inet services
table inet services {{
{chains}\
  chain gates {{
    type filter hook prerouting priority dstnat - 10;
{gates}\
  }}
  chain ways {{
    type nat hook prerouting priority dstnat;
{ways}\
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat;
    meta mark & {MASQUERADE} != 0 masquerade
  }}
}}
"
    )
}

fn fate<'a>(service: &'a ServicePort, address: &IpAddr, local_only: bool) -> Fate<'a> {
    let all: Vec<&Backend> =
        service.backends.iter().filter(|backend| backend.address.is_ipv4() == address.is_ipv4()).collect();
    if all.is_empty() {
        return Fate::Refuse;
    }
    let usable: Vec<&Backend> = all.into_iter().filter(|backend| backend.is_local || !local_only).collect();
    if usable.is_empty() { Fate::Drop } else { Fate::Spread(usable) }
}

/// A chain that chooses a backend, and one for each of them.
fn spread(chains: &mut String, chain: &str, backends: &[&Backend], protocol: &str) {
    for (number, Backend { address, port, .. }) in backends.iter().enumerate() {
        let (family, mark) = (family(address), mark());
        let target = std::net::SocketAddr::new(*address, *port);
        let _ = writeln!(
            chains,
            "  chain {chain}_{number} {{\n    {family} saddr {address} {mark}\n    \
             meta l4proto {protocol} dnat {family} to {target}\n  }}"
        );
    }
    let choices: Vec<String> = (0..backends.len()).map(|number| format!("{number} : goto {chain}_{number}")).collect();
    let _ = writeln!(
        chains,
        "  chain {chain} {{\n    numgen random mod {} vmap {{ {} }}\n  }}",
        backends.len(),
        choices.join(", ")
    );
}

fn mark() -> String {
    format!("meta mark set meta mark | {MASQUERADE} ")
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}
