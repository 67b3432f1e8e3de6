//! The recipe of pre-trained weights that come without one: sizes from the tensors, all else as the
//! published models were trained.

use multimae::modality::{Modality, ModalityKind};
use multimae::model::MultiMaeConfig;
use multimae::state::StateDict;
use multimae::weights::infer_config;
use multimae_config::{NORM_RGB, PretrainRecipe, Resolved};
use serde_json::{Map, Value, json};

use super::PretrainSpec;
use crate::{Error, Result};

/// The preset of weights without a recipe, in words.
pub(super) const PRESET: &str = "the file has no recipe: the sizes are those of its tensors, and images are normalised as for \
     the published models (ImageNet's mean and deviation of colours, depth standardised per frame, \
     labels as class ids)";
/// A label that is no class, for models with an embedding for it.
const PADDING_LABEL: usize = 255;

/// The recipe and model of pre-trained weights without a recipe.
///
/// # Errors
/// If their architecture cannot be inferred, or is none that a recipe describes.
pub(super) fn spec_of(weights: &StateDict) -> Result<PretrainSpec> {
    let config = infer_config(weights)?;
    let keys = keys_of(&config)?;
    let recipe = Resolved::<PretrainRecipe>::from_map(&keys, "the inferred recipe")?.recipe;
    let spec = PretrainSpec::new(recipe)?;
    // The order of decoders in a file says nothing.
    let found = |task| spec.model.outputs.contains(task);
    let same = spec.model.encoder == config.encoder
        && spec.model.inputs == config.inputs
        && spec.model.decoder == config.decoder
        && spec.model.outputs.len() == config.outputs.len()
        && config.outputs.iter().all(found);
    if same {
        return Ok(spec);
    }
    Err(Error::Model(multimae::Error::Config(
        "its tensors make a model that no recipe describes, such as other decoders of standardised \
         patches than that of RGB, or MLPs of another size"
            .to_owned(),
    )))
}

fn keys_of(config: &MultiMaeConfig) -> Result<Map<String, Value>> {
    let inputs: Vec<&str> = config.inputs.iter().map(|modality| modality.name.as_str()).collect();
    let standardised = config.outputs.iter().any(|task| task.name == NORM_RGB.0);
    let outputs = config.outputs.iter().filter(|task| task.name != NORM_RGB.0);
    let outputs: Vec<&str> = outputs.map(|task| task.name.as_str()).collect();
    let all = config.inputs.iter().chain(config.outputs.iter().map(|task| &task.modality));
    let modalities: Map<String, Value> =
        all.map(|modality| (modality.name.clone(), entry(modality))).collect();
    let encoder = &config.encoder;
    let tokens = config.layout(config.image_size)?.num_tokens();
    let keys = json!({
        "in_domains": inputs,
        "out_domains": outputs,
        "modalities": modalities,
        "extra_norm_pix_loss": standardised,
        "standardize_depth": true,
        "model": {"width": encoder.width, "depth": encoder.depth, "heads": encoder.heads},
        "patch_size": config.patch_size,
        "input_size": [config.image_size.height, config.image_size.width],
        "num_global_tokens": config.num_global_tokens,
        "decoder_dim": config.decoder.width,
        "decoder_depth": config.decoder.depth,
        "decoder_num_heads": config.decoder.heads,
        "decoder_use_task_queries": config.decoder.use_task_queries,
        "decoder_use_xattn": config.decoder.use_xattn,
        "num_encoded_tokens": tokens.min(PretrainRecipe::default().num_encoded_tokens),
    });
    match keys {
        Value::Object(keys) => Ok(keys),
        _ => Ok(Map::new()),
    }
}

/// A modality's entry; what it does not say is that of the usual modality of its name.
fn entry(modality: &Modality) -> Value {
    match modality.kind {
        ModalityKind::Continuous { channels } => {
            json!({"channels": channels, "stride": modality.stride})
        }
        ModalityKind::Categorical { classes, dim_class_emb, padding } => {
            let mut entry = json!({
                "classes": classes,
                "dim_class_emb": dim_class_emb,
                "stride": modality.stride,
            });
            if padding {
                entry["ignore"] = json!(PADDING_LABEL.max(classes));
            }
            entry
        }
    }
}
