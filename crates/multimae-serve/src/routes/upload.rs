//! Bodies with images: one alone, or a form with a file per input.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;

use crate::error::Problem;
use crate::images::{Upload, Uploads};

/// Fields of a form besides files are no longer than this, in bytes.
const MAX_FIELD: usize = 1 << 16;
/// Fields of a form.
const MAX_FIELDS: usize = 32;

/// The name of an unnamed file in messages.
const UNNAMED: &str = "image";
/// Names of files are cut to this, in characters: they only stand in messages.
const MAX_NAME: usize = 64;

/// A body that was read: files by input, and other fields.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    /// By the name of the input; a body that is an image alone has the empty name.
    pub(super) files: Uploads,
    /// The field `visible`.
    pub(super) visible: Option<String>,
}

impl RequestBody {
    /// Reads a body within the server's limit.
    ///
    /// # Errors
    /// If it is neither image nor form, broken, or too large.
    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        if kind.starts_with("multipart/form-data") {
            return Self::read_form(request).await;
        }
        let image = kind.starts_with("image/") || kind == "application/octet-stream";
        if !image {
            return Err(Problem::new(
                axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_type",
                "send an image (image/png, image/jpeg) or a form (multipart/form-data)",
            ));
        }
        let bytes = Bytes::from_request(request, &()).await;
        let bytes = bytes.map_err(|error| of_body(error.status(), &error.body_text()))?;
        let image = Upload { name: UNNAMED.to_owned(), bytes };
        Ok(Self { files: Uploads::from([(String::new(), image)]), visible: None })
    }

    async fn read_form(request: Request) -> Result<Self, Problem> {
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|error| of_body(error.status(), &error.body_text()))?;
        let mut upload = Self::default();
        let mut count = 0;
        loop {
            let field = form.next_field().await;
            let field = field.map_err(|error| of_body(error.status(), &error.body_text()))?;
            let Some(field) = field else { return Ok(upload) };
            count += 1;
            if count > MAX_FIELDS {
                return Err(Problem::malformed(format!("a form of more than {MAX_FIELDS} fields")));
            }
            let name = field.name().unwrap_or_default().to_owned();
            let file = field.file_name().filter(|file| !file.is_empty()).unwrap_or(UNNAMED);
            let file: String = file.chars().take(MAX_NAME).collect();
            let bytes = field.bytes().await;
            let bytes = bytes.map_err(|error| of_body(error.status(), &error.body_text()))?;
            match name.as_str() {
                "visible" if bytes.len() <= MAX_FIELD => {
                    let text = String::from_utf8(bytes.to_vec());
                    let text = text.map_err(|_| Problem::malformed("`visible` is no text"))?;
                    upload.visible = Some(text);
                }
                "visible" => return Err(Problem::malformed("`visible` is too long")),
                input => {
                    let input = if input == "image" { "" } else { input };
                    upload.files.insert(input.to_owned(), Upload { name: file, bytes });
                }
            }
        }
    }

    /// Gives the file without a name that of an input.
    pub(super) fn name_the_image(&mut self, input: Option<&str>) {
        if let (Some(file), Some(input)) = (self.files.shift_remove(""), input) {
            self.files.insert(input.to_owned(), file);
        }
    }
}

/// Reads a body of a content type, and drops it.
#[cfg(fuzzing)]
pub async fn read_body(kind: &str, bytes: &[u8]) {
    let body = axum::body::Body::from(bytes.to_vec());
    if let Ok(request) = Request::builder().header(header::CONTENT_TYPE, kind).body(body) {
        drop(RequestBody::read(request).await);
    }
}

/// The framework's message about an unreadable body.
fn of_body(status: axum::http::StatusCode, text: &str) -> Problem {
    match status {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is too large"),
        _ => Problem::malformed(format!("the body cannot be read: {text}")),
    }
}
