//! What a URL and the environment say, and the library's store that follows from it.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, Checksum};
#[cfg(feature = "azure")]
use object_store::azure::MicrosoftAzureBuilder;
#[cfg(feature = "gcp")]
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, Error, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{ParseError, Url};

use crate::failure::OpenError;
use crate::s3::Bucket;
#[cfg(any(feature = "azure", feature = "gcp"))]
use crate::transport::Paced;

/// How much a single call tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// A few attempts within some seconds: for who repeats for ever, and says in between what is wrong; and for who
    /// does a long piece of work that one lost answer should not end.
    #[default]
    Few,
    /// One attempt, so that its own words are heard and not those of a time limit.
    Once,
}

impl Patience {
    /// How often one request is sent at most.
    pub(crate) fn attempts(self) -> u32 {
        match self {
            Self::Few => 3,
            Self::Once => 1,
        }
    }

    fn retry(self) -> RetryConfig {
        match self {
            Self::Few => RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(2),
                    base: 2.0,
                },
                max_retries: 2,
                retry_timeout: Duration::from_secs(20),
            },
            Self::Once => {
                RetryConfig { max_retries: 0, retry_timeout: Duration::from_secs(5), ..RetryConfig::default() }
            }
        }
    }
}

/// The URL of an evidence root that a person gave as a URL or as a folder's path. The folder need not be there.
pub fn url_of(root: &str) -> Result<String, OpenError> {
    let error = |detail: String| OpenError::Url { url: root.to_owned(), detail };
    match Url::parse(root) {
        Ok(_) => Ok(root.to_owned()),
        Err(ParseError::RelativeUrlWithoutBase) => {
            let path = std::path::absolute(FilePath::new(root)).map_err(|why| error(why.to_string()))?;
            Ok(Url::from_file_path(path).map_err(|()| error("not a folder's path".to_owned()))?.into())
        }
        Err(why) => Err(error(why.to_string())),
    }
}

/// The library's store, and where the root is in it.
pub(crate) struct Opened {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    /// The root in the file system, where the store is a folder.
    pub(crate) folder: Option<PathBuf>,
    /// What S3 can do and the library does not offer.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

pub(crate) fn open(
    url: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    patience: Patience,
) -> Result<Opened, OpenError> {
    let url_error = |detail: String| OpenError::Url { url: url.to_owned(), detail };
    let settings_error = |source: Error| OpenError::Settings { url: url.to_owned(), source };

    let parsed = Url::parse(url).map_err(|error| url_error(error.to_string()))?;
    let (scheme, root) = ObjectStoreScheme::parse(&parsed).map_err(|error| url_error(error.to_string()))?;
    let environment = environment.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut folder = None;
    let mut bucket = None;
    let objects: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => {
            folder = Some(parsed.to_file_path().map_err(|()| url_error("not a folder's path".to_owned()))?);
            // Folders of days that retention has emptied go too.
            Arc::new(LocalFileSystem::new().with_automatic_cleanup(true))
        }
        ObjectStoreScheme::AmazonS3 => {
            let name = parsed.host_str().filter(|_| parsed.scheme() == "s3");
            let name = name.ok_or_else(|| url_error("no bucket's name".to_owned()))?;
            let (objects, opened) =
                Bucket::open(name, s3(url, environment, patience), patience).map_err(settings_error)?;
            bucket = Some(Arc::new(opened));
            Arc::new(objects)
        }
        #[cfg(feature = "gcp")]
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::new()
                .with_url(url)
                .with_retry(patience.retry())
                .with_http_connector(Paced::default());
            let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                Ok(key) if name.starts_with("google_") => builder.with_config(key, value),
                _ => builder,
            });
            Arc::new(builder.build().map_err(settings_error)?)
        }
        #[cfg(feature = "azure")]
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::new()
                .with_url(url)
                .with_retry(patience.retry())
                .with_http_connector(Paced::default());
            let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                Ok(key) if name.starts_with("azure_") => builder.with_config(key, value),
                _ => builder,
            });
            Arc::new(builder.build().map_err(settings_error)?)
        }
        other => return Err(url_error(format!("this build has no store for {other:?}"))),
    };
    Ok(Opened { objects, root, folder, bucket })
}

fn s3(url: &str, environment: impl Iterator<Item = (String, String)>, patience: Patience) -> AmazonS3Builder {
    // A checksum lets the store refuse bytes that were changed on the way; object lock asks for one.
    let builder =
        AmazonS3Builder::new().with_url(url).with_retry(patience.retry()).with_checksum_algorithm(Checksum::SHA256);
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
