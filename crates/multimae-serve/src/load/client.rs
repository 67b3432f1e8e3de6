//! A client of one server: a connection per request, as clients that do not know each other have.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{Error, Result};

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    image: Bytes,
    token: Option<String>,
}

/// An answer of the server.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// From the connection to the last byte.
    pub(super) took: Duration,
    pub(super) retry_after: bool,
}

impl Reply {
    /// The body of an answer.
    ///
    /// # Errors
    /// If it is a refusal; the server's own words are in it.
    pub(super) fn answered(self, what: &str) -> Result<Bytes> {
        if self.status == 200 {
            return Ok(self.body);
        }
        let text = String::from_utf8_lossy(&self.body).into_owned();
        Err(Error::Load(format!("{what}: the server says {}: {text}", self.status)))
    }
}

impl Client {
    /// The server's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn new(address: SocketAddr, token: Option<String>, image: Bytes) -> Self {
        Self { address, image, token }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply> {
        self.send(Request::get(path), Bytes::new()).await
    }

    /// Asks for everything an adapter says of the image.
    pub(super) async fn predict(&self, adapter: &str, deadline: Option<Duration>) -> Result<Reply> {
        let path = format!("/v1/predict?adapter={adapter}");
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(deadline) = deadline {
            request = request.header("x-deadline-ms", deadline.as_millis().to_string());
        }
        self.send(request, self.image.clone()).await
    }

    /// Sends a request with the server's name and the token.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Reply> {
        let broken = |what: &str, error: &dyn std::fmt::Display| {
            Error::Load(format!(
                "http://{}: {what}: {error}; is `multimae serve` running there?",
                self.address
            ))
        };
        let mut request = request;
        if request.headers_ref().is_none_or(|headers| !headers.contains_key(header::HOST)) {
            request = request.header(header::HOST, self.address.to_string());
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| broken("the request", &e))?;
        let begin = Instant::now();
        let stream =
            TcpStream::connect(self.address).await.map_err(|e| broken("connecting", &e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken("connecting", &e))?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| broken("asking", &e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().contains_key(header::RETRY_AFTER);
        let body = response.into_body().collect().await.map_err(|e| broken("reading", &e))?;
        let took = begin.elapsed();
        connection.abort();
        Ok(Reply { status, body: body.to_bytes(), took, retry_after })
    }
}
