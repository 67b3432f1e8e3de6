//! Bodies with images: one alone, or a form with a file per input.

use std::future::Future;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use mime::Mime;

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
    /// Reads a body within the server's limit of bytes and until a deadline: a client that stops
    /// sending does not keep its permit.
    ///
    /// # Errors
    /// If it is neither image nor form, broken, too large, or late.
    pub(super) async fn read(request: Request, deadline: Instant) -> Result<Self, Problem> {
        in_time(deadline, Self::parse(request)).await
    }

    async fn parse(request: Request) -> Result<Self, Problem> {
        match media_type(request.headers())? {
            Some(kind) if kind.essence_str() == mime::MULTIPART_FORM_DATA.essence_str() => {
                Self::read_form(request).await
            }
            Some(kind)
                if kind.type_() == mime::IMAGE
                    || kind.essence_str() == mime::APPLICATION_OCTET_STREAM.essence_str() =>
            {
                let bytes = whole(request).await?;
                let image = Upload { name: UNNAMED.to_owned(), bytes };
                Ok(Self { files: Uploads::from([(String::new(), image)]), visible: None })
            }
            _ => Err(unsupported(
                "send an image (image/png, image/jpeg) or a form (multipart/form-data)",
            )),
        }
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
            if name.is_empty() {
                return Err(Problem::malformed("the form has a field without a name"));
            }
            let file = field.file_name().filter(|file| !file.is_empty()).unwrap_or(UNNAMED);
            let file: String = file.chars().take(MAX_NAME).collect();
            let bytes = field.bytes().await;
            let bytes = bytes.map_err(|error| of_body(error.status(), &error.body_text()))?;
            let twice = || Problem::malformed(format!("the field `{name}` occurs twice"));
            match name.as_str() {
                "visible" if upload.visible.is_some() => return Err(twice()),
                "visible" if bytes.len() <= MAX_FIELD => {
                    let text = String::from_utf8(bytes.to_vec());
                    let text = text.map_err(|_| Problem::malformed("`visible` is no text"))?;
                    upload.visible = Some(text);
                }
                "visible" => return Err(Problem::malformed("`visible` is too long")),
                input => {
                    let input = if input == "image" { "" } else { input };
                    let file = Upload { name: file, bytes };
                    if upload.files.insert(input.to_owned(), file).is_some() {
                        return Err(twice());
                    }
                }
            }
        }
    }

    /// Gives the file without a name that of an input.
    ///
    /// # Errors
    /// If there is no such input, or a further file for it.
    pub(super) fn name_the_image(&mut self, input: Option<&str>) -> Result<(), Problem> {
        let Some(file) = self.files.shift_remove("") else { return Ok(()) };
        let Some(input) = input else {
            let text = "the model has no input of colours; send a form with a file per input";
            return Err(Problem::unfit(text));
        };
        if self.files.insert(input.to_owned(), file).is_some() {
            let text = format!("`image` and `{input}` are the same input; send one of them");
            return Err(Problem::malformed(text));
        }
        Ok(())
    }
}

/// Reads a body of a content type, and drops it.
#[cfg(fuzzing)]
pub async fn read_body(kind: &str, bytes: &[u8]) {
    let body = axum::body::Body::from(bytes.to_vec());
    if let Ok(request) = Request::builder().header(header::CONTENT_TYPE, kind).body(body) {
        drop(RequestBody::parse(request).await);
    }
}

/// Reads a body of JSON within the server's limit and until a deadline.
///
/// # Errors
/// If it is said to be something else, broken, too large, or late.
pub(super) async fn json_body(request: Request, deadline: Instant) -> Result<Bytes, Problem> {
    match media_type(request.headers())? {
        Some(kind) if kind.essence_str() != mime::APPLICATION_JSON.essence_str() => {
            Err(unsupported("send JSON (application/json)"))
        }
        _ => in_time(deadline, whole(request)).await,
    }
}

/// The media type that a request says its body has. Names are compared in lower case, and
/// parameters are allowed.
///
/// # Errors
/// If it says several, or none that can be understood.
fn media_type(headers: &HeaderMap) -> Result<Option<Mime>, Problem> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), further) = (kinds.next(), kinds.next()) else { return Ok(None) };
    let parsed = kind.to_str().ok().and_then(|kind| kind.trim().parse().ok());
    match (parsed, further) {
        (Some(kind), None) => Ok(Some(kind)),
        (_, Some(_)) => Err(unsupported("there are several headers Content-Type; send one")),
        (None, None) => Err(unsupported("the header Content-Type is no media type")),
    }
}

fn unsupported(text: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", text)
}

async fn whole(request: Request) -> Result<Bytes, Problem> {
    let bytes = Bytes::from_request(request, &()).await;
    bytes.map_err(|error| of_body(error.status(), &error.body_text()))
}

async fn in_time<T>(
    deadline: Instant,
    reading: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = || {
        let text = "the body was not sent within the deadline";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "deadline", text)
    };
    tokio::time::timeout_at(deadline.into(), reading).await.unwrap_or_else(|_| Err(late()))
}

/// The framework's message about an unreadable body.
fn of_body(status: StatusCode, text: &str) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is too large"),
        _ => Problem::malformed(format!("the body cannot be read: {text}")),
    }
}
