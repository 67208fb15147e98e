//! Packets over a real veth pair, through the hooks as they are attached: what `BPF_PROG_TEST_RUN` does not take, and
//! that enforcement outlives the agent.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use podwitness_datapath::{Datapath, Interface};
use podwitness_wire::Counter;

use crate::{
    fixture::{Kernel, options},
    frames::{IN, OUT, SYN},
    hostile::of_every_kind,
    isolation::{isolated, run},
    pins::index,
    world::{World, families},
};

pub(crate) const HOST: &str = "host0";
pub(crate) const POD: &str = "pod0";
const DEADLINE: Duration = Duration::from_secs(10);

/// A veth pair on which the kernel itself sends nothing.
pub(crate) fn quiet_veth() -> Interface {
    fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    run(&format!("ip link add {HOST} type veth peer name {POD}"));
    run(&format!("ip link set {HOST} up"));
    run(&format!("ip link set {POD} up"));
    Interface { index: index(HOST), name: HOST.to_owned() }
}

/// Puts frames on an interface as they are.
pub(crate) struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    pub(crate) fn new(interface: &str) -> Self {
        // SAFETY: the call has no preconditions.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        // SAFETY: all bytes zero is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET.try_into().unwrap();
        address.sll_ifindex = index(interface).try_into().unwrap();
        // SAFETY: the descriptor was just opened, and nothing else owns it.
        Self { socket: unsafe { OwnedFd::from_raw_fd(socket) }, address }
    }

    /// Says whether the interface took it: its own hook may have dropped it.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        let length = size_of::<libc::sockaddr_ll>().try_into().unwrap();
        // SAFETY: frame and address live as long as the call, with these lengths.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                length,
            )
        };
        sent >= 0
    }
}

/// Waits until a counter has this value.
pub(crate) fn await_count(kernel: &Kernel, counter: Counter, value: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = kernel.outlet.counters().unwrap().get(counter);
        if now == value {
            return;
        }
        assert!(now < value && Instant::now() < deadline, "{} is {now}, not {value}", counter.name());
        std::thread::yield_now();
    }
}

#[test]
fn nothing_that_is_cut_short_anywhere_gets_through_a_hook() {
    isolated(|| {
        let host = quiet_veth();
        let mut kernel = Kernel::of(&World { interface: host.index, ..World::closed() });
        assert!(kernel.hooking.set(&[host]).unwrap().is_empty());
        let (from_pod, to_pod) = (Wire::new(POD), Wire::new(HOST));
        let (mut sent, mut refused) = (0, 0);
        for frame in families().iter().flat_map(of_every_kind) {
            for length in 14..=frame.len() {
                let is_taken = from_pod.send(&frame[..length]);
                if length > 14 {
                    assert!(is_taken, "{length} bytes");
                }
                sent += u64::from(is_taken);
                refused += u64::from(!to_pod.send(&frame[..length]));
            }
            await_count(&kernel, Counter::PacketsOut, sent);
        }
        await_count(&kernel, Counter::PacketsDropped, sent + refused);
        let counters = kernel.outlet.counters().unwrap();
        assert!(sent > 1000);
        assert_eq!(counters.get(Counter::PacketsIn), counters.get(Counter::PacketsDropped) - sent);
        let (denials, losses) = kernel.drain();
        assert_eq!(losses, []);
        let counted: u64 = denials.iter().map(|(_, denial)| denial.packets).sum();
        assert_eq!(counted, counters.get(Counter::PacketsDropped));
        kernel.assert_balance();
    });
}

#[test]
fn enforcement_outlives_the_agent() {
    isolated(|| {
        let host = quiet_veth();
        let family = families()[0];
        let mut kernel = Kernel::of(&World { interface: host.index, ..World::isolated() });
        assert!(kernel.hooking.set(&[host]).unwrap().is_empty());
        drop(kernel);

        let wire = Wire::new(POD);
        assert!(wire.send(&family.https().tcp(OUT, SYN, 1)));
        assert!(wire.send(&family.to(family.peer, 444).tcp(OUT, SYN, 1)));
        // On a veth, what its hook drops is told to the sender.
        assert!(!Wire::new(HOST).send(&family.from(family.peer, 443).tcp(IN, SYN, 1)));

        let mut kernel = Kernel::new();
        await_count(&kernel, Counter::PacketsOut, 2);
        assert_eq!(kernel.outlet.counters().unwrap().get(Counter::PacketsDropped), 2);
        let mut events = Vec::new();
        kernel.outlet.read_events(kernel.outlet.acknowledged(), 10, &mut events);
        assert_eq!(events.iter().map(|event| event.key.peer_port).collect::<Vec<_>>(), [443]);
        let mut denied: Vec<u16> = kernel.drain().0.iter().map(|(key, _)| key.port).collect();
        denied.sort_unstable();
        assert_eq!(denied, [443, 444]);
        drop(kernel);
        drop(Datapath::open(&options()).unwrap());
    });
}
