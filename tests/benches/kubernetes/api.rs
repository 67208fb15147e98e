//! Requests to the API server.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use kube::{Client, Config};
use serde_json::Value;

use crate::objects::namespace_name;

/// The API server, asked as whom a kubeconfig says.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

impl Api {
    /// Must be called within the event loop that will drive it, on a thread whose network has the API server.
    pub(crate) async fn new(kubeconfig: &Path) -> Result<Self> {
        let given = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(given, &KubeConfigOptions::default()).await?;
        Ok(Self { client: Client::try_from(config)? })
    }

    /// Makes an object at the path of its kind, unless it is there.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<()> {
        match self.client.request_text(request(Method::POST, path, "application/json", object)?).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot make {} at {path}", object["metadata"]["name"])),
        }
    }

    /// Changes the object at the path; returns it as it is then.
    pub(crate) async fn change(&self, path: &str, change: &Value) -> Result<String> {
        let request = request(Method::PATCH, path, "application/merge-patch+json", change)?;
        self.client.request_text(request).await.with_context(|| format!("cannot change {path}"))
    }

    /// Deletes the object at the path at once.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let path = format!("{path}?gracePeriodSeconds=0");
        let request = Request::builder().method(Method::DELETE).uri(&path).body(Vec::new())?;
        self.client.request_text(request).await.with_context(|| format!("cannot delete {path}")).map(drop)
    }

    /// The object or the list at the path.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let request = Request::builder().uri(path).body(Vec::new())?;
        self.client.request_text(request).await.with_context(|| format!("cannot get {path}"))
    }

    /// Tells each change at the path from now on, with its version and the moment at which it came, until `told` returns false.
    pub(crate) async fn watch(&self, path: &str, mut told: impl FnMut(String, Instant) -> bool) -> Result<()> {
        let list: Value = serde_json::from_str(&self.get(&format!("{path}?limit=1")).await?)?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list has a version")?.to_owned();
        let path = format!("{path}?watch=true&timeoutSeconds=3600&resourceVersion={version}");
        let events = self.client.request_events::<Value>(Request::builder().uri(path).body(Vec::new())?).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            let now = Instant::now();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    if !told(version_of(&object)?, now) {
                        return Ok(());
                    }
                }
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => bail!("the watch ended: {status:?}"),
            }
        }
        bail!("the watch ended")
    }
}

fn request(method: Method, path: &str, content: &str, body: &Value) -> Result<Request<Vec<u8>>> {
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    Ok(request.body(serde_json::to_vec(body)?)?)
}

/// `metadata.resourceVersion`.
pub(crate) fn version_of(object: &Value) -> Result<String> {
    Ok(object["metadata"]["resourceVersion"].as_str().context("an object has a version")?.to_owned())
}

/// The path of a kind of the core group in a namespace.
pub(crate) fn core(namespace: usize, resource: &str) -> String {
    format!("/api/v1/namespaces/{}/{resource}", namespace_name(namespace))
}

/// The path of the policies of a namespace.
pub(crate) fn policies(namespace: usize) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", namespace_name(namespace))
}

/// The path of the slices of a namespace.
pub(crate) fn slices(namespace: usize) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", namespace_name(namespace))
}
