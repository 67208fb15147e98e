//! The way to a server, which can be cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Hands on what comes to a port of its own, until it is dropped with the program.
pub(crate) struct Relay {
    address: SocketAddr,
    /// The connections that are open; none where the way is cut.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Relay {
    /// Listens on the loopback interface of the network that the calling thread is in, and asks the server there.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let relay = Self { address, open: Arc::clone(&open) };
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if let Some(open) = &mut *open.lock().unwrap_or_else(PoisonError::into_inner) {
                    // Where the server is away the caller is hung up on.
                    let _ = join(&caller, server, open);
                }
            }
        });
        Ok(relay)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and lets none come about.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default() {
            // It may have ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections come about again.
    pub(crate) fn mend(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }
}

/// Hands on between a caller and the server, on threads that end with the connection.
fn join(caller: &TcpStream, server: SocketAddr, open: &mut Vec<TcpStream>) -> io::Result<()> {
    let called = TcpStream::connect(server)?;
    for (from, to) in [(caller, &called), (&called, caller)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        open.push(from.try_clone()?);
        thread::spawn(move || {
            // However it ends, both sides are told.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
