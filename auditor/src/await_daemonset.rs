//! `podwitness await-daemonset`: waits until a DaemonSet is ready on every node. The chart runs it when it is taken away, to
//! know that every node is clean (`deploy/helm/podwitness/templates/uninstall.yaml`).

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout_at};

use crate::event_loop;
use crate::failure::Failure;

/// How often it is looked at, and how long one look may take.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Wait until the pods of a DaemonSet are ready on every node that it is for, as the service account of this pod or by
/// KUBECONFIG.
///
/// Exit code 1 when they are not in time.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// The DaemonSet
    #[arg(value_name = "NAMESPACE/NAME")]
    name: String,

    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    timeout: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Its controller has not seen it yet, as it is now.
    Unseen,
    /// Its pods are ready on some of the nodes, or on all.
    Ready { ready: i32, nodes: i32 },
}

impl Progress {
    fn of(daemonset: &DaemonSet) -> Self {
        let generation = daemonset.metadata.generation;
        let seen = daemonset.status.as_ref().filter(|status| status.observed_generation >= generation);
        seen.map_or(Self::Unseen, |status| {
            // A pod of an older template that is ready does not count.
            let ready = status.number_ready.min(status.updated_number_scheduled.unwrap_or(0));
            Self::Ready { ready, nodes: status.desired_number_scheduled }
        })
    }

    fn is_done(self) -> bool {
        matches!(self, Self::Ready { ready, nodes } if ready == nodes)
    }

    fn words(self) -> String {
        match self {
            Self::Unseen => "not seen by its controller yet".to_owned(),
            Self::Ready { ready, nodes } => format!("ready on {ready} of {nodes} nodes"),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Some((namespace, name)) = arguments.name.split_once('/') else {
        return Err(Failure::question(format_args!("{} is not of the form NAMESPACE/NAME", arguments.name)));
    };
    let runtime = event_loop::start()?;
    runtime.block_on(wait(namespace, name, Duration::from_secs(arguments.timeout)))
}

async fn wait(namespace: &str, name: &str, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let client = Client::try_default().await;
    let client = client.map_err(|error| Failure::question(format_args!("cannot find the API server: {error}")))?;
    let daemonsets: Api<DaemonSet> = Api::namespaced(client, namespace);
    let mut told = String::new();
    loop {
        let said = match timeout_at(deadline, daemonsets.get(name)).await {
            Ok(Ok(daemonset)) => {
                let progress = Progress::of(&daemonset);
                if progress.is_done() {
                    println!("the DaemonSet {namespace}/{name} is {}", progress.words());
                    return Ok(());
                }
                progress.words()
            }
            // Waiting makes none of these better.
            Ok(Err(kube::Error::Api(status))) if [401, 403, 404].contains(&status.code) => {
                let said = status.message;
                return Err(Failure::question(format_args!("cannot look at the DaemonSet {namespace}/{name}: {said}")));
            }
            Ok(Err(error)) => format!("not to be looked at: {error}"),
            Err(_) => told.clone(),
        };
        if Instant::now() + LOOK_AGAIN > deadline {
            return Err(Failure::answer(format_args!(
                "the DaemonSet {namespace}/{name} is {said} after {} s: see which of its pods are not ready with \
                 kubectl -n {namespace} get pods -o wide",
                limit.as_secs()
            )));
        }
        if said != told {
            println!("the DaemonSet {namespace}/{name} is {said}");
            told = said;
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSetStatus;

    use super::*;

    fn daemonset(generation: i64, status: Option<(i64, i32, i32, i32)>) -> Progress {
        let mut daemonset = DaemonSet::default();
        daemonset.metadata.generation = Some(generation);
        daemonset.status = status.map(|(observed, nodes, updated, ready)| DaemonSetStatus {
            observed_generation: Some(observed),
            desired_number_scheduled: nodes,
            updated_number_scheduled: Some(updated),
            number_ready: ready,
            ..DaemonSetStatus::default()
        });
        Progress::of(&daemonset)
    }

    #[test]
    fn it_is_done_when_the_newest_pods_are_ready_on_every_node() {
        assert_eq!(daemonset(1, None), Progress::Unseen);
        assert_eq!(daemonset(2, Some((1, 3, 3, 3))), Progress::Unseen, "what is said is of the one before");
        for (status, is_done) in
            [((1, 3, 3, 2), false), ((1, 3, 2, 3), false), ((1, 3, 3, 3), true), ((1, 0, 0, 0), true)]
        {
            assert_eq!(daemonset(1, Some(status)).is_done(), is_done, "{status:?}");
        }
        assert_eq!(daemonset(1, Some((1, 3, 3, 2))).words(), "ready on 2 of 3 nodes");
    }
}
