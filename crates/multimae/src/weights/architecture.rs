//! The architecture of a MultiMAE, from the names and shapes of its tensors.
//!
//! Almost all of a configuration shows in them. The rest is that of the published models: an
//! encoder's heads have 64 values each, decoders have 8 heads, queries of a decoder are its task's
//! own tokens, and labels are stored at a quarter of the image's resolution where nothing says so.

use burn::tensor::TensorData;
use indexmap::IndexMap;

use crate::encoder::EncoderConfig;
use crate::modality::{Modality, ModalityKind, Size};
use crate::model::MultiMaeConfig;
use crate::output_adapters::{DecoderConfig, OutputTask};
use crate::positions::NonSquareTables;
use crate::state::StateDict;
use crate::{Error, Result};

/// Values of a head of the published encoders.
pub const HEAD_WIDTH: usize = 64;
/// The stride of labels beside which there is nothing to compare with.
const LABEL_STRIDE: usize = 4;
/// The beginning of the names of decoders of standardised patches of a modality.
const STANDARDISED: &str = "norm_";

/// Infers the configuration of a MultiMAE: encoder, inputs and decoders. Without decoders, as in
/// the weights of a MultiViT, it has no outputs; heads are left alone.
///
/// # Errors
/// If the tensors do not make a MultiMAE, or leave open how many heads it has.
pub fn infer_config(weights: &StateDict) -> Result<MultiMaeConfig> {
    let shapes = Shapes(weights);
    let [1, num_global_tokens, width] = shapes.of("global_tokens")? else {
        return Err(shapes.odd("global_tokens"));
    };
    let inputs = Inputs::read(&shapes)?;
    let encoder = encoder(&shapes, width)?;
    let (decoder, outputs) = decoders(&shapes, &inputs)?;
    Ok(MultiMaeConfig {
        encoder,
        patch_size: inputs.patch_size,
        image_size: inputs.image_size,
        num_global_tokens,
        inputs: inputs.modalities,
        outputs,
        decoder,
        tables: NonSquareTables::default(),
    })
}

fn problem(text: String) -> Error {
    Error::Weights(format!("the architecture cannot be inferred: {text}"))
}

struct Shapes<'a>(&'a StateDict);

impl Shapes<'_> {
    fn find<const N: usize>(&self, name: &str) -> Option<[usize; N]> {
        self.0.get(name)?.shape().as_slice().try_into().ok()
    }

    fn of<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        match self.find(name) {
            Some(shape) => Ok(shape),
            None if self.0.contains_key(name) => Err(self.odd(name)),
            None => Err(problem(format!("`{name}` is missing"))),
        }
    }

    fn odd(&self, name: &str) -> Error {
        let shape = self.0.get(name).map(|data: &TensorData| data.shape().to_vec());
        problem(format!("`{name}` has shape {:?}", shape.unwrap_or_default()))
    }

    /// The names behind a prefix up to the next dot, in the order of the file.
    fn names(&self, prefix: &str) -> Vec<String> {
        let name = |key: &String| Some(key.strip_prefix(prefix)?.split('.').next()?.to_owned());
        let names: IndexMap<String, ()> =
            self.0.keys().filter_map(name).map(|name| (name, ())).collect();
        names.into_keys().collect()
    }
}

fn encoder(shapes: &Shapes<'_>, width: usize) -> Result<EncoderConfig> {
    let depth = shapes.names("encoder.").len();
    if width == 0 || !width.is_multiple_of(HEAD_WIDTH) {
        return Err(problem(format!(
            "the number of heads does not show in the tensors, and the embedding dimension {width} \
             is no multiple of {HEAD_WIDTH}, the values of a head of the published models; use the \
             model.safetensors of the run, which holds its recipe"
        )));
    }
    let mut config = EncoderConfig::new(width, depth, width / HEAD_WIDTH);
    for index in 0..depth {
        let name = format!("encoder.{index}.attn.qkv.weight");
        if shapes.of(&name)? != [3 * width, width] {
            return Err(shapes.odd(&name));
        }
        let name = format!("encoder.{index}.mlp.fc1.weight");
        let [hidden, inner] = shapes.of(&name)?;
        if inner != width || (index > 0 && hidden as f64 != config.mlp_ratio * width as f64) {
            return Err(shapes.odd(&name));
        }
        config.mlp_ratio = hidden as f64 / width as f64;
    }
    Ok(config)
}

struct Inputs {
    modalities: Vec<Modality>,
    patch_size: usize,
    image_size: Size,
}

