//! `/v1/reconstruct`: the reconstruction from chosen patches.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use multimae::masking::TokenMasks;
use multimae_infer::visualize::{PretrainView, Pretrained, VisiblePatches, pictures};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Value, json};

use super::predict::colour;
use super::upload::RequestBody;
use super::{App, refused};
use crate::engine::{InferenceOutput, InferenceRequest};
use crate::error::Problem;
use crate::images::decode;

pub(super) async fn reconstruct(
    State(state): State<App>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let deadline = state.deadline(request.headers())?;
    let Some(model) = state.pretrained().cloned() else {
        return Err(Problem::unfit(
            "this server has no decoders; its model is not a pre-trained one",
        ));
    };
    let permit = state.admit()?;
    let mut body = RequestBody::read(request, deadline).await?;
    let known = model.modalities();
    body.name_the_image(colour(&known))?;
    let visible = visible(body.visible.as_deref(), &model)?;
    let pixels = state.config().max_pixels;
    let seen = Arc::clone(&model);
    let prepare = move || {
        let unfit = |error: multimae_infer::Error| Problem::unfit(error.to_string());
        let frame = decode(&body.files, &known, pixels)?;
        let view = seen.view(&frame).map_err(unfit)?;
        let masks = visible.mask(&seen, &view, 0, 0).map_err(unfit)?;
        Ok((view, masks))
    };
    let (view, masks): (PretrainView, TokenMasks) = state.workers().run(deadline, prepare).await?;
    let work = InferenceRequest::Reconstruct { view: Box::new(view.clone()), masks: masks.clone() };
    let (output, ..) = state.queue().compute(work, deadline).await.map_err(refused)?;
    let InferenceOutput::Maps(maps) = output else {
        return Err(Problem::unfit("the model reconstructed nothing"));
    };
    let describe = move || described(&model, &view, &masks, &maps);
    let answer = state.workers().run(deadline, describe).await?;
    drop(permit);
    Ok(Json(answer))
}

/// The patches that a client shows; as many as in pre-training if it does not say.
fn visible(text: Option<&str>, model: &Pretrained) -> Result<VisiblePatches, Problem> {
    let Some(text) = text else {
        return Ok(VisiblePatches::Sampled(model.spec().masking.num_encoded_tokens));
    };
    let patches: UniqueKeys = serde_json::from_str(text).map_err(|error| {
        Problem::malformed(format!("`visible`: expected {{\"rgb\": [0, 5], ..}}: {error}"))
    })?;
    Ok(VisiblePatches::Patches(patches.0))
}

/// Patches by modality. A modality that is named twice is an error.
struct UniqueKeys(IndexMap<String, Vec<usize>>);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("patches by modality")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
                let mut all = IndexMap::new();
                while let Some((name, patches)) = map.next_entry::<String, Vec<usize>>()? {
                    if all.contains_key(&name) {
                        return Err(A::Error::custom(format!("`{name}` is named twice")));
                    }
                    all.insert(name, patches);
                }
                Ok(UniqueKeys(all))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Pictures of every modality as data URLs, and which of its patches were visible.
fn described(
    model: &Pretrained,
    view: &PretrainView,
    masks: &TokenMasks,
    maps: &IndexMap<String, Vec<f32>>,
) -> Result<Value, Problem> {
    let unfit = |error: multimae_infer::Error| Problem::unfit(error.to_string());
    let mut tasks = serde_json::Map::new();
    for (name, [predicted, original]) in pictures(model, view, masks, maps).map_err(unfit)? {
        let url = |picture: Option<multimae_report::picture::Picture>| -> Result<Value, Problem> {
            let Some(picture) = picture else { return Ok(Value::Null) };
            let png = picture.png().map_err(|error| Problem::unfit(error.to_string()))?;
            Ok(json!(format!("data:image/png;base64,{}", STANDARD.encode(png))))
        };
        let task = json!({"prediction": url(predicted)?, "original": url(original)?});
        tasks.insert(name, task);
    }
    let (rows, columns) = model.grid();
    let mut shown = serde_json::Map::new();
    for (number, (name, tokens)) in model.inputs().into_iter().enumerate() {
        let masked = masks.task(number * tokens, tokens);
        let flags = masked.sample(0);
        let patches: Vec<usize> = (0..tokens).filter(|&patch| !flags[patch]).collect();
        shown.insert(name.to_owned(), json!(patches));
    }
    Ok(json!({"rows": rows, "columns": columns, "visible": shown, "tasks": tasks}))
}
