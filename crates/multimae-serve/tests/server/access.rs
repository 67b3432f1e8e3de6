//! Access: tokens, and changes of the server from elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use multimae_serve::{QueueConfig, ServerConfig};

use crate::backend::{Server, answer, png, predict, router, server, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let config = ServerConfig { token: Some("secret".to_owned()), ..ServerConfig::default() };
    let router = router(&server, config);
    let with = |token: Option<&str>| {
        let mut request = Request::get("/info");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request.body(Body::empty()).unwrap()
    };
    for token in
        [None, Some("Bearer secre"), Some("Bearer secret2"), Some("secret"), Some("Bearer ")]
    {
        assert_eq!(answer(&router, with(token)).await.0, StatusCode::UNAUTHORIZED, "{token:?}");
    }
    assert_eq!(answer(&router, with(Some("Bearer secret"))).await.0, StatusCode::OK);
    let health = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(answer(&router, health).await.0, StatusCode::OK);
}

/// A server with a folder of one adapter.
struct Changeable {
    server: Server,
    dir: tempfile::TempDir,
}

impl Changeable {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("c.safetensors"), b"x").unwrap();
        Self { server: server(Duration::ZERO, QueueConfig::default()), dir }
    }

    fn router(&self, listen: &str, token: Option<&str>) -> Router {
        let config = ServerConfig {
            listen: listen.parse::<SocketAddr>().unwrap(),
            token: token.map(str::to_owned),
            adapter_folders: vec![self.dir.path().to_owned()],
            ..ServerConfig::default()
        };
        router(&self.server, config)
    }
}

/// Loads an adapter, with further headers.
fn load(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post("/v1/adapters").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(r#"{"name": "c", "file": "c.safetensors"}"#)).unwrap()
}

fn unload(host: &str) -> Request<Body> {
    Request::delete("/v1/adapters/c").header("host", host).body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_local_clients_change_a_server_without_a_token() {
    let server = Changeable::new();
    let own = server.router("127.0.0.1:8080", None);
    let cases = [
        (vec![("host", "127.0.0.1:8080")], true),
        (vec![("host", "LOCALHOST:8080"), ("origin", "http://localhost:8080")], true),
        (vec![("host", "[::1]:8080"), ("origin", "http://127.0.0.1:3000")], true),
        // A name that its owner lets resolve to loopback.
        (vec![("host", "attacker.example:8080")], false),
        (vec![("host", "localhost.attacker.example")], false),
        (vec![("host", "localhost"), ("host", "attacker.example")], false),
        // A page elsewhere that posts here.
        (vec![("host", "localhost"), ("origin", "https://attacker.example")], false),
        (vec![("host", "localhost"), ("origin", "null")], false),
    ];
    for (headers, allowed) in cases {
        let (status, body) = answer(&own, load(&headers)).await;
        let expected = if allowed { StatusCode::CREATED } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "{headers:?}: {}", text(&body));
    }
    assert_eq!(answer(&own, unload("attacker.example")).await.0, StatusCode::FORBIDDEN);
    // Reading and predicting change nothing.
    let mut reading = predict("?adapter=a", png(6, 4));
    reading.headers_mut().insert("host", "example.org".parse().unwrap());
    assert_eq!(answer(&own, reading).await.0, StatusCode::OK);
    assert_eq!(answer(&own, unload("localhost")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_changes_need_the_token() {
    let server = Changeable::new();
    for listen in ["0.0.0.0:8080", "192.168.0.2:8080", "[::]:8080"] {
        let open = server.router(listen, None);
        let (status, body) = answer(&open, load(&[("host", "localhost")])).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{listen}");
        assert!(text(&body).contains("MULTIMAE_TOKEN"), "{}", text(&body));
        assert_eq!(answer(&open, unload("localhost")).await.0, StatusCode::FORBIDDEN);
        assert_eq!(answer(&open, predict("?adapter=a", png(6, 4))).await.0, StatusCode::OK);
    }
    let closed = server.router("0.0.0.0:8080", Some("secret"));
    let elsewhere = ("host", "models.example.org");
    assert_eq!(answer(&closed, load(&[elsewhere])).await.0, StatusCode::UNAUTHORIZED);
    let right = ("authorization", "Bearer secret");
    assert_eq!(answer(&closed, load(&[elsewhere, right])).await.0, StatusCode::CREATED);
}
