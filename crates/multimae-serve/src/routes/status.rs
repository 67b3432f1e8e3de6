//! The state and the description of the server.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use serde_json::{Value, json};

use super::App;
use super::adapters::described;
use super::predict::colour;
use crate::openapi;

/// The page, with nothing from elsewhere.
const PAGE: &str = include_str!("../page.html");

pub(super) async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; \
                  script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE))
}

/// Liveness: a tiny forward pass of the engine, which is repeated after a second at the earliest.
pub(super) async fn health(State(state): State<App>) -> (StatusCode, Json<Value>) {
    let health = state.queue().health(state.config().deadline).await;
    let mut body = json!({
        "status": if health.problem.is_none() { "alive" } else { "failing" },
        "busy": health.busy,
        "probe_milliseconds": health.took.as_secs_f64() * 1e3,
        "restarts": health.restarts,
    });
    let Some(problem) = health.problem else { return (StatusCode::OK, Json(body)) };
    body["error"] = json!({"code": "engine", "message": problem});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

pub(super) async fn ready(State(state): State<App>) -> impl IntoResponse {
    let loaded = !state.queue().catalog().is_empty() || state.pretrained().is_some();
    let can = loaded && state.queue().down().is_none();
    let free = state.0.permits.available_permits();
    let status = if can && free > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": status == StatusCode::OK, "free_permits": free})))
}

pub(super) async fn info(State(state): State<App>) -> Json<Value> {
    let config = state.config();
    let reconstruct = state.pretrained().map(|model| {
        let (rows, columns) = model.grid();
        let inputs = model.inputs();
        let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
        let image = colour(&model.modalities()).map(str::to_owned);
        json!({"inputs": names, "image": image, "rows": rows, "columns": columns,
               "visible": model.spec().masking.num_encoded_tokens})
    });
    Json(json!({
        "model": config.model,
        "version": env!("CARGO_PKG_VERSION"),
        "adapters": described(&state),
        "reconstruct": reconstruct,
        "limits": {
            "body_bytes": config.max_body,
            "pixels": config.max_pixels,
            "deadline_ms": config.deadline.as_millis() as u64,
            "permits": config.permits,
            "adapters": config.max_adapters,
        },
    }))
}

pub(super) async fn metrics(State(state): State<App>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.queue().metrics().text(state.queue().waiting()))
}

pub(super) async fn openapi() -> Json<Value> {
    Json(openapi::document())
}

pub(super) async fn docs() -> Html<String> {
    Html(openapi::page())
}
