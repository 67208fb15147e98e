//! A node that routes between a client and two backends, each a network namespace wired to it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::isolation::{run, run_with};

/// Protocol numbers of the IP header.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;

/// IPv4 and IPv6, as in all that follows.
pub(crate) const FAMILIES: usize = 2;
pub(crate) const CLIENT: [&str; FAMILIES] = ["10.0.1.2", "fd00:1::2"];
/// Addresses that nobody has.
pub(crate) const SERVICE: [&str; FAMILIES] = ["10.96.0.1", "fd00:96::1"];
/// Where both backends listen.
pub(crate) const BACKEND_PORT: u16 = 8080;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// What the client got to know of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Its own side.
    pub(crate) local: SocketAddr,
    /// The backend that has answered, by its own words.
    pub(crate) backend: SocketAddr,
    /// The address that the backend saw.
    pub(crate) seen_from: IpAddr,
}

/// Makes the node of this process's network namespace, with rules of nftables and backends that serve.
pub(crate) fn make(rules: &str) {
    run("ip link set lo up");
    for setting in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
        run(&format!("sysctl -qw net.{setting}=1"));
    }
    for (number, name) in [(1, "client"), (2, "one"), (3, "other")] {
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add {name} type veth peer name eth0 netns {name}"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip -n {name} link set eth0 up"));
        for (network, bits) in [(format!("10.0.{number}."), 24), (format!("fd00:{number}::"), 64)] {
            let family = if bits == 24 { "-4" } else { "-6" };
            // No duplicate address detection: the address works at once.
            let at_once = if bits == 24 { "" } else { " nodad" };
            run(&format!("ip addr add {network}1/{bits} dev {name}{at_once}"));
            run(&format!("ip -n {name} addr add {network}2/{bits} dev eth0{at_once}"));
            run(&format!("ip {family} -n {name} route add default via {network}1"));
        }
    }
    run_with("nft -f -", rules);
    for backend in ["one", "other"] {
        within(backend, || {
            let socket = |kind, protocol| {
                let socket = Socket::new(Domain::IPV6, kind, Some(protocol)).unwrap();
                socket.set_only_v6(false).unwrap();
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, BACKEND_PORT)).into()).unwrap();
                socket
            };
            let listener = socket(Type::STREAM, Protocol::TCP);
            listener.listen(128).unwrap();
            let datagrams = socket(Type::DGRAM, Protocol::UDP).into();
            thread::spawn(move || answer_connections(&listener.into(), backend));
            thread::spawn(move || answer_datagrams(&datagrams, backend));
        });
    }
}

/// Runs `work` in a namespace; a socket that is made there stays there.
pub(crate) fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(File::open(format!("/run/netns/{namespace}")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        inside.join().unwrap()
    })
}

/// Says which backend it is, and from where it was called.
fn words(backend: &str, caller: SocketAddr) -> String {
    format!("{backend} {}", caller.ip().to_canonical())
}

fn answer_connections(listener: &TcpListener, backend: &str) {
    while let Ok((mut stream, caller)) = listener.accept() {
        // A client that is gone has its test failed already.
        let _ = stream.write_all(words(backend, caller).as_bytes());
    }
}

fn answer_datagrams(socket: &UdpSocket, backend: &str) {
    while let Ok((_, caller)) = socket.recv_from(&mut [0; 16]) {
        let _ = socket.send_to(words(backend, caller).as_bytes(), caller);
    }
}

/// The client calls a Service, from a port that the kernel chooses.
pub(crate) fn call(protocol: u8, service: SocketAddr) -> Call {
    understand(service, within("client", || if protocol == TCP { over_tcp(None, service) } else { over_udp(service) }))
}

/// The client calls a Service over TCP from its own address and port, which it used before.
pub(crate) fn call_again(local: SocketAddr, service: SocketAddr) -> Call {
    understand(service, within("client", || over_tcp(Some(local), service)))
}

fn understand(service: SocketAddr, (local, answer): (SocketAddr, String)) -> Call {
    let (name, seen_from) = answer.split_once(' ').unwrap();
    let number = if name == "one" { 2 } else { 3 };
    let backend = if service.is_ipv4() { format!("10.0.{number}.2") } else { format!("fd00:{number}::2") };
    Call { local, backend: at(&backend, BACKEND_PORT), seen_from: seen_from.parse().unwrap() }
}

fn over_tcp(local: Option<SocketAddr>, service: SocketAddr) -> (SocketAddr, String) {
    let socket = Socket::new(Domain::for_address(service), Type::STREAM, Some(Protocol::TCP)).unwrap();
    if let Some(local) = local {
        socket.set_reuse_address(true).unwrap();
        socket.bind(&local.into()).unwrap();
    }
    socket.connect_timeout(&service.into(), LIMIT).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (stream.local_addr().unwrap(), answer)
}

fn over_udp(service: SocketAddr) -> (SocketAddr, String) {
    let anywhere: SocketAddr = if service.is_ipv4() { at("0.0.0.0", 0) } else { at("::", 0) };
    let socket = UdpSocket::bind(anywhere).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(service).unwrap();
    socket.send(b"?").unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).unwrap();
    (socket.local_addr().unwrap(), String::from_utf8(answer[..length].to_vec()).unwrap())
}

/// The client sends an SCTP INIT (RFC 9260 section 3.3.2): this machine may have no SCTP sockets.
pub(crate) fn send_sctp(source_port: u16, service: SocketAddr) {
    let mut packet = Vec::new();
    packet.extend(source_port.to_be_bytes());
    packet.extend(service.port().to_be_bytes());
    packet.extend([0; 4]); // the verification tag of an INIT
    packet.extend([0; 4]); // the checksum, which connection tracking is told not to look at
    packet.extend([1, 0, 0, 20]); // INIT, and its length
    packet.extend(0x1234_5678_u32.to_be_bytes()); // the tag that answers must have
    packet.extend(65_535_u32.to_be_bytes()); // the receiver's window
    packet.extend([0, 1, 0, 1]); // one stream each way
    packet.extend([0, 0, 0, 1]); // the first sequence number
    let domain = Domain::for_address(service);
    let destination = SocketAddr::new(service.ip(), 0);
    within("client", || {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(SCTP)))).unwrap();
        socket.send_to(&packet, &destination.into()).unwrap();
    });
}
