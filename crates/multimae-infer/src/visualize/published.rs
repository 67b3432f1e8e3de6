//! The recipe of pre-trained weights that come without one: sizes from the tensors, all else as the
//! published models were trained.

use multimae::modality::{Modality, ModalityKind};
use multimae::model::MultiMaeConfig;
use multimae::state::StateDict;
use multimae::weights::{ArchitectureHints, infer_config};
use multimae_config::{NORM_RGB, PretrainRecipe, Resolved};
use serde_json::{Map, Value, json};

use super::PretrainSpec;
use crate::weights_source::TrainingArguments;
use crate::{Error, Result};

/// A label that is no class, for models with an embedding for it.
const PADDING_LABEL: usize = 255;

/// The recipe of pre-trained weights, as YAML, from their tensors and the arguments of their training
/// script.
///
/// # Errors
/// If their architecture cannot be inferred, or is none that a recipe describes.
pub fn recipe_of(weights: &StateDict, arguments: &TrainingArguments) -> Result<String> {
    use multimae_config::Recipe as _;
    Ok(spec_of(weights, arguments)?.0.recipe.to_yaml())
}

/// The recipe and model of pre-trained weights without a recipe, and what was assumed, in words.
///
/// # Errors
/// If their architecture cannot be inferred, or is none that a recipe describes.
pub(super) fn spec_of(
    weights: &StateDict,
    arguments: &TrainingArguments,
) -> Result<(PretrainSpec, String)> {
    let width = weights.get("global_tokens").and_then(|data| data.shape().last().copied());
    let hints = arguments.hints(width.unwrap_or_default());
    let config = infer_config(weights, hints)?;
    let keys = keys_of(&config, arguments)?;
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
        return Ok((spec, assumptions(&config, hints, arguments)));
    }
    Err(Error::Model(multimae::Error::Config(
        "its tensors make a model that no recipe describes, such as other decoders of standardised \
         patches than that of RGB, or MLPs of another size"
            .to_owned(),
    )))
}

/// The preset of weights without a recipe, in words.
fn assumptions(
    config: &MultiMaeConfig,
    hints: ArchitectureHints,
    arguments: &TrainingArguments,
) -> String {
    let source = |stated: Option<usize>| match stated {
        Some(_) => "by its `args`",
        None => "assumed, as in the known models",
    };
    let colours = match arguments.imagenet_normalisation {
        Some(false) => "mean and deviation 0.5 of colours",
        _ => "ImageNet's mean and deviation of colours",
    };
    let depth = match arguments.standardize_depth {
        Some(false) => "depth as it is stored",
        _ => "depth standardised per frame",
    };
    format!(
        "the file has no recipe: the sizes are those of its tensors, which do not show heads: {} of \
         the encoder ({}) and {} of the decoders ({}). Images are normalised as for the published \
         models, with {colours}, {depth}, labels as class ids, and every finite number valid",
        config.encoder.heads,
        source(hints.encoder_heads),
        config.decoder.heads,
        source(hints.decoder_heads),
    )
}

