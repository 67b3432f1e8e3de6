//! Errors that no route has answered: refusals of the framework, and panics.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::to_bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::error::Problem;

/// Messages of the framework are no longer than this, in bytes.
const MAX_MESSAGE: usize = 1 << 12;

/// A future whose panic is its outcome.
pub(super) struct CatchPanic<F>(Pin<Box<F>>);

impl<F: Future> CatchPanic<F> {
    pub(super) fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<F: Future> Future for CatchPanic<F> {
    /// `None` after a panic.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    }
}

/// A response whose error is JSON, with the framework's words if it has some.
pub(super) async fn explained(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = to_bytes(response.into_body(), MAX_MESSAGE).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (code, default) = words(status);
    let message = match text.trim() {
        "" => default,
        text => text,
    };
    Problem::new(status, code, message).into_response()
}

fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => {
            ("not_found", "there is no such address; /docs describes those that there are")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method", "the address takes other methods, which the header Allow names")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("content_type", "the content type is not supported"),
        status if status.is_server_error() => ("server", "the server failed; see its log"),
        _ => ("malformed", "the request is not understood"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        assert_eq!(CatchPanic::new(async { 3 }).await, Some(3));
        let broken = CatchPanic::new(async { std::panic::panic_any("a route") });
        assert_eq!(broken.await, None::<()>);
    }

    #[tokio::test]
    async fn errors_of_the_framework_become_json() {
        let plain = (StatusCode::BAD_REQUEST, "in plain words").into_response();
        let response = explained(plain).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["message"], "in plain words");
        let fine = explained("fine".into_response()).await;
        assert_eq!(to_bytes(fine.into_body(), 1000).await.unwrap(), "fine");
    }
}
