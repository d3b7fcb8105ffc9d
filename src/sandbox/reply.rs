//! What the sandbox answers, and the ways in which an answer can arrive: whole, slowly, cut off, or far too large.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    pub(super) pace: Pace,
}

/// How the body of an answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Whole,
    /// A byte at a time.
    Slow(Duration),
    /// The first half, then the end of the connection.
    CutOff,
    /// This many bytes, whatever [`Reply::body`] holds.
    Huge(u64),
}

/// A body that hyper can send.
#[derive(Debug)]
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Slow { left: Bytes, every: Duration, sleep: Pin<Box<Sleep>> },
    CutOff(Option<Bytes>),
    Huge(u64),
}

static PADDING: [u8; 16 << 10] = [b' '; 16 << 10];

// === impl Reply ===

impl Reply {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// A plain text answer.
    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, headers, body: body.into(), pace: Pace::Whole }
    }

    /// With this header instead of one of the same name; one that cannot be is left out.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.headers.push((name, value));
        }
        self
    }

    pub(super) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub(super) fn response(self) -> Response<Answer> {
        let full = self.body.len();
        let mut half = self.body.clone();
        half.truncate(full / 2);
        let body = match self.pace {
            Pace::Whole => Answer::Whole(Some(self.body)),
            Pace::Slow(every) => Answer::Slow { left: self.body, every, sleep: Box::pin(tokio::time::sleep(every)) },
            Pace::CutOff => Answer::CutOff(Some(half)),
            Pace::Huge(bytes) => Answer::Huge(bytes),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        if self.pace == Pace::CutOff {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(full));
        }
        response
    }
}

// === impl Answer ===

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = match &mut *self {
            Self::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            Self::Slow { left, .. } if left.is_empty() => None,
            Self::Slow { left, every, sleep } => {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                sleep.as_mut().reset(tokio::time::Instant::now() + *every);
                Some(left.split_to(1))
            }
            Self::CutOff(bytes) => {
                let Some(half) = bytes.take() else {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                };
                Some(half)
            }
            Self::Huge(0) => None,
            Self::Huge(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(PADDING.len());
                *left -= now as u64;
                Some(Bytes::from_static(&PADDING[..now]))
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Slow { left, .. } => left.is_empty(),
            Self::CutOff(_) => false,
            Self::Huge(left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Slow { left, .. } => SizeHint::with_exact(left.len() as u64),
            Self::CutOff(_) => SizeHint::new(),
            Self::Huge(left) => SizeHint::with_exact(*left),
        }
    }
}
