//! Every byte that the kernel programs and user space share: map names, keys, values, events, counters and the closed
//! lists of words.
//!
//! # Conventions
//!
//! - Integers are in the machine's byte order: both sides run on the same machine. The two exceptions are the data of
//!   longest-prefix-match keys, which are byte arrays in network order because the trie matches from the first bit on.
//! - Addresses are sixteen bytes in network order; an IPv4 address stands as its IPv4-mapped form (RFC 4291 section
//!   2.5.5.2). One map then serves both families.
//! - Ports are integers in the machine's byte order. A protocol without ports has 0; ICMP echo has its identifier in
//!   both.
//! - Times are nanoseconds of `CLOCK_BOOTTIME`, which user space turns into UTC.
//! - Every struct is `repr(C)`, has no implicit padding (padding would carry bytes of the kernel's stack, and map keys
//!   that differ in padding are different keys), and has its size asserted at compile time on both sides.
#![no_std]

mod address;
mod connection;
mod counter;
mod denial;
mod event;
pub mod names;
mod state;
mod tables;
mod vocabulary;

pub use address::{Address, AddressKeyData, ipv4_mapped, is_ipv4_mapped};
pub use connection::{Connection, ConnectionKey, Learnt, bits};
pub use counter::Counter;
pub use denial::{Denial, DenialKey, Loss, LossKey};
pub use event::Event;
pub use state::{ConnectionTimeouts, Settings, State, state_flags};
pub use tables::{
    AddressEntry, EndpointEntry, Frontend, Frontends, OwnAddressKey, PolicyEntry, PolicyKeyData, ServiceEntry,
    TransportAddress, address_flags, endpoint_flags, policy_outcome, service_kind,
};
pub use vocabulary::*;

/// The number of the layout of everything here that is in a pinned map. It grows with each change of a shared type or map,
/// and stands in the path of the pins, so that an agent never reads tables of another layout as its own.
pub const LAYOUT: u32 = 2;

/// A type's layout as text can tell it.
#[cfg(feature = "user")]
pub trait Described {
    /// Bytes of a value.
    const BYTES: usize;
    /// The fields in their order, with the offset of each.
    const FIELDS: &'static [(&'static str, usize)];
}

/// Asserts a type's size and, by summing its fields, that the compiler added no padding.
macro_rules! layout {
    ($type:ty, $size:literal, [$($field:ident),+ $(,)?]) => {
        const _: () = {
            assert!(size_of::<$type>() == $size, "the size of a type on the wire has changed");
            let mut fields = 0;
            $( fields += $crate::size_behind(|value: &$type| &value.$field); )+
            assert!(fields == $size, "a type on the wire has implicit padding");
        };
        #[cfg(feature = "user")]
        // SAFETY: the type is `repr(C)` and `Copy`, has no padding (asserted above), and every bit pattern of its
        // integer fields is valid.
        unsafe impl aya::Pod for $type {}
        #[cfg(feature = "user")]
        impl $crate::Described for $type {
            const BYTES: usize = $size;
            const FIELDS: &'static [(&'static str, usize)] =
                &[$( (stringify!($field), core::mem::offset_of!($type, $field)) ),+];
        }
    };
}
pub(crate) use layout;

/// The size of what an accessor leads to.
const fn size_behind<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}
