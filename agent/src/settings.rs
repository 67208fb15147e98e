//! From the configuration to what each part asks for.

use std::time::Duration;

use podwitness_config::{Config, Connections, LogFormat};
use podwitness_datapath::{Attachment, Options};
use podwitness_runtime::logging::{Format, LogOptions};
use podwitness_spool::{Origin, WriterOptions};
use podwitness_wire::{ConnectionTimeouts, Settings};

use crate::witness::Intervals;

pub(crate) fn log(config: &Config) -> LogOptions {
    let format = match config.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    LogOptions { format, filter: config.log.level.name().to_owned() }
}

pub(crate) fn datapath(config: &Config) -> Options {
    Options {
        bpffs: config.bpffs.clone(),
        connections: config.connections.max,
        denials: config.events.denials,
        ring_bytes: config.events.ring_bytes,
        settings: kernel_settings(&config.connections),
        attachment: Attachment::Auto,
    }
}

fn kernel_settings(connections: &Connections) -> Settings {
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
    }
}
