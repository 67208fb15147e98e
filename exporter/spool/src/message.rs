//! What the agent hands over, as protobuf messages: field numbers are never given a second meaning, so that either
//! program may be upgraded first.
//!
//! Enumerations are the numbers of the wire crate (`podwitness-wire`) or of [`crate::words`], one closed, append-only list
//! each, as `u32`, with 0 for absent. Records refer to definitions ([`Identity`], [`RuleSet`], [`Revision`]) by id.

/// The namespace of records whose pod is not known; they may be anybody's. No namespace of Kubernetes can have an
/// underscore.
pub const UNKNOWN_NAMESPACE: &str = "_unknown";

/// One row of evidence, whatever its table.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Record {
    /// A row of `verdicts`.
    #[prost(message, tag = "1")]
    Verdict(Verdict),
    /// A row of `coverage`.
    #[prost(message, tag = "2")]
    Coverage(Coverage),
    /// A row of `policies`.
    #[prost(message, tag = "3")]
    Policy(PolicyVersion),
}

/// A verdict, its semantics final: the source is the initiator, the namespace is the endpoint's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Verdict {
    /// When it happened, microseconds since 1970 in UTC; for counted rows, the first time.
    #[prost(int64, tag = "1")]
    pub time_us: i64,
    /// The last time, microseconds since 1970 in UTC, where counted or closed.
    #[prost(int64, optional, tag = "2")]
    pub last_time_us: Option<i64>,
    /// Place in the sequence of its boot and namespace, from 1. Set by [`Writer::commit`](crate::Writer::commit).
    #[prost(int64, tag = "3")]
    pub seq: i64,
    /// The endpoint's namespace, [`UNKNOWN_NAMESPACE`] where its pod is not known.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// `EventKind` of the wire crate.
    #[prost(uint32, tag = "5")]
    pub event: u32,
    /// `Verdict` of the wire crate.
    #[prost(uint32, tag = "6")]
    pub verdict: u32,
    /// `Direction` of the wire crate, 0 on loss rows that have none.
    #[prost(uint32, tag = "7")]
    pub direction: u32,
    /// `Reason` of the wire crate.
    #[prost(uint32, tag = "8")]
    pub reason: u32,
    /// Connections, attempts or lost records that this row stands for.
    #[prost(int64, tag = "9")]
    pub count: i64,
    /// The IP header's protocol number, absent on loss rows.
    #[prost(uint32, optional, tag = "10")]
    pub protocol: Option<u32>,
    /// The initiator's address in network order: 4 or 16 bytes, empty on loss rows.
    #[prost(bytes = "vec", tag = "11")]
    pub src_ip: Vec<u8>,
    /// The responder's address in network order: 4 or 16 bytes, empty on loss rows.
    #[prost(bytes = "vec", tag = "12")]
    pub dst_ip: Vec<u8>,
    /// The initiator's port, absent where the protocol has none or the row stands for several.
    #[prost(uint32, optional, tag = "13")]
    pub src_port: Option<u32>,
    /// The responder's port, absent where the protocol has none.
    #[prost(uint32, optional, tag = "14")]
    pub dst_port: Option<u32>,
    /// TCP flags of the deciding packet.
    #[prost(uint32, optional, tag = "15")]
    pub tcp_flags: Option<u32>,
    /// ICMP type of the deciding packet.
    #[prost(uint32, optional, tag = "16")]
    pub icmp_type: Option<u32>,
    /// ICMP code of the deciding packet.
    #[prost(uint32, optional, tag = "17")]
    pub icmp_code: Option<u32>,
    /// [`Identity::id`] of the initiator, 0 for none.
    #[prost(uint32, tag = "18")]
    pub src_identity: u32,
    /// [`Identity::id`] of the responder, 0 for none.
    #[prost(uint32, tag = "19")]
    pub dst_identity: u32,
    /// `Known` of the wire crate for the initiator, 0 on loss rows.
    #[prost(uint32, tag = "20")]
    pub src_known: u32,
    /// `Known` of the wire crate for the responder, 0 on loss rows.
    #[prost(uint32, tag = "21")]
    pub dst_known: u32,
    /// Packets that left the endpoint.
    #[prost(int64, optional, tag = "22")]
    pub packets_out: Option<i64>,
    /// Bytes that left the endpoint.
    #[prost(int64, optional, tag = "23")]
    pub bytes_out: Option<i64>,
    /// Packets that came to the endpoint.
    #[prost(int64, optional, tag = "24")]
    pub packets_in: Option<i64>,
    /// Bytes that came to the endpoint.
    #[prost(int64, optional, tag = "25")]
    pub bytes_in: Option<i64>,
    /// [`RuleSet::id`] of what decided, 0 for none.
    #[prost(uint32, tag = "26")]
    pub rule_set: u32,
    /// On `change`, [`RuleSet::id`] of what had decided before, 0 for none.
    #[prost(uint32, tag = "27")]
    pub previous_rule_set: u32,
    /// On `change`, `Verdict` of the wire crate as it was before; else 0.
    #[prost(uint32, tag = "28")]
    pub previous_verdict: u32,
    /// [`Revision::number`] of the policy in force, 0 for none.
    #[prost(int64, tag = "29")]
    pub policy_revision: i64,
    /// The Service that was addressed.
    #[prost(message, optional, tag = "30")]
    pub service: Option<Service>,
    /// [`ExternalAddresses`](crate::words::ExternalAddresses): how the address outside the cluster stands here; 0 where it
    /// stands as it is. It is the backend's where the Service has one that is known, else that of the side that is
    /// external. Where it is truncated, its address is that of the network; where it is hashed, its address is empty.
    #[prost(uint32, tag = "31")]
    pub external_form: u32,
    /// The hash in the address's place; empty where it is not hashed.
    #[prost(bytes = "vec", tag = "32")]
    pub external_hmac: Vec<u8>,
}

