//! The object store, as the one thing that the exporter needs of it: put these bytes at this path once.
//!
//! Invariants:
//!
//! - An object is created, never replaced. One that is there already with the same bytes counts as put, because that is
//!   what a repeated upload finds; one with other bytes is [`FailureKind::Conflict`].
//! - What was put is durable on return. Object stores promise that; a folder is synced here.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Error, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutMode, PutOptions, RetryConfig,
};
use podwitness_schemas::layout;
use sha2::{Digest, Sha256};
use thiserror::Error as ThisError;
use url::Url;

use crate::folder;

/// The library's own attempts within one put. Few and short: the exporter repeats for ever, and between two attempts it
/// says what is wrong.
const RETRY: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 },
    max_retries: 2,
    retry_timeout: Duration::from_secs(20),
};

/// The evidence root in a store.
pub struct Store {
    objects: Box<dyn ObjectStore>,
    root: Path,
    url: String,
    /// The root in the file system, where the store is a folder.
    folder: Option<PathBuf>,
}

/// Why a store cannot be opened. Nothing has been sent yet.
#[derive(Debug, ThisError)]
pub enum OpenError {
    /// The URL is of no store that the exporter can write to.
    #[error("`store.url` {url}: expected `s3://`, `gs://`, `az://` or `file:///` and what follows it: {detail}")]
    Url {
        /// The URL as configured.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The environment's settings for this store are not usable.
    #[error("`store.url` {url}: the settings in the environment cannot be used: {source}")]
    Settings {
        /// The URL as configured.
        url: String,
        /// What is wrong with them.
        source: Error,
    },
}

/// Why an object was not put, by what a person can do about it; also a metric label.
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
    /// The store has no room.
    Full,
    /// The store cannot create objects on the condition that they are new.
    Unsupported,
    /// The store did not answer, or answered with a fault of its own.
    Unavailable,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Missing,
        Self::Conflict,
        Self::Layout,
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
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
        }
    }

    /// What a person does about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Unauthenticated => "check the credentials in the exporter's environment",
            Self::Forbidden => "permit the exporter's credentials to create and read objects below `store.url`",
            Self::Missing => "create the bucket or folder, or correct `store.url`",
            Self::Conflict => {
                "another writer uses the same cluster, node and boot, or the object was changed; nothing was overwritten"
            }
            Self::Layout => "use another `store.url`, or the version of Podwitness that wrote it",
            Self::Full => "make room in the store",
            Self::Unsupported => "use a store that supports conditional creation of objects",
            Self::Unavailable => "the spool keeps the evidence until the store answers",
        }
    }
}

/// An object that was not put.
#[derive(Debug, ThisError)]
#[error("cannot write {object}: {detail}; {}", kind.advice())]
pub struct PutError {
    /// What a person can do about it.
    pub kind: FailureKind,
    /// The object's URL.
    pub object: String,
    /// What the store said.
    pub detail: String,
}

