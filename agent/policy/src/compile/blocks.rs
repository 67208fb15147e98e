//! The `ipBlock`s of this node's rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::subjects::{RuleId, Rules};
use crate::model::{IpBlock, Peer};
use crate::tables::Address;

/// The number of a block, which it has as long as one of the rules has it.
pub(super) type BlockId = u32;

/// The blocks, each with the rules that have it.
#[derive(Default)]
pub(super) struct Blocks {
    ids: BTreeMap<IpBlock, BlockId>,
    rules: BTreeMap<BlockId, BTreeSet<RuleId>>,
    /// The networks that they are made of, with how many are made of each.
    nets: BTreeMap<IpNet, usize>,
    last: BlockId,
}

/// How blocks differ from those before.
pub(super) struct BlocksDiffer {
    came: BTreeSet<IpBlock>,
    gone: BTreeSet<IpBlock>,
    rules: BTreeMap<IpBlock, BTreeSet<RuleId>>,
}

impl Blocks {
    pub(super) fn id(&self, block: &IpBlock) -> Option<BlockId> {
        self.ids.get(block).copied()
    }

    pub(super) fn rules_of(&self, id: BlockId) -> &BTreeSet<RuleId> {
        &self.rules[&id]
    }

    /// The blocks that hold a network that none of them divides, ascending.
    pub(super) fn holding(&self, net: IpNet) -> Vec<BlockId> {
        let mut holding: Vec<BlockId> =
            self.ids.iter().filter(|(block, _)| block.covers(net)).map(|(_, id)| *id).collect();
        holding.sort_unstable();
        holding
    }

    /// The networks that the blocks are made of.
    pub(super) fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.nets.keys().copied()
    }

    /// Whether one of the blocks is made of this network.
    pub(super) fn have(&self, net: IpNet) -> bool {
        self.nets.contains_key(&net)
    }

    /// What is different with these rules.
    pub(super) fn difference(&self, rules: &Rules) -> BlocksDiffer {
        let mut now: BTreeMap<IpBlock, BTreeSet<RuleId>> = BTreeMap::new();
        for (id, rule) in rules.iter() {
            for peer in rule.listed() {
                if let Peer::Block(block) = peer {
                    now.entry(block.clone()).or_default().insert(id);
                }
            }
        }
        let came = now.keys().filter(|block| !self.ids.contains_key(block)).cloned().collect();
        let gone = self.ids.keys().filter(|block| !now.contains_key(block)).cloned().collect();
        BlocksDiffer { came, gone, rules: now }
    }

    /// Takes the difference in.
    pub(super) fn change(&mut self, difference: BlocksDiffer) {
        let BlocksDiffer { came, gone, rules } = difference;
        for net in came.iter().flat_map(nets) {
            *self.nets.entry(net).or_default() += 1;
        }
        for net in gone.iter().flat_map(nets) {
            let made = self.nets.get_mut(&net).expect("each network of a block is counted");
            *made -= 1;
            if *made == 0 {
                self.nets.remove(&net);
            }
        }
        for block in gone {
            self.ids.remove(&block);
        }
        for block in came {
            self.last += 1;
            self.ids.insert(block, self.last);
        }
        self.rules = rules.into_iter().map(|(block, rules)| (self.ids[&block], rules)).collect();
    }
}

impl BlocksDiffer {
    /// Whether there are other blocks than before.
    pub(super) fn has_others(&self) -> bool {
        !self.came.is_empty() || !self.gone.is_empty()
    }

    /// The networks of the blocks that came, and of those that are gone.
    pub(super) fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.came.iter().chain(&self.gone).flat_map(nets)
    }

    /// Of the entries those that are in other blocks than before.
    pub(super) fn touched(&self, addresses: &BTreeMap<IpNet, Address>) -> BTreeSet<IpNet> {
        let of_block = |block: &'_ IpBlock| -> Vec<IpNet> {
            let within = addresses.range(all_from(block.cidr().network())..=all_to(block.cidr().broadcast()));
            within.map(|(net, _)| *net).filter(|net| block.covers(*net)).collect()
        };
        self.came.iter().chain(&self.gone).flat_map(of_block).collect()
    }
}

fn all_from(first: IpAddr) -> IpNet {
    IpNet::new(first, 0).expect("no bits are not too many")
}

fn all_to(last: IpAddr) -> IpNet {
    IpNet::from(last)
}

/// The networks that a block is made of.
fn nets(block: &IpBlock) -> impl Iterator<Item = IpNet> {
    block.except().iter().copied().chain([block.cidr()])
}
