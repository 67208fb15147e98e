//! Questions and answers as netlink messages (`IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_NEW` of
//! `linux/netfilter/nfnetlink_conntrack.h`).

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{DecodeError, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Tuple as TupleAttribute},
};

use crate::Tuple;

/// `NFNETLINK_V0` of `linux/netfilter/nfnetlink.h`.
const NFNETLINK_VERSION: u8 = 0;

/// A tracked connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As its first packet came.
    pub(crate) original: Tuple,
    /// As its answers come before they are translated back.
    pub(crate) reply: Tuple,
}

/// What the kernel says to a question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The entry; `None` where it is about a protocol without ports.
    Entry(Option<Entry>),
    /// There is none, or another error.
    Error(io::Error),
}

/// Asks for the connection that has this tuple, in the zone of connections that nobody has put into another.
pub(crate) fn question(tuple: &Tuple, sequence: u32) -> Vec<u8> {
    let family = if tuple.destination.is_ipv4() { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
    let original = ConntrackAttribute::CtaTupleOrig(vec![
        TupleAttribute::Ip(vec![
            IPTuple::SourceAddress(tuple.source.ip()),
            IPTuple::DestinationAddress(tuple.destination.ip()),
        ]),
        TupleAttribute::Proto(vec![
            ProtoTuple::Protocol(tuple.protocol.into()),
            ProtoTuple::SourcePort(tuple.source.port()),
            ProtoTuple::DestinationPort(tuple.destination.port()),
        ]),
    ]);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let question = NetfilterMessage::new(
        NetfilterHeader::new(family, NFNETLINK_VERSION, 0),
        ConntrackMessage::Get(vec![original]),
    );
    let mut message = NetlinkMessage::from(question);
    message.header = header;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads an answer, which the kernel sends in a datagram of its own, and the number of its question.
pub(crate) fn answer(datagram: &[u8]) -> Result<(u32, Answer), DecodeError> {
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(datagram)?;
    let answer = match message.payload {
        NetlinkPayload::Error(error) => Answer::Error(error.to_io()),
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
            ..
        }) => Answer::Entry(entry(&attributes)),
        _ => return Err(DecodeError::from("it is no tracked connection")),
    };
    Ok((message.header.sequence_number, answer))
}

fn entry(attributes: &[ConntrackAttribute]) -> Option<Entry> {
    let (mut original, mut reply) = (None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            _ => {}
        }
    }
    Some(Entry { original: original?, reply: reply? })
}

fn tuple(parts: &[TupleAttribute]) -> Option<Tuple> {
    let (mut source, mut destination): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    let (mut protocol, mut source_port, mut destination_port) = (None, None, None);
    for part in parts {
        match part {
            TupleAttribute::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(address) => source = Some(*address),
                        IPTuple::DestinationAddress(address) => destination = Some(*address),
                        _ => {}
                    }
                }
            }
            TupleAttribute::Proto(values) => {
                for value in values {
                    match value {
                        ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                        ProtoTuple::SourcePort(port) => source_port = Some(*port),
                        ProtoTuple::DestinationPort(port) => destination_port = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(Tuple {
        protocol: protocol?,
        source: SocketAddr::new(source?, source_port?),
        destination: SocketAddr::new(destination?, destination_port?),
    })
}
