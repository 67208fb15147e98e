//! What was delivered last, so that only what is new is.

use std::sync::Arc;
use std::time::Instant;

use podwitness_policy::Cluster;

use crate::{Fault, Update};

/// The last delivery.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    last: Option<Update>,
}

impl Delivered {
    /// The next update, unless it would say the same again.
    pub(crate) fn update(
        &mut self,
        cluster: Option<&Cluster>,
        faults: Vec<Fault>,
        complete: bool,
        received: Instant,
    ) -> Option<Update> {
        let same_cluster =
            self.last.as_ref().and_then(|last| last.cluster.as_ref()).filter(|last| Some(&***last) == cluster);
        if let Some(last) = &self.last
            && same_cluster.is_some() == cluster.is_some()
            && last.faults == faults
            && last.complete == complete
        {
            return None;
        }
        let cluster = same_cluster.cloned().or_else(|| cluster.cloned().map(Arc::new));
        let update = Update { cluster, faults, complete, received };
        self.last = Some(update.clone());
        Some(update)
    }
}
