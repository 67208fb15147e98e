//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// The Podwitness node agent: enforces NetworkPolicy with eBPF on every pod of this node, and writes one record of
/// every verdict to the spool, from which podwitness-exporter takes it to object storage.
///
/// SIGTERM stops it in good order: what it has read is in the spool, and enforcement stays in place until an agent is
/// back. Needs root with the capabilities `NET_ADMIN` and `SYS_ADMIN`.
#[derive(Debug, Parser)]
#[command(name = "podwitness-agent", version)]
pub struct Cli {
    /// The configuration file, which the exporter reads too
    #[arg(long, value_name = "FILE", default_value = "/etc/podwitness/podwitness.yaml")]
    pub config: PathBuf,

    /// Remove every hook of this node, bring what was recorded into the spool, and remove every map and pin, instead of
    /// running: nothing is enforced or recorded from then on
    #[arg(long)]
    pub detach: bool,

    /// With --detach: when everything is gone, serve /readyz at `listen.agent` until SIGTERM, for a pod whose containers must
    /// not end
    #[arg(long, requires = "detach")]
    pub stay: bool,

    /// Make the folders of the configuration for both programs instead of running: as root, in the exporter's group
    #[arg(long, conflicts_with = "detach")]
    pub make_folders: bool,
}
