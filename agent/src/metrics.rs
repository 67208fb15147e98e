//! What the agent says of itself, in the Prometheus format.

use std::sync::atomic::Ordering;

use podwitness_datapath::Counters;
use podwitness_wire::{Counter as KernelCounter, Reason};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Why the kernel's programs count a record as lost.
const LOSSES: [Reason; 2] = [Reason::DenialTableFull, Reason::RingFull];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KernelLabel {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabel {
    place: &'static str,
}

/// The metrics; a clone shares them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    kernel: Family<KernelLabel, Counter>,
    written: Counter,
    unread: Counter,
    lost: Family<ReasonLabel, Counter>,
    refused_by_spool: Counter,
    balance_differences: Gauge,
    backend_lookups: Family<OutcomeLabel, Counter>,
    spool_bytes: Gauge,
    spool_capacity_bytes: Gauge,
    ring_waiting_bytes: Gauge,
    policy_revision: Gauge,
    generation: Gauge,
    connections: Gauge,
    connection_capacity: Gauge,
    endpoints: Gauge,
    faults: Family<FaultLabel, Gauge>,
    apply: Histogram,
}

impl Metrics {
    /// Registers every metric.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            kernel: Family::default(),
            written: Counter::default(),
            unread: Counter::default(),
            lost: Family::default(),
            refused_by_spool: Counter::default(),
            balance_differences: Gauge::default(),
            backend_lookups: Family::default(),
            spool_bytes: Gauge::default(),
            spool_capacity_bytes: Gauge::default(),
            ring_waiting_bytes: Gauge::default(),
            policy_revision: Gauge::default(),
            generation: Gauge::default(),
            connections: Gauge::default(),
            connection_capacity: Gauge::default(),
            endpoints: Gauge::default(),
            faults: Family::default(),
            // 1 ms to 8 s.
            apply: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        let registry = registry.sub_registry_with_prefix("podwitness_agent");
        let (bytes, seconds) = (|| Unit::Bytes, || Unit::Seconds);
        registry.register(
            "kernel_events",
            "What the kernel programs have counted since their maps were made: packets, connections, events offered, accepted and refused",
            metrics.kernel.clone(),
        );
        registry.register("records_written", "Records committed to the spool", metrics.written.clone());
        registry.register("events_unread", "Events of a kind that this agent does not know", metrics.unread.clone());
        registry.register(
            "records_lost",
            "Records that could not be kept, each told by a loss record",
            metrics.lost.clone(),
        );
        registry.register("spool_refusals", "Commits that the spool did not take", metrics.refused_by_spool.clone());
        registry.register(
            "balance_differences",
            "How many of the kernel's counts did not agree with what has come out of it, when that was last stated; the log says which",
            metrics.balance_differences.clone(),
        );
        registry.register(
            "backend_lookups",
            "Events of connections to a Service whose backend connection tracking was asked for",
            metrics.backend_lookups.clone(),
        );
        registry.register_with_unit("spool", "The spool on the disk", bytes(), metrics.spool_bytes.clone());
        registry.register_with_unit(
            "spool_capacity",
            "What the spool may take on the disk (spool.maxBytes); where it is full, nothing more is read from the kernel",
            bytes(),
            metrics.spool_capacity_bytes.clone(),
        );
        registry.register_with_unit(
            "ring_waiting",
            "The part of the ring buffer that is not in the spool yet",
            bytes(),
            metrics.ring_waiting_bytes.clone(),
        );
        registry.register("policy_revision", "The revision of the policy in force", metrics.policy_revision.clone());
        registry.register(
            "table_generation",
            "The generation of the kernel tables in force",
            metrics.generation.clone(),
        );
        registry.register(
            "connections",
            "Live connections in the kernel's table; those that have ended take room too, until their time-out",
            metrics.connections.clone(),
        );
        registry.register(
            "connections_capacity",
            "Entries that the table of connections has room for (connections.max); where it is full, new connections are denied",
            metrics.connection_capacity.clone(),
        );
        registry.register("endpoints", "Interfaces that have hooks", metrics.endpoints.clone());
        registry.register(
            "faults",
            "Faults at present: objects that cannot be used, namespaces that cannot be read, interfaces without a hook",
            metrics.faults.clone(),
        );
        registry.register_with_unit(
            "policy_apply_duration",
            "From a change of the cluster or of the endpoints to its being in force",
            seconds(),
            metrics.apply.clone(),
        );
        for counter in KernelCounter::ALL {
            let _ = metrics.kernel.get_or_create(&KernelLabel { what: counter.name() });
        }
        // An alert on a counter needs it to be there before it first counts.
        for reason in LOSSES {
            let _ = metrics.lost.get_or_create(&ReasonLabel { reason: reason.name() });
        }
        metrics
    }

    pub(crate) fn kernel(&self, counters: &Counters) {
        for counter in KernelCounter::ALL {
            let series = self.kernel.get_or_create(&KernelLabel { what: counter.name() });
            series.inner().store(counters.get(*counter), Ordering::Relaxed);
        }
        let get = |counter| counters.get(counter).cast_signed();
        // A deferred connection is an entry before it is opened.
        let waiting = get(KernelCounter::ConnectionsDeferred)
            - get(KernelCounter::DeferredDecided)
            - get(KernelCounter::DeferredForgotten);
        let live = get(KernelCounter::ConnectionsOpened) - get(KernelCounter::ConnectionsClosed);
        self.connections.set((live + waiting).max(0));
    }

    pub(crate) fn connection_capacity(&self, entries: u32) {
        self.connection_capacity.set(entries.into());
    }

    pub(crate) fn unread(&self, events: usize) {
        self.unread.inc_by(events as u64);
    }

    pub(crate) fn committed(&self, records: u64, lost: &[(u32, u64)]) {
        self.written.inc_by(records);
        for &(reason, count) in lost {
            let reason = u8::try_from(reason).ok().and_then(Reason::from_number).map_or("unknown", Reason::name);
            self.lost.get_or_create(&ReasonLabel { reason }).inc_by(count);
        }
    }

    pub(crate) fn refused_by_spool(&self) {
        self.refused_by_spool.inc();
    }

    pub(crate) fn balance_differences(&self, count: usize) {
        self.balance_differences.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn backend_lookups(&self, outcome: &'static str, count: u64) {
        self.backend_lookups.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }

    pub(crate) fn spool_bytes(&self, bytes: u64) {
        self.spool_bytes.set(bytes.cast_signed());
    }

    pub(crate) fn spool_capacity(&self, bytes: u64) {
        self.spool_capacity_bytes.set(bytes.cast_signed());
    }

    pub(crate) fn ring_waiting(&self, bytes: u64) {
        self.ring_waiting_bytes.set(bytes.cast_signed());
    }

    pub(crate) fn in_force(&self, generation: u64, revision: i64) {
        self.generation.set(generation.cast_signed());
        self.policy_revision.set(revision);
    }

    pub(crate) fn applied_within(&self, duration: std::time::Duration) {
        self.apply.observe(duration.as_secs_f64());
    }

    pub(crate) fn endpoints(&self, hooked: usize) {
        self.endpoints.set(i64::try_from(hooked).unwrap_or(i64::MAX));
    }

    pub(crate) fn faults(&self, place: &'static str, count: usize) {
        self.faults.get_or_create(&FaultLabel { place }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