/// The Service whose address the packet had when the hook saw it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Service {
    /// The Service's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The Service's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The Service's address in network order: 4 or 16 bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub ip: Vec<u8>,
    /// The Service's port.
    #[prost(uint32, tag = "4")]
    pub port: u32,
    /// How much was known of the backend: `none`, `exact`, `all-backends` or `mixed`.
    #[prost(string, tag = "5")]
    pub nat_resolution: String,
    /// The address of the backend that the connection really went to, in network order: 4 or 16 bytes; empty unless
    /// `nat_resolution` is `exact`.
    #[prost(bytes = "vec", tag = "6")]
    pub backend_ip: Vec<u8>,
    /// The backend's port; absent unless `nat_resolution` is `exact`.
    #[prost(uint32, optional, tag = "7")]
    pub backend_port: Option<u32>,
}

/// Something that began or ended in what is enforced and witnessed on the node. An empty string means unknown or not
/// so.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Coverage {
    /// When it happened, microseconds since 1970 in UTC.
    #[prost(int64, tag = "1")]
    pub time_us: i64,
    /// Place in the sequence of its boot's coverage, from 1. Set by [`Writer::commit`](crate::Writer::commit).
    #[prost(int64, tag = "2")]
    pub seq: i64,
    /// [`CoverageEvent`](crate::words::CoverageEvent).
    #[prost(uint32, tag = "3")]
    pub event: u32,
    /// The index of the interface on the node's side, where there is one.
    #[prost(uint32, optional, tag = "4")]
    pub interface: Option<u32>,
    /// The interface's name: on the node's side, or inside the namespace where it has no side on the node.
    #[prost(string, tag = "5")]
    pub interface_name: String,
    /// The file name of the network namespace.
    #[prost(string, tag = "6")]
    pub netns: String,
    /// The pod's namespace.
    #[prost(string, tag = "7")]
    pub namespace: String,
    /// The pod's name.
    #[prost(string, tag = "8")]
    pub pod: String,
    /// The pod's uid.
    #[prost(string, tag = "9")]
    pub pod_uid: String,
    /// The endpoint's addresses in network order, 4 or 16 bytes each.
    #[prost(bytes = "vec", repeated, tag = "10")]
    pub addresses: Vec<Vec<u8>>,
    /// When the state began that ends with this record, microseconds since 1970 in UTC.
    #[prost(int64, optional, tag = "11")]
    pub since_us: Option<i64>,
    /// [`WitnessMode`](crate::words::WitnessMode).
    #[prost(uint32, tag = "12")]
    pub mode: u32,
    /// What is done with the traffic of an endpoint whose pod is not known: allow or deny, as `Verdict` of the wire crate.
    #[prost(uint32, tag = "13")]
    pub unknown_endpoints: u32,
    /// [`Revision::number`] of the policy in force, 0 for none.
    #[prost(int64, tag = "14")]
    pub policy_revision: i64,
    /// Why, in one word.
    #[prost(string, tag = "15")]
    pub reason: String,
    /// Why, in a sentence.
    #[prost(string, tag = "16")]
    pub detail: String,
    /// How many records or things this row stands for.
    #[prost(int64, optional, tag = "17")]
    pub count: Option<i64>,
    /// On `balance`, the statement as JSON text (`KernelBalance` of `podwitness-seals`).
    #[prost(string, tag = "18")]
    pub balance: String,
    /// On `clock`, what the kernel says of the clock on the wall.
    #[prost(message, optional, tag = "19")]
    pub clock: Option<ClockState>,
}

