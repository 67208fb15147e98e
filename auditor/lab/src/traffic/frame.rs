//! Frames as they are, for packets that no honest socket would send.

use std::io;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::error::LabError;
use crate::station::Station;

impl Station {
    /// Sends a whole Ethernet frame, header included, out of `eth0`. See [`Station::mac`] and [`Station::gateway_mac`].
    pub fn raw_send(&self, frame: &[u8]) -> Result<(), LabError> {
        let send = || {
            // Protocol 0: this socket only sends.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            let sent = socket.send_to(frame, &packet_address(if_nametoindex("eth0")?))?;
            if sent == frame.len() { Ok(()) } else { Err(io::Error::other(format!("only {sent} bytes were sent"))) }
        };
        self.run(send)?.map_err(LabError::system::<io::Error>("send a frame"))
    }
}

/// The address that names an interface to a packet socket.
fn packet_address(interface: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the addresses for which the storage has room and alignment, and any bytes,
    // zeroes too, are a valid one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("address families fit in 16 bits");
    address.sll_ifindex =
        i32::try_from(interface).expect("the kernel numbers interfaces with positive 32-bit integers");
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("an address has less than 4 GiB");
    // SAFETY: the storage holds a `sockaddr_ll`, which has that length.
    unsafe { SockAddr::new(storage, length) }
}
