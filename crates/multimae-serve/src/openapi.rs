//! The routes of the server, as an OpenAPI document.

use serde_json::{Value, json};

/// A route: its path, method, what it does, and what it answers.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) method: &'static str,
    pub(crate) summary: &'static str,
    /// Query parameters with their meaning.
    pub(crate) query: &'static [(&'static str, &'static str)],
    /// The body that it takes, if any.
    pub(crate) body: Option<&'static str>,
}

const MULTIPART: &str = "multipart/form-data";
const JSON: &str = "application/json";

/// All routes.
pub(crate) const ROUTES: [Route; 14] = [
    Route { path: "/", method: "get", summary: "The page", query: &[], body: None },
    Route {
        path: "/health",
        method: "get",
        summary: "Liveness: a tiny forward pass, repeated after a second at the earliest; 503 says why it fails",
        query: &[],
        body: None,
    },
    Route {
        path: "/ready",
        method: "get",
        summary: "Readiness: a permit is free, an adapter or decoder is loaded, and the engine is started",
        query: &[],
        body: None,
    },
    Route {
        path: "/info",
        method: "get",
        summary: "The model, its adapters, inputs and tasks, and the limits",
        query: &[],
        body: None,
    },
    Route {
        path: "/metrics",
        method: "get",
        summary: "Counters for Prometheus",
        query: &[],
        body: None,
    },
    Route {
        path: "/openapi.json",
        method: "get",
        summary: "This document",
        query: &[],
        body: None,
    },
    Route {
        path: "/docs",
        method: "get",
        summary: "This document to read",
        query: &[],
        body: None,
    },
    Route {
        path: "/v1/predict",
        method: "post",
        summary: "The predictions of an adapter for a frame: links to its files, or one of them. The body is an \
                  image of the colour input, or a form with a file per input, named as the input",
        query: &[
            ("adapter", "The adapter; may be left out if there is one only"),
            ("tasks", "Tasks to answer, separated by commas; all if left out"),
            ("format", "json (links), or png, npy or csv: the file of the one task itself"),
        ],
        body: Some(MULTIPART),
    },
    Route {
        path: "/v1/reconstruct",
        method: "post",
        summary: "The reconstruction of a frame by the pre-trained model: pictures as data URLs. The body as of \
                  /v1/predict; a field `visible` holds JSON with the visible patches by modality, \
                  numbered row by row from 0",
        query: &[],
        body: Some(MULTIPART),
    },
    Route {
        path: "/v1/example/{input}",
        method: "get",
        summary: "A rendered room to try the model on: its picture for an input, by name",
        query: &[("seed", "Names the room; 0 if left out")],
        body: None,
    },
    Route {
        path: "/v1/results/{id}/{file}",
        method: "get",
        summary: "A file of a result that is still kept",
        query: &[],
        body: None,
    },
    Route {
        path: "/v1/adapters",
        method: "get",
        summary: "The adapters that are loaded",
        query: &[],
        body: None,
    },
    Route {
        path: "/v1/adapters",
        method: "post",
        summary: "Loads an adapter from an allowed folder: {\"name\": .., \"file\": ..}. Without a token only \
                  from this machine",
        query: &[],
        body: Some(JSON),
    },
    Route {
        path: "/v1/adapters/{name}",
        method: "delete",
        summary: "Takes an adapter out. Without a token only from this machine",
        query: &[],
        body: None,
    },
];

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = serde_json::Map::new();
    for route in &ROUTES {
        let mut parameters: Vec<Value> = route
            .query
            .iter()
            .map(|(name, meaning)| {
                json!({"name": name, "in": "query", "description": meaning,
                       "schema": {"type": "string"}})
            })
            .collect();
        parameters.extend(route.path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(json!({"name": name, "in": "path", "required": true,
                        "schema": {"type": "string"}}))
        }));
        let mut operation = json!({
            "summary": route.summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "done"},
                "4XX": {"description": "refused, with {\"error\": {\"code\": .., \"message\": ..}}"},
                "5XX": {"description": "failed or late, with the same body"},
            },
        });
        if let Some(body) = route.body {
            operation["requestBody"] = json!({"content": {body: {"schema": {"type": "object"}}}});
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "multimae", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
    })
}

/// The document as a page.
pub(crate) fn page() -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let mut rows = String::new();
    for route in &ROUTES {
        let query = route
            .query
            .iter()
            .map(|(name, meaning)| format!("<li><code>{name}</code>: {}</li>", escape(meaning)));
        rows.push_str(&format!(
            "<h2><code>{} {}</code></h2><p>{}</p><ul>{}</ul>",
            route.method.to_uppercase(),
            route.path,
            escape(route.summary),
            query.collect::<String>()
        ));
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>multimae: interface</title><style>body{{font:16px/1.5 \
         system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}h2{{font-size:1.1rem;\
         margin:1.5rem 0 0}}code{{font-family:ui-monospace,monospace}}</style><h1>Routes of \
         the server</h1><p><a href=/openapi.json>openapi.json</a></p>{rows}</html>"
    )
}
