//! Faults of the engine and of loading: each fails its own request alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode};
use multimae_serve::{QueueConfig, Refusal, ServerConfig};

use crate::backend::{Server, answer, png, predict, router, server, soon, text, work};

/// Requests that wait together behind one that holds the engine, and their outcomes.
async fn batch_of(server: &Server, names: &[&str]) -> Vec<Result<(), Refusal>> {
    let gate = server.slow.gate();
    let submit = |name: &str| {
        let (queue, request) = (server.queue.clone(), work(name));
        tokio::spawn(async move { queue.compute(request, soon()).await.map(|_| ()) })
    };
    let first = submit("gated");
    while server.queue.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    let mut all = Vec::new();
    for (number, name) in names.iter().enumerate() {
        all.push(submit(name));
        while server.queue.waiting() < number + 2 {
            tokio::task::yield_now().await;
        }
    }
    gate.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(()));
    let mut outcomes = Vec::new();
    for one in all {
        outcomes.push(one.await.unwrap());
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_request_fails_alone() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let names = ["a", "b", "broken", "a", "lossy", "b", "priceless", "a"];
    let outcomes = batch_of(&server, &names).await;
    for (name, outcome) in names.iter().zip(outcomes) {
        let poisoned = ["broken", "lossy", "priceless"].contains(name);
        let expected = if poisoned { Err(Refusal::Panicked) } else { Ok(()) };
        assert_eq!(outcome, expected, "{name}");
    }
    // A fresh engine after each panic; the backend checks that none is used after its own.
    assert_eq!(server.queue.restarts() as usize + 1, server.slow.starts.load(Ordering::SeqCst));
    assert!(server.queue.restarts() >= 3);
    assert_eq!(server.queue.waiting(), 0);
    assert!(server.queue.compute(work("a"), soon()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_engine_is_an_answer_of_the_server() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let (status, body) = answer(&router, predict("?adapter=broken", png(6, 4))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(&body).contains("the engine panicked on this request"), "{}", text(&body));
    assert_eq!(answer(&router, predict("?adapter=a", png(6, 4))).await.0, StatusCode::OK);
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let metrics = text(&answer(&router, request).await.1);
    assert!(metrics.contains("multimae_panics_total{stage=\"forward\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_a_batch_is_refused() {
    let config = QueueConfig { max_tokens: 50, ..QueueConfig::default() };
    let server = server(Duration::ZERO, config);
    let outcomes = batch_of(&server, &["a", "costly", "b"]).await;
    let refused = Err(Refusal::TooLarge { tokens: 1_000_000, limit: 50 });
    assert_eq!(outcomes, [Ok(()), refused, Ok(())]);
    let router = router(&server, ServerConfig::default());
    let (status, body) = answer(&router, predict("?adapter=costly", png(6, 4))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text(&body).contains("--batch-tokens 1000000"), "{}", text(&body));
    assert_eq!(server.queue.restarts(), 0);
}

async fn health(router: &Router) -> (StatusCode, serde_json::Value) {
    let request = Request::get("/health").body(Body::empty()).unwrap();
    let (status, body) = answer(router, request).await;
    (status, serde_json::from_slice(&body).unwrap())
}

/// Asks until the health is as expected: outcomes are kept for a second.
async fn health_becomes(router: &Router, expected: StatusCode) -> serde_json::Value {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, body) = health(router).await;
        if status == expected {
            return body;
        }
        assert!(Instant::now() < patience, "{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_that_of_a_forward_pass() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    assert_eq!(health(&router).await.0, StatusCode::OK);
    server.slow.failing.store(true, Ordering::SeqCst);
    let body = health_becomes(&router, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(body["error"]["message"], "the weights are damaged");
    server.slow.failing.store(false, Ordering::SeqCst);
    health_becomes(&router, StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_do_not_overload_the_engine() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let all: Vec<_> = (0..500)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { health(&router).await.0 })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), StatusCode::OK);
    }
    // One, or a few on a machine that needs seconds for this.
    let probes = server.slow.probes.load(Ordering::SeqCst);
    assert!((1..50).contains(&probes), "{probes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_start_is_tried_again() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    server.slow.down.store(true, Ordering::SeqCst);
    let (status, body) = answer(&router, predict("?adapter=a", png(6, 4))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(&body).contains("no memory for an engine"), "{}", text(&body));
    let ready = || Request::get("/ready").body(Body::empty()).unwrap();
    assert_eq!(answer(&router, ready()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health(&router).await.0, StatusCode::SERVICE_UNAVAILABLE);
    server.slow.down.store(false, Ordering::SeqCst);
    health_becomes(&router, StatusCode::OK).await;
    assert_eq!(answer(&router, ready()).await.0, StatusCode::OK);
    assert_eq!(answer(&router, predict("?adapter=a", png(6, 4))).await.0, StatusCode::OK);
}

/// A server whose folder has files that load, that do not, and that panic.
fn loading(config: ServerConfig) -> (Server, Router, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["c", "damaged", "broken", "gated"] {
        fs_err::write(dir.path().join(format!("{name}.safetensors")), b"x").unwrap();
    }
    let server = server(Duration::ZERO, QueueConfig::default());
    let folders = vec![dir.path().to_owned()];
    let router = router(&server, ServerConfig { adapter_folders: folders, ..config });
    (server, router, dir)
}

fn load(name: &str, file: &str) -> Request<Body> {
    let body = serde_json::json!({"name": name, "file": format!("{file}.safetensors")});
    let request = Request::post("/v1/adapters").header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn unload(name: &str) -> Request<Body> {
    Request::delete(format!("/v1/adapters/{name}")).body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_loading_or_unloading_fails_that_request() {
    let (server, router, dir) = loading(ServerConfig::default());
    let before = server.queue.catalog().len();
    let (status, body) = answer(&router, load("c", "damaged")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let folder = dir.path().display().to_string();
    assert!(!text(&body).contains(&folder), "the folder is told: {}", text(&body));
    for request in [load("c", "broken"), unload("broken")] {
        assert_eq!(answer(&router, request).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(server.queue.catalog().len(), before);
    assert_eq!(server.queue.restarts(), 0, "the engine has no part in it");
    assert_eq!(answer(&router, load("c", "c")).await.0, StatusCode::CREATED);
    assert_eq!(answer(&router, predict("?adapter=c", png(6, 4))).await.0, StatusCode::OK);
    assert_eq!(answer(&router, unload("c")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_takes_permits_and_does_not_stop_predictions() {
    let (server, router, _dir) = loading(ServerConfig { permits: 2, ..ServerConfig::default() });
    let gate = server.slow.gate();
    let in_background = |request: Request<Body>| {
        let router = router.clone();
        tokio::spawn(async move { answer(&router, request).await.0 })
    };
    let free = async || {
        let request = Request::get("/ready").body(Body::empty()).unwrap();
        let (_, body) = answer(&router, request).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["free_permits"].as_u64().unwrap()
    };
    let first = in_background(load("c", "gated"));
    while free().await > 1 {
        tokio::task::yield_now().await;
    }
    // The engine works while the file is read.
    assert_eq!(answer(&router, predict("?adapter=a", png(6, 4))).await.0, StatusCode::OK);
    // One load at a time: another waits, within its deadline and with a permit of its own.
    let mut late = load("d", "c");
    late.headers_mut().insert("x-deadline-ms", "20".parse().unwrap());
    assert_eq!(answer(&router, late).await.0, StatusCode::GATEWAY_TIMEOUT);
    let second = in_background(load("d", "c"));
    while free().await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(answer(&router, unload("a")).await.0, StatusCode::TOO_MANY_REQUESTS);
    gate.send(()).unwrap();
    assert_eq!(first.await.unwrap(), StatusCode::CREATED);
    assert_eq!(second.await.unwrap(), StatusCode::CREATED);
    assert_eq!(free().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_adapters_is_bounded() {
    let max_adapters = crate::backend::ADAPTERS.len() + 1;
    let (_server, router, _dir) = loading(ServerConfig { max_adapters, ..ServerConfig::default() });
    assert_eq!(answer(&router, load("c", "c")).await.0, StatusCode::CREATED);
    let (status, body) = answer(&router, load("d", "c")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text(&body).contains("--max-adapters"), "{}", text(&body));
    // One of the same name takes no more room.
    assert_eq!(answer(&router, load("c", "c")).await.0, StatusCode::CREATED);
    assert_eq!(answer(&router, unload("a")).await.0, StatusCode::OK);
    assert_eq!(answer(&router, load("d", "c")).await.0, StatusCode::CREATED);
}

/// A body whose client has stopped sending.
struct Stalled;

impl HttpBody for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_loses_its_permit() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig { permits: 1, ..ServerConfig::default() });
    let stalled = Request::post("/v1/predict?adapter=a")
        .header("content-type", "image/png")
        .header("x-deadline-ms", "20")
        .body(Body::new(Stalled))
        .unwrap();
    assert_eq!(answer(&router, stalled).await.0, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer(&router, predict("?adapter=a", png(6, 4))).await.0, StatusCode::OK);
}
