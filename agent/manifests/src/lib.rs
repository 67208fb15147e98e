//! From ordinary Kubernetes objects to the policy crate's [`Cluster`](podwitness_policy::Cluster).
//!
//! The text of a file (YAML or JSON, several documents, `List`s) becomes [`Documents`], and documents become a cluster with
//! [`assemble`]. A source that knows what it reads, such as a watch, reads one object at a time with [`read_object`]: what
//! the one refuses the other refuses.
//!
//! Nothing that is wrong stops the rest from being used, and each fault says where it is, what it is and what
//! follows. An object that the API server would refuse is never taken to mean more than what is certain: a rule of a policy that
//! cannot be understood allows nothing, while the policy goes on isolating.
#![forbid(unsafe_code)]

mod assemble;
pub mod convert;
mod fault;
mod object;
mod read;
mod trail;

pub use assemble::assemble;
pub use fault::{Effect, Fault, Mistake, Place, Problem};
pub use object::{Document, Documents, Object, ObjectKey};
pub use read::{read_documents, read_object};
pub use trail::{AuditTrail, AuditTrailSpec, AuditTrailStatus, Given, Retention, audit_trail_definition};
