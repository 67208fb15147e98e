//! From the configuration to what each part asks for.

use std::time::Duration;

use podwitness_config::{Config, Connections, LogFormat};
use podwitness_datapath::{Attachment, Options};
use podwitness_runtime::logging::{Format, LogOptions};
use podwitness_spool::{Origin, SpoolError, WriterOptions, newest_origin};
use podwitness_wire::{ConnectionTimeouts, Settings};

use crate::witness::Intervals;

pub(crate) fn log(config: &Config) -> LogOptions {
    let format = match config.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    LogOptions { format, filter: config.log.level.name().to_owned() }
}

/// Entries of the table of connections for each endpoint: what a pod with some thirty new ones a second needs, of which
/// each is remembered for two minutes after its end.
const CONNECTIONS_OF_ENDPOINT: u32 = 4096;
/// Entries on a small node, of 16 MiB: it may get more pods before the table is made anew.
const LEAST_CONNECTIONS: u32 = 65_536;
/// Entries that nobody has asked for, of 250 MiB, at the most.
const MOST_CONNECTIONS: u32 = 1_048_576;

/// How many connections are remembered: as configured, or as many as the endpoints are likely to need.
pub(crate) fn connections(config: &Config, endpoints: usize) -> u32 {
    config.connections.max.unwrap_or_else(|| {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
        endpoints.saturating_mul(CONNECTIONS_OF_ENDPOINT).clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)
    })
}

pub(crate) fn datapath(config: &Config, endpoints: usize) -> Options {
    Options {
        bpffs: config.bpffs.clone(),
        connections: connections(config, endpoints),
        denials: config.events.denials,
        ring_bytes: config.events.ring_bytes,
        settings: kernel(&config.connections),
        attachment: Attachment::Auto,
    }
}

/// Time-outs and intervals of the programs.
pub(crate) fn kernel(connections: &Connections) -> Settings {
    let Connections { max: _, timeouts, close_after, progress } = connections;
    Settings {
        timeouts: ConnectionTimeouts {
            tcp_syn: nanoseconds(timeouts.tcp_syn),
            tcp_established: nanoseconds(timeouts.tcp_established),
            tcp_fin: nanoseconds(timeouts.tcp_fin),
            tcp_time_wait: nanoseconds(timeouts.tcp_time_wait),
            tcp_close: nanoseconds(timeouts.tcp_close),
            udp: nanoseconds(timeouts.udp),
            udp_stream: nanoseconds(timeouts.udp_stream),
            icmp: nanoseconds(timeouts.icmp),
            generic: nanoseconds(timeouts.generic),
        },
        close_after: nanoseconds(*close_after),
        progress: nanoseconds(*progress),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn spool(config: &Config) -> WriterOptions {
    WriterOptions { max_bytes: config.spool.max_bytes, segment_bytes: config.spool.segment_bytes }
}

/// The boot of records in this spool: the kernel's own name of it, with the seconds since its beginning behind it where the
/// spool was made later. Sequences and revisions run within it: those of a spool that was lost in the middle of a boot are
/// not given again. `uptime` is that of now.
pub(crate) fn boot_of_spool(config: &Config, boot: &str, uptime: Duration) -> Result<String, SpoolError> {
    Ok(match newest_origin(&config.spool.path)? {
        None => format!("{boot}.{}", uptime.as_secs()),
        Some(origin) if origin.boot.strip_prefix(boot).is_some_and(|rest| rest.starts_with('.')) => origin.boot,
        Some(_) => boot.to_owned(),
    })
}

pub(crate) fn origin(config: &Config, boot: String) -> Origin {
    Origin {
        cluster: config.cluster.clone(),
        node: config.node.clone(),
        boot,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        object_sha256: podwitness_ebpf_object::SHA256.to_owned(),
    }
}

pub(crate) fn intervals(config: &Config) -> Intervals {
    Intervals {
        commit: config.spool.commit_interval,
        drain: config.events.drain_interval,
        sweep: config.events.sweep_interval,
        state: config.seal.interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections_of(text: &str, endpoints: usize) -> u32 {
        let text = format!("cluster: c\nsource: {{directory: .}}\nstore: {{url: file:///evidence}}\n{text}");
        let config = Config::parse(&text, std::path::Path::new("/etc/podwitness.yaml"), &|_| None).unwrap();
        connections(&config, endpoints)
    }

    #[test]
    fn the_table_of_connections_grows_with_the_endpoints_between_its_bounds_unless_it_is_set() {
        assert_eq!(
            [0, 16, 17, 100, 256, 5000].map(|endpoints| connections_of("", endpoints)),
            [65_536, 65_536, 69_632, 409_600, 1_048_576, 1_048_576]
        );
        assert_eq!(connections_of("connections: {max: 20}", 100), 20);
    }

    #[test]
    fn a_spool_made_in_the_course_of_a_boot_has_a_boot_of_its_own_until_the_next() {
        struct Nothing;
        impl podwitness_spool::Definitions for Nothing {
            fn identity(&self, _: u32) -> Option<podwitness_spool::Identity> {
                None
            }
            fn rule_set(&self, _: u32) -> Option<podwitness_spool::RuleSet> {
                None
            }
            fn revision(&self, _: i64) -> Option<podwitness_spool::Revision> {
                None
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let text =
            "cluster: c\nnode: n\nsource: {directory: .}\nstore: {url: file:///evidence}\nspool: {path: ./spool}\n";
        let config = Config::parse(text, &folder.path().join("podwitness.yaml"), &|_| None).unwrap();
        let boot = |boot, uptime| boot_of_spool(&config, boot, Duration::from_secs(uptime)).unwrap();
        let commit = |boot: String| {
            let (mut writer, _) =
                podwitness_spool::Writer::open(&config.spool.path, spool(&config), origin(&config, boot)).unwrap();
            writer.commit(Vec::new(), &Nothing, &podwitness_spool::Checkpoint::default()).unwrap();
        };
        assert_eq!(boot("one", 100), "one.100");
        assert_eq!(boot("one", 101), "one.101", "nothing has been written by that name");
        commit(boot("one", 101));
        assert_eq!(boot("one", 200), "one.101");
        assert_eq!(boot("onetwo", 3), "onetwo", "the spool is older than that boot");
        commit(boot("two", 3));
        assert_eq!(boot("two", 4), "two");
        std::fs::remove_dir_all(&config.spool.path).unwrap();
        assert_eq!(boot("two", 500), "two.500");
    }
}
