//! The architecture of a MultiMAE, from the names and shapes of its tensors.
//!
//! Almost all of a configuration shows in them. The rest is that of the published models where nothing
//! states it: the heads of an encoder are those of the ViT of its dimension, decoders have 8 heads,
//! queries of a decoder are its task's own tokens, and labels are stored at a quarter of the image's
//! resolution.

use burn::tensor::{Device, TensorData};
use indexmap::IndexMap;

use crate::encoder::EncoderConfig;
use crate::modality::{Modality, ModalityKind, Size};
use crate::model::{MultiMae, MultiMaeConfig};
use crate::output_adapters::{DecoderConfig, OutputTask};
use crate::positions::NonSquareTables;
use crate::state::{StateDict, parameters};
use crate::{Error, Result};

/// Values of a head of the published encoders.
const HEAD_WIDTH: usize = 64;
/// Dimensions of encoders whose heads are wider, and the number of their heads: ViT-H (Dosovitskiy et
/// al., 2021), ViT-g and ViT-G (Zhai et al., 2022).
const WIDE_HEADS: [(usize, usize); 3] = [(1280, 16), (1408, 16), (1664, 16)];
/// The stride of labels beside which there is nothing to compare with.
const LABEL_STRIDE: usize = 4;
/// The beginning of the names of decoders of standardised patches of a modality.
const STANDARDISED: &str = "norm_";
/// Parts of decoders that no head has.
const DECODER_PARTS: [&str; 3] = ["decoder_transformer.", "task_embeddings.", "proj_context."];

/// Parameters that are listed before the rest is counted.
const LISTED: usize = 10;

/// Sizes that do not show in tensors, as far as something else states them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchitectureHints {
    /// The heads of the encoder.
    pub encoder_heads: Option<usize>,
    /// The heads of the decoders.
    pub decoder_heads: Option<usize>,
    /// Whether queries of a decoder are its task's own tokens.
    pub task_queries: Option<bool>,
}

impl ArchitectureHints {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &MultiMaeConfig) -> Self {
        Self {
            encoder_heads: Some(config.encoder.heads),
            decoder_heads: Some(config.decoder.heads),
            task_queries: Some(config.decoder.use_task_queries),
        }
    }
}

/// The heads of the known ViT of an embedding dimension; `None` if there is none.
#[must_use]
pub fn usual_heads(width: usize) -> Option<usize> {
    let wide = WIDE_HEADS.iter().find(|(own, _)| *own == width).map(|(_, heads)| *heads);
    let narrow = (width > 0 && width.is_multiple_of(HEAD_WIDTH)).then_some(width / HEAD_WIDTH);
    wide.or(narrow)
}

