//! Filters of the `clsact` queueing discipline: the hooks of kernels without `tcx` (before Linux 6.6), and what others
//! have put there.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::TimeVal,
};

/// The kernel answers within the system call; this only keeps a defect from stopping the agent for good.
const ANSWER_TIMEOUT_SECONDS: i64 = 5;

/// Which chain of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClsactHook {
    Ingress,
    Egress,
}

impl ClsactHook {
    fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }
}

/// A filter, ours or another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Lower ones come first.
    pub(crate) priority: u16,
    /// Tells filters of one priority apart.
    pub(crate) handle: u32,
    /// The kernel's word for its kind.
    pub(crate) kind: String,
    /// Whether it is asked about every protocol of the link layer.
    pub(crate) is_for_all_protocols: bool,
    /// What whoever attached it calls the program, where it is one.
    pub(crate) name: Option<String>,
    /// The program's id, where it is one.
    pub(crate) program: Option<u32>,
}

impl Filter {
    /// Whether a program's filter can stand in the same priority, which holds filters of one kind and one protocol.
    pub(crate) fn makes_room(&self) -> bool {
        self.kind == TcFilterBpf::KIND && self.is_for_all_protocols
    }
}

/// The filters of an interface's hook, in the order in which they are asked. None where there is no queueing discipline.
pub(crate) fn filters(interface: u32, hook: ClsactHook) -> io::Result<Vec<Filter>> {
    let message = message(interface, hook, 0, 0);
    let answers = ask(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
    let mut filters: Vec<Filter> = answers.into_iter().filter_map(filter).collect();
    // The kernel lists them by priority; what is the same in it is listed as it is asked.
    filters.sort_by_key(|filter| filter.priority);
    Ok(filters)
}

/// Has a program decide as the filter of this priority and handle: in place of the one that is there, in one step, or as
/// the first one of its priority.
pub(crate) fn put(
    interface: u32,
    hook: ClsactHook,
    priority: u16,
    handle: u32,
    name: &str,
    program: impl AsFd,
) -> io::Result<()> {
    let mut message = message(interface, hook, priority, handle);
    message.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_fd().as_raw_fd().unsigned_abs())),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    ask(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_ACK | NLM_F_CREATE).map(drop)
}

/// Takes a filter away; one that is gone already is no error.
pub(crate) fn remove(interface: u32, hook: ClsactHook, priority: u16, handle: u32) -> io::Result<()> {
    let mut message = message(interface, hook, priority, handle);
    message.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
    match ask(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK) {
        // EINVAL is said of an interface that has no queueing discipline.
        Err(error)
            if [libc::ENOENT, libc::ENODEV, libc::EINVAL].map(Some).contains(&error.raw_os_error())
                && !filters(interface, hook)?.iter().any(|filter| filter.handle == handle) =>
        {
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Gives an interface the queueing discipline; one that is there is left as it is, with what others have in it.
pub(crate) fn add_discipline(interface: u32) -> io::Result<()> {
    let mut message = TcMessage::default();
    message.header = TcHeader {
        index: index(interface),
        handle: TcHandle { major: TcHandle::CLSACT.major, minor: 0 },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    message.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
    match ask(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map(drop),
    }
}

fn message(interface: u32, hook: ClsactHook, priority: u16, handle: u32) -> TcMessage {
    let protocol = if priority == 0 { 0 } else { every_protocol() };
    let mut message = TcMessage::default();
    message.header = TcHeader {
        index: index(interface),
        handle: TcHandle::from(handle),
        parent: hook.parent(),
        info: u32::from(priority) << 16 | u32::from(protocol),
        ..TcHeader::default()
    };
    message
}

/// `ETH_P_ALL` in network order.
fn every_protocol() -> u16 {
    const ETH_P_ALL: u16 = 3;
    ETH_P_ALL.to_be()
}

fn index(interface: u32) -> i32 {
    i32::try_from(interface).expect("the kernel gives positive indexes")
}

fn filter(answer: RouteNetlinkMessage) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = answer else { return None };
    let [priority_high, priority_low, protocol_high, protocol_low] = message.header.info.to_be_bytes();
    let mut filter = Filter {
        priority: u16::from_be_bytes([priority_high, priority_low]),
        handle: message.header.handle.into(),
        kind: String::new(),
        is_for_all_protocols: u16::from_be_bytes([protocol_high, protocol_low]) == every_protocol(),
        name: None,
        program: None,
    };
    for attribute in message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => filter.kind = kind,
            TcAttribute::Options(options) => {
                for option in options {
                    match option {
                        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name = Some(name),
                        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = Some(id),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // Of each priority the kernel first tells that it is there, without a filter.
    (filter.handle != 0).then_some(filter)
}

/// Asks the kernel in the network namespace of this thread, and returns what it answers.
fn ask(question: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_SECONDS, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let length = rest.first_chunk().map_or(rest.len(), |bytes| u32::from_ne_bytes(*bytes) as usize);
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
            // A filter of somebody else's may be of a kind that cannot be read; ours can.
            let Ok(message) = message else { continue };
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }
}
