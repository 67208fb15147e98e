//! Whether the object store answers.
//!
//! It is asked as the exporter would ask it, with what this process finds in its environment. Nothing is written.

use std::path::Path;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, RetryConfig, path};
use podwitness_schemas::layout::{ROOT_MARKER_PATH, RootMarker};
use url::Url;

use super::check::{Check, sentence};

const NAME: &str = "store";
/// How long the store may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);
/// One attempt, so that its own words are heard and not those of a time limit.
const ONCE: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_millis(100),
        base: 2.0,
    },
    max_retries: 0,
    retry_timeout: PATIENCE,
};

/// A store, and where the evidence root is in it.
struct Root {
    objects: Box<dyn ObjectStore>,
    path: path::Path,
}

pub(super) async fn check(url: &str, environment: impl Iterator<Item = (String, String)>) -> Check {
    if let Some(check) = folder_fault(url) {
        return check;
    }
    let root = match open(url, environment) {
        Ok(root) => root,
        Err(why) => {
            return Check::failed(NAME, format!("{url}: {why}"), "correct `store.url` or the environment's settings");
        }
    };
    tokio::time::timeout(PATIENCE, ask(&root, url)).await.unwrap_or_else(|_| {
        Check::failed(
            NAME,
            format!("{url} did not answer within {} s", PATIENCE.as_secs()),
            "see whether the node's network leads to the store: the spool keeps evidence meanwhile",
        )
    })
}

/// A folder that is not there lists as an empty one.
fn folder_fault(url: &str) -> Option<Check> {
    let folder = Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
    let is_there = Path::is_dir(&folder);
    let advice = "make the folder, and let the exporter's user write to it";
    (!is_there).then(|| Check::failed(NAME, format!("there is no folder {}", folder.display()), advice))
}

fn open(url: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Root, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| sentence(&error))?;
    let environment = environment.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let build = |error: Error| sentence(&error);
    let objects: Box<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => Box::new(LocalFileSystem::new()),
        ObjectStoreScheme::AmazonS3 => Box::new(s3(url, environment).build().map_err(build)?),
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::new().with_url(url).with_retry(ONCE);
            let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                Ok(key) if name.starts_with("google_") => builder.with_config(key, value),
                _ => builder,
            });
            Box::new(builder.build().map_err(build)?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(ONCE);
            let builder = environment.fold(builder, |builder, (name, value)| match name.parse() {
                Ok(key) if name.starts_with("azure_") => builder.with_config(key, value),
                _ => builder,
            });
            Box::new(builder.build().map_err(build)?)
        }
        other => return Err(format!("there is no store for {other:?}")),
    };
    Ok(Root { objects, path })
}

fn s3(url: &str, environment: impl Iterator<Item = (String, String)>) -> AmazonS3Builder {
    environment.fold(AmazonS3Builder::new().with_url(url).with_retry(ONCE), |builder, (name, value)| {
        // Only another server than Amazon's is named by its URL, and who writes `http://` there means it.
        let plain = matches!(name.as_str(), "aws_endpoint_url" | "aws_endpoint_url_s3") && value.starts_with("http://");
        let builder = if plain { builder.with_allow_http(true) } else { builder };
        match name.parse() {
            Ok(key) if name.starts_with("aws_") => builder.with_config(key, value),
            _ => builder,
        }
    })
}

async fn ask(root: &Root, url: &str) -> Check {
    let marker = root.path.clone().join(ROOT_MARKER_PATH);
    let found = match root.objects.get(&marker).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    match found {
        Ok(bytes) => judge_marker(&bytes, url),
        // A bucket that is not there looks the same, until it is listed.
        Err(Error::NotFound { .. }) => match root.objects.list_with_delimiter(Some(&root.path)).await {
            Ok(_) => Check::ok(NAME, format!("{url} answers; no evidence has been written there yet")),
            Err(error @ (Error::Unauthenticated { .. } | Error::PermissionDenied { .. })) => refused(url, &error),
            Err(error) => Check::failed(
                NAME,
                format!("{url}: {}", sentence(&error)),
                "create the bucket or container, or correct `store.url`",
            ),
        },
        Err(error) => refused(url, &error),
    }
}

fn judge_marker(bytes: &[u8], url: &str) -> Check {
    let layout = RootMarker::current().layout;
    let advice = "set `store.url` to an evidence root, or to a new prefix";
    match serde_json::from_slice::<RootMarker>(bytes) {
        Ok(marker) if marker.layout == layout => {
            Check::ok(NAME, format!("{url} answers, and is an evidence root of layout {layout}"))
        }
        Ok(marker) => {
            let found = format!("{url} has layout {}, and this version writes layout {layout}", marker.layout);
            Check::failed(NAME, found, advice)
        }
        Err(error) => {
            Check::failed(NAME, format!("{url} has a {ROOT_MARKER_PATH} of somebody else's: {error}"), advice)
        }
    }
}

fn refused(url: &str, error: &Error) -> Check {
    let found = format!("{url}: {}", sentence(error));
    match error {
        Error::Unauthenticated { .. } => {
            Check::failed(NAME, found, "check the credentials in this environment: the exporter's own may be others")
        }
        Error::PermissionDenied { .. } => {
            let advice = "permit the credentials to create, read and list objects below `store.url`; the exporter's own may \
                          be others than those of this environment";
            Check::failed(NAME, found, advice)
        }
        _ => Check::failed(NAME, found, "see whether the store is up: the spool keeps evidence until it answers"),
    }
}

#[cfg(test)]
mod tests;
