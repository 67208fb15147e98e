//! An evidence root, wherever it is: in an object store or in a folder.
//!
//! # Invariants
//!
//! - An object is created, never replaced. One that is there already with the same bytes counts as put, because that is
//!   what a repeated upload finds; one with other bytes is [`FailureKind::Conflict`].
//! - What was put is durable on return. Object stores promise that; a folder is synced here.
//! - Paths are those of `schemas/FORMAT.md`: relative to the root, percent-encoded as they stand, the same in every store.
//! - A failure is one sentence: what, where, what the store said, what to do.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `open` | what a URL and the environment say, and the library's store that follows from it |
//! | `store` | what can be done below a root |
//! | `failure` | why something was not done, by what a person can do about it |
//! | `folder` | what a folder needs to be as durable as an object store |
//! | `lock` | the store's own lock: whether there is one, and until when |
//! | `versions` | older versions, delete markers, and deleting for good where there are such |
//! | `transport` | how long a request may take, and when none is sent |
//! | `s3` | the five requests that `object_store` does not offer |
//!
//! `gs://` and `az://` are those of `object_store`; `make azurite` tries the second on an emulator.
#![forbid(unsafe_code)]

mod failure;
mod folder;
mod lock;
mod open;
mod s3;
mod store;
mod transport;
mod versions;

pub use failure::{FailureKind, OpenError, StoreError};
pub use lock::{LockPolicy, ObjectLock};
pub use open::{Patience, url_of};
pub use store::{Marker, Object, Store};
pub use versions::Version;
