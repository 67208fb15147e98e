//! The names of programs and maps: what bpftool shows, and the file names of the pins.
//!
//! The kernel keeps fifteen characters of a name.

/// The classifier on the host side's ingress hook: packets that leave the pod.
pub const PROGRAM_FROM_POD: &str = "pw_from_pod";
/// The classifier on the host side's egress hook: packets that enter the pod.
pub const PROGRAM_TO_POD: &str = "pw_to_pod";
/// The program that user space runs to sweep the connection table.
pub const PROGRAM_SWEEP: &str = "pw_sweep";

/// The program by which user space tells to which backend a connection was translated ([`Learnt`](crate::Learnt)).
pub const PROGRAM_LEARN: &str = "pw_learn";

/// One [`State`](crate::State), mapped by user space.
pub const STATE: &str = "PW_STATE";
/// One [`Settings`](crate::Settings).
pub const SETTINGS: &str = "PW_SETTINGS";
/// Two slots of address tables: [`AddressKeyData`](crate::AddressKeyData) to [`AddressEntry`](crate::AddressEntry).
pub const ADDRESSES: &str = "PW_ADDRESSES";
/// Two slots of endpoint tables: interface index to [`EndpointEntry`](crate::EndpointEntry).
pub const ENDPOINTS: &str = "PW_ENDPOINTS";
/// Two slots of tables of own addresses: [`OwnAddressKey`](crate::OwnAddressKey).
pub const OWN_ADDRESSES: &str = "PW_OWN";
/// Two slots of policy tables: [`PolicyKeyData`](crate::PolicyKeyData) to [`PolicyEntry`](crate::PolicyEntry).
pub const POLICY: &str = "PW_POLICY";
/// Two slots of tables of Services: [`TransportAddress`](crate::TransportAddress) to [`ServiceEntry`](crate::ServiceEntry).
pub const SERVICES: &str = "PW_SERVICES";
/// Two slots of tables of backends: [`TransportAddress`](crate::TransportAddress) to [`Frontends`](crate::Frontends).
pub const FRONTENDS: &str = "PW_FRONTENDS";
/// [`ConnectionKey`](crate::ConnectionKey) to [`Connection`](crate::Connection).
pub const CONNECTIONS: &str = "PW_CONNECTIONS";
/// [`DenialKey`](crate::DenialKey) to [`Denial`](crate::Denial).
pub const DENIALS: &str = "PW_DENIALS";
/// [`LossKey`](crate::LossKey) to [`Loss`](crate::Loss).
pub const LOSSES: &str = "PW_LOSSES";
/// Ports of first fragments, for the later ones.
pub const FRAGMENTS: &str = "PW_FRAGMENTS";
/// [`Event`](crate::Event)s on their way out.
pub const EVENTS: &str = "PW_EVENTS";
/// Per-CPU counters, indexed by [`Counter`](crate::Counter).
pub const COUNTERS: &str = "PW_COUNTERS";

/// One slot, updated only to wait until no program runs that began before.
pub const GRACE: &str = "PW_GRACE";

/// Per-CPU, one word: how many programs are reading the tables of a generation.
pub const READERS: &str = "PW_READERS";

/// Every map that is pinned.
pub const MAPS: &[&str] = &[
    STATE,
    SETTINGS,
    ADDRESSES,
    ENDPOINTS,
    OWN_ADDRESSES,
    POLICY,
    SERVICES,
    FRONTENDS,
    CONNECTIONS,
    DENIALS,
    LOSSES,
    FRAGMENTS,
    EVENTS,
    COUNTERS,
    GRACE,
    READERS,
];
