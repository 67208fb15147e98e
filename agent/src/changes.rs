//! What the controller is told, and by whom.

use std::{sync::mpsc::Sender, time::Instant};

use podwitness_endpoints::Snapshot;
use podwitness_source::Update;

use crate::hooker::Hooked;

/// What the controller is told.
#[derive(Debug)]
pub(crate) enum Change {
    /// The cluster's objects.
    Cluster(Update),
    /// The node's endpoints, and when they were seen.
    Endpoints(Snapshot, Instant),
    /// What has become of a request for hooks.
    Hooked(Result<Hooked, podwitness_datapath::Error>),
    /// This part tells nothing any more.
    Ended(&'static str),
}

/// Tells the controller what one part has to say, and when that part has ended.
pub(crate) struct Teller {
    changes: Sender<Change>,
    part: &'static str,
}

impl Teller {
    /// For a part, in words such as "what follows the cluster".
    pub(crate) fn new(changes: &Sender<Change>, part: &'static str) -> Self {
        Self { changes: changes.clone(), part }
    }

    /// Tells it. A controller that is gone has been stopped.
    pub(crate) fn tell(&self, change: Change) {
        let _ = self.changes.send(change);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(Change::Ended(self.part));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_part_that_ends_is_told_of_behind_all_that_it_has_said() {
        let (changes, told) = channel();
        let teller = Teller::new(&changes, "what looks for endpoints");
        teller.tell(Change::Endpoints(Snapshot::default(), Instant::now()));
        drop(teller);
        assert!(matches!(told.try_recv(), Ok(Change::Endpoints(..))));
        assert!(matches!(told.try_recv(), Ok(Change::Ended("what looks for endpoints"))));
        assert!(told.try_recv().is_err());
    }
}