fn keys_of(config: &MultiMaeConfig, arguments: &TrainingArguments) -> Result<Map<String, Value>> {
    let inputs: Vec<&str> = config.inputs.iter().map(|modality| modality.name.as_str()).collect();
    let standardised = config.outputs.iter().any(|task| task.name == NORM_RGB.0);
    let outputs = config.outputs.iter().filter(|task| task.name != NORM_RGB.0);
    let outputs: Vec<&str> = outputs.map(|task| task.name.as_str()).collect();
    let all = config.inputs.iter().chain(config.outputs.iter().map(|task| &task.modality));
    let modalities: Map<String, Value> =
        all.map(|modality| (modality.name.clone(), entry(modality))).collect();
    let encoder = &config.encoder;
    let tokens = config.layout(config.image_size)?.num_tokens();
    let usual = PretrainRecipe::default().num_encoded_tokens;
    let encoded = arguments.encoded_tokens.unwrap_or(usual);
    let keys = json!({
        "in_domains": inputs,
        "out_domains": outputs,
        "modalities": modalities,
        "extra_norm_pix_loss": standardised,
        "standardize_depth": arguments.standardize_depth.unwrap_or(true),
        "imagenet_default_mean_and_std": arguments.imagenet_normalisation.unwrap_or(true),
        // The published code takes every finite number for a measurement.
        "valid_values": "all",
        "model": {"width": encoder.width, "depth": encoder.depth, "heads": encoder.heads},
        "patch_size": config.patch_size,
        "input_size": [config.image_size.height, config.image_size.width],
        "num_global_tokens": config.num_global_tokens,
        "decoder_dim": config.decoder.width,
        "decoder_depth": config.decoder.depth,
        "decoder_num_heads": config.decoder.heads,
        "decoder_use_task_queries": config.decoder.use_task_queries,
        "decoder_use_xattn": config.decoder.use_xattn,
        "num_encoded_tokens": tokens.min(encoded).max(1),
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

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::Device;
    use multimae::encoder::EncoderConfig;
    use multimae::modality::Size;
    use multimae::model::MultiMae;
    use multimae::output_adapters::{DecoderConfig, OutputTask};
    use multimae::positions::NonSquareTables;
    use multimae::state::state_dict;
    use multimae_config::Recipe as _;
    use multimae_data::Valid;

    use super::*;

    fn weights() -> StateDict {
        let inputs = vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1)];
        let config = MultiMaeConfig {
            encoder: EncoderConfig::new(64, 1, 1),
            patch_size: 16,
            image_size: Size::square(32),
            num_global_tokens: 1,
            outputs: inputs.iter().cloned().map(OutputTask::of).collect(),
            inputs,
            decoder: DecoderConfig { width: 16, depth: 1, ..DecoderConfig::default() },
            tables: NonSquareTables::default(),
        };
        state_dict(&MultiMae::new(&config, &Device::default()).unwrap())
    }

    /// Zeros are measurements, as in the published code.
    #[test]
    fn values_are_treated_as_in_the_published_pre_training() {
        let (spec, notice) = spec_of(&weights(), &TrainingArguments::default()).unwrap();
        assert_eq!(spec.modalities["depth"].data.rules.valid, Valid::All);
        assert!(spec.recipe.tasks.standardize_depth);
        assert!(notice.contains("1 of the encoder (assumed, as in the known models)"), "{notice}");
        assert!(notice.contains("8 of the decoders (assumed"), "{notice}");
    }

    #[test]
    fn arguments_of_the_training_script_count() {
        let arguments = TrainingArguments {
            encoder: Some(EncoderConfig::new(64, 1, 4)),
            decoder_heads: Some(2),
            task_queries: Some(false),
            standardize_depth: Some(false),
            imagenet_normalisation: Some(false),
            encoded_tokens: Some(3),
        };
        let (spec, notice) = spec_of(&weights(), &arguments).unwrap();
        assert_eq!((spec.model.encoder.heads, spec.model.decoder.heads), (4, 2));
        assert!(!spec.model.decoder.use_task_queries);
        assert_eq!(spec.masking.num_encoded_tokens, 3);
        assert!(!spec.recipe.tasks.standardize_depth);
        assert!(!spec.recipe.tasks.imagenet_default_mean_and_std);
        let says = "4 of the encoder (by its `args`) and 2 of the decoders (by its `args`)";
        assert!(notice.contains(says) && notice.contains("depth as it is stored"), "{notice}");
        // The recipe says the same.
        let text = recipe_of(&weights(), &arguments).unwrap();
        let keys: Map<String, Value> = serde_saphyr::from_str(&text).unwrap();
        let again = Resolved::<PretrainRecipe>::of_run(&keys, "the recipe").unwrap().recipe;
        assert_eq!(again.to_yaml(), text);
        assert_eq!(PretrainSpec::new(again).unwrap().model, spec.model);
    }
}
