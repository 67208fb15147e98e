//! Waiting for what the kernel does a moment after a command that asked for it has returned.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::error::LabError;
use crate::netns::NetNs;

const LIMIT: Duration = Duration::from_secs(5);

/// Waits until the end of a pair that came up first can send: it learns from the kernel's own worker that the other has
/// come up, and until then drops what is sent. Commands to `ip` that follow come after the whole of that step, because
/// they take the same lock.
pub(crate) fn until_running(netns: &NetNs, interface: &str) -> Result<(), LabError> {
    until(netns, &format!("wait for the interface {interface} to run"), || {
        let mut entries = getifaddrs()?.filter(|entry| entry.interface_name == interface);
        Ok(entries.any(|entry| entry.flags.contains(InterfaceFlags::IFF_RUNNING)))
    })
}

/// Waits until an interface hears questions for its IPv6 addresses: the kernel's own worker joins their groups, and a
/// neighbour whose first question is lost asks again only after a second.
pub(crate) fn until_neighbours_are_heard(netns: &NetNs, interface: &str, addresses: &[IpAddr]) -> Result<(), LabError> {
    let groups: Vec<String> = addresses.iter().filter_map(solicited_node_group).collect();
    until(netns, &format!("wait for the interface {interface} to join {groups:?}"), || {
        let memberships = fs::read_to_string(Path::new("/proc/thread-self/net/igmp6"))?;
        Ok(groups.iter().all(|group| is_member(&memberships, interface, group)))
    })
}

/// Whether a line for the interface names the group; fields are index, interface, group, and then others.
fn is_member(memberships: &str, interface: &str, group: &str) -> bool {
    memberships
        .lines()
        .map(|line| line.split_ascii_whitespace().skip(1).take(2))
        .any(|fields| fields.eq([interface, group]))
}

/// The group in which a neighbour looks for the address (RFC 4291, section 2.7.1), as 32 hexadecimal digits.
fn solicited_node_group(address: &IpAddr) -> Option<String> {
    let IpAddr::V6(address) = address else { return None };
    let [.., high, low] = address.segments();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low);
    Some(format!("{:032x}", group.to_bits()))
}

fn until(netns: &NetNs, action: &str, reached: impl Fn() -> io::Result<bool> + Sync) -> Result<(), LabError> {
    let deadline = Instant::now() + LIMIT;
    netns.run(|| {
        while !reached().map_err(LabError::system(action))? {
            if Instant::now() > deadline {
                return Err(LabError::system(action)(io::Error::from(io::ErrorKind::TimedOut)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    })?
}

#[cfg(test)]
mod tests {
    use super::{is_member, solicited_node_group};

    #[test]
    fn the_solicited_node_group_has_the_last_24_bits_of_the_address() {
        let group = solicited_node_group(&"fd00:1::12:3456".parse().unwrap()).unwrap();
        assert_eq!(group, "ff0200000000000000000001ff123456");
        assert_eq!(solicited_node_group(&"10.1.0.1".parse().unwrap()), None);
    }

    #[test]
    fn a_membership_counts_for_its_own_interface_alone() {
        let memberships = "2    eth0            ff0200000000000000000001ff123456     1 00000004 0\n";
        assert!(is_member(memberships, "eth0", "ff0200000000000000000001ff123456"));
        assert!(!is_member(memberships, "eth", "ff0200000000000000000001ff123456"));
        assert!(!is_member(memberships, "eth0", "ff0200000000000000000001ff000001"));
    }
}
