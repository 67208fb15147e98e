//! Which table a file is of, and what follows from it.

use podwitness_schemas::{coverage, layout, policies, verdicts};
use podwitness_spool::Origin;

use crate::file;
use crate::rows::Span;

/// The table of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// `verdicts`, of one namespace.
    Verdicts {
        /// The endpoints' namespace.
        namespace: String,
    },
    /// `coverage`.
    Coverage,
    /// `policies`.
    Policies,
}

impl Table {
    /// Its name in the layout and in the file's metadata.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verdicts { .. } => "verdicts",
            Self::Coverage => "coverage",
            Self::Policies => "policies",
        }
    }

    /// The version of its columns.
    pub fn version(&self) -> u32 {
        match self {
            Self::Verdicts { .. } => verdicts::VERSION,
            Self::Coverage => coverage::VERSION,
            Self::Policies => policies::VERSION,
        }
    }

    /// The namespace whose records the file holds, where it is of one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Verdicts { namespace } => Some(namespace),
            Self::Coverage | Self::Policies => None,
        }
    }

    /// The columns that a person asks for one value of, in a table that is large.
    pub fn bloom_columns(&self) -> &'static [&'static str] {
        match self {
            Self::Verdicts { .. } => &["src_ip", "dst_ip", "src_pod", "dst_pod"],
            Self::Coverage | Self::Policies => &[],
        }
    }

    /// Where a file goes, from the evidence root, of rows from `origin` that cover `span`.
    pub fn path(&self, origin: &Origin, span: &Span) -> String {
        let Origin { cluster, node, boot, .. } = origin;
        let (time, seq) = (file::timestamp(span.opening_time), span.first_seq);
        match self {
            Self::Verdicts { namespace } => layout::verdicts_path(cluster, namespace, time, node, boot, seq),
            Self::Coverage => layout::coverage_path(cluster, time, node, boot, seq),
            Self::Policies => layout::policies_path(cluster, time, node, boot, seq),
        }
    }
}
