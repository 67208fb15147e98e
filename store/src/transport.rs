//! How requests are sent: each has time by its size, and a store that asks to be left alone for a while is.
//!
//! The library gives every request the same time, in which a large file never gets through a slow line: it would be sent
//! anew for ever. Here a request may take as long as its bytes need at [`Pace::slowest`], and an answer as long as bytes
//! of it come.
//!
//! A store that is too busy says for how long (`Retry-After`, RFC 9110, 10.2.3). Until then its answer is repeated here, and
//! nothing is sent: so who repeats a request need not know of it, and a person is told at once.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use tokio::time::{Instant, Sleep};

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Until an answer begins to a request without a body, and between two pieces of an answer.
    pub(crate) silence: Duration,
    /// Bytes a second of a request's body: as slow as a line may be.
    pub(crate) slowest: u32,
    /// A store is not left alone for longer, whatever it asks for.
    pub(crate) longest_rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), slowest: 32 << 10, longest_rest: Duration::from_secs(300) }
    }
}

/// Makes connections as the library does, and keeps this pace on them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paced(pub(crate) Pace);

impl HttpConnector for Paced {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(&options.clone().with_timeout_disabled())?;
        Ok(HttpClient::new(Service { inner, pace: self.0, rest: Arc::default() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    pace: Pace,
    rest: Arc<Mutex<Option<Rest>>>,
}

/// A time in which nothing is sent.
#[derive(Clone, Debug)]
struct Rest {
    until: Instant,
    status: StatusCode,
}

impl HttpService for Service {
    fn call<'service, 'call>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'service: 'call,
        Self: 'call,
    {
        Box::pin(self.send(request))
    }
}

impl Service {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(rest) = self.rest() {
            let left = rest.until.saturating_duration_since(Instant::now()).as_secs() + 1;
            // As S3 says it.
            let document = format!(
                "<Error><Code>SlowDown</Code><Message>the store has asked to be left alone, for {left} s more</Message></Error>"
            );
            let mut answer = HttpResponse::new(HttpResponseBody::from(document));
            *answer.status_mut() = rest.status;
            return Ok(answer);
        }
        let for_body = request.body().content_length() as u64 / u64::from(self.pace.slowest);
        let limit = self.pace.silence + Duration::from_secs(for_body);
        let answer = tokio::time::timeout(limit, self.inner.execute(request)).await;
        let answer = answer.map_err(|_| HttpError::new(HttpErrorKind::Timeout, Silent(limit)))??;
        self.note(answer.status(), answer.headers());
        let silence = self.pace.silence;
        Ok(answer.map(|inner| {
            HttpResponseBody::new(Watched { inner, silence, sleep: Box::pin(tokio::time::sleep(silence)) })
        }))
    }

    fn rest(&self) -> Option<Rest> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.as_ref().is_some_and(|rest| rest.until <= Instant::now()) {
            *rest = None;
        }
        rest.clone()
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return;
        }
        if let Some(asked) = headers.get(RETRY_AFTER).and_then(seconds) {
            let until = Instant::now() + asked.min(self.pace.longest_rest);
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rest { until, status });
        }
    }
}

/// Of the two forms of the header the one that object stores use.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Nothing came for so long.
#[derive(Debug)]
struct Silent(Duration);

impl fmt::Display for Silent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "nothing came from the store within {} s", self.0.as_secs())
    }
}

impl Error for Silent {}

/// An answer, of which a piece must come from time to time.
struct Watched {
    inner: HttpResponseBody,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.sleep.as_mut().reset(Instant::now() + this.silence);
            return Poll::Ready(frame);
        }
        this.sleep
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(HttpError::new(HttpErrorKind::Timeout, Silent(this.silence)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
