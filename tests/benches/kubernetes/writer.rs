//! Writes a policy, and takes the time until it is in force.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use crate::api::{self, Api, version_of};
use crate::objects::{self, CLIENT, PROBED};
use crate::probe::Probe;
use crate::processors;
use crate::times::Times;

/// How long a policy may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between a policy's being in force and the next write.
const PAUSE: [u64; 2] = [20, 80];

/// A writer of the policy that the probe is about, and a watcher that is told of it as the agent is.
pub(crate) struct Writer {
    runtime: Runtime,
    api: Api,
    told: Receiver<Result<(String, Instant)>>,
}

impl Writer {
    /// The policy must be there.
    pub(crate) fn start(kubeconfig: &Path) -> Result<Self> {
        let runtime = event_loop()?;
        let api = runtime.block_on(Api::new(kubeconfig))?;
        let (tell, told) = mpsc::channel();
        let kubeconfig = kubeconfig.to_owned();
        thread::Builder::new().name("watcher".to_owned()).spawn(move || {
            let watched = processors::take_that_of_node().and_then(|()| event_loop()).and_then(|runtime| {
                runtime.block_on(async {
                    let api = Api::new(&kubeconfig).await?;
                    api.watch(&api::policies(CLIENT.namespace), |version, at| tell.send(Ok((version, at))).is_ok())
                        .await
                })
            });
            if let Err(error) = watched {
                // Nobody is interested at the end.
                let _ = tell.send(Err(error));
            }
        })?;
        let writer = Self { runtime, api, told };
        // The watch has begun when it tells something.
        let deadline = Instant::now() + LIMIT;
        loop {
            writer.write(false)?;
            writer.write(true)?;
            match writer.told.recv_timeout(Duration::from_millis(200)) {
                Ok(told) => break told.map(drop)?,
                Err(_) => anyhow::ensure!(Instant::now() < deadline, "the watch tells nothing"),
            }
        }
        Ok(writer)
    }

    /// Opens or closes the way; returns the policy's version.
    pub(crate) fn write(&self, open: bool) -> Result<String> {
        let path = format!("{}/{PROBED}", api::policies(CLIENT.namespace));
        let written = self.runtime.block_on(self.api.change(&path, &objects::probed_change(open)))?;
        version_of(&serde_json::from_str(&written)?)
    }

    /// Opens and closes the way, which is closed, until `is_enough` says so of what was timed; it is closed again then.
    pub(crate) fn time(&self, probe: &Probe, mut is_enough: impl FnMut(&Times) -> bool) -> Result<Times> {
        let mut times = Times::default();
        let mut open = false;
        while open || !is_enough(&times) {
            open = !open;
            let sent = Instant::now();
            let version = self.write(open)?;
            let answered = Instant::now();
            let turn = probe.wait(open, sent, LIMIT)?;
            times.add([sent, answered, self.watched(&version)?], turn);
            thread::sleep(Duration::from_millis(fastrand::u64(PAUSE[0]..PAUSE[1])));
        }
        Ok(times)
    }

    /// When the watcher was told of this version.
    fn watched(&self, version: &str) -> Result<Instant> {
        loop {
            let (told, at) = self.told.recv_timeout(LIMIT).context("the watcher is not told of a policy")??;
            if told == version {
                return Ok(at);
            }
        }
    }
}

/// One whose connections are made in the network of the thread that runs it.
pub(crate) fn event_loop() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make an event loop")
}