/// Infers the configuration of a MultiMAE: encoder, inputs and decoders. Without decoders, as in
/// the weights of a MultiViT, it has no outputs; heads are left alone. Sizes that tensors do not show
/// are those of the hints, else those of the published models.
///
/// # Errors
/// If the tensors do not make a MultiMAE, or leave open how many heads it has.
pub fn infer_config(weights: &StateDict, hints: ArchitectureHints) -> Result<MultiMaeConfig> {
    let shapes = Shapes(weights);
    let [1, num_global_tokens, width] = shapes.of("global_tokens")? else {
        return Err(shapes.odd("global_tokens"));
    };
    let inputs = Inputs::read(&shapes)?;
    let encoder = encoder(&shapes, width, hints.encoder_heads)?;
    let (decoder, outputs) = decoders(&shapes, &inputs, hints)?;
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

/// Checks that tensors make a whole MultiMAE, or a MultiViT but for its heads: every parameter of the
/// inferred architecture is there, in its shape. Further tensors are left alone.
///
/// # Errors
/// If a part is missing or has another shape; all of them are named.
pub fn check_complete(weights: &StateDict) -> Result<()> {
    let shapes = Shapes(weights);
    for name in shapes.names("output_adapters.") {
        let key = |part: &str| format!("output_adapters.{name}.{part}");
        let parts = DECODER_PARTS.map(key);
        if weights.keys().any(|name| parts.iter().any(|part| name.starts_with(part))) {
            shapes.of::<3>(&key("mask_token"))?;
        }
    }
    // No shape depends on the number of heads.
    let one = ArchitectureHints {
        encoder_heads: Some(1),
        decoder_heads: Some(1),
        ..ArchitectureHints::default()
    };
    let model = MultiMae::new(&infer_config(weights, one)?, &Device::default())?;
    let wrong = parameters(&model).into_iter().filter_map(|parameter| {
        let own = weights.get(&parameter.name).map(|data| data.shape().to_vec());
        match own {
            None => Some(format!("`{}` is missing", parameter.name)),
            Some(own) if own != parameter.shape => {
                Some(format!("`{}` has shape {own:?}, not {:?}", parameter.name, parameter.shape))
            }
            Some(_) => None,
        }
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let more = wrong.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let listed: Vec<String> = wrong.into_iter().take(LISTED).collect();
    Err(Error::Weights(format!("the model is incomplete: {}{more}", listed.join(", "))))
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

fn encoder(shapes: &Shapes<'_>, width: usize, heads: Option<usize>) -> Result<EncoderConfig> {
    let depth = shapes.names("encoder.").len();
    let heads = heads.or_else(|| usual_heads(width)).ok_or_else(|| {
        problem(format!(
            "the number of heads does not show in the tensors, and the embedding dimension {width} \
             is no multiple of {HEAD_WIDTH}, the values of a head of the published models; use the \
             model.safetensors of the run, which holds its recipe"
        ))
    })?;
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(problem(format!(
            "an encoder of dimension {width} cannot have {heads} heads, as the file says"
        )));
    }
    let mut config = EncoderConfig::new(width, depth, heads);
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

fn decoders(
    shapes: &Shapes<'_>,
    inputs: &Inputs,
    hints: ArchitectureHints,
) -> Result<(DecoderConfig, Vec<OutputTask>)> {
    let mut unseen = DecoderConfig::default();
    unseen.heads = hints.decoder_heads.unwrap_or(unseen.heads);
    unseen.use_task_queries = hints.task_queries.unwrap_or(unseen.use_task_queries);
    let mut config = unseen.clone();
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
            ..unseen.clone()
        };
        if !outputs.is_empty() && own != config {
            return Err(problem(format!("decoder `{name}` differs from the others in its sizes")));
        }
        config = own;
        let modality = predicted(&name, values, inputs)?;
        outputs.push(OutputTask { name, modality });
    }
    if !outputs.is_empty() && (config.heads == 0 || !config.width.is_multiple_of(config.heads)) {
        let source = match hints.decoder_heads {
            Some(_) => "as the file says",
            None => "as the published ones have; use the model.safetensors of the run",
        };
        return Err(problem(format!(
            "decoders of {} values cannot have {} heads, {source}",
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
        assert_eq!(infer_config(&weights(&config), ArchitectureHints::default()).unwrap(), config);
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
            let inferred = infer_config(&weights, ArchitectureHints::default()).unwrap();
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
        assert_eq!(infer_config(&without, ArchitectureHints::default()).unwrap().outputs, []);
    }

    #[test]
    fn heads_are_those_of_the_hints_or_of_the_known_models() {
        for (width, heads) in
            [(192, 3), (768, 12), (1024, 16), (1280, 16), (1408, 16), (1536, 24), (1664, 16)]
        {
            assert_eq!(usual_heads(width), Some(heads), "{width}");
        }
        assert_eq!([0, 96].map(usual_heads), [None; 2]);
        let mut config = config();
        config.encoder.heads = 4;
        config.decoder = DecoderConfig { heads: 2, use_task_queries: false, ..config.decoder };
        let (weights, hints) = (weights(&config), ArchitectureHints::of(&config));
        assert_eq!(infer_config(&weights, hints).unwrap(), config);
        let assumed = infer_config(&weights, ArchitectureHints::default()).unwrap();
        assert_eq!((assumed.encoder.heads, assumed.decoder.heads), (2, 8));
        let wrong = ArchitectureHints { decoder_heads: Some(5), ..hints };
        let message = infer_config(&weights, wrong).unwrap_err().to_string();
        assert!(message.contains("cannot have 5 heads, as the file says"), "{message}");
    }

    #[test]
    fn incomplete_models_are_named_part_by_part() {
        let whole = weights(&config());
        check_complete(&whole).unwrap();
        // Heads, whatever they consist of, and other widths than those of known models are no matter.
        let mut tuned = whole.clone();
        tuned.retain(|name, _| !name.starts_with("output_adapters."));
        tuned.insert(
            "output_adapters.depth.norm.weight".to_owned(),
            TensorData::new(vec![1.0_f32], [1]),
        );
        check_complete(&tuned).unwrap();
        let narrow = MultiMaeConfig {
            encoder: EncoderConfig::new(36, 1, 3),
            decoder: DecoderConfig { width: 12, heads: 3, ..DecoderConfig::default() },
            ..config()
        };
        check_complete(&weights(&narrow)).unwrap();
        for name in [
            "global_tokens",
            "input_adapters.rgb.pos_emb",
            "input_adapters.rgb.proj.bias",
            "input_adapters.semseg.class_emb.weight",
            "output_adapters.depth.mask_token",
            "output_adapters.depth.pos_emb",
            "output_adapters.depth.out_norm.bias",
            "output_adapters.depth.out_proj.bias",
            "output_adapters.depth.task_embeddings.rgb",
            "output_adapters.depth.decoder_transformer.0.attn.qkv.bias",
            "output_adapters.norm_rgb.proj_context.weight",
            "encoder.1.mlp.fc2.bias",
        ] {
            let mut weights = whole.clone();
            assert!(weights.shift_remove(name).is_some(), "{name}");
            let message = check_complete(&weights).unwrap_err().to_string();
            assert!(message.contains(name) || message.contains("semseg"), "{name}: {message}");
        }
        let mut weights = whole;
        let bias = TensorData::new(vec![0.0_f32; 3], [3]);
        weights.insert("encoder.0.attn.qkv.bias".to_owned(), bias);
        let message = check_complete(&weights).unwrap_err().to_string();
        assert!(
            message.contains("`encoder.0.attn.qkv.bias` has shape [3], not [384]"),
            "{message}"
        );
    }

    #[test]
    fn open_questions_are_errors() {
        let fails = |change: &dyn Fn(&mut StateDict), says: &str| {
            let mut weights = weights(&config());
            change(&mut weights);
            let message =
                infer_config(&weights, ArchitectureHints::default()).unwrap_err().to_string();
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
