//! The taint with which a node is registered so that no pod comes to it before it is witnessed: taken away when the agent is
//! ready for the first time. Whoever registers the nodes puts it there.

use std::{io, thread, time::Duration};

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use podwitness_runtime::{readiness::Readiness, shutdown::Shutdown};
use podwitness_source::{ApiServer, ConnectError};
use serde_json::json;

/// Between two looks at whether the agent is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Between two attempts: pods wait for it, and an API server that is away is asked by every node.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Takes the taint off the node when the agent is ready, on a thread of its own that then ends.
pub(crate) fn lift_when_ready(
    key: String,
    node: String,
    server: ApiServer,
    readiness: Readiness,
    shutdown: Shutdown,
) -> io::Result<()> {
    let lifter = thread::Builder::new().name("taint".to_owned()).spawn(move || {
        while !readiness.is_ready() {
            if shutdown.wait_timeout(LOOK_AGAIN) {
                return;
            }
        }
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, key, "cannot take the taint off the node"),
        };
        loop {
            match runtime.block_on(lift(&key, &node, &server)) {
                Ok(true) => return tracing::info!(key, "the node is ready: took its taint away"),
                Ok(false) => return tracing::debug!(key, "the node has no taint to take away"),
                Err(error) => tracing::warn!(%error, key, "cannot take the taint off the node yet"),
            }
            if shutdown.wait_timeout(TRY_AGAIN) {
                return;
            }
        }
    });
    lifter.map(drop)
}

/// Why the taint could not be taken away.
#[derive(Debug, thiserror::Error)]
enum LiftError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", sentence(.0))]
    Refused(#[from] kube::Error),
}

/// Whether there was one.
async fn lift(key: &str, name: &str, server: &ApiServer) -> Result<bool, LiftError> {
    let nodes: Api<Node> = Api::all(server.client()?);
    let node = nodes.get(name).await?;
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let Some(others) = without(&taints, key) else { return Ok(false) };
    // The list is replaced as a whole: with the version, the server refuses where somebody has changed it meanwhile.
    let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": others}});
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(true)
}

/// The taints but for those of `key`; `None` where there is none of it.
fn without(taints: &[Taint], key: &str) -> Option<Vec<Taint>> {
    let others: Vec<Taint> = taints.iter().filter(|taint| taint.key != key).cloned().collect();
    (others.len() < taints.len()).then_some(others)
}

fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{}; give the agent's ClusterRole the rule {{apiGroups: [\"\"], resources: [\"nodes\"], verbs: [\"get\", \"patch\"]}}",
            status.message
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_taint_of_this_key_goes_whatever_its_effect() {
        let taint =
            |key: &str, effect: &str| Taint { key: key.to_owned(), effect: effect.to_owned(), ..Taint::default() };
        let ours = [taint("podwitness.io/x", "NoSchedule"), taint("podwitness.io/x", "NoExecute")];
        let other = taint("node.kubernetes.io/not-ready", "NoSchedule");
        let taints = [ours[0].clone(), other.clone(), ours[1].clone()];
        assert_eq!(without(&taints, "podwitness.io/x"), Some(vec![other.clone()]));
        assert_eq!(without(&ours, "podwitness.io/x"), Some(vec![]));
        assert_eq!(without(&[other], "podwitness.io/x"), None);
    }
}
