//! Addresses of both families in one form.

/// An IPv4-mapped or IPv6 address in network order.
pub type Address = [u8; 16];

/// The data of a key in the address table: the address, from its first bit on.
pub type AddressKeyData = Address;

/// The IPv4-mapped form of an IPv4 address.
#[must_use]
#[inline(always)]
pub const fn ipv4_mapped(octets: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, octets[0], octets[1], octets[2], octets[3]]
}

/// Whether an address stands for an IPv4 address.
#[must_use]
#[inline(always)]
pub const fn is_ipv4_mapped(address: &Address) -> bool {
    matches!(address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
}