/// What the kernel says of the clock on the wall.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ClockState {
    /// Whether something keeps it in step with UTC.
    #[prost(bool, tag = "1")]
    pub synchronised: bool,
    /// What is still to be corrected, microseconds; negative where the clock is ahead.
    #[prost(int64, tag = "2")]
    pub offset_us: i64,
    /// By how much it is off at the most, microseconds.
    #[prost(int64, tag = "3")]
    pub error_us: i64,
    /// By how much somebody has set it since it was looked at last, microseconds; negative where it was set back.
    #[prost(int64, tag = "4")]
    pub step_us: i64,
}

/// A version of a policy that took effect on the node, ended, or is in force.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PolicyVersion {
    /// When it happened, microseconds since 1970 in UTC.
    #[prost(int64, tag = "1")]
    pub time_us: i64,
    /// Place in the sequence of its boot's policies, from 1. Set by [`Writer::commit`](crate::Writer::commit).
    #[prost(int64, tag = "2")]
    pub seq: i64,
    /// [`PolicyEvent`](crate::words::PolicyEvent).
    #[prost(uint32, tag = "3")]
    pub event: u32,
    /// The policy's namespace, empty on a statement.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// The policy's name, empty on a statement.
    #[prost(string, tag = "5")]
    pub name: String,
    /// The policy's uid, empty if unknown.
    #[prost(string, tag = "6")]
    pub uid: String,
    /// `metadata.generation`, 0 if unknown.
    #[prost(int64, tag = "7")]
    pub generation: i64,
    /// `metadata.resourceVersion`, empty if unknown.
    #[prost(string, tag = "8")]
    pub resource_version: String,
    /// The policy as applied: JSON with sorted keys. Empty on a statement.
    #[prost(string, tag = "9")]
    pub text: String,
    /// [`Revision::number`] of what is in force from this record on.
    #[prost(int64, tag = "10")]
    pub policy_revision: i64,
    /// The first revision that has the version, as far as this agent has seen. 0 on a statement.
    #[prost(int64, tag = "11")]
    pub revision_from: i64,
    /// The last revision that has it; 0 while it is in force.
    #[prost(int64, tag = "12")]
    pub revision_to: i64,
    /// When it took effect, as far as this agent has seen, microseconds since 1970 in UTC. Absent on a statement.
    #[prost(int64, optional, tag = "13")]
    pub effective_from_us: Option<i64>,
    /// When it ended, microseconds since 1970 in UTC; absent while it is in force.
    #[prost(int64, optional, tag = "14")]
    pub effective_to_us: Option<i64>,
    /// Whether all of it is enforced as it stands. Absent on a statement.
    #[prost(bool, optional, tag = "15")]
    pub understood: Option<bool>,
    /// What of it cannot be used, a sentence each.
    #[prost(string, repeated, tag = "16")]
    pub faults: Vec<String>,
    /// On a statement, how many `in-force` records follow.
    #[prost(int64, optional, tag = "17")]
    pub count: Option<i64>,
}

