//! The queue and the routes, over an engine whose speed is known.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod access;
mod backend;
mod faults;
mod requests;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use backend::{answer, png, predict, router, server, soon, text, work};
use multimae_serve::{QueueConfig, Refusal, ServerConfig};
use proptest::prelude::*;
use tower::ServiceExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn adapters_share_batches_within_the_budget() {
    let config = QueueConfig { max_tokens: 30, max_batch: 16 };
    let server = server(Duration::from_millis(40), config);
    let names = ["a", "b", "a", "b", "a", "b", "a"];
    let all = names.map(|name| {
        let queue = server.queue.clone();
        tokio::spawn(async move { queue.compute(work(name), soon()).await })
    });
    for one in all {
        assert!(one.await.unwrap().is_ok());
    }
    let batches = server.slow.batches.lock().unwrap().clone();
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert!(batches.iter().any(|batch| batch.contains(&"a".into()) && batch.contains(&"b".into())));
    assert_eq!(batches.concat().len(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_or_not_waited_for_is_not_computed() {
    let server = server(Duration::from_millis(150), QueueConfig { max_tokens: 10, max_batch: 1 });
    let first = {
        let queue = server.queue.clone();
        tokio::spawn(async move { queue.compute(work("a"), soon()).await })
    };
    tokio::time::sleep(Duration::from_millis(40)).await;
    // Waits behind the first, and is too late then.
    let late = server.queue.compute(work("a"), Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(late.unwrap_err(), Refusal::Expired);
    // A client that goes away.
    let gone =
        tokio::time::timeout(Duration::from_millis(20), server.queue.compute(work("a"), soon()));
    assert!(gone.await.is_err());
    assert!(first.await.unwrap().is_ok());
    assert!(server.queue.compute(work("b"), soon()).await.is_ok());
    assert_eq!(server.slow.computed.load(Ordering::SeqCst), 2);
    assert_eq!(server.queue.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_at_once_and_loses_nothing() {
    let server = server(Duration::from_millis(100), QueueConfig { max_tokens: 10, max_batch: 1 });
    let config = ServerConfig { permits: 4, ..ServerConfig::default() };
    let router = router(&server, config);
    let begin = Instant::now();
    let requests = (0..20).map(|_| {
        let router = router.clone();
        tokio::spawn(async move {
            let begin = Instant::now();
            let response = router.oneshot(predict("?adapter=a", png(6, 4))).await.unwrap();
            let retry = response.headers().get("retry-after").cloned();
            (response.status(), retry, begin.elapsed())
        })
    });
    let mut accepted = 0;
    for request in requests.collect::<Vec<_>>() {
        let (status, retry, took) = request.await.unwrap();
        if status == StatusCode::OK {
            accepted += 1;
        } else {
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
            assert!(retry.unwrap().to_str().unwrap().parse::<u64>().unwrap() >= 1);
            assert!(took < Duration::from_millis(90), "a refusal took {took:?}");
        }
    }
    assert!((4..20).contains(&accepted), "{accepted} in {:?}", begin.elapsed());
    assert_eq!(server.slow.computed.load(Ordering::SeqCst), accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_finishes_what_was_accepted() {
    let server = server(Duration::from_millis(60), QueueConfig { max_tokens: 10, max_batch: 1 });
    let all: Vec<_> = (0..3)
        .map(|_| {
            let queue = server.queue.clone();
            tokio::spawn(async move { queue.compute(work("a"), soon()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let queue = server.queue.clone();
    tokio::task::spawn_blocking(move || queue.shut_down()).await.unwrap();
    for one in all {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(server.queue.compute(work("a"), soon()).await.unwrap_err(), Refusal::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_files_and_links() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let (status, npy) =
        answer(&router, predict("?adapter=a&tasks=depth&format=npy", png(6, 4))).await;
    assert_eq!((status, &npy[..6]), (StatusCode::OK, b"\x93NUMPY".as_slice()));
    assert!(text(&npy[..128]).contains("(4, 6"));
    let (status, body) = answer(&router, predict("?adapter=b", png(6, 4))).await;
    assert_eq!(status, StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let link = body["files"]["depth.png"].as_str().unwrap();
    let (status, file) = answer(&router, Request::get(link).body(Body::empty()).unwrap()).await;
    let depth = image::load_from_memory(&file).unwrap().into_luma16();
    assert_eq!(
        (status, depth.dimensions(), depth.get_pixel(0, 0).0),
        (StatusCode::OK, (6, 4), [500])
    );
    let gone = Request::get("/v1/results/00/depth.png").body(Body::empty()).unwrap();
    assert_eq!(answer(&router, gone).await.0, StatusCode::NOT_FOUND);
}

/// The server's counters.
async fn metrics(router: &Router) -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    text(&answer(router, request).await.1)
}

fn encoded(metrics: &str, format: &str) -> u64 {
    let counter = format!("multimae_encoded_files_total{{format=\"{format}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&counter));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_file_that_is_asked_for_is_encoded() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let counts = async || {
        let metrics = metrics(&router).await;
        [encoded(&metrics, "png"), encoded(&metrics, "npy")]
    };
    let file = predict("?adapter=a&tasks=depth&format=npy", png(6, 4));
    assert_eq!(answer(&router, file).await.0, StatusCode::OK);
    assert_eq!(counts().await, [0, 1]);
    // Links are no files yet.
    let (_, body) = answer(&router, predict("?adapter=a", png(6, 4))).await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(counts().await, [0, 1]);
    let names: Vec<&String> = body["files"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["depth.png", "depth.npy"]);
    let link = body["files"]["depth.png"].as_str().unwrap();
    let follow = || Request::get(link).body(Body::empty()).unwrap();
    let (first, again) = (answer(&router, follow()).await, answer(&router, follow()).await);
    assert_eq!((first.0, &first.1), (StatusCode::OK, &again.1));
    assert_eq!(counts().await, [2, 1]);
    // There is no such file, and none is encoded for that.
    let csv = predict("?adapter=a&tasks=depth&format=csv", png(6, 4));
    assert_eq!(answer(&router, csv).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let link = Request::get(link.replace("depth.png", "depth.csv")).body(Body::empty()).unwrap();
    assert_eq!(answer(&router, link).await.0, StatusCode::NOT_FOUND);
    assert_eq!(counts().await, [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_finished_for_those_that_are_late_or_gone() {
    let server = server(Duration::from_millis(150), QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let file = || predict("?adapter=a&tasks=depth&format=npy", png(6, 4));
    let mut late = file();
    late.headers_mut().insert("x-deadline-ms", "40".parse().unwrap());
    assert_eq!(answer(&router, late).await.0, StatusCode::GATEWAY_TIMEOUT);
    let gone = tokio::time::timeout(Duration::from_millis(40), answer(&router, file()));
    assert!(gone.await.is_err());
    // One that waits is answered behind them.
    assert_eq!(answer(&router, file()).await.0, StatusCode::OK);
    let metrics = metrics(&router).await;
    assert_eq!(encoded(&metrics, "npy"), 1);
    let finished = "multimae_stage_seconds_count{stage=\"finish\"} 1";
    assert!(metrics.contains(finished), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_input_and_the_file() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let form = |input: &str, file: &str, image: &[u8]| {
        let head = format!(
            "--x\r\nContent-Disposition: form-data; name=\"{input}\"; filename=\"{file}\"\r\n\r\n"
        );
        let body = [head.as_bytes(), image, b"\r\n--x--\r\n"].concat();
        Request::post("/v1/predict?adapter=a&tasks=depth&format=png")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(Body::from(body))
            .unwrap()
    };
    let whole = png(6, 4);
    for input in ["image", "rgb"] {
        assert_eq!(answer(&router, form(input, "a.png", &whole)).await.0, StatusCode::OK);
    }
    let half = &whole[..whole.len() / 2];
    let cases = [
        (form("rgb", "room.png", half), "modality `rgb`, room.png: "),
        (form("image", "", half), "modality `rgb`, image: "),
        (form("depth", "a.png", &whole), "no input `depth`; there are rgb"),
    ];
    for (request, words) in cases {
        let (status, body) = answer(&router, request).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{}", text(&body));
        assert!(text(&body).contains(words), "{}", text(&body));
    }
}

/// Runs the tests of requests once more in a process that has no folder for temporary files.
#[test]
fn requests_need_no_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    tests.args(["--exact", "answers_are_files_and_links", "errors_name_the_input_and_the_file"]);
    for variable in ["TMPDIR", "TMP", "TEMP"] {
        tests.env(variable, &none);
    }
    let output = tests.output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
    assert!(!none.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_are_answered_upright_in_every_format() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(6, 4).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let jpeg = encoded(image::ImageFormat::Jpeg);
    let exif =
        b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    for (photo, shape) in [
        (jpeg, "(4, 6"),
        (turned, "(6, 4"),
        (encoded(image::ImageFormat::Bmp), "(4, 6"),
        (encoded(image::ImageFormat::WebP), "(4, 6"),
    ] {
        let request = predict("?adapter=a&tasks=depth&format=npy", photo);
        let (status, npy) = answer(&router, request).await;
        assert_eq!(status, StatusCode::OK, "{}", text(&npy));
        assert!(text(&npy[..128]).contains(shape), "{}", text(&npy[..128]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_said() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let config = ServerConfig { max_pixels: 100, max_body: 4000, ..ServerConfig::default() };
    let router = router(&server, config);
    let cases = [
        (predict("", png(6, 4)), StatusCode::BAD_REQUEST, "say which adapter"),
        (predict("?adapter=z", png(6, 4)), StatusCode::NOT_FOUND, "there are: a, b, broken"),
        (predict("?adapter=a&tasks=x", png(6, 4)), StatusCode::UNPROCESSABLE_ENTITY, "depth"),
        (predict("?adapter=a&format=gif", png(6, 4)), StatusCode::BAD_REQUEST, "format"),
        (predict("?adapter=a&what=1", png(6, 4)), StatusCode::BAD_REQUEST, "what"),
        (predict("?adapter=a", b"no".to_vec()), StatusCode::UNPROCESSABLE_ENTITY, "no PNG"),
        (predict("?adapter=a", png(11, 10)), StatusCode::PAYLOAD_TOO_LARGE, "11x10 pixels"),
        (predict("?adapter=a", vec![0; 5000]), StatusCode::PAYLOAD_TOO_LARGE, "too large"),
        (predict("?adapter=a", Vec::new()), StatusCode::UNPROCESSABLE_ENTITY, "no PNG"),
    ];
    for (request, expected, words) in cases {
        let address = request.uri().clone();
        let (status, body) = answer(&router, request).await;
        assert_eq!(status, expected, "{address}: {}", text(&body));
        assert!(text(&body).contains(words), "{address}: {}", text(&body));
    }
    // A header that promises more pixels than the file has bytes.
    let mut bomb = png(6, 4);
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let (status, body) = answer(&router, predict("?adapter=a", bomb)).await;
    assert!(status.is_client_error(), "{}", text(&body));
    let mut late = predict("?adapter=a", png(6, 4));
    late.headers_mut().insert("x-deadline-ms", "0".parse().unwrap());
    assert_eq!(answer(&router, late).await.0, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_come_from_allowed_folders() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("c.safetensors"), b"x").unwrap();
    let server = server(Duration::ZERO, QueueConfig::default());
    let folders = vec![dir.path().to_owned()];
    let config = ServerConfig { adapter_folders: folders, ..ServerConfig::default() };
    let router = router(&server, config);
    let load = |name: &str, file: &str| {
        let body = serde_json::json!({"name": name, "file": file}).to_string();
        Request::post("/v1/adapters").body(Body::from(body)).unwrap()
    };
    assert_eq!(answer(&router, load("c", "c.safetensors")).await.0, StatusCode::CREATED);
    assert_eq!(answer(&router, predict("?adapter=c", png(6, 4))).await.0, StatusCode::OK);
    assert_eq!(answer(&router, load("../c", "c.safetensors")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(answer(&router, load("d", "../../etc/passwd")).await.0, StatusCode::NOT_FOUND);
    let remove = || Request::delete("/v1/adapters/c").body(Body::empty()).unwrap();
    assert_eq!(answer(&router, remove()).await.0, StatusCode::OK);
    assert_eq!(answer(&router, remove()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(&router, predict("?adapter=c", png(6, 4))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_route() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let (_, document) = answer(&router, get("/openapi.json")).await;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{id}", "0").replace("{file}", "x").replace("{name}", "zz");
            let path = path.replace("{input}", "rgb");
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
            let (status, _) = answer(&router, request.body(Body::empty()).unwrap()).await;
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            count += 1;
        }
    }
    assert_eq!(count, 14);
    let (status, room) = answer(&router, get("/v1/example/rgb?seed=2")).await;
    assert_eq!((status, image::load_from_memory(&room).unwrap().width()), (StatusCode::OK, 320));
    let (status, _) = answer(&router, get("/v1/example/other")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = answer(&router, get("/no/such/path")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, metrics) = answer(&router, get("/metrics")).await;
    assert!(text(&metrics).contains("multimae_responses_total{route=\"other\",status=\"404\"} 1"));
}

/// A request that means nothing.
fn malformed() -> impl Strategy<Value = Request<Body>> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]);
    let path = prop_oneof![
        prop::sample::select(vec![
            "/v1/predict",
            "/v1/predict?adapter=a",
            "/v1/predict?adapter=a&format=npy&tasks=depth",
            "/v1/reconstruct",
            "/v1/adapters",
            "/v1/adapters/zz",
            "/v1/results/0/x",
        ])
        .prop_map(str::to_owned),
        "/v1/predict\\?[a-z=&%0-9]{0,20}",
        "/[a-z/.%]{0,24}",
    ];
    let kind = prop_oneof![
        prop::sample::select(vec![
            "image/png",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "application/json",
            "text/plain",
        ])
        .prop_map(str::to_owned),
        "[a-z/;= ]{0,20}",
    ];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        "--x\r\nContent-Disposition: form-data; name=\"[a-z\"]{0,8}\"\r\n\r\n.{0,40}\r\n--x--\r\n"
            .prop_map(String::into_bytes),
        (0usize..90, any::<u8>()).prop_map(|(at, value)| {
            let mut bytes = png(5, 3);
            let at = at % bytes.len();
            bytes[at] = value;
            // Cut, so that it is never whole.
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        "\\{\"name\": \"[a-z/.]{0,9}\", \"file\": \"[a-z/.]{0,19}\"\\}"
            .prop_map(String::into_bytes),
    ];
    (method, path, kind, body, any::<Option<u16>>()).prop_filter_map(
        "no such address",
        |(method, path, kind, body, deadline)| {
            let mut request = Request::builder().method(method).uri(path);
            request = request.header("content-type", kind);
            if let Some(deadline) = deadline {
                request = request.header("x-deadline-ms", format!("{deadline}x"));
            }
            request.body(Body::from(body)).ok()
        },
    )
}

/// Malformed requests are no errors of the server, and it continues to answer.
#[test]
fn ten_thousand_malformed_requests() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 10_000,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    });
    runner
        .run(&malformed(), |request| {
            let what = format!("{} {}", request.method(), request.uri());
            let open = ["/", "/health", "/ready", "/info", "/metrics", "/openapi.json", "/docs"];
            let fine = request.method() == "GET"
                && (open.contains(&request.uri().path()) || request.uri().path() == "/v1/adapters");
            let (status, body) = runtime.block_on(answer(&router, request));
            let expected = if fine { status.is_success() } else { status.is_client_error() };
            prop_assert!(expected, "{what}: {status} {}", text(&body));
            Ok(())
        })
        .unwrap();
    assert_eq!(server.slow.computed.load(Ordering::SeqCst), 0);
    let (status, _) = runtime.block_on(answer(&router, predict("?adapter=a", png(6, 4))));
    assert_eq!(status, StatusCode::OK);
}
