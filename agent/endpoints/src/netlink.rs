//! Questions to the kernel over rtnetlink, about the namespace in which the socket was opened.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;

/// The kernel never sends more in one datagram of a dump than this.
pub(crate) const DATAGRAM: usize = 64 * 1024;
/// The kernel answers within the system call; this only keeps a defect from stopping discovery for good.
const ANSWER_TIMEOUT_SECONDS: i64 = 2;
/// A dump is torn when something changes while it runs; it is then asked for again, this often.
const DUMP_ATTEMPTS: usize = 5;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    #[error("the kernel refused: {0}")]
    Refused(#[source] io::Error),
    #[error("the kernel's answer cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the interfaces kept changing while they were read")]
    Torn,
}

impl From<nix::Error> for NetlinkError {
    fn from(errno: nix::Error) -> Self {
        Self::Io(errno.into())
    }
}

impl From<NetlinkError> for io::Error {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Io(error) | NetlinkError::Refused(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// One interface of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The kernel's word for its kind; none for loopback and for hardware.
    pub(crate) kind: Option<String>,
    pub(crate) loopback: bool,
    /// The index of the peer or of the interface below.
    pub(crate) lower: Option<u32>,
    /// The namespace of `lower`, as an id that has a meaning in this namespace alone; none when it is this one.
    pub(crate) lower_namespace: Option<i32>,
}

/// An address and the index of the interface that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) interface: u32,
    pub(crate) ip: IpAddr,
}

/// A socket with which one question at a time is asked.
pub(crate) struct Client {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Client {
    /// Opens the socket in the calling thread's network namespace; it stays with that namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_SECONDS, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Every interface of the namespace.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        Ok(self.dump(&RouteNetlinkMessage::GetLink(message))?.into_iter().filter_map(link).collect())
    }

    /// The interface with this index, if there is one.
    pub(crate) fn link(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(answer) => Ok(link(answer)),
            Err(NetlinkError::Refused(error)) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every address of the namespace, of both families.
    pub(crate) fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        let answers = self.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers.into_iter().filter_map(address).collect())
    }

    /// The id by which this client's namespace knows another one, if it has given it an id.
    pub(crate) fn namespace_id(&mut self, namespace: BorrowedFd<'_>) -> Result<Option<i32>, NetlinkError> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd().unsigned_abs()));
        let RouteNetlinkMessage::NewNsId(answer) = self.ask(RouteNetlinkMessage::GetNsId(message))? else {
            return Ok(None);
        };
        Ok(answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
            _ => None,
        }))
    }

    /// Asks for one object.
    fn ask(&mut self, question: RouteNetlinkMessage) -> Result<RouteNetlinkMessage, NetlinkError> {
        self.send(question, NLM_F_REQUEST)?;
        loop {
            for (_, payload) in self.receive()? {
                match payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(error) => return Err(NetlinkError::Refused(error.to_io())),
                    _ => {}
                }
            }
        }
    }

    /// Asks for all objects of a kind, as they were at one moment.
    fn dump(&mut self, question: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            match self.dump_once(question.clone()) {
                Err(NetlinkError::Torn) => {}
                result => return result,
            }
        }
        Err(NetlinkError::Torn)
    }

    fn dump_once(&mut self, question: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.send(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut answers = Vec::new();
        let mut torn = false;
        loop {
            for (header, payload) in self.receive()? {
                torn |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) if torn => return Err(NetlinkError::Torn),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(NetlinkError::Refused(error.to_io())),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, question: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(())
    }

    /// The next datagram's messages that belong to the question asked last.
    fn receive(&mut self) -> Result<Vec<(NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>)>, NetlinkError> {
        let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        let sequence = self.sequence;
        let mut messages = Vec::new();
        for message in split(&self.buffer[..length]) {
            let (header, payload) = message?.into_parts();
            if header.sequence_number == sequence {
                messages.push((header, payload));
            }
        }
        Ok(messages)
    }
}

/// The messages of one datagram.
pub(crate) fn split(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, DecodeError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes);
        let length = message.as_ref().map_or(bytes.len(), |message| message.header.length as usize);
        bytes = bytes.get(length.next_multiple_of(4).max(1)..).unwrap_or_default();
        Some(message)
    })
}

fn link(answer: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = answer else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        lower: None,
        lower_namespace: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.lower_namespace = Some(id),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(link)
}

fn address(answer: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    // On a point-to-point interface `Address` is the other end's, and `Local` its own; elsewhere they agree, and
    // IPv6 has `Address` alone.
    let mut ip = None;
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(local) => ip = Some(local),
            AddressAttribute::Address(address) => ip = ip.or(Some(address)),
            _ => {}
        }
    }
    ip.map(|ip| Address { interface: message.header.index, ip })
}
