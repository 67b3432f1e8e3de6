//! The requests of a soak, and the statuses that are right for them.

use axum::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::http::request::Builder;
use hyper::{Request, header};
use serde_json::json;

use super::Limits;

/// A request that a server has to refuse.
pub(super) struct BadRequest {
    pub(super) kind: &'static str,
    /// The right status.
    pub(super) status: u16,
    pub(super) request: Builder,
    pub(super) body: Bytes,
}

/// Asks for a file of a task.
pub(super) fn predict(adapter: &str, task: &str) -> Builder {
    Request::post(format!("/v1/predict?adapter={adapter}&tasks={task}&format=npy"))
}

/// Asks for links to the files of all tasks.
pub(super) fn any_task(adapter: &str) -> Builder {
    Request::post(format!("/v1/predict?adapter={adapter}"))
}

pub(super) fn image(request: Builder) -> Builder {
    request.header(CONTENT_TYPE, "application/octet-stream")
}

/// The name under which the adapter of a number comes and goes.
pub(super) fn exchanged(number: usize) -> String {
    format!("soak-{number}")
}

pub(super) fn load() -> Builder {
    Request::post("/v1/adapters").header(CONTENT_TYPE, "application/json")
}

/// The body of [`load`].
pub(super) fn file(name: &str, file: &str) -> Bytes {
    json!({"name": name, "file": file}).to_string().into()
}

pub(super) fn unload(name: &str) -> Builder {
    Request::delete(format!("/v1/adapters/{name}"))
}

/// A page as servers send it in place of an image.
const HTML: &[u8] = b"<!doctype html><html><title>503</title><p>Service unavailable</p></html>";

/// Every kind of bad request, made of a good one. Bodies beyond the limit are sent for limits of
/// up to 64 MB.
pub(super) fn bad(adapter: &str, frame: &Bytes, limits: Limits, token: bool) -> Vec<BadRequest> {
    let ask = || Request::post(format!("/v1/predict?adapter={adapter}"));
    let one =
        |kind, status, request: Builder, body: Bytes| BadRequest { kind, status, request, body };
    let form = || ask().header(CONTENT_TYPE, "multipart/form-data; boundary=x");
    let field = |name: &str, bytes: &[u8]| {
        let head = format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        [head.as_bytes(), bytes, b"\r\n"].concat()
    };
    let twice = [field("image", frame), field("image", frame), b"--x--\r\n".to_vec()].concat();
    let unknown = [field("image", frame), field("note", b"x"), b"--x--\r\n".to_vec()].concat();
    let open = [field("image", frame)].concat();
    let mut all = vec![
        one("truncated image", 422, image(ask()), frame.slice(..frame.len() / 2)),
        one("HTML for an image", 422, image(ask()), Bytes::from_static(HTML)),
        one("empty body", 422, image(ask()), Bytes::new()),
        one("wrong type", 415, ask().header(CONTENT_TYPE, "text/html"), frame.clone()),
        one("oversized image", 413, image(ask()), enormous(limits.pixels)),
        one("field twice", 400, form(), twice.into()),
        one("unknown field", 422, form(), unknown.into()),
        one("form without its end", 400, form(), open.into()),
        one(
            "unknown adapter",
            404,
            image(Request::post("/v1/predict?adapter=none")),
            frame.clone(),
        ),
        one("unknown query", 400, image(Request::post("/v1/predict?x=1")), frame.clone()),
        one("unknown address", 404, Request::get("/v2/predict"), Bytes::new()),
        one("wrong method", 405, Request::put("/v1/predict"), Bytes::new()),
        one("deadline of words", 400, image(ask()).header("x-deadline-ms", "soon"), frame.clone()),
        one("no such result", 404, Request::get("/v1/results/0/depth.npy"), Bytes::new()),
        one("adapter outside", 404, load(), file("x", "../x.safetensors")),
    ];
    if !token {
        let adapter = || file("x", "x.safetensors");
        all.push(one("adapter by another site", 403, foreign(), adapter()));
        all.push(one("adapter under another name", 403, rebound(), adapter()));
    }
    if limits.body < 64 << 20 {
        let body = Bytes::from(vec![0; limits.body + 1]);
        all.push(one("oversized body", 413, image(ask()), body));
    }
    all
}

fn foreign() -> Builder {
    load().header(ORIGIN, "https://elsewhere.example")
}

fn rebound() -> Builder {
    load().header(HOST, "elsewhere.example")
}

/// A PNG whose header promises more pixels than are allowed.
fn enormous(limit: u64) -> Bytes {
    let side = u32::try_from(limit.isqrt() + 1).unwrap_or(u32::MAX);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let sides = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let header = [b"IHDR".as_slice(), &sides, &[8, 2, 0, 0, 0]].concat();
    // Readers look for the begin of the pixels before they believe the header.
    for chunk in [header.as_slice(), b"IDAT"] {
        bytes.extend((chunk.len() as u32 - 4).to_be_bytes());
        bytes.extend(chunk);
        bytes.extend(crc32fast::hash(chunk).to_be_bytes());
    }
    bytes.into()
}

/// The beginning of a request whose client hangs up: its head promises more than is sent.
pub(super) fn half_sent(adapter: &str, frame: &Bytes, host: &str) -> Vec<u8> {
    let head = format!(
        "POST /v1/predict?adapter={adapter} HTTP/1.1\r\n{}: {host}\r\nContent-Type: image/png\r\n\
         Content-Length: {}\r\n\r\n",
        header::HOST,
        frame.len()
    );
    [head.as_bytes(), &frame[..frame.len() / 2]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_an_enormous_image_is_sound() {
        let bytes = enormous(1_000_000);
        assert_eq!(bytes[16..20], 1001_u32.to_be_bytes());
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926, "the check value of CRC-32");
    }
}
