//! Netlink events that say where to look again.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, NetlinkAddr, recvmsg};

use crate::netlink::{DATAGRAM, split};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`.
const GROUPS: [u32; 3] = [1, 5, 9];
/// Room for a burst of some thousand events; what does not fit is said by the kernel and answered by reading all.
const RECEIVE_BUFFER: u32 = 4 << 20;

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// An interface came, went or changed in the agent's namespace.
    Link {
        /// Its index.
        index: u32,
        /// The id of the namespace of its other side.
        peer: Option<i32>,
    },
    /// An address came, went or changed in the agent's namespace.
    Address,
    /// Something changed in the namespace with this id.
    Inside {
        /// As the agent's namespace numbers the others.
        id: i32,
    },
    /// Events were lost.
    Lost,
}

/// Listens to the agent's own namespace, and where it may, to all that it has an id for: the kernel then says
/// at once that a pod got its address, with nothing held open in the pod's namespace.
pub(crate) struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        // It takes CAP_NET_BROADCAST. Without it the timers find what these events would have told.
        match socket.set_listen_all_namespaces(true) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// All that happened since the last call.
    pub(crate) fn drain(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            match self.receive(&mut changes) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return changes,
                // ENOBUFS, and whatever else: the socket goes on, with a hole in what it said.
                Err(_) => {
                    changes.push(Change::Lost);
                    return changes;
                }
            }
        }
    }

    fn receive(&mut self, changes: &mut Vec<Change>) -> nix::Result<()> {
        let mut control = nix::cmsg_space!(libc::c_int, libc::c_int);
        let (length, namespace) = {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let received = recvmsg::<NetlinkAddr>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            )?;
            (received.bytes, received.cmsgs()?.find_map(namespace_id))
        };
        for message in split(&self.buffer[..length]) {
            changes.push(match (namespace, message.map(|message| message.payload)) {
                (Some(id), _) => Change::Inside { id },
                (None, Ok(NetlinkPayload::InnerMessage(message))) => match own(&message) {
                    Some(change) => change,
                    None => continue,
                },
                (None, Ok(_)) => continue,
                (None, Err(_)) => Change::Lost,
            });
        }
        Ok(())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The namespace an event is from; none when it is the agent's own.
fn namespace_id(control: ControlMessageOwned) -> Option<i32> {
    let ControlMessageOwned::Unknown(unknown) = control else { return None };
    let header = unknown.cmsg_header;
    if header.cmsg_level != libc::SOL_NETLINK || header.cmsg_type != libc::NETLINK_LISTEN_ALL_NSID {
        return None;
    }
    unknown.data_bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

fn own(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => Some(Change::Link {
            index: link.header.index,
            peer: link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::LinkNetNsId(id) => Some(*id),
                _ => None,
            }),
        }),
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => Some(Change::Address),
        _ => None,
    }
}