impl Inputs {
    fn read(shapes: &Shapes<'_>) -> Result<Self> {
        let mut kinds: Vec<(String, ModalityKind, usize)> = Vec::new();
        let mut grid = None;
        for name in shapes.names("input_adapters.") {
            let key = |part: &str| format!("input_adapters.{name}.{part}");
            let [_, channels, height, width] = shapes.of(&key("proj.weight"))?;
            let [_, _, rows, columns] = shapes.of(&key("pos_emb"))?;
            let other = grid.replace((rows, columns)).is_some_and(|own| own != (rows, columns));
            if height != width || height == 0 || other {
                return Err(problem(format!(
                    "`{name}` has patches of {height} x {width} and a grid of {rows} x {columns}; \
                     patches must be square, and all grids the same"
                )));
            }
            let kind = match shapes.find(&key("class_emb.weight")) {
                Some([classes, dim_class_emb]) => {
                    ModalityKind::Categorical { classes, dim_class_emb, padding: false }
                }
                None => ModalityKind::Continuous { channels },
            };
            kinds.push((name, kind, height));
        }
        let (rows, columns) = grid.ok_or_else(|| problem("no input adapter".to_owned()))?;
        let patch_size = patch_size(&kinds);
        let size = |cells: usize| cells.checked_mul(patch_size);
        let (Some(height), Some(width)) = (size(rows), size(columns)) else {
            return Err(problem(format!("a grid of {rows} x {columns}")));
        };
        let modality = |(name, kind, patch): (String, ModalityKind, usize)| {
            let stride = patch_size / patch;
            Modality { kind: with_padding(shapes, &name, kind, patch), name, stride }
        };
        let modalities = kinds.into_iter().map(modality).collect();
        Ok(Self { modalities, patch_size, image_size: Size::new(height, width) })
    }
}

/// The kind of labels, one of whose embeddings is for padding if their decoder has a class less.
fn with_padding(shapes: &Shapes<'_>, name: &str, kind: ModalityKind, patch: usize) -> ModalityKind {
    let decoded = shapes.find::<2>(&format!("output_adapters.{name}.out_proj.weight"));
    match (kind, decoded) {
        (ModalityKind::Categorical { classes, dim_class_emb, .. }, Some([values, _]))
            if classes > 1 && values == (classes - 1) * patch * patch =>
        {
            ModalityKind::Categorical { classes: classes - 1, dim_class_emb, padding: true }
        }
        (kind, _) => kind,
    }
}

/// The largest patch: that of a modality at full resolution. Labels alone are taken to be at the
/// published resolution.
fn patch_size(kinds: &[(String, ModalityKind, usize)]) -> usize {
    let largest = kinds.iter().map(|(_, _, patch)| *patch).max().unwrap_or(1);
    let is_continuous = |kind: &ModalityKind| matches!(kind, ModalityKind::Continuous { .. });
    let full = kinds.iter().any(|(_, kind, _)| is_continuous(kind));
    if full { largest } else { largest.saturating_mul(LABEL_STRIDE) }
}

fn decoders(shapes: &Shapes<'_>, inputs: &Inputs) -> Result<(DecoderConfig, Vec<OutputTask>)> {
    let mut config = DecoderConfig::default();
    let mut outputs: Vec<OutputTask> = Vec::new();
    for name in shapes.names("output_adapters.") {
        let key = |part: &str| format!("output_adapters.{name}.{part}");
        // Heads have no mask token.
        let Some([1, 1, width]) = shapes.find(&key("mask_token")) else { continue };
        let depth = shapes.names(&key("decoder_transformer.")).len();
        let [values, _] = shapes.of(&key("out_proj.weight"))?;
        let hidden = match shapes.find(&key("mlp.fc1.weight")) {
            Some([hidden, _]) => hidden,
            None => shapes.of::<2>(&key("decoder_transformer.0.mlp.fc1.weight"))?[0],
        };
        let own = DecoderConfig {
            width,
            depth,
            mlp_ratio: hidden as f64 / width.max(1) as f64,
            use_xattn: shapes.find::<2>(&key("decoder.q.weight")).is_some(),
            ..DecoderConfig::default()
        };
        if !outputs.is_empty() && own != config {
            return Err(problem(format!("decoder `{name}` differs from the others in its sizes")));
        }
        config = own;
        let modality = predicted(&name, values, inputs)?;
        outputs.push(OutputTask { name, modality });
    }
    if !outputs.is_empty() && !config.width.is_multiple_of(config.heads) {
        return Err(problem(format!(
            "decoders of {} values cannot have {} heads, as the published ones have",
            config.width, config.heads
        )));
    }
    Ok((config, outputs))
}

