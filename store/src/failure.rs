//! Why something was not done, by what a person can do about it.

use std::error::Error as _;
use std::io;

use object_store::Error;

/// Why a store cannot be opened. Nothing has been sent yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is of no store that there is.
    #[error("the evidence root {url}: expected `s3://`, `gs://`, `az://` or `file:///` and what follows it: {detail}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The environment's settings for this store are not usable.
    #[error("the evidence root {url}: the settings in the environment cannot be used: {source}")]
    Settings {
        /// The URL as given.
        url: String,
        /// What is wrong with them.
        source: Error,
    },
}

/// What a person can do about a failure; also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Credentials are missing or not known to the store.
    Unauthenticated,
    /// The credentials are good and do not permit it.
    Forbidden,
    /// The bucket, container or folder is not there.
    Missing,
    /// The object is there with other bytes.
    Conflict,
    /// The root is of another layout.
    Layout,
    /// The store has locked the object until a time that has not come.
    Locked,
    /// The store cannot lock objects, and is required to.
    Unlocked,
    /// The store has no room.
    Full,
    /// The store cannot do this.
    Unsupported,
    /// The store did not answer, or answered with a fault of its own.
    Unavailable,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Missing,
        Self::Conflict,
        Self::Layout,
        Self::Locked,
        Self::Unlocked,
        Self::Full,
        Self::Unsupported,
        Self::Unavailable,
    ];

    /// The metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Layout => "layout",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
        }
    }

    /// What a person does about it, as a clause.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unauthenticated => "check the credentials in this program's environment",
            Self::Forbidden => "permit these credentials to do so below the evidence root",
            Self::Missing => "create the bucket or folder, or correct the evidence root's URL",
            Self::Conflict => {
                "another writer uses the same cluster, node and boot, or the object was changed; nothing was overwritten"
            }
            Self::Layout => "use another evidence root, or the version of Podwitness that wrote it",
            Self::Locked => "nobody can delete it before that time; a later run will",
            Self::Unlocked => "use a bucket that was made with Object Lock, or set `store.objectLock` to `auto`",
            Self::Full => "make room in the store",
            Self::Unsupported => "use a store that supports this",
            Self::Unavailable => "see whether the store is up and the network leads to it",
        }
    }

    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Unauthenticated { .. } => Self::Unauthenticated,
            Error::PermissionDenied { .. } => Self::Forbidden,
            Error::NotFound { .. } => Self::Missing,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Self::Unsupported,
            other => io_cause(other).map_or_else(|| Self::of_words(&sentence(other)), Self::of_io),
        }
    }

    /// Of a listing that was refused, `object_store` tells the status in words alone.
    fn of_words(words: &str) -> Self {
        [
            ("401 Unauthorized", Self::Unauthenticated),
            ("403 Forbidden", Self::Forbidden),
            ("404 Not Found", Self::Missing),
        ]
        .into_iter()
        .find_map(|(status, kind)| words.contains(status).then_some(kind))
        .unwrap_or(Self::Unavailable)
    }

    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Forbidden,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Unavailable,
        }
    }
}

/// What was not done, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {object}: {detail}; {}", kind.advice())]
pub struct StoreError {
    /// What a person can do about it.
    pub kind: FailureKind,
    /// What was tried: `write`, `read`, `list` or `delete`.
    pub action: &'static str,
    /// The object's URL.
    pub object: String,
    /// What the store said, as one line.
    pub detail: String,
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref() {
            return Some(cause);
        }
        source = cause.source();
    }
    None
}

/// An error and its causes, on one line: stores answer with documents of several.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
