//! How long records must be kept: as long as the longest that was asked for while they were made.

use std::time::Duration;

use podwitness_spool::{SegmentDefinitions, UNKNOWN_NAMESPACE};

/// What was asked for some records together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The longest that a trail asked for.
    seconds: u64,
    /// Whether there was somebody without a trail, for whom the default holds.
    default: bool,
}

impl Asked {
    /// What all namespaces ask for, those without a trail included.
    pub(crate) fn by_all(definitions: &SegmentDefinitions) -> Self {
        let trails = definitions.trails().map_or(&[][..], |trails| trails);
        Self { seconds: trails.iter().map(|trail| trail.retention_seconds).max().unwrap_or(0), default: true }
    }

    /// What a namespace asks for; `of_all` is what all do.
    pub(crate) fn by(namespace: &str, definitions: &SegmentDefinitions, of_all: Self) -> Self {
        if namespace == UNKNOWN_NAMESPACE {
            return of_all;
        }
        match definitions.trail(namespace) {
            Some(trail) => Self { seconds: trail.retention_seconds, default: false },
            None => Self { seconds: 0, default: true },
        }
    }

    /// Both together.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self { seconds: self.seconds.max(other.seconds), default: self.default || other.default }
    }

    /// How long that is.
    pub(crate) fn retention(self, default: Duration) -> Duration {
        let asked = Duration::from_secs(self.seconds);
        if self.default { asked.max(default) } else { asked }
    }
}
