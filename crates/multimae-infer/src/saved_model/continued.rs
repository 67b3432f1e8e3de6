//! Continued pre-training: beginning with the weights of a pre-trained model or encoder.

use multimae::model::MultiMae;
use multimae::state::{AllowedKeys, ParameterInfo, StateDict, load, parameters};
use multimae::weights::fit_input_adapters;

use super::Backbone;
use super::pretrained::{
    ADAPTERS, HEADS, LoadReport, NativeWeights, grouped, heads_notice, in_words, misfit,
    native_weights, size_hint,
};
use crate::weights_source::WeightsSource;
use crate::{Error, Result};

/// The tensor that decoders have and heads do not.
const MASK_TOKEN: &str = "mask_token";
const POSITIONS: &str = ".pos_emb";
const TASK_EMBEDDINGS: &str = ".task_embeddings.";

/// Loads the weights of a pre-trained model, of a fine-tuned one or of a plain ViT into a model to
/// pre-train. Input adapters and decoders that the file does not have begin fresh, as whole ones;
/// those of the file that the model does not have, and heads, are left out. Position tables of
/// decoders are computed, and so are those of the model. Everything else that is missing or left
/// over must be allowed by name; a parameter that may be missing also begins fresh where the file
/// has it in another shape.
///
/// # Errors
/// If the file cannot be read, or does not fit.
pub fn load_for_pretraining(
    model: MultiMae,
    source: &WeightsSource,
    allowed: &AllowedKeys,
) -> Result<(MultiMae, LoadReport)> {
    let NativeWeights { path, mut weights, dropped, mut notices, heads } = native_weights(source)?;
    notices.extend(heads_notice(heads, &weights, &model.config().encoder));
    let wanted = parameters(&model);
    let resized = fit_input_adapters(&mut weights, &wanted).iter().map(in_words).collect();
    let mut unused = dropped;
    unused.extend(without_place(&mut weights, &wanted, allowed));
    let mut allowed = allowed.clone();
    allowed.missing.extend(fresh(&weights, &wanted));
    let missing: Vec<String> = wanted
        .iter()
        .map(|parameter| parameter.name.clone())
        .filter(|name| !weights.contains_key(name))
        .collect();
    let known = |name: &&String| wanted.iter().any(|parameter| parameter.name == **name);
    let loaded = weights.keys().filter(known).count();
    unused.extend(weights.keys().filter(|name| !known(name)).cloned());
    let hint = size_hint(&weights, &wanted, heads);
    let model = load(model, weights, &allowed)
        .map_err(|error| Error::SavedModel { path: path.clone(), problem: misfit(&error, hint) })?;
    let (missing, unused) = (grouped(missing), grouped(unused));
    let backbone = Backbone::default();
    Ok((model, LoadReport { path, loaded, missing, unused, resized, notices, backbone }))
}

/// The name of an adapter with its dot, if a tensor is of one: `input_adapters.rgb.`.
fn adapter_of(name: &str) -> Option<&str> {
    let kind = [ADAPTERS, HEADS].into_iter().find(|kind| name.starts_with(kind))?;
    let end = name[kind.len()..].find('.')?;
    name.get(..=kind.len() + end)
}

/// Takes the tensors out that have no place in the model, and gives their names.
fn without_place(
    weights: &mut StateDict,
    wanted: &[ParameterInfo],
    allowed: &AllowedKeys,
) -> Vec<String> {
    let heads: Vec<String> = weights
        .keys()
        .filter_map(|name| adapter_of(name))
        .filter(|adapter| adapter.starts_with(HEADS))
        .filter(|adapter| !weights.contains_key(&format!("{adapter}{MASK_TOKEN}")))
        .map(str::to_owned)
        .collect();
    let mut unused = Vec::new();
    weights.retain(|name, data| {
        let own = wanted.iter().find(|parameter| parameter.name == *name);
        let has_adapter =
            |adapter: &str| wanted.iter().any(|parameter| parameter.name.starts_with(adapter));
        let keep = match (adapter_of(name), own) {
            (Some(adapter), _) if heads.iter().any(|head| head == adapter) => false,
            (Some(adapter), None) => has_adapter(adapter) && !name.contains(TASK_EMBEDDINGS),
            (adapter, Some(own)) if own.shape != data.shape().to_vec() => {
                let table = name.ends_with(POSITIONS)
                    && adapter.is_some_and(|adapter| adapter.starts_with(HEADS));
                !table && !allowed.missing.iter().any(|prefix| name.starts_with(prefix))
            }
            _ => true,
        };
        if !keep {
            unused.push(name.clone());
        }
        keep
    });
    unused
}

