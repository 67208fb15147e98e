//! Nodes.

use k8s_openapi::api::core::v1 as core;
use podwitness_policy::Node;

use super::{Converted, left_out, name};
use crate::fault::{Mistake, Problem};

/// Converts a Node.
///
/// The error is that it has no name.
pub fn node(object: &core::Node) -> Result<Converted<Node>, Problem> {
    let name = name(&object.metadata)?;
    let mut problems = Vec::new();

    let mut addresses = Vec::new();
    let given = object.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    for (index, address) in given.iter().enumerate().filter(|(_, address)| address.type_.ends_with("IP")) {
        if let Ok(address) = address.address.parse() {
            addresses.push(address);
        } else {
            let path = format!("status.addresses[{index}].address");
            problems.push(left_out(path, Mistake::Address(address.address.clone())));
        }
    }

    let mut pod_cidrs = Vec::new();
    let spec = object.spec.as_ref();
    let several = spec.and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    let single = spec.and_then(|spec| spec.pod_cidr.as_ref());
    let given = if several.is_empty() { single.into_iter().collect() } else { several.iter().collect::<Vec<_>>() };
    for (index, cidr) in given.into_iter().enumerate() {
        match cidr.parse() {
            Ok(cidr) => pod_cidrs.push(cidr),
            Err(_) => problems.push(left_out(format!("spec.podCIDRs[{index}]"), Mistake::Cidr(cidr.clone()))),
        }
    }
    Ok(Converted { object: Node { name, addresses, pod_cidrs }, problems })
}
