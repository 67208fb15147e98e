//! Servers that give every caller the same answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::ANSWER;
use crate::error::LabError;
use crate::netns::NetNs;

/// A server on one port of all its addresses. It stops, and its connections end, on drop.
#[derive(Debug)]
pub struct Server {
    port: u16,
    callers: Arc<Callers>,
    // Closing it is the signal to stop.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Who has asked, one entry for each question.
#[derive(Debug, Default)]
struct Callers(Mutex<Vec<SocketAddr>>);

impl Callers {
    fn note(&self, caller: SocketAddr) {
        // An IPv4 address comes in its IPv6 form, because the sockets are for both families.
        let caller = SocketAddr::new(caller.ip().to_canonical(), caller.port());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(caller);
    }

    fn all(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl NetNs {
    /// Answers whoever connects to `port`, over both families.
    pub fn serve_tcp(&self, port: u16) -> Result<Server, LabError> {
        let listener: TcpListener = self.listen(port, Type::STREAM, Protocol::TCP)?.into();
        Server::start(port, move |callers, stop| answer_connections(&listener, callers, stop))
    }

    /// Answers datagrams to `port`, over both families.
    pub fn serve_udp(&self, port: u16) -> Result<Server, LabError> {
        let socket: UdpSocket = self.listen(port, Type::DGRAM, Protocol::UDP)?.into();
        Server::start(port, move |callers, stop| answer_datagrams(&socket, callers, stop))
    }

    fn listen(&self, port: u16, kind: Type, protocol: Protocol) -> Result<Socket, LabError> {
        let open = || {
            let socket = Socket::new(Domain::IPV6, kind, Some(protocol))?;
            socket.set_only_v6(false)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)))?;
            if protocol == Protocol::TCP {
                socket.listen(128)?;
            }
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        self.run(open)?.map_err(LabError::system::<io::Error>(format!("listen on port {port}")))
    }
}

impl Server {
    fn start(
        port: u16,
        serve: impl FnOnce(&Callers, &UnixStream) -> io::Result<()> + Send + 'static,
    ) -> Result<Self, LabError> {
        let (stop, stopped) = UnixStream::pair().map_err(LabError::system("make a pair of sockets"))?;
        let callers = Arc::new(Callers::default());
        let noted = Arc::clone(&callers);
        let thread = thread::spawn(move || serve(&noted, &stopped).expect("a server only uses its own sockets"));
        Ok(Self { port, callers, stop: Some(stop), thread: Some(thread) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many questions have reached it.
    pub fn requests(&self) -> usize {
        self.callers().len()
    }

    /// Where the questions came from, as this side sees it, in their order.
    pub fn callers(&self) -> Vec<SocketAddr> {
        self.callers.all()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

fn answer_connections(listener: &TcpListener, noted: &Callers, stop: &UnixStream) -> io::Result<()> {
    let mut callers: Vec<(TcpStream, SocketAddr)> = Vec::new();
    loop {
        let ready = {
            let mut watched = vec![readable(stop), readable(listener)];
            watched.extend(callers.iter().map(|(caller, _)| readable(caller)));
            wait(&mut watched)?
        };
        if ready[0] {
            return Ok(());
        }
        let mut spoke = ready[2..].iter();
        callers.retain_mut(|(caller, address)| {
            !spoke.next().is_some_and(|spoke| *spoke) || answer(caller, *address, noted)
        });
        if ready[1] {
            match listener.accept() {
                Ok((caller, address)) => {
                    caller.set_nonblocking(true)?;
                    callers.push((caller, address));
                }
                // The caller has hung up before it was accepted.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Answers what the caller said; false when the caller has no more to say, or is gone.
fn answer(caller: &mut TcpStream, address: SocketAddr, callers: &Callers) -> bool {
    let mut said = [0; 256];
    match caller.read(&mut said) {
        Ok(0) => false,
        Ok(_) => {
            callers.note(address);
            caller.write_all(ANSWER).is_ok()
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn answer_datagrams(socket: &UdpSocket, callers: &Callers, stop: &UnixStream) -> io::Result<()> {
    let mut said = [0; 256];
    loop {
        if wait(&mut [readable(stop), readable(socket)])?[0] {
            return Ok(());
        }
        // An error here is one that an answer met on its way (ICMP); the next question is not concerned.
        if let Ok((_, caller)) = socket.recv_from(&mut said) {
            callers.note(caller);
            let _ = socket.send_to(ANSWER, caller);
        }
    }
}

fn readable(socket: &impl AsFd) -> PollFd<'_> {
    PollFd::new(socket.as_fd(), PollFlags::POLLIN)
}

/// Waits until something happens on one of them, and says on which.
fn wait(watched: &mut [PollFd<'_>]) -> io::Result<Vec<bool>> {
    loop {
        match poll(watched, PollTimeout::NONE) {
            Ok(_) => return Ok(watched.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
