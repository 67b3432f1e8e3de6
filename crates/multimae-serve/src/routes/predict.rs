//! `/v1/predict` and the files of its results.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use indexmap::IndexMap;
use multimae_data::{DataModality, Encoding, RawSample};
use multimae_infer::predict::{FramePrediction, files_of};
use multimae_infer::saved_model::ModelCard;
use serde::Deserialize;
use serde_json::json;

use super::upload::Upload;
use super::{App, refused};
use crate::engine::{AdapterEntry, InferenceOutput, InferenceRequest};
use crate::error::Problem;
use crate::images::{Uploads, dataset, without_paths};
use crate::results::Files;

/// What a client chooses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictQuery {
    adapter: Option<String>,
    tasks: Option<String>,
    format: Option<String>,
}

pub(super) async fn predict(
    State(state): State<App>,
    choice: Result<Query<PredictQuery>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(choice) = choice.map_err(|error| Problem::malformed(error.body_text()))?;
    let deadline = state.deadline(request.headers())?;
    // Refused before the body is read.
    let permit = state.admit()?;
    let entry = chosen(&state.queue().catalog(), choice.adapter.as_deref())?;
    let wanted = tasks(&entry.card, choice.tasks.as_deref())?;
    check_format(&choice, &wanted)?;
    let mut upload = Upload::read(request).await?;
    let known: Vec<DataModality> =
        entry.card.inputs.iter().map(|input| input.data.clone()).collect();
    upload.name_the_image(colour(&known));
    let pixels = state.config().max_pixels;
    let metrics = state.queue().metrics().clone();
    let begin = Instant::now();
    let frame = blocking(move || decode(&upload.files, &known, pixels)).await?;
    metrics.stage("decode", begin.elapsed());
    let size = (frame.height, frame.width);
    let work = InferenceRequest::Predict { adapter: entry.name.clone(), frame: Box::new(frame) };
    let answer = state.queue().compute(work, deadline).await.map_err(refused)?;
    let (output, waited, took) = answer;
    let InferenceOutput::Frame(prediction) = output else {
        return Err(Problem::unfit("the model gave no prediction of a frame"));
    };
    let begin = Instant::now();
    let card = Arc::clone(&entry.card);
    let files = blocking(move || encode(&card, &wanted, &prediction, size)).await?;
    metrics.stage("encode", begin.elapsed());
    drop(permit);
    if let Some(format) = choice.format.as_deref().filter(|format| *format != "json") {
        let found = files.iter().find(|(name, _)| name.ends_with(&format!(".{format}")));
        let missing = || Problem::unfit(format!("the task has no {format}"));
        let (name, bytes) = found.ok_or_else(missing)?;
        return Ok(file_response(name, bytes.clone()));
    }
    let id = format!("{:032x}", random());
    let links: IndexMap<&String, String> =
        files.keys().map(|name| (name, format!("/v1/results/{id}/{name}"))).collect();
    let body = json!({
        "id": id,
        "adapter": entry.name,
        "height": size.0,
        "width": size.1,
        "files": links,
        "milliseconds": {"queue": waited.as_secs_f64() * 1e3, "model": took.as_secs_f64() * 1e3},
        "kept_for_seconds": state.config().kept_for.as_secs(),
    });
    state.results().keep(id, files);
    Ok(Json(body).into_response())
}

pub(super) async fn result(
    State(state): State<App>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let gone = || Problem::not_found("there is no such result, or it is no longer kept");
    let bytes = state.results().get(&id, &file).ok_or_else(gone)?;
    Ok(file_response(&file, bytes))
}

pub(super) fn file_response(name: &str, bytes: Vec<u8>) -> Response {
    let kind = match name.rsplit_once('.') {
        Some((_, "png")) => "image/png",
        Some((_, "csv")) => "text/csv; charset=utf-8",
        _ => "application/octet-stream",
    };
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], bytes)
        .into_response()
}

/// The adapter of a name, or the only one.
fn chosen(catalog: &[AdapterEntry], name: Option<&str>) -> Result<AdapterEntry, Problem> {
    let names: Vec<&str> = catalog.iter().map(|entry| entry.name.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    match (name, catalog) {
        (Some(name), all) => {
            all.iter().find(|entry| entry.name == name).cloned().ok_or_else(|| {
                Problem::not_found(format!("there is no such adapter; there are: {names}"))
            })
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Problem::malformed(format!("say which adapter; there are: {names}"))),
    }
}

/// The tasks that are asked for.
fn tasks(card: &ModelCard, wanted: Option<&str>) -> Result<Vec<String>, Problem> {
    let Some(wanted) = wanted else { return Ok(card.tasks.keys().cloned().collect()) };
    let names: Vec<&str> = card.tasks.keys().map(String::as_str).collect();
    let known = |name: &str| {
        let unknown =
            || Problem::unfit(format!("there is no such task; there are {}", names.join(", ")));
        card.tasks.contains_key(name).then(|| name.to_owned()).ok_or_else(unknown)
    };
    wanted.split(',').map(str::trim).map(known).collect()
}

fn check_format(choice: &PredictQuery, tasks: &[String]) -> Result<(), Problem> {
    match choice.format.as_deref() {
        None | Some("json") => Ok(()),
        Some("png" | "npy" | "csv") if tasks.len() == 1 => Ok(()),
        Some("png" | "npy" | "csv") => Err(Problem::malformed(
            "a file answers one task: say which by tasks=NAME, or take format=json",
        )),
        Some(_) => Err(Problem::malformed("format is json, png, npy or csv")),
    }
}

/// The input that an image without a name is.
pub(super) fn colour(known: &[DataModality]) -> Option<&str> {
    let colour = |modality: &&DataModality| matches!(modality.encoding, Encoding::Color { .. });
    let found = known.iter().find(colour).or(if known.len() == 1 { known.first() } else { None });
    found.map(|modality| modality.name.as_str())
}

fn decode(uploads: &Uploads, known: &[DataModality], pixels: u64) -> Result<RawSample, Problem> {
    let (dataset, folder) = dataset(uploads, known, pixels)?;
    dataset.decode(0).map_err(|error| Problem::unfit(without_paths(&error, &folder)))
}

fn encode(
    card: &ModelCard,
    wanted: &[String],
    prediction: &FramePrediction,
    size: (usize, usize),
) -> Result<Files, Problem> {
    let mut files = Files::new();
    for task in wanted {
        let (Some(kind), Some(predicted)) =
            (card.tasks.get(task).map(|card| &card.task), prediction.tasks.get(task))
        else {
            continue;
        };
        let encoded = files_of(&**kind, predicted, size);
        let encoded = encoded.map_err(|error| Problem::unfit(error.to_string()))?;
        files
            .extend(encoded.into_iter().map(|(ending, bytes)| (format!("{task}.{ending}"), bytes)));
    }
    Ok(files)
}

/// Work that would hold up other requests, on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Problem::unfit("the image cannot be decoded: its decoder broke down"))
    })
}

/// 128 bits that cannot be guessed: hashes with keys of the system's randomness.
fn random() -> u128 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
