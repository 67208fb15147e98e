//! Taken away while the spool is full.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, NODES, on_cluster, run, wait};
use crate::traces::Traces;

/// How long the store is away still when it is uninstalled.
const AWAY: Duration = Duration::from_secs(20);

/// The store is away, the spool takes nothing more, and both are so still when somebody uninstalls. It waits for the store, and
/// what the kernel had kept for the spool is in the evidence.
#[test]
fn nodes_whose_spool_is_full_are_left_by_the_uninstall_and_nothing_is_lost() -> Result<()> {
    on_cluster("full-spool", |cluster| {
        cluster.prepare()?;
        // The test of the installation looks at all that it could leave; this one at what has its name.
        let ours = |cluster: &Cluster| -> Result<[usize; 2]> {
            let traces = Traces::of(cluster)?;
            Ok(["hook", "podwitness"].map(|name| traces.count(name)))
        };
        let before = ours(cluster)?;
        cluster.install(&["mode=enforce", "config.spool.segmentBytes=64KiB", "config.spool.maxBytes=128KiB"])?;
        let field = cluster.field("full")?;
        let refusals = || -> Result<Vec<u64>> {
            NODES.iter().map(|node| cluster.agent_metric(node, "podwitness_agent_spool_refusals_total")).collect()
        };
        let refused = refusals()?;
        run(cluster.command("program").args(["stop", "versitygw"]))?;
        let sent = field.send_while(|| {
            wait("the spools are full", || Ok(refusals()?.iter().zip(&refused).all(|(now, before)| now > before)))
        })?;

        let mut start = cluster.command("program");
        start.args(["start", "versitygw"]);
        thread::scope(|scope| -> Result<()> {
            let started = scope.spawn(|| {
                thread::sleep(AWAY);
                run(&mut start)
            });
            let uninstalled = cluster.uninstall();
            started.join().expect("a command does not panic")?;
            uninstalled
        })?;
        cluster.await_account("full", &sent)?;
        println!("full: {} probes", sent.len());
        cluster.verify()?;
        cluster.kubectl(&["delete", "namespace", "full"])?;
        let left = ours(cluster)?;
        // What a test before has left behind may have gone meanwhile.
        ensure!(left[0] == 0 && left[1] <= before[1], "hooks, and all with the name: {before:?} before, {left:?} left");
        Ok(())
    })
}
