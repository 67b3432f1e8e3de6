//! `/v1/example`: a rendered room, an input at a time.

use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use multimae_data::DataModality;
use serde::Deserialize;

use super::App;
use super::predict::file_response;
use crate::error::Problem;
use crate::example::map_of;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleQuery {
    #[serde(default)]
    seed: u64,
}

pub(super) async fn example(
    State(state): State<App>,
    Path(input): Path<String>,
    choice: Result<Query<ExampleQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(ExampleQuery { seed }) =
        choice.map_err(|error| Problem::malformed(error.body_text()))?;
    let modality = known(&state, &input)
        .ok_or_else(|| Problem::not_found("no model of this server has such an input"))?;
    let map = map_of(&modality).ok_or_else(|| {
        Problem::not_found("rooms have colours, depth in millimetres and labels of NYUv2-40 only")
    })?;
    let permit = state.admit()?;
    let (rooms, deadline) = (state.clone(), Instant::now() + state.config().deadline);
    let draw = move || {
        let wrong = |error: multimae_synth::EncodingError| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server", error.to_string())
        };
        rooms.rooms().room(seed).png(map).map_err(wrong)
    };
    let png = state.workers().run(deadline, draw).await?;
    drop(permit);
    Ok(file_response("room.png", png))
}

/// The modality of a name, of the pre-trained model or of an adapter.
fn known(state: &App, name: &str) -> Option<DataModality> {
    let of_model = state.pretrained().map(|model| model.modalities()).unwrap_or_default();
    let catalog = state.queue().catalog();
    let of_adapters = catalog.iter().flat_map(|entry| &entry.card.inputs).map(|input| &input.data);
    of_model.iter().chain(of_adapters).find(|modality| modality.name == name).cloned()
}
