//! Why something was not done, by what a person can do about it.

use std::error::Error as _;
use std::io;

use http::StatusCode;
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
    /// What was sent bears another time than the store's.
    Clock,
    /// The store has too much to do.
    Busy,
    /// The store did not answer, or answered with a fault of its own.
    Unavailable,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Missing,
        Self::Conflict,
        Self::Layout,
        Self::Locked,
        Self::Unlocked,
        Self::Full,
        Self::Unsupported,
        Self::Clock,
        Self::Busy,
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
            Self::Clock => "clock",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// What a person does about it, as a clause.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unauthenticated => {
                "check this program's credentials; those that stand in its environment are read when it starts"
            }
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
            Self::Clock => "set this machine's clock by a time server",
            Self::Busy => "nothing needs to be done unless it lasts: then have the store allow more requests",
            Self::Unavailable => "see whether the store is up and the network leads to it",
        }
    }

    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Unauthenticated { .. } => Self::Unauthenticated,
            Error::PermissionDenied { .. } => Self::Forbidden,
            Error::NotFound { .. } => Self::Missing,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Self::Unsupported,
            other => io_cause(other).map_or_else(|| Self::of_words(&words(other)), Self::of_io),
        }
        .or_by_code(code(&words(error)).as_deref())
    }

    /// Of most statuses, `object_store` tells in words alone.
    fn of_words(words: &str) -> Self {
        const TOLD: &str = "status code: ";
        let status = words.split_once(TOLD).and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        status.map_or(Self::Unavailable, Self::of_status)
    }

    /// What a status alone says (RFC 9110, RFC 4918).
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::Missing,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Self::Unsupported,
            StatusCode::TOO_MANY_REQUESTS => Self::Busy,
            StatusCode::INSUFFICIENT_STORAGE => Self::Full,
            _ => Self::Unavailable,
        }
    }

    /// The same, or what the store's own word says, where that tells more: stores answer 403 or 400 to credentials that
    /// they do not know, to such as have expired, and to a clock that is wrong.
    #[must_use]
    pub(crate) fn or_by_code(self, code: Option<&str>) -> Self {
        match code {
            Some(
                "AuthenticationFailed"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidAccessKeyId"
                | "InvalidClientTokenId"
                | "InvalidIdentityToken"
                | "InvalidToken"
                | "SignatureDoesNotMatch"
                | "TokenRefreshRequired"
                | "UnrecognizedClientException"
                // So versitygw has it.
                | "XAdminUserNotFound",
            ) => Self::Unauthenticated,
            Some("RequestTimeTooSkewed" | "RequestExpired") => Self::Clock,
            Some("RequestLimitExceeded" | "ServerBusy" | "SlowDown" | "Throttling" | "ThrottlingException") => {
                Self::Busy
            }
            Some("QuotaExceeded" | "XMinioStorageFull") => Self::Full,
            _ => self,
        }
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

/// Whether there is no such object. Stores also answer 404 where there is no such bucket, and some where there is no such
/// user, which are told by a word of their own.
pub(crate) fn is_absent(error: &Error) -> bool {
    const OF_OBJECTS: [&str; 3] = ["BlobNotFound", "NoSuchKey", "NoSuchVersion"];
    matches!(error, Error::NotFound { .. })
        && code(&words(error)).is_none_or(|code| OF_OBJECTS.contains(&code.as_str()))
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

/// An error and its causes, on one line, with a store's document as its code and its message.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let text = words(error);
    let Some((before, document)) = text.split_once('<') else { return text };
    match (code(document), between(document, "<Message>", "</Message>")) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{before}{code}: {message}"),
        (Some(code), _) => format!("{before}{code}"),
        (None, _) => text,
    }
}

/// An error and its causes, on one line: stores answer with documents of several.
fn words(error: &dyn std::error::Error) -> String {
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

/// The word that S3, Google and Azure have for what is wrong, in the document with which they answer; also that of
/// Amazon's service for credentials.
fn code(text: &str) -> Option<String> {
    between(text, "<Code>", "</Code>").map(str::to_owned)
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

#[cfg(test)]
mod tests;
