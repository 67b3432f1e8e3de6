//! Requests to the letter: media types, fields of forms, addresses and methods.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use multimae_serve::{QueueConfig, ServerConfig};
use tower::ServiceExt as _;

use crate::backend::{answer, png, router, server, text};

/// A field of a form and its bytes.
type Field<'a> = (&'a str, &'a [u8]);

/// A form of fields.
fn form(fields: &[Field<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in fields {
        let head = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--x--\r\n");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types_are_parsed() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let image = png(6, 4);
    let body = form(&[("image", &image)]);
    let (good, bad) = (StatusCode::OK, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let cases: [(&str, &[u8], StatusCode); 12] = [
        ("image/png", &image, good),
        ("Image/PNG", &image, good),
        ("image/png; q=1", &image, good),
        ("APPLICATION/Octet-Stream", &image, good),
        ("multipart/form-data; boundary=x", &body, good),
        ("Multipart/Form-Data; Boundary=\"x\"", &body, good),
        ("multipart/form-data; charset=utf-8; boundary=x", &body, good),
        ("multipart/form-data-extra; boundary=x", &body, bad),
        ("multipart/form-data", &body, StatusCode::BAD_REQUEST),
        ("application/octet-streams", &image, bad),
        ("text/html", &image, bad),
        ("image", &image, bad),
    ];
    for (kind, body, expected) in cases {
        let request = Request::post("/v1/predict?adapter=a").header("content-type", kind);
        let request = request.body(Body::from(body.to_vec())).unwrap();
        let (status, body) = answer(&router, request).await;
        assert_eq!(status, expected, "{kind}: {}", text(&body));
    }
    let twice = Request::post("/v1/predict?adapter=a")
        .header("content-type", "image/png")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::from(image))
        .unwrap();
    assert_eq!(answer(&router, twice).await.0, bad);
    let json = |kind: &str| {
        let request = Request::post("/v1/adapters").header("content-type", kind);
        request.body(Body::from(r#"{"name": "c", "file": "c"}"#)).unwrap()
    };
    // No folder is allowed: that is said of a request that was understood.
    for kind in ["application/json", "Application/JSON; charset=UTF-8"] {
        assert_eq!(answer(&router, json(kind)).await.0, StatusCode::FORBIDDEN, "{kind}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(answer(&router, json(kind)).await.0, bad, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_and_unknown_fields_are_errors() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let image = png(6, 4);
    let image = image.as_slice();
    let visible = br#"{"rgb": [0]}"#.as_slice();
    let cases: [(&[Field<'_>], &str); 6] = [
        (&[("image", image), ("image", image)], "`image` occurs twice"),
        (&[("rgb", image), ("rgb", image)], "`rgb` occurs twice"),
        (&[("image", image), ("rgb", image)], "`image` and `rgb` are the same input"),
        (&[("image", image), ("note", b"x")], "no input `note`"),
        (&[("image", image), ("", b"x")], "a field without a name"),
        (&[("image", image), ("visible", visible)], "one of /v1/reconstruct"),
    ];
    for (fields, words) in cases {
        let request = Request::post("/v1/predict?adapter=a")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(Body::from(form(fields)))
            .unwrap();
        let (status, body) = answer(&router, request).await;
        assert!(status.is_client_error(), "{words}: {status}");
        assert!(text(&body).contains(words), "{words}: {}", text(&body));
    }
    let query = Request::post("/v1/predict?adapter=a&adapter=b")
        .header("content-type", "image/png")
        .body(Body::from(image.to_vec()))
        .unwrap();
    assert_eq!(answer(&router, query).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_json() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let cases = [
        ("GET", "/no/such/path", StatusCode::NOT_FOUND, "not_found"),
        ("GET", "/v1/adapters/", StatusCode::NOT_FOUND, "not_found"),
        ("GET", "/v1/predict", StatusCode::METHOD_NOT_ALLOWED, "method"),
        ("PATCH", "/", StatusCode::METHOD_NOT_ALLOWED, "method"),
        ("OPTIONS", "/v1/adapters", StatusCode::METHOD_NOT_ALLOWED, "method"),
        ("DELETE", "/v1/adapters/%ff", StatusCode::BAD_REQUEST, "malformed"),
        ("GET", "/v1/results/0/%ff", StatusCode::BAD_REQUEST, "malformed"),
    ];
    for (method, path, expected, code) in cases {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, body) = answer(&router, request).await;
        assert_eq!(status, expected, "{method} {path}");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], code, "{method} {path}: {body}");
        assert!(!body["error"]["message"].as_str().unwrap().is_empty(), "{method} {path}");
    }
    let request = Request::get("/v1/predict").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_results_are_128_bits_that_differ() {
    let server = server(Duration::ZERO, QueueConfig::default());
    let router = router(&server, ServerConfig::default());
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let request = Request::post("/v1/predict?adapter=a")
            .header("content-type", "image/png")
            .body(Body::from(png(6, 4)))
            .unwrap();
        let (_, body) = answer(&router, request).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id = body["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        ids.insert(id);
    }
    assert_eq!(ids.len(), 20);
}
