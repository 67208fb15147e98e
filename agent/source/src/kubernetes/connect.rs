//! How the API server is reached.

use std::env;
use std::path::Path;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// Where in a pod the API server is (`KUBERNETES_SERVICE_PORT` stands beside it).
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// How long the beginning of a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// On a connection on which nothing comes for this long the kernel asks whether the other side is still there, and asks
/// again so often, this long after each: on many connections nothing happens for minutes, and a node that is cut off
/// would not notice.
const QUIET: Duration = Duration::from_secs(15);
const ASKED_AGAIN: u32 = 3;
const AFTER: Duration = Duration::from_secs(5);

/// So many bytes of an answer are read at a time, at most: some objects, which each connection keeps room for. By itself it
/// would be six times as much, once a list has come that fast.
const READ_AT_ONCE: usize = 1 << 16;

/// Why the API server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The file that says where it is and who asks cannot be used.
    #[error("cannot use the kubeconfig: {0}; KUBECONFIG names another")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// What a pod is given for it cannot be used.
    #[error("cannot use the service account of this pod: {0}; set automountServiceAccountToken")]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// An address that is none.
    #[error("`{0}` is no URL of an API server")]
    Url(String),
    /// The certificates or the token cannot be used.
    #[error("cannot prepare the connection to {url}: {cause}")]
    Client {
        /// The API server.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// The thread or its event loop could not be made.
    #[error("cannot start the thread that follows the cluster's objects: {0}")]
    Thread(#[source] std::io::Error),
}

/// An API server, and who asks it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    config: Config,
}

impl ApiServer {
    /// The one that `KUBECONFIG` names; without it, in a pod, that of the cluster, as the pod's service account; else
    /// that of `~/.kube/config`.
    ///
    /// A token or certificate that is kept in a file is read again when it changes (within a minute).
    pub fn infer() -> Result<Self, ConnectError> {
        let is_given = env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
        if !is_given && env::var_os(IN_CLUSTER).is_some() {
            return Ok(Self::of(Config::incluster()?));
        }
        Self::of_given(Kubeconfig::from_env()?.map_or_else(Kubeconfig::read, Ok)?)
    }

    /// The one that this file names.
    pub fn of_kubeconfig(path: &Path) -> Result<Self, ConnectError> {
        Self::of_given(Kubeconfig::read_from(path)?)
    }

    fn of_given(kubeconfig: Kubeconfig) -> Result<Self, ConnectError> {
        let options = KubeConfigOptions::default();
        let config = futures_util::FutureExt::now_or_never(Config::from_custom_kubeconfig(kubeconfig, &options));
        Ok(Self::of(config.expect("reading files waits for nothing")?))
    }

    /// The one at a URL, asked without a token.
    pub fn at(url: &str) -> Result<Self, ConnectError> {
        url.parse().map(|url| Self::of(Config::new(url))).map_err(|_| ConnectError::Url(url.to_owned()))
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    fn of(config: Config) -> Self {
        Self { config }
    }

    /// A client of it, made within the event loop that drives it. It tries nothing a second time: whoever asks waits and says
    /// so.
    pub fn client(&self) -> Result<Client, ConnectError> {
        let failed = |error: kube::Error| ConnectError::Client { url: self.url(), cause: error.to_string() };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(QUIET));
        tcp.set_keepalive_interval(Some(AFTER));
        tcp.set_keepalive_retries(Some(ASKED_AGAIN));
        let connector = self.config.rustls_https_connector_with_connector(tcp).map_err(failed)?;
        let transport = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .http1_max_buf_size(READ_AT_ONCE)
            .build(connector);
        let service = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .option_layer(self.config.auth_layer().map_err(failed)?)
            .layer(self.config.extra_headers_layer().map_err(failed)?)
            .map_err(BoxError::from)
            .service(transport);
        Ok(Client::new(service, self.config.default_namespace.clone()))
    }
}
