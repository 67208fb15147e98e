//! What can go wrong between the agent and the kernel.

use std::{io, path::PathBuf};

/// Why the datapath could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder for pins is not on a BPF file system.
    #[error(
        "{} is not on a BPF file system, so that hooks and maps could not outlive the agent: mount one there \
         (`mount -t bpf bpf <folder>`) or set `bpffs` to a folder on one",
        path.display()
    )]
    NotBpffs {
        /// The configured folder.
        path: PathBuf,
    },
    /// A second agent uses the same pins.
    #[error("another agent holds the pins under {}: stop it first, or set `bpffs` to another folder", path.display())]
    InUse {
        /// The configured folder.
        path: PathBuf,
    },
    /// A newer version has left maps that this one cannot read.
    #[error(
        "a newer version's maps (layout {layout}) are pinned under {}, and go on enforcing: run that version again, or \
         take them away with `--detach`, after which nothing is enforced until the agent has started",
        path.display()
    )]
    NewerLayout {
        /// The configured folder.
        path: PathBuf,
        /// The layout's number.
        layout: u32,
    },
    /// The maps under a layout's name are not what its number says.
    #[error(
        "the maps pinned under {} are of no layout that a release had, and go on enforcing: run the version that made \
         them again, or take them away with `--detach`, after which nothing is enforced until the agent has started",
        path.display()
    )]
    UnknownLayout {
        /// The folder of the maps.
        path: PathBuf,
    },
    /// A file or folder of the pins could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The process may not load programs or hook interfaces.
    #[error(
        "the agent must run as root, because it loads programs into the kernel and enters pods' namespaces: this process \
         lacks {lacking}; in a container, add what it lacks (securityContext.capabilities.add)"
    )]
    NotPermitted {
        /// The capabilities that are not there.
        lacking: String,
    },
    /// The kernel did not take the programs or the maps.
    #[error("the kernel did not load the programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel's verifier did not take a program, or it could not be run.
    #[error("the kernel refused program {program}: {source}")]
    Program {
        /// The program's name.
        program: &'static str,
        /// Why.
        source: aya::programs::ProgramError,
    },
    /// The object lacks a program or a map that it should have.
    #[error("the compiled programs have no {name}: the build is broken")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// The interfaces could not be listed.
    #[error("cannot list the network interfaces: {source}")]
    Interfaces {
        /// What the kernel said.
        source: io::Error,
    },
    /// A filter of ours could not be taken away.
    #[error("cannot remove the filter from the interface with index {interface}: {source}")]
    Filter {
        /// The interface's index.
        interface: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// A map operation failed.
    #[error("cannot {action} map {map}: {source}")]
    Map {
        /// What was tried.
        action: &'static str,
        /// On which map.
        map: &'static str,
        /// Why it failed.
        source: aya::maps::MapError,
    },
    /// A map could not be mapped into memory.
    #[error("cannot map {map} into memory: {source}")]
    Memory {
        /// Which map.
        map: &'static str,
        /// Why it failed.
        source: nix::Error,
    },
}

impl Error {
    /// Turns aya's error about a map into ours.
    pub(crate) fn map(action: &'static str, map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self::Map { action, map, source }
    }
}
