//! The Ethernet header, with VLAN tags (IEEE 802.1Q).

use crate::{Bytes, Extent, Fault, Frame, Packet, arp, ipv4, ipv6};

/// Length of an Ethernet header without tags.
pub const ETHERNET_BYTES: u32 = 14;

const TYPE_OFFSET: u32 = 12;
const TYPE_BYTES: u32 = 2;
const TAG_BYTES: u32 = 4;

/// As many tags as the standard stacks: a service tag and a customer tag. The kernel keeps the outer one beside the frame
/// (`skb->vlan_tci`), where no reader of the frame sees it, so that a hook reads up to three.
const MOST_TAGS: usize = 2;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The two that the kernel takes for tags (`eth_type_vlan`). What others have used before the standard, 0x9100 among
/// them, is no tag to it either, and so no IP.
const ETHERTYPE_CUSTOMER_TAG: u16 = 0x8100;
const ETHERTYPE_SERVICE_TAG: u16 = 0x88a8;

/// Reads a frame. Where it is [`Frame::Ip`], the packet is in `packet`; else what is there means nothing. (It is read into
/// a place of the caller's, because a copy of it would not fit on the stack of the kernel's programs.)
///
/// A frame with more tags than two is [`Fault::Malformed`], as a packet with too many extension headers is: what it
/// carries may well be IP.
#[inline(always)]
pub fn read_frame(bytes: &impl Bytes, packet: &mut Packet) -> Result<Frame, Fault> {
    let mut type_offset = TYPE_OFFSET;
    let mut ethertype = u16::from_be_bytes(bytes.load(type_offset).ok_or(Fault::Malformed)?);
    for _ in 0..MOST_TAGS {
        if !is_tag(ethertype) {
            break;
        }
        type_offset += TAG_BYTES;
        ethertype = u16::from_be_bytes(bytes.load(type_offset).ok_or(Fault::Malformed)?);
    }
    let network_offset = type_offset + TYPE_BYTES;
    match ethertype {
        ETHERTYPE_ARP => arp::read(bytes, network_offset).map(Frame::Arp),
        ETHERTYPE_IPV4 => ipv4::read(bytes, network_offset, Extent::Whole, packet).map(|()| Frame::Ip),
        ETHERTYPE_IPV6 => ipv6::read(bytes, network_offset, Extent::Whole, packet).map(|()| Frame::Ip),
        _ if is_tag(ethertype) => Err(Fault::Malformed),
        _ => Err(Fault::NotIp),
    }
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_CUSTOMER_TAG | ETHERTYPE_SERVICE_TAG)
}
