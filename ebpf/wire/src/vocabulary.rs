//! The closed lists of words that a verdict is made of: one number for the kernel's event, the metric's label and the
//! evidence column. Lists are append-only: a number is never given a second meaning.

/// Declares an enum whose discriminants are bytes on the wire, with the word that people read and what it means.
#[macro_export]
macro_rules! vocabulary {
    (
        $(#[$outer:meta])*
        $name:ident { $( $variant:ident = $number:literal, $word:literal: $meaning:literal; )+ }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $( #[doc = $meaning] $variant = $number, )+
        }

        impl $name {
            /// Every member, in the order of its number.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// The number that stands in events, map values and spool records.
            #[must_use]
            #[inline(always)]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The member that has this number, or `None` where a newer program has added one.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$variant), )+
                    _ => None,
                }
            }

            /// The word in columns, metric labels and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }

            /// One sentence on what it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $( Self::$variant => $meaning, )+
                }
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// What was done with a packet or a connection.
    Verdict {
        Allow = 1, "allow": "The traffic was let through.";
        Deny = 2, "deny": "The traffic was dropped.";
        Audit = 3, "audit": "The traffic would have been dropped, and passed because the witness mode is audit.";
    }
}

vocabulary! {
    /// Which way a connection goes, from the endpoint's point of view.
    Direction {
        Ingress = 1, "ingress": "Into the pod.";
        Egress = 2, "egress": "Out of the pod.";
    }
}

vocabulary! {
    /// What a record says has happened.
    EventKind {
        Open = 1, "open": "A connection was decided on its first packet.";
        Close = 2, "close": "A connection ended or timed out; the totals are final.";
        Progress = 3, "progress": "A connection lives on; the totals are those so far.";
        Change = 4, "change": "A live connection was decided anew, with another verdict.";
        Deny = 5, "deny": "Denied attempts, alike in all but source port, counted.";
        Loss = 6, "loss": "So many records could not be kept, between these times.";
    }
}

vocabulary! {
    /// Why a verdict is what it is.
    Reason {
        Rule = 1, "rule": "At least one rule of a policy that selects the pod allows it.";
        NotIsolated = 2, "not-isolated": "No policy selects the pod in this direction, so everything is allowed.";
        Node = 3, "node": "The peer is the node on which the pod runs, which is always allowed.";
        NoRule = 4, "no-rule": "Policies isolate the pod in this direction and none of their rules allows it.";
        Spoofed = 5, "spoofed": "The pod sent from an address that is not its own.";
        UnknownEndpoint = 6, "unknown-endpoint": "The pod behind the interface was not known yet; unknownEndpoints decided.";
        Malformed = 7, "malformed": "The packet could not be parsed.";
        NotIp = 8, "not-ip": "The packet is neither IPv4, IPv6 nor ARP.";
        FragmentWithoutFirst = 9, "fragment-without-first": "A later fragment came whose first fragment was not seen.";
        ConnectionTableFull = 10, "connection-table-full": "The connection could not be remembered because the table is full.";
        NoTables = 11, "no-tables": "The kernel had no compiled policy to decide by.";
        DenialTableFull = 12, "denial-table-full": "Denied attempts were counted without their details because the table is full.";
        RingFull = 13, "ring-full": "An event could be neither sent nor kept for later because the ring buffer was full.";
        Related = 14, "related": "An ICMP error that quotes a packet of a recorded connection.";
        Neighbour = 15, "neighbour": "ARP, IPv6 neighbour discovery or multicast listener discovery, which a pod needs to live.";
        UnknownReference = 16, "unknown-reference": "An event referred to a definition that the agent does not hold.";
        ServiceUnresolved = 17, "service-unresolved": "Some backends of the Service are denied, and the one that was meant was not seen on this node: nothing was let back.";
    }
}

vocabulary! {
    /// How far it was known to which backend a Service's address was translated.
    NatResolution {
        None = 1, "none": "The Service had no ready backend.";
        Exact = 2, "exact": "The backend is known.";
        AllBackends = 3, "all-backends": "Every ready backend was decided alike; which one it was is not known.";
        Mixed = 4, "mixed": "The ready backends were decided differently, and which one it was is not known.";
    }
}

vocabulary! {
    /// How the identity of one side of a record was known.
    Known {
        Exact = 1, "exact": "The mapping from address to identity was live at the moment of the decision.";
        Late = 2, "late": "The identity was learned after the decision.";
        Unknown = 3, "unknown": "The address belongs to the cluster's pods or is a Service's, but no pod was known to have it.";
        Node = 4, "node": "The address belongs to a node of the cluster.";
        External = 5, "external": "The address belongs to nothing in the cluster.";
    }
}

/// `ICMP` in the IP header's protocol field (RFC 792).
pub const ICMP: u8 = 1;
/// `TCP` in the IP header's protocol field (RFC 9293).
pub const TCP: u8 = 6;
/// `UDP` in the IP header's protocol field (RFC 768).
pub const UDP: u8 = 17;
/// `ICMPv6` in the IP header's protocol field (RFC 4443).
pub const ICMPV6: u8 = 58;
/// `SCTP` in the IP header's protocol field (RFC 9260).
pub const SCTP: u8 = 132;
