//! What S3 can do and `object_store` does not offer: whether the bucket has Object Lock, a put with a lock, until when an
//! object is locked, the versions of objects and the deletion of one.
//!
//! The library's own parts are used for it: its credentials, which it renews, its connections, and its signature. What is
//! ours is five requests and how their answers are read.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use object_store::{ClientOptions, Error};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::failure::{FailureKind, sentence};
use crate::open::Patience;
use crate::transport::Paced;

/// All but the unreserved characters of RFC 3986, as signatures of version 4 want them in paths and queries.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with `/`, for keys.
const ENCODED_IN_PATHS: &AsciiSet = &ENCODED.remove(b'/');

const FIRST_DELAY: Duration = Duration::from_millis(100);

/// A bucket.
pub(crate) struct Bucket {
    builder: AmazonS3Builder,
    client: HttpClient,
    credentials: AwsCredentialProvider,
    signed: bool,
    endpoint: String,
    region: String,
    attempts: u32,
}

/// Why a request was not carried out.
pub(crate) struct Refusal {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
    /// The store's own word for it, where it gave one.
    pub(crate) code: Option<String>,
}

/// One page of versions.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionsPage {
    #[serde(default)]
    pub(crate) version: Vec<ListedVersion>,
    #[serde(default)]
    pub(crate) delete_marker: Vec<ListedMarker>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_version_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedVersion {
    pub(crate) key: String,
    pub(crate) version_id: String,
    pub(crate) is_latest: bool,
    pub(crate) size: u64,
    #[serde(rename = "ETag")]
    pub(crate) etag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedMarker {
    pub(crate) key: String,
    pub(crate) version_id: String,
    pub(crate) is_latest: bool,
}

/// Where the next page begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageMarker {
    key: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockConfiguration {
    object_lock_enabled: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Retention {
    mode: Option<String>,
    retain_until_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDocument {
    code: String,
    #[serde(default)]
    message: String,
}

impl Bucket {
    /// The library's store, and the bucket beside it.
    pub(crate) fn open(name: &str, builder: AmazonS3Builder, patience: Patience) -> Result<(AmazonS3, Self), Error> {
        let connector = Arc::new(Remembering::default());
        let objects = builder.clone().with_http_connector(Shared(Arc::clone(&connector))).build()?;
        let client = connector.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let value = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
        let is_set = |key| value(key).is_some_and(|value| value == "true");
        let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
        let endpoint = match (endpoint, is_set(AmazonS3ConfigKey::VirtualHostedStyleRequest)) {
            (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
            (Some(endpoint), false) => format!("{}/{name}", endpoint.trim_end_matches('/')),
            (None, true) => format!("https://{name}.s3.{region}.amazonaws.com"),
            (None, false) => format!("https://s3.{region}.amazonaws.com/{name}"),
        };
        let opened = Self {
            client: client.expect("a store that was built has asked for its connections"),
            credentials: Arc::clone(objects.credentials()),
            signed: !is_set(AmazonS3ConfigKey::SkipSignature),
            endpoint,
            region,
            attempts: patience.attempts(),
            builder,
        };
        Ok((objects, opened))
    }

    /// The library's store, for puts alone: what it puts is locked until then. It shares connections and credentials.
    pub(crate) fn locking(&self, until: DateTime<Utc>) -> Result<AmazonS3, Error> {
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let until = HeaderValue::from_str(&until).expect("a time is made of digits and signs");
        let headers = HeaderMap::from_iter([
            (http::HeaderName::from_static("x-amz-object-lock-mode"), HeaderValue::from_static("COMPLIANCE")),
            (http::HeaderName::from_static("x-amz-object-lock-retain-until-date"), until),
        ]);
        self.builder
            .clone()
            .with_credentials(Arc::clone(&self.credentials))
            .with_http_connector(Given(self.client.clone()))
            .with_client_options(ClientOptions::new().with_allow_http(true).with_default_headers(headers))
            .build()
    }

    /// Whether the bucket was made with Object Lock.
    pub(crate) async fn has_object_lock(&self) -> Result<bool, Refusal> {
        match self.request(Method::GET, "", &[("object-lock", "")]).await {
            Ok(body) => {
                let found: LockConfiguration = read(&body)?;
                Ok(found.object_lock_enabled.as_deref() == Some("Enabled"))
            }
            Err(refusal) if refusal.code.as_deref() == Some("ObjectLockConfigurationNotFoundError") => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Until when the newest version at `key` is locked in compliance mode. Another mode can be lifted by who has the right
    /// to.
    pub(crate) async fn locked_until(&self, key: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
        match self.request(Method::GET, key, &[("retention", "")]).await {
            Ok(body) => {
                let Retention { mode, retain_until_date } = read(&body)?;
                let until = retain_until_date.filter(|_| mode.as_deref() == Some("COMPLIANCE"));
                until.map(|until| time(&until)).transpose()
            }
            Err(refusal) if matches!(refusal.code.as_deref(), Some("NoSuchObjectLockConfiguration" | "NoSuchKey")) => {
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// One page of the versions whose keys begin with `prefix`, and where the next begins.
    pub(crate) async fn versions(
        &self,
        prefix: &str,
        from: &PageMarker,
    ) -> Result<(VersionsPage, Option<PageMarker>), Refusal> {
        let mut query = vec![("prefix", prefix), ("versions", "")];
        if !from.key.is_empty() {
            query.extend([("key-marker", from.key.as_str()), ("version-id-marker", from.version.as_str())]);
        }
        let page: VersionsPage = read(&self.request(Method::GET, "", &query).await?)?;
        let next = page
            .is_truncated
            .then(|| PageMarker { key: page.next_key_marker.clone(), version: page.next_version_id_marker.clone() });
        Ok((page, next))
    }

    /// Deletes one version for good. One that is not there is no fault.
    pub(crate) async fn delete_version(&self, key: &str, version: &str) -> Result<(), Refusal> {
        match self.request(Method::DELETE, key, &[("versionId", version)]).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.kind == FailureKind::Missing && !refusal.is_missing_bucket() => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn request(&self, method: Method, key: &str, query: &[(&str, &str)]) -> Result<Bytes, Refusal> {
        let mut url = self.endpoint.clone();
        if !key.is_empty() {
            write!(url, "/{}", utf8_percent_encode(key, ENCODED_IN_PATHS)).expect("a string takes everything");
        }
        for (index, (name, value)) in query.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            write!(url, "{sign}{name}={}", utf8_percent_encode(value, ENCODED)).expect("a string takes everything");
        }
        let mut delay = FIRST_DELAY;
        for _ in 1..self.attempts {
            match self.send(&method, &url).await {
                Err(refusal) if matches!(refusal.kind, FailureKind::Unavailable | FailureKind::Busy) => {}
                answer => return answer,
            }
            tokio::time::sleep(delay).await;
            delay *= 4;
        }
        self.send(&method, &url).await
    }

    async fn send(&self, method: &Method, url: &str) -> Result<Bytes, Refusal> {
        let unavailable = |detail: String| Refusal { kind: FailureKind::Unavailable, detail, code: None };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(url)
            .body(HttpRequestBody::empty())
            .map_err(|error| unavailable(format!("{url} cannot be asked: {error}")))?;
        if self.signed {
            let credential = self.credentials.get_credential().await;
            let credential = credential.map_err(|error| Refusal {
                kind: FailureKind::of(&error),
                detail: sentence(&error),
                code: None,
            })?;
            AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        }
        let answer = self.client.execute(request).await.map_err(|error| unavailable(sentence(&error)))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| unavailable(sentence(&error)))?;
        if status.is_success() { Ok(body) } else { Err(Refusal::of(status, &body)) }
    }
}

impl Refusal {
    fn of(status: StatusCode, body: &[u8]) -> Self {
        let document: Option<ErrorDocument> = read(body).ok();
        let code = document.as_ref().map(|document| document.code.clone());
        let detail = match &document {
            Some(ErrorDocument { code, message }) => format!("{status}: {code}: {message}"),
            None => status.to_string(),
        };
        // AWS and others say AccessDenied, and tell it from a lack of permission in the message alone.
        let is_locked = detail.to_ascii_lowercase().contains("object lock") && status == StatusCode::FORBIDDEN;
        let kind = match status {
            _ if is_locked => FailureKind::Locked,
            // So answer servers that do not know the request.
            StatusCode::BAD_REQUEST => FailureKind::Unsupported.or_by_code(code.as_deref()),
            status => FailureKind::of_status(status).or_by_code(code.as_deref()),
        };
        Self { kind, detail, code }
    }

    fn is_missing_bucket(&self) -> bool {
        self.code.as_deref() == Some("NoSuchBucket")
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| unreadable(&error))?;
    quick_xml::de::from_str(text).map_err(|error| unreadable(&error))
}

fn time(text: &str) -> Result<DateTime<Utc>, Refusal> {
    DateTime::parse_from_rfc3339(text).map(Into::into).map_err(|error| unreadable(&error))
}

fn unreadable(why: &dyn std::fmt::Display) -> Refusal {
    Refusal { kind: FailureKind::Unavailable, detail: format!("the answer cannot be read: {why}"), code: None }
}

/// Makes connections as the library does, and remembers the last it made, which are those of the store itself: those
/// for credentials are made before.
#[derive(Debug, Default)]
struct Remembering(Mutex<Option<HttpClient>>);

#[derive(Debug)]
struct Shared(Arc<Remembering>);

impl HttpConnector for Shared {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let client = Paced::default().connect(options)?;
        *self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }
}

/// Gives connections that are there already.
#[derive(Debug)]
struct Given(HttpClient);

impl HttpConnector for Given {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(self.0.clone())
    }
}
