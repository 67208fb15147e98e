//! Truth tables: who may reach whom.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use podwitness_policy::Protocol;

use super::ProtocolPort;
use super::world::{PODS, Party};

/// One truth table, with the patterns of its rows and columns replaced by the parties that they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// On which ports.
    pub on: Vec<ProtocolPort>,
    /// Over which families.
    pub over: Vec<Family>,
    /// Who tries to reach whom, and whether that is allowed.
    pub pairs: Vec<(Party, Party, bool)>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One cell on one port over one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who sends.
    pub from: Party,
    /// Who is sent to.
    pub to: Party,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The destination port.
    pub port: u16,
    /// The family of the addresses.
    pub family: Family,
    /// What the table says.
    pub allowed: bool,
}

impl Table {
    /// Every probe of it.
    pub fn probes(&self) -> impl Iterator<Item = Probe> {
        self.pairs.iter().flat_map(move |&(from, to, allowed)| {
            self.on.iter().flat_map(move |&(protocol, port)| {
                self.over.iter().map(move |&family| Probe { from, to, protocol, port, family, allowed })
            })
        })
    }

    /// Reads `on TCP 80, UDP 80`, perhaps `over IPv4`, then a line that begins with `from\to` and names the columns, then
    /// the rows: a name and a cell for each column, `.` for allowed, `x` for denied, `-` for not tried.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let on = lines.next().and_then(|line| line.strip_prefix("on ")).context("a table begins with `on `")?;
        let (on, over) = match on.split_once(" over ") {
            Some((on, "IPv4")) => (on, vec![Family::V4]),
            Some((on, "IPv6")) => (on, vec![Family::V6]),
            Some((_, other)) => bail!("`{other}` is neither IPv4 nor IPv6"),
            None => (on, vec![Family::V4, Family::V6]),
        };
        let on = on.split(", ").map(protocol_port).collect::<Result<_>>()?;
        let header = lines.next().and_then(|line| line.strip_prefix("from\\to")).context("`from\\to` comes second")?;
        let columns = expand(&header.split_whitespace().collect::<Vec<_>>())?;
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
        ensure!(rows.iter().all(|row| row.len() == columns.len() + 1), "a row has not one cell for each column");
        let row_names: Vec<&str> = rows.iter().map(|row| row[0]).collect();

        let mut pairs = Vec::new();
        for (row, from_parties) in rows.iter().zip(expand(&row_names)?) {
            for from in from_parties {
                for (cell, to_parties) in row[1..].iter().zip(&columns) {
                    for &to in to_parties {
                        let decided = from.is_local_pod() || to.is_local_pod();
                        match (*cell, decided) {
                            ("-", _) => {}
                            // What a pod sends to itself never leaves it, whatever a pattern that covers it says.
                            ("." | "x", _) if from == to && from.is_local_pod() => pairs.push((from, to, true)),
                            (".", true) => pairs.push((from, to, true)),
                            ("x", true) => pairs.push((from, to, false)),
                            (_, false) => bail!("{from} -> {to} meets no pod of this node, so it must be `-`"),
                            (other, _) => bail!("a cell is `.`, `x` or `-`, and not `{other}`"),
                        }
                    }
                }
            }
        }
        ensure!(!pairs.is_empty(), "the table says nothing");
        Ok(Self { on, over, pairs })
    }
}

/// The parties that each of the names stands for: a party for itself, `x/*` for the pods of a namespace and `*` for all
/// pods, as far as they have no nearer name. Every pod must have one.
fn expand(names: &[&str]) -> Result<Vec<Vec<Party>>> {
    let mut left: BTreeSet<Party> = PODS.into_iter().collect();
    let mut parties: Vec<Vec<Party>> = vec![Vec::new(); names.len()];
    for nearness in 0..3 {
        for (name, parties) in names.iter().zip(&mut parties) {
            let found: Vec<Party> = match (nearness, name.strip_suffix("/*")) {
                (0, None) if *name != "*" => vec![Party::read(name)?],
                (1, Some(namespace)) => left.iter().copied().filter(|pod| pod.namespace() == Some(namespace)).collect(),
                (2, None) if *name == "*" => left.iter().copied().collect(),
                _ => continue,
            };
            ensure!(!found.is_empty(), "`{name}` stands for nobody");
            for party in &found {
                ensure!(left.remove(party) || !party.is_local_pod(), "{party} is named twice");
            }
            *parties = found;
        }
    }
    ensure!(left.is_empty(), "these are not in the table: {left:?}");
    Ok(parties)
}

fn protocol_port(text: &str) -> Result<ProtocolPort> {
    let (protocol, port) = text.split_once(' ').with_context(|| format!("`{text}` is no protocol with a port"))?;
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => bail!("`{protocol}` is neither TCP nor UDP"),
    };
    Ok((protocol, port.parse().with_context(|| format!("`{port}` is no port"))?))
}
