//! The exporter's metrics; all names begin with `podwitness_exporter_`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use podwitness_store::FailureKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

type Seconds = Gauge<f64, AtomicU64>;

/// The label of failed puts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: &'static str,
}

/// What is counted.
#[derive(Default)]
pub struct Metrics {
    /// Records read from the spool.
    pub records_read: Counter,
    /// Records whose file is in the store.
    pub records_exported: Counter,
    /// Objects put into the store, or found there with the same bytes.
    pub objects_put: Counter,
    /// The bytes of those objects.
    pub bytes_put: Counter,
    /// Bytes of the spool that were passed over because they are damaged.
    pub spool_damaged_bytes: Counter,
    /// Ids in records that the spool had no definition for.
    pub unresolved_references: Counter,
    /// Bytes in the spool.
    pub spool_bytes: Gauge,
    /// The age of the oldest record that was read and is not in the store.
    pub oldest_unexported_age: Seconds,
    /// When that record happened, in Unix microseconds; 0 without one.
    oldest_unexported: AtomicI64,
    /// When an object was put last, in Unix seconds; 0 before the first.
    pub last_put_time: Seconds,
    /// Seals put.
    pub seals: Counter,
    /// When a seal was put last, in Unix seconds; 0 before the first.
    pub last_seal_time: Seconds,
    /// How often a seal is due, in seconds.
    pub seal_interval: Seconds,
    /// Seals whose balance does not hold.
    pub seals_unbalanced: Counter,
    /// 1 where the store locks each object until its time, 0 where it does not or was not asked yet.
    pub object_lock: Gauge,
    put_failures: Family<Failure, Counter>,
}

impl Metrics {
    /// Counts a put that failed.
    pub fn put_failed(&self, kind: FailureKind) {
        self.put_failures.get_or_create(&Failure { kind: kind.name() }).inc();
    }

    /// Says when the oldest record happened that was read and is not in the store; `None` without one.
    pub fn set_oldest_unexported(&self, time: Option<SystemTime>) {
        let since = time.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros());
        self.oldest_unexported
            .store(since.map_or(0, |since| i64::try_from(since).unwrap_or(i64::MAX)), Ordering::Relaxed);
        self.age();
    }

    /// Brings up to date what grows older while nothing happens.
    pub fn age(&self) {
        let since = self.oldest_unexported.load(Ordering::Relaxed);
        let age = (since != 0).then(|| {
            let since = UNIX_EPOCH + Duration::from_micros(since.unsigned_abs());
            since.elapsed().unwrap_or_default().as_secs_f64()
        });
        self.oldest_unexported_age.set(age.unwrap_or(0.0));
    }

    /// A registry of all of them.
    pub fn registry(&self) -> Registry {
        // An alert on a counter needs it to be there before it first counts.
        for kind in FailureKind::ALL {
            drop(self.put_failures.get_or_create(&Failure { kind: kind.name() }));
        }
        let mut registry = Registry::with_prefix("podwitness_exporter");
        registry.register("records_read", "Records read from the spool", self.records_read.clone());
        registry.register("records_exported", "Records whose file is in the store", self.records_exported.clone());
        registry.register(
            "objects_put",
            "Objects put into the store, or found there with the same bytes",
            self.objects_put.clone(),
        );
        registry.register_with_unit("put", "Bytes of the objects put", Unit::Bytes, self.bytes_put.clone());
        registry.register(
            "put_failures",
            "Puts that failed, by what can be done about it; each is repeated",
            self.put_failures.clone(),
        );
        registry.register(
            "object_lock",
            "1 where the store locks each object until its time (Object Lock), else 0",
            self.object_lock.clone(),
        );
        registry.register_with_unit("spool", "Bytes in the spool", Unit::Bytes, self.spool_bytes.clone());
        registry.register_with_unit(
            "spool_damaged",
            "Bytes of the spool passed over because they are damaged",
            Unit::Bytes,
            self.spool_damaged_bytes.clone(),
        );
        registry.register(
            "unresolved_references",
            "Ids in records for which the spool had no definition",
            self.unresolved_references.clone(),
        );
        registry.register_with_unit(
            "oldest_unexported_age",
            "Age of the oldest record that was read and is not in the store",
            Unit::Seconds,
            self.oldest_unexported_age.clone(),
        );
        registry.register_with_unit(
            "last_put_timestamp",
            "When an object was put last, in Unix time; 0 before the first",
            Unit::Seconds,
            self.last_put_time.clone(),
        );
        registry.register("seals", "Seals put", self.seals.clone());
        registry.register_with_unit(
            "last_seal_timestamp",
            "When a seal was put last, in Unix time; 0 before the first",
            Unit::Seconds,
            self.last_seal_time.clone(),
        );
        registry.register_with_unit(
            "seal_interval",
            "How often a seal is due (seal.interval)",
            Unit::Seconds,
            self.seal_interval.clone(),
        );
        registry.register(
            "seals_unbalanced",
            "Seals whose balance does not hold: records were lost or doubled on the way",
            self.seals_unbalanced.clone(),
        );
        registry
    }
}