/// Parameters that begin fresh: adapters that the file does not have at all, embeddings of their
/// tasks in decoders, and position tables of decoders.
fn fresh(weights: &StateDict, wanted: &[ParameterInfo]) -> Vec<String> {
    let is_fresh = |name: &str| {
        let Some(adapter) = adapter_of(name) else { return false };
        let absent = !weights.keys().any(|name| name.starts_with(adapter));
        let of_absent_task = name.split_once(TASK_EMBEDDINGS).is_some_and(|(_, task)| {
            let own = format!("{ADAPTERS}{task}.");
            !weights.keys().any(|name| name.starts_with(&own))
        });
        absent || of_absent_task || (adapter.starts_with(HEADS) && name.ends_with(POSITIONS))
    };
    let missing = wanted.iter().filter(|parameter| !weights.contains_key(&parameter.name));
    missing.map(|parameter| parameter.name.clone()).filter(|name| is_fresh(name)).collect()
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::{Device, TensorData};
    use multimae::encoder::EncoderConfig;
    use multimae::modality::{Modality, Size};
    use multimae::model::MultiMaeConfig;
    use multimae::output_adapters::{DecoderConfig, OutputTask};
    use multimae::positions::NonSquareTables;
    use multimae::state::state_dict;
    use multimae::weights::{to_timm, write_safetensors};
    use multimae_data::stream;

    use super::*;

    fn model(names: &[&str], size: usize, seed: u64) -> MultiMae {
        let inputs: Vec<Modality> = names
            .iter()
            .map(|name| Modality::continuous(name, if *name == "rgb" { 3 } else { 1 }))
            .collect();
        let config = MultiMaeConfig {
            encoder: EncoderConfig::new(16, 2, 2),
            patch_size: 8,
            image_size: Size::square(size),
            num_global_tokens: 1,
            outputs: inputs.iter().cloned().map(OutputTask::of).collect(),
            inputs,
            decoder: DecoderConfig { width: 8, depth: 1, heads: 2, ..DecoderConfig::default() },
            tables: NonSquareTables::default(),
        };
        let model = MultiMae::new(&config, &Device::default()).unwrap();
        multimae::init::initialise(model, |name| stream(seed, name, 0, 0))
    }

    fn loaded(weights: &StateDict, model: MultiMae) -> Result<(StateDict, LoadReport)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights.safetensors");
        let bytes = write_safetensors(weights, &indexmap::IndexMap::new()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        let source = WeightsSource::from(path.as_path());
        let (model, report) = load_for_pretraining(model, &source, &AllowedKeys::default())?;
        Ok((state_dict(&model), report))
    }

    #[test]
    fn a_model_continues_with_all_its_weights() {
        let weights = state_dict(&model(&["rgb", "depth"], 16, 1));
        let (read, report) = loaded(&weights, model(&["rgb", "depth"], 16, 2)).unwrap();
        assert_eq!(read, weights);
        assert_eq!((report.missing, report.unused), (Vec::new(), Vec::new()));
    }

    #[test]
    fn other_modalities_begin_fresh_and_other_decoders_are_left_out() {
        let weights = state_dict(&model(&["rgb", "depth"], 16, 1));
        let fresh = state_dict(&model(&["rgb", "thermal"], 24, 2));
        let (read, report) = loaded(&weights, model(&["rgb", "thermal"], 24, 2)).unwrap();
        for (name, data) in &read {
            let from_file = !name.contains("thermal") && !name.ends_with(POSITIONS);
            let source = if from_file { &weights } else { &fresh };
            if !name.starts_with(ADAPTERS) || from_file {
                assert_eq!(data, &source[name], "{name}");
            }
        }
        assert!(report.missing.iter().any(|name| name.starts_with("input_adapters.thermal")));
        assert!(report.unused.iter().any(|name| name.starts_with("output_adapters.depth")));
        assert_eq!(
            report.resized,
            ["input_adapters.rgb.pos_emb from [1, 16, 2, 2] to [1, 16, 3, 3]"]
        );
    }

    #[test]
    fn an_encoder_of_timm_is_a_start() {
        let weights = state_dict(&model(&["rgb"], 16, 1));
        let vit = to_timm(&weights).unwrap().weights;
        let (read, _) = loaded(&vit, model(&["rgb", "depth"], 16, 2)).unwrap();
        for name in ["encoder.1.mlp.fc2.weight", "input_adapters.rgb.proj.weight", "global_tokens"]
        {
            assert_eq!(read[name], weights[name], "{name}");
        }
    }

    #[test]
    fn incomplete_adapters_and_other_sizes_are_errors() {
        let mut weights = state_dict(&model(&["rgb"], 16, 1));
        weights.shift_remove("output_adapters.rgb.mlp.fc1.bias");
        let error = loaded(&weights, model(&["rgb"], 16, 2)).unwrap_err().to_string();
        assert!(error.contains("missing `output_adapters.rgb.mlp.fc1.bias`"), "{error}");
        let mut weights = state_dict(&model(&["rgb"], 16, 1));
        weights
            .insert("encoder.2.norm1.weight".to_owned(), TensorData::new(vec![0.0_f32; 16], [16]));
        let error = loaded(&weights, model(&["rgb"], 16, 2)).unwrap_err().to_string();
        assert!(error.contains("16 and 2; set `model`"), "{error}");
    }
}
