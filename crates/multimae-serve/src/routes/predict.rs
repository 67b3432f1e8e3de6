//! `/v1/predict` and the files of its results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use indexmap::IndexMap;
use multimae_data::{DataModality, Encoding};
use multimae_infer::predict::{FrameOutputs, PredictOptions, PreparedFrame, prepare};
use multimae_infer::saved_model::ModelCard;
use serde::Deserialize;
use serde_json::json;

use super::upload::RequestBody;
use super::{App, refused};
use crate::answer::FrameAnswer;
use crate::engine::{AdapterEntry, InferenceOutput, InferenceRequest};
use crate::error::Problem;
use crate::images::{Uploads, decode};

/// The query of a request.
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
    let _permit = state.admit()?;
    let entry = chosen(&state.queue().catalog(), choice.adapter.as_deref())?;
    let wanted = tasks(&entry.card, choice.tasks.as_deref())?;
    let file = wanted_file(&choice, &wanted)?;
    let mut body = RequestBody::read(request, deadline).await?;
    if body.visible.is_some() {
        return Err(Problem::malformed("the field `visible` is one of /v1/reconstruct"));
    }
    body.name_the_image(colour(&entry.card.data_modalities()))?;
    let frame = prepared(&state, deadline, &entry, body.files).await?;
    let work = InferenceRequest::Predict { adapter: entry.name.clone(), frame: Box::new(frame) };
    let answer = state.queue().compute(work, deadline).await.map_err(refused)?;
    let (output, waited, took) = answer;
    let InferenceOutput::Frame(mut outputs) = output else {
        return Err(Problem::unfit("the model gave no prediction of a frame"));
    };
    outputs.retain(|task| wanted.iter().any(|name| name == task));
    let Some(name) = file else {
        let answer = finished(&state, deadline, &entry, outputs, Ok).await?;
        return linked(&state, &entry.name, answer, (waited, took));
    };
    let (wanted, metrics) = (name.clone(), state.queue().metrics().clone());
    let encode = move |answer: FrameAnswer| {
        let format = wanted.rsplit_once('.').map_or("such file", |(_, format)| format);
        let missing = || Problem::unfit(format!("the task has no {format}"));
        answer.encode(&wanted, &metrics).unwrap_or_else(|| Err(missing()))
    };
    let bytes = finished(&state, deadline, &entry, outputs, encode).await?;
    Ok(file_response(&name, bytes))
}

/// Keeps a prediction, and answers with links to its files. The times are those in the queue and of
/// the model.
fn linked(
    state: &App,
    adapter: &str,
    answer: FrameAnswer,
    (waited, took): (Duration, Duration),
) -> Result<Response, Problem> {
    let id = format!("{:032x}", random()?);
    let link = |name: String| (name.clone(), format!("/v1/results/{id}/{name}"));
    let links: IndexMap<String, String> = answer.names().into_iter().map(link).collect();
    let (height, width) = answer.size();
    let body = json!({
        "id": id,
        "adapter": adapter,
        "height": height,
        "width": width,
        "files": links,
        "milliseconds": {"queue": waited.as_secs_f64() * 1e3, "model": took.as_secs_f64() * 1e3},
        "kept_for_seconds": state.config().kept_for.as_secs(),
    });
    let bytes = answer.bytes();
    state.results().keep(id, answer, bytes);
    Ok(Json(body).into_response())
}

/// The frame of uploaded files at the size of an adapter's model, made by a worker.
async fn prepared(
    state: &App,
    deadline: Instant,
    entry: &AdapterEntry,
    files: Uploads,
) -> Result<PreparedFrame, Problem> {
    let (card, adapter) = (Arc::clone(&entry.card), entry.name.clone());
    let (metrics, pixels) = (state.queue().metrics().clone(), state.config().max_pixels);
    let work = move || {
        let begin = Instant::now();
        let frame = decode(&files, &card.data_modalities(), pixels)?;
        metrics.stage("decode", begin.elapsed());
        let request = PredictOptions::all_inputs(&card);
        if let Some(input) = request.inputs.iter().find(|input| !files.contains_key(*input)) {
            let text = format!("adapter `{adapter}` needs the input `{input}`, which was not sent");
            return Err(Problem::unfit(text));
        }
        let begin = Instant::now();
        let prepared = prepare(&card, &frame, &request);
        metrics.stage("prepare", begin.elapsed());
        prepared.map_err(|error| Problem::unfit(error.to_string()))
    };
    state.workers().run(deadline, work).await
}

/// The answer that a worker computes from a finished prediction.
async fn finished<T: Send + 'static>(
    state: &App,
    deadline: Instant,
    entry: &AdapterEntry,
    outputs: FrameOutputs,
    then: impl FnOnce(FrameAnswer) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let (card, metrics) = (Arc::clone(&entry.card), state.queue().metrics().clone());
    let work = move || {
        let (begin, size) = (Instant::now(), outputs.size());
        let prediction = outputs.finish().map_err(|error| Problem::unfit(error.to_string()))?;
        metrics.stage("finish", begin.elapsed());
        then(FrameAnswer::new(card, (size.height, size.width), prediction))
    };
    state.workers().run(deadline, work).await
}

pub(super) async fn result(
    State(state): State<App>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let gone = || Problem::not_found("there is no such result, or it is no longer kept");
    let answer = state.results().get(&id).ok_or_else(gone)?;
    let (name, metrics) = (file.clone(), state.queue().metrics().clone());
    let deadline = Instant::now() + state.config().deadline;
    let encode = move || answer.encode(&name, &metrics).unwrap_or_else(|| Err(gone()));
    let bytes = state.workers().run(deadline, encode).await?;
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

/// The one file that is asked for, or none if it is links.
fn wanted_file(choice: &PredictQuery, tasks: &[String]) -> Result<Option<String>, Problem> {
    match (choice.format.as_deref(), tasks) {
        (None | Some("json"), _) => Ok(None),
        (Some(format @ ("png" | "npy" | "csv")), [task]) => Ok(Some(format!("{task}.{format}"))),
        (Some("png" | "npy" | "csv"), _) => Err(Problem::malformed(
            "a file answers one task: say which by tasks=NAME, or take format=json",
        )),
        (Some(_), _) => Err(Problem::malformed("format is json, png, npy or csv")),
    }
}

/// The input that an image without a name is.
pub(super) fn colour(known: &[DataModality]) -> Option<&str> {
    let colour = |modality: &&DataModality| matches!(modality.encoding, Encoding::Color { .. });
    let found = known.iter().find(colour).or(if known.len() == 1 { known.first() } else { None });
    found.map(|modality| modality.name.as_str())
}

/// 128 bits of the system's random source.
fn random() -> Result<u128, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Problem::internal(format!("the system's random source gives no id: {error}"))
    })?;
    Ok(u128::from_ne_bytes(bytes))
}