impl Store {
    /// Opens the store of `url` with the settings that its cloud's own tools take from the `environment` (`AWS_*`,
    /// `GOOGLE_*`, `AZURE_*`). Sends nothing yet.
    pub fn open(url: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, OpenError> {
        let url_error = |detail: String| OpenError::Url { url: url.to_owned(), detail };
        let settings_error = |source| OpenError::Settings { url: url.to_owned(), source };

        let parsed = Url::parse(url).map_err(|error| url_error(error.to_string()))?;
        let (scheme, root) = ObjectStoreScheme::parse(&parsed).map_err(|error| url_error(error.to_string()))?;
        let environment = environment.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let mut folder = None;
        let objects: Box<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                folder = Some(parsed.to_file_path().map_err(|()| url_error("not a folder's path".to_owned()))?);
                Box::new(LocalFileSystem::new())
            }
            ObjectStoreScheme::AmazonS3 => Box::new(s3(url, environment).build().map_err(settings_error)?),
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::new().with_url(url).with_retry(RETRY);
                let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                    Ok(key) if name.starts_with("google_") => builder.with_config(key, value),
                    _ => builder,
                });
                Box::new(builder.build().map_err(settings_error)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(RETRY);
                let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                    Ok(key) if name.starts_with("azure_") => builder.with_config(key, value),
                    _ => builder,
                });
                Box::new(builder.build().map_err(settings_error)?)
            }
            other => return Err(url_error(format!("no store for {other:?}"))),
        };
        Ok(Self { objects, root, url: url.trim_end_matches('/').to_owned(), folder })
    }

    /// Puts `bytes` at `path` below the root, once: see the module's invariants.
    pub async fn put_once(&self, path: &str, bytes: Bytes) -> Result<(), PutError> {
        let location = self.location(path)?;
        let size = bytes.len() as u64;
        let digest = Sha256::digest(&bytes);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&location, bytes.into(), options).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                let there = self.read(path).await?;
                if there.len() as u64 != size || Sha256::digest(&there) != digest {
                    let detail = format!(
                        "it is there already with other bytes: {} bytes, SHA-256 {:x}, where {size} bytes, SHA-256 {digest:x} \
                         were to be written",
                        there.len(),
                        Sha256::digest(&there),
                    );
                    return Err(self.failure(FailureKind::Conflict, path, &detail));
                }
            }
            Err(error) => return Err(self.explain(path, &error)),
        }
        if let Some(root) = &self.folder {
            folder::make_durable(root, path)
                .map_err(|error| self.failure(kind_of_io(&error), path, &format!("cannot sync it: {error}")))?;
        }
        Ok(())
    }

    /// Writes `podwitness.json` where there is none, and refuses a root of another layout.
    pub async fn claim_root(&self) -> Result<(), PutError> {
        let path = layout::ROOT_MARKER_PATH;
        let marker = layout::RootMarker::current();
        match self.put_once(path, marker.to_json().into()).await {
            Err(PutError { kind: FailureKind::Conflict, .. }) => {
                let there = self.read(path).await?;
                let found: layout::RootMarker = serde_json::from_slice(&there).map_err(|error| {
                    self.failure(FailureKind::Layout, path, &format!("it is there and is no root's marker: {error}"))
                })?;
                if found.layout == marker.layout {
                    return Ok(());
                }
                let detail =
                    format!("the root has layout {}, and this version writes layout {}", found.layout, marker.layout);
                Err(self.failure(FailureKind::Layout, path, &detail))
            }
            other => other,
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes, PutError> {
        let location = self.location(path)?;
        let explain = |error| self.explain(path, &error);
        let found = self.objects.get(&location).await.map_err(explain)?;
        found.bytes().await.map_err(explain)
    }

    fn location(&self, path: &str) -> Result<Path, PutError> {
        Path::parse(format!("{}/{path}", self.root).trim_start_matches('/'))
            .map_err(|error| self.failure(FailureKind::Unsupported, path, &error.to_string()))
    }

    fn explain(&self, path: &str, error: &Error) -> PutError {
        let kind = match error {
            Error::Unauthenticated { .. } => FailureKind::Unauthenticated,
            Error::PermissionDenied { .. } => FailureKind::Forbidden,
            Error::NotFound { .. } => FailureKind::Missing,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => FailureKind::Unsupported,
            other => io_cause(other).map_or(FailureKind::Unavailable, kind_of_io),
        };
        self.failure(kind, path, &error.to_string())
    }

    fn failure(&self, kind: FailureKind, path: &str, detail: &str) -> PutError {
        // Stores answer with documents of several lines, and a message is one.
        let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
        PutError { kind, object: format!("{}/{path}", self.url), detail }
    }
}

fn s3(url: &str, environment: impl Iterator<Item = (String, String)>) -> AmazonS3Builder {
    // A checksum lets the store refuse bytes that were changed on the way; object lock asks for one.
    let builder = AmazonS3Builder::new()
        .with_url(url)
        .with_retry(RETRY)
        .with_checksum_algorithm(object_store::aws::Checksum::SHA256);
    environment.fold(builder, |builder, (name, value)| {
        // Only another server than Amazon's is named by its URL, and who writes `http://` there means it.
        let plain = matches!(name.as_str(), "aws_endpoint_url" | "aws_endpoint_url_s3") && value.starts_with("http://");
        let builder = if plain { builder.with_allow_http(true) } else { builder };
        match name.parse() {
            Ok(key) if name.starts_with("aws_") => builder.with_config(key, value),
            _ => builder,
        }
    })
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

fn kind_of_io(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureKind::Forbidden,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FailureKind::Missing,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::Full,
        _ => FailureKind::Unavailable,
    }
}
