//! The machine on which the pods run: a network namespace of its own with the node's addresses, that routes.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::error::LabError;
use crate::ip;
use crate::netns::NetNs;
use crate::station::{host_prefix, prepare};

/// The node of a lab. What acts "on the node" is run by [`Node::run`], or started by [`Node::command`].
#[derive(Debug)]
pub struct Node {
    name: String,
    addresses: Vec<IpAddr>,
    netns: NetNs,
    keeper: Keeper,
}

impl Node {
    pub(crate) fn create(name: &str, addresses: &[IpAddr], at: PathBuf) -> Result<Self, LabError> {
        let netns = NetNs::create(at)?;
        prepare(&netns)?;
        netns.sysctl("ipv4/ip_forward", "1")?;
        netns.sysctl("ipv6/conf/all/forwarding", "1")?;
        // Redirects would tell pods of one node to bypass it.
        netns.sysctl("ipv4/conf/all/send_redirects", "0")?;
        // Each refusal is told, however many there are in a second: a pod would wait for one that is held back.
        netns.sysctl("ipv4/icmp_ratemask", "0")?;
        netns.sysctl("ipv6/icmp/ratemask", "128")?;
        // On the loopback interface, because not every kernel has dummy ones.
        let mut commands = vec!["link set lo up".to_owned()];
        commands.extend(addresses.iter().map(|address| format!("address add {} dev lo nodad", host_prefix(address))));
        ip::batch(&netns, &commands)?;
        Ok(Self { name: name.to_owned(), addresses: addresses.to_vec(), keeper: Keeper::start(&netns)?, netns })
    }

    /// The node's name, as in `spec.nodeName`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's addresses, which are also the pods' gateways.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The node's network namespace.
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// Runs `work` on the node, on a thread made for it, and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.netns.run(work)
    }

    /// A command that will run on the node.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.netns.command(program)
    }

    /// Starts a process on the node, whose parent, in the kernel's eyes, is a thread that lives as long as the node: a parent-death
    /// signal then means the end of this process, not of whichever thread happened to start it.
    pub(crate) fn spawn_kept(&self, command: Command) -> std::io::Result<Child> {
        self.keeper.spawn(command)
    }
}

/// The thread on the node that is the parent of the lab's programs.
#[derive(Debug)]
struct Keeper {
    orders: Option<Sender<(Command, Sender<std::io::Result<Child>>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(netns: &NetNs) -> Result<Self, LabError> {
        let (orders, inbox) = channel::<(Command, Sender<std::io::Result<Child>>)>();
        let (arrived, arrival) = channel();
        let entry = netns.entry();
        let thread = thread::spawn(move || {
            let entered = entry.enter();
            let inside = entered.is_ok();
            // The one who starts the thread waits for this, as the one who gives an order waits for its answer.
            let _ = arrived.send(entered);
            if !inside {
                return;
            }
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        let keeper = Self { orders: Some(orders), thread: Some(thread) };
        arrival.recv().expect("the thread reports before it ends").map(|()| keeper)
    }

    fn spawn(&self, command: Command) -> std::io::Result<Child> {
        let (reply, answer) = channel();
        self.orders
            .as_ref()
            .and_then(|orders| orders.send((command, reply)).ok())
            .and_then(|()| answer.recv().ok())
            .unwrap_or_else(|| Err(std::io::Error::other("the thread that starts programs has ended")))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
