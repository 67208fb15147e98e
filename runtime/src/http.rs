//! `/metrics`, `/healthz` and `/readyz`, served beside whatever the program does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::readiness::Readiness;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else has the address.
    #[error("cannot serve metrics on {address}: another process listens there; stop it, or choose another address")]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot serve metrics on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No thread or event loop could be had for the server.
    #[error("cannot start the thread that serves metrics")]
    Thread(#[source] io::Error),
}

/// A running server; dropping it stops it, without waiting for requests that are under way.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Dropped to stop the thread; never sent on. `None` only while the server is being dropped.
    alive: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves on `address` from a thread of its own: `/metrics` gives `registry` in the `OpenMetrics` text format,
/// `/healthz` says that the process runs, and `/readyz` is 200 when all of `readiness` is met, otherwise 503 with the
/// names of the conditions that are not, one a line. Port 0 takes a free one, see [`Server::local_addr`].
pub fn serve(address: SocketAddr, registry: Arc<Registry>, readiness: Readiness) -> Result<Server, ServeError> {
    let (listener, address) = listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::AddressInUse { address },
        _ => ServeError::Listen { address, source },
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Thread)?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(ServeError::Thread)?
    };
    let router = Router::new()
        .route("/metrics", get(move || async move { metrics(&registry) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&readiness) }));
    let (alive, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            runtime.spawn(axum::serve(listener, router).into_future());
            // An error is the ordinary end: the sender was dropped.
            let _ = runtime.block_on(stopped);
        })
        .map_err(ServeError::Thread)?;
    Ok(Server { address, alive: Some(alive), thread: Some(thread) })
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn metrics(registry: &Registry) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("a metric cannot be written: {error}\n")).into_response()
        }
    }
}

fn ready(readiness: &Readiness) -> (StatusCode, String) {
    let unmet = readiness.unmet();
    if unmet.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, unmet.join("\n") + "\n")
}

impl Server {
    /// Where it listens, with the port that was taken where 0 was asked for.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was printed already, and nothing of it is left to undo.
            let _ = thread.join();
        }
    }
}
