//! The address resolution protocol for IPv4 on Ethernet (RFC 826).

use podwitness_wire::{Address, ipv4_mapped};

use crate::{Bytes, Fault, LinkMessage};

const UNSPECIFIED: Address = ipv4_mapped([0; 4]);

/// Ethernet's number, IPv4's number, the lengths of their addresses, and the operation.
const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
const SENDER_OFFSET: u32 = 14;
const MESSAGE_BYTES: u32 = 28;

/// A request or a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// The sender's protocol address, which its receivers learn; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Address,
}

impl Arp {
    /// What it is on its link, which it cannot leave.
    #[inline(always)]
    pub fn link_message(&self) -> LinkMessage {
        let claims = if self.sender == UNSPECIFIED { None } else { Some(self.sender) };
        LinkMessage { claims, stays_on_link: true }
    }
}

/// Reads a message. Of other hardware, another protocol or another operation it is [`Fault::Malformed`]: its addresses
/// would stand elsewhere or mean something else, and the kernel ignores it (`arp_rcv`, `arp_process`).
#[inline(always)]
pub(crate) fn read(bytes: &impl Bytes, offset: u32) -> Result<Arp, Fault> {
    let start: [u8; 8] = bytes.load(offset).ok_or(Fault::Malformed)?;
    let sender: [u8; 4] = bytes.load(offset + SENDER_OFFSET).ok_or(Fault::Malformed)?;
    if !matches!(start, REQUEST | REPLY) || offset + MESSAGE_BYTES > bytes.length() {
        return Err(Fault::Malformed);
    }
    Ok(Arp { sender: ipv4_mapped(sender) })
}
