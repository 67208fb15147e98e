//! Random clusters, Services and policies, for property tests: the same seed gives the same, on every machine.
//!
//! Addresses are those kept for documentation and for private networks. What is made is skewed towards what is hard: names
//! that collide, blocks that nest and except, ports side by side, addresses that two pods claim.

mod changes;
mod clusters;
mod manifest;
mod policies;
mod probes;
mod services;

use std::net::IpAddr;

use crate::compile::{Endpoint, Input};
use crate::model::Cluster;

pub use changes::change;
pub use manifest::manifest;
pub use policies::policies;
pub use probes::{Probe, probes, probes_of_services};

/// A stream of numbers that follows from its seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("a usize fits into 64 bits");
        usize::try_from(self.bits() % limit).expect("it is below a usize")
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these, of which there must be one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of these words, as a string.
    fn word(&mut self, of: &[&str]) -> String {
        (*self.pick(of)).to_owned()
    }
}

/// A random cluster, and one node of it with its endpoints.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The cluster, with policies.
    pub cluster: Cluster,
    /// The node to compile for.
    pub node: String,
    /// That node's addresses.
    pub node_addresses: Vec<IpAddr>,
    /// That node's endpoints, with some whose pod is not known or not in the cluster.
    pub endpoints: Vec<Endpoint>,
}

impl Scenario {
    /// The scenario of this seed.
    pub fn random(seed: u64) -> Self {
        clusters::scenario(&mut Random::new(seed))
    }

    /// What the compiler takes.
    pub fn input(&self) -> Input<'_> {
        Input {
            cluster: &self.cluster,
            node: &self.node,
            node_addresses: &self.node_addresses,
            endpoints: &self.endpoints,
        }
    }
}
