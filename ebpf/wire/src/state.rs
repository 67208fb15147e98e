//! What user space tells the programs while they run: one array element each, which user space maps into its memory.

use crate::layout;

/// What changes at a stroke. Each field is one aligned word, so that a program reads it whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// The table generation in force; 0 before the first. Its lowest bit says which of the two slots holds it.
    pub generation: u64,
    /// The epoch in which denials and losses are counted.
    pub epoch: u64,
    /// [`state_flags`].
    pub flags: u64,
}
layout!(State, 24, [generation, epoch, flags]);

/// The flags of [`State`].
pub mod state_flags {
    /// What an endpoint whose pod is not known may do: nothing. Otherwise everything.
    pub const DENY_UNKNOWN_ENDPOINTS: u64 = 1;
}

/// How long a connection without packets is remembered, in nanoseconds. The defaults are those of the kernel's own
/// connection tracking (`net.netfilter.nf_conntrack_*_timeout*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionTimeouts {
    /// TCP, first packet seen and no answer.
    pub tcp_syn: u64,
    /// TCP, both sides seen.
    pub tcp_established: u64,
    /// TCP, one side has sent FIN.
    pub tcp_fin: u64,
    /// TCP, both sides have sent FIN.
    pub tcp_time_wait: u64,
    /// TCP, after RST.
    pub tcp_close: u64,
    /// UDP without an answer.
    pub udp: u64,
    /// UDP with packets of both sides.
    pub udp_stream: u64,
    /// ICMP and ICMPv6 echo.
    pub icmp: u64,
    /// Every other protocol.
    pub generic: u64,
}
layout!(
    ConnectionTimeouts,
    72,
    [tcp_syn, tcp_established, tcp_fin, tcp_time_wait, tcp_close, udp, udp_stream, icmp, generic]
);

/// What the configuration sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// How long an idle connection is remembered.
    pub timeouts: ConnectionTimeouts,
    /// How long a closed TCP connection must be quiet before its close record is made, so that its last
    /// acknowledgements are in the totals.
    pub close_after: u64,
    /// How often a live connection is reported.
    pub progress: u64,
}
layout!(Settings, 88, [timeouts, close_after, progress]);