/// Who had an address at the decision. An empty string means unknown.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Identity {
    /// What records refer to, never 0.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// The pod's namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// The pod's name.
    #[prost(string, tag = "3")]
    pub pod: String,
    /// The pod's uid.
    #[prost(string, tag = "4")]
    pub pod_uid: String,
    /// The pod's service account.
    #[prost(string, tag = "5")]
    pub service_account: String,
    /// Kind of the workload that owns the pod.
    #[prost(string, tag = "6")]
    pub workload_kind: String,
    /// Name of the workload that owns the pod.
    #[prost(string, tag = "7")]
    pub workload: String,
    /// The node on which the pod runs, or that has the address.
    #[prost(string, tag = "8")]
    pub node: String,
    /// The pod's labels: a JSON object with sorted keys.
    #[prost(string, tag = "9")]
    pub labels: String,
}

/// The rules that allow a class of traffic, or the policies that isolate from it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RuleSet {
    /// What records refer to, never 0.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// Its members, in the order in which they are shown.
    #[prost(message, repeated, tag = "2")]
    pub policies: Vec<PolicyRule>,
}

/// One member of a [`RuleSet`].
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PolicyRule {
    /// The policy's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The policy's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The policy's uid, empty if unknown.
    #[prost(string, tag = "3")]
    pub uid: String,
    /// Index of the rule in the policy, from 0; absent where the policy isolates.
    #[prost(int32, optional, tag = "4")]
    pub rule: Option<i32>,
}

/// A compiled policy of this node.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Revision {
    /// What records refer to, never 0.
    #[prost(int64, tag = "1")]
    pub number: i64,
    /// SHA-256 of the compiled content, in lower-case hexadecimal.
    #[prost(string, tag = "2")]
    pub sha256: String,
}

/// What a namespace asks for the evidence about it (`AuditTrail`), with what the configuration says where it asks for
/// nothing.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Trail {
    /// The namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// How long its records are kept, in seconds, never less than the configured floor.
    #[prost(uint64, tag = "2")]
    pub retention_seconds: u64,
    /// Whether nothing of it may be deleted.
    #[prost(bool, tag = "3")]
    pub legal_hold: bool,
    /// [`ExternalAddresses`](crate::words::ExternalAddresses).
    #[prost(uint32, tag = "4")]
    pub external_addresses: u32,
}

/// Who writes: the same for every record of a segment.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Origin {
    /// The cluster's name.
    #[prost(string, tag = "1")]
    pub cluster: String,
    /// The node's name.
    #[prost(string, tag = "2")]
    pub node: String,
    /// The kernel's boot id, within which sequence numbers run.
    #[prost(string, tag = "3")]
    pub boot: String,
    /// The agent's version.
    #[prost(string, tag = "4")]
    pub agent_version: String,
    /// SHA-256 of the eBPF object in lower-case hexadecimal.
    #[prost(string, tag = "5")]
    pub object_sha256: String,
}

/// The place in the source up to which everything is in the spool. The spool keeps it and does not look into it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Checkpoint {
    /// Which ring buffer the position belongs to.
    #[prost(string, tag = "1")]
    pub ring: String,
    /// The consumer position after the last event that was committed.
    #[prost(uint64, tag = "2")]
    pub ring_position: u64,
    /// The last epoch of denied attempts that was committed whole.
    #[prost(uint32, tag = "3")]
    pub drained_epoch: u32,
    /// How many entries of the epochs behind it were committed already, in the source's order.
    #[prost(uint32, tag = "4")]
    pub drained_entries: u32,
    /// What has come out of the source so far; absent where the writer was of a version that does not count.
    #[prost(message, optional, tag = "5")]
    pub sums: Option<Sums>,
}

/// What has come out of the source up to a checkpoint, and was committed with it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Sums {
    /// Events that were taken out of the ring buffer of the checkpoint.
    #[prost(uint64, tag = "1")]
    pub events_read: u64,
    /// Denied attempts in records, beside that ring.
    #[prost(uint64, tag = "2")]
    pub denied_recorded: u64,
    /// Losses in records, beside that ring.
    #[prost(uint64, tag = "3")]
    pub lost_recorded: u64,
    /// Records committed in this boot, by table.
    #[prost(btree_map = "string, uint64", tag = "4")]
    pub spooled: std::collections::BTreeMap<String, u64>,
}
