//! How the API server is reached.

use std::env;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Where in a pod the API server is (`KUBERNETES_SERVICE_PORT` stands beside it).
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

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
        let kubeconfig = Kubeconfig::from_env()?.map_or_else(Kubeconfig::read, Ok)?;
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

    fn of(mut config: Config) -> Self {
        // Whoever asks waits and says so, rather than a layer beneath.
        config.default_retry = false;
        Self { config }
    }

    /// A client, within the event loop that drives it.
    pub(super) fn client(&self) -> Result<Client, ConnectError> {
        let failed = |error: kube::Error| ConnectError::Client { url: self.url(), cause: error.to_string() };
        Client::try_from(self.config.clone()).map_err(failed)
    }
}
