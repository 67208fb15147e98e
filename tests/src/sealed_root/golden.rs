//! The root of the test vectors (`schemas/golden/roots`) and of the tamper matrix: small, and with everything that a root can have.

use std::collections::BTreeMap;

use anyhow::Result;
use podwitness_seals::key::PrivateKey;

use super::records::{agent_started, agent_stopped, deny, enforced, loss, open, policies};
use super::{Cluster, Deletions, Node, SealedRoot, asks, key, micros};

/// The seed of each key, by who signs with it.
pub const SEEDS: [(&str, u8); 5] =
    [("node-a", 1), ("node-a-next", 2), ("node-b", 3), ("retain", 4), ("retain-next", 5)];

/// The root, and what is to be known of it.
pub struct Golden {
    /// What an auditor gets.
    pub root: SealedRoot,
    /// The same before anything was deleted.
    pub before_deletion: SealedRoot,
    /// The time of asking, in microseconds since 1970: a moment before node-b's next seal.
    pub as_of: i64,
}

/// The keys that an auditor was given: all but those that others hand over to.
pub fn trusted() -> BTreeMap<&'static str, PrivateKey> {
    SEEDS.into_iter().filter(|(name, _)| !name.ends_with("-next")).map(|(name, seed)| (name, key(seed))).collect()
}

/// Two nodes on one day. node-a: a rotated key, a clean stop, a reboot, an hour of silence, a clean end. node-b: damage in the spool, a
/// crash of both programs, a clock that is not synchronised, losses, and a chain that goes on. Then two
/// deletions, of which the first hands over to another key.
pub fn golden() -> Result<Golden> {
    let mut root = SealedRoot::new();
    let hour = 60 * 60;
    let retention = vec![asks("bank", hour, false), asks("ops", hour, true), asks("shop", 2 * hour, false)];
    let cluster = Cluster { retention, minimum_seconds: hour, default_seconds: hour, ..Cluster::named("lab") };
    node_a(&mut root, cluster.clone())?;
    node_b(&mut root, Cluster { interval_seconds: 1800, ..cluster.clone() })?;
    let before_deletion = root.clone();
    let mut deletions = Deletions::begin(&mut root, cluster, 4);
    let bank = root.paths("verdicts/cluster=lab/namespace=bank/");
    deletions.rotate_key(&mut root, 5);
    deletions.delete(&mut root, micros(12, 0, 0), &bank[..1])?;
    let shop = root.paths("verdicts/cluster=lab/namespace=shop/");
    deletions.delete(&mut root, micros(12, 30, 0), &[bank[1].clone(), shop[0].clone()])?;
    Ok(Golden { root, before_deletion, as_of: micros(12, 35, 0) })
}

fn node_a(root: &mut SealedRoot, cluster: Cluster) -> Result<()> {
    let boot = "0a000000-0000-4000-8000-000000000001";
    let mut node = Node::begin(root, cluster, "node-a", 1, boot, micros(10, 0, 0))?;
    let mut first = policies(micros(10, 0, 1)).to_vec();
    first.extend([agent_started(micros(10, 0, 1)), enforced("shop", micros(10, 0, 2), "db-1")]);
    first.extend([
        open("bank", micros(10, 1, 0), 1),
        open("shop", micros(10, 1, 1), 2),
        open("shop", micros(10, 1, 2), 3),
    ]);
    node.witness(root, first)?;
    node.seal(root, micros(10, 5, 0));
    node.seal(root, micros(10, 10, 0)); // idle
    node.witness(root, vec![deny("bank", micros(10, 11, 0), 20, 12)])?;
    node.rotate_key(root, 2);
    node.seal(root, micros(10, 15, 0));
    node.witness(root, vec![open("shop", micros(10, 16, 0), 5), open("shop", micros(10, 16, 1), 6)])?;
    node.seal(root, micros(10, 20, 0));
    node.witness(root, vec![agent_stopped(micros(10, 21, 0))])?;
    node.seal_last(root, micros(10, 22, 0));

    node.reboot("0a000000-0000-4000-8000-000000000002", micros(11, 30, 0))?;
    let mut again = policies(micros(11, 30, 1)).to_vec();
    again.extend([agent_started(micros(11, 30, 1)), open("shop", micros(11, 31, 0), 7)]);
    node.witness(root, again)?;
    node.seal(root, micros(11, 35, 0)); // after silence
    node.witness(root, vec![agent_stopped(micros(11, 37, 0))])?;
    node.seal_last(root, micros(11, 38, 0));
    Ok(())
}

fn node_b(root: &mut SealedRoot, cluster: Cluster) -> Result<()> {
    let boot = "0b000000-0000-4000-8000-000000000001";
    let mut node = Node::begin(root, cluster, "node-b", 3, boot, micros(10, 0, 0))?;
    let mut first = policies(micros(10, 0, 1)).to_vec();
    first.extend([agent_started(micros(10, 0, 1)), open("ops", micros(10, 1, 0), 1)]);
    node.witness(root, first)?;
    node.seal(root, micros(10, 30, 0));
    let ops = (2..8).map(|port| open("ops", micros(10, 31, i64::from(port)), port)).collect();
    node.witness_through_damage(root, ops, 2, 2)?;
    node.seal(root, micros(11, 0, 0));
    node.restart(micros(11, 5, 0), true);
    node.set_clock(false);
    let mut again = vec![agent_started(micros(11, 5, 1)), open("ops", micros(11, 6, 0), 9)];
    again.push(loss("ops", micros(11, 7, 0), 3));
    node.witness(root, again)?;
    node.seal(root, micros(11, 30, 0));
    node.set_clock(true);
    node.lose_unattributed(5);
    node.seal(root, micros(12, 0, 0));
    node.seal(root, micros(12, 30, 0)); // idle
    Ok(())
}