/// The modality that a decoder predicts with `values` numbers per patch: the input of its name, or
/// the one whose standardised patches its name says, or one that is no input.
fn predicted(name: &str, values: usize, inputs: &Inputs) -> Result<Modality> {
    let named = |name: &str| inputs.modalities.iter().find(|modality| modality.name == name);
    let input = named(name).or_else(|| named(name.strip_prefix(STANDARDISED)?));
    let area = inputs.patch_size * inputs.patch_size;
    if let Some(modality) = input {
        let side = inputs.patch_size / modality.stride.max(1);
        if values == modality.prediction_channels() * side * side {
            return Ok(modality.clone());
        }
        return Err(problem(format!(
            "decoder `{name}` has {values} numbers per patch, its modality {}",
            modality.prediction_channels() * side * side
        )));
    }
    if values > 0 && values.is_multiple_of(area) {
        return Ok(Modality::continuous(name, values / area));
    }
    Err(problem(format!(
        "decoder `{name}` predicts no input, and no image: {values} numbers per patch"
    )))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::MultiMae;
    use crate::state::{AllowedKeys, load, state_dict};

    fn config() -> MultiMaeConfig {
        let rgb = Modality::continuous("rgb", 3);
        let inputs = vec![
            rgb.clone(),
            Modality::continuous("depth", 1),
            Modality::categorical("semseg", 133, 4),
        ];
        let standardised = OutputTask { name: "norm_rgb".to_owned(), modality: rgb };
        let further = OutputTask::of(Modality::continuous("normals", 3));
        let outputs = inputs.iter().cloned().map(OutputTask::of);
        MultiMaeConfig {
            encoder: EncoderConfig::new(128, 2, 2),
            patch_size: 16,
            image_size: Size::new(32, 48),
            num_global_tokens: 1,
            outputs: outputs.chain([standardised, further]).collect(),
            inputs,
            decoder: DecoderConfig { width: 32, depth: 1, ..DecoderConfig::default() },
            tables: NonSquareTables::default(),
        }
    }

    fn weights(config: &MultiMaeConfig) -> StateDict {
        state_dict(&MultiMae::new(config, &Device::default()).unwrap())
    }

    #[test]
    fn a_config_is_that_of_its_tensors() {
        let config = config();
        assert_eq!(infer_config(&weights(&config)).unwrap(), config);
    }

    #[test]
    fn every_combination_of_parts_is_inferred() {
        for (depth, use_xattn, tokens, ratio) in [(2, true, 1, 4.0), (1, false, 3, 2.0)] {
            let mut config = config();
            let padded =
                ModalityKind::Categorical { classes: 40, dim_class_emb: 8, padding: use_xattn };
            config.inputs[2].kind = padded.clone();
            config.outputs[2].modality.kind = padded;
            config.decoder = DecoderConfig { depth, use_xattn, ..config.decoder };
            config.num_global_tokens = tokens;
            config.encoder.mlp_ratio = ratio;
            config.inputs.remove(1);
            config.outputs.retain(|task| task.name != "depth");
            let weights = weights(&config);
            let inferred = infer_config(&weights).unwrap();
            assert_eq!(inferred, config);
            load(
                MultiMae::new(&inferred, &Device::default()).unwrap(),
                weights,
                &AllowedKeys::default(),
            )
            .unwrap();
        }
    }

    #[test]
    fn encoders_without_decoders_have_no_outputs() {
        let mut without = weights(&config());
        without.retain(|name, _| !name.starts_with("output_adapters."));
        assert_eq!(infer_config(&without).unwrap().outputs, []);
    }

    #[test]
    fn open_questions_are_errors() {
        let fails = |change: &dyn Fn(&mut StateDict), says: &str| {
            let mut weights = weights(&config());
            change(&mut weights);
            let message = infer_config(&weights).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        };
        fails(&|w| drop(w.shift_remove("global_tokens")), "`global_tokens` is missing");
        fails(&|w| drop(w.shift_remove("encoder.1.attn.qkv.weight")), "encoder.1.attn.qkv.weight");
        let empty =
            |shape: Vec<usize>| TensorData::new(vec![0.0_f32; shape.iter().product()], shape);
        fails(&|w| drop(w.insert("global_tokens".to_owned(), empty(vec![1, 1, 48]))), "heads");
        let table = "input_adapters.depth.pos_emb".to_owned();
        fails(&|w| drop(w.insert(table.clone(), empty(vec![1, 128, 9, 9]))), "`depth`");
        let out = "output_adapters.normals.out_proj.weight".to_owned();
        fails(&|w| drop(w.insert(out.clone(), empty(vec![7, 32]))), "7 numbers per patch");
    }
}
