//! Beginning with pre-trained weights.

use std::path::{Path, PathBuf};

use multimae::encoder::EncoderConfig;
use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, ParameterInfo, StateDict, load, parameters};
use multimae::tuning::ParameterKind;
use multimae::weights::{Fitted, fit_input_adapters, from_timm, read_safetensors, usual_heads};

use super::{Adapter, Backbone};
use crate::weights_source::{SourceWeights, WeightsSource};
use crate::{Error, Result};

/// Heads and decoders: they are always fresh.
pub(super) const HEADS: &str = "output_adapters.";
pub(super) const ADAPTERS: &str = "input_adapters.";

/// The report of loading a file of weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// Parameters of the model that have their values from it.
    pub loaded: usize,
    /// Parameters that the file does not have and that were allowed to be missing.
    pub missing: Vec<String>,
    /// Tensors of the file that the model has no place for.
    pub unused: Vec<String>,
    /// Tensors that were resized, in words.
    pub resized: Vec<String>,
    /// Notes about the file: the state dict that was read, stripped prefixes, conversions.
    pub notices: Vec<String>,
    /// The weights of the file that the model starts from.
    pub backbone: Backbone,
}

impl LoadReport {
    /// The report in a few lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let list = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let mut lines =
            vec![format!("weights of {}: {} tensors loaded", self.path.display(), self.loaded)];
        lines.extend(self.notices.iter().cloned());
        lines.extend([
            format!("not in the file: {}", list(&self.missing)),
            format!("in the file and not used: {}", list(&self.unused)),
            format!("brought to another size: {}", list(&self.resized)),
        ]);
        lines
    }
}

/// Weights of a source under the names of this program.
pub(super) struct NativeWeights {
    pub(super) path: PathBuf,
    pub(super) weights: StateDict,
    /// The names of those that a conversion had no place for.
    pub(super) dropped: Vec<String>,
    pub(super) notices: Vec<String>,
    /// The heads of the encoder, if the file states them.
    pub(super) heads: Option<usize>,
}

/// Reads the weights of an encoder, and what is around it in the file.
///
/// # Errors
/// If the file cannot be read, or holds no encoder.
pub(super) fn native_weights(source: &WeightsSource) -> Result<NativeWeights> {
    let read = source.read()?;
    let (layout, heads) = (read.layout(), read.encoder_heads());
    let SourceWeights { path, weights, mut notices, .. } = read;
    let problem = |problem: String| Error::SavedModel { path: path.clone(), problem };
    if layout.is_vit() {
        let converted = from_timm(&weights).map_err(|error| problem(error.to_string()))?;
        notices.extend(converted.notices);
        let (weights, dropped) = (converted.weights, converted.dropped);
        return Ok(NativeWeights { path, weights, dropped, notices, heads });
    }
    if !layout.has_encoder() {
        return Err(problem(format!("holds no weights of an encoder that is known: {layout}")));
    }
    Ok(NativeWeights { path, weights, dropped: Vec::new(), notices, heads })
}

/// Loads pre-trained weights into a model: input adapters, tokens and encoder. Heads and what
/// tuning adds stay as they are. Everything else that is missing or left over must be allowed by
/// name.
///
/// # Errors
/// If the file cannot be read, or does not fit.
pub fn load_pretrained(
    model: PeftModel,
    source: &WeightsSource,
    allowed: &AllowedKeys,
) -> Result<(PeftModel, LoadReport)> {
    let NativeWeights { path, mut weights, dropped, mut notices, heads } = native_weights(source)?;
    notices.extend(heads_notice(heads, &weights, &model.vit.config().encoder));
    let wanted = parameters(&model);
    let resized = fit_input_adapters(&mut weights, &wanted).iter().map(in_words).collect();
    let has = |name: &str| wanted.iter().any(|parameter| parameter.name == name);
    let adapters: Vec<String> =
        model.vit.input_adapters.iter().map(|(name, _)| format!("{ADAPTERS}{name}.")).collect();
    let other_input = |name: &str| {
        name.starts_with(ADAPTERS) && !adapters.iter().any(|adapter| name.starts_with(adapter))
    };
    let mut unused = dropped;
    weights.retain(|name, _| {
        let dropped = name.starts_with(HEADS) || other_input(name);
        if dropped {
            unused.push(name.clone());
        }
        !dropped
    });
    let mut allowed = allowed.clone();
    allowed.missing.push(HEADS.to_owned());
    let peft = wanted.iter().filter(|p| ParameterKind::of(&p.name).is_peft());
    allowed.missing.extend(peft.map(|parameter| parameter.name.clone()));
    unused.extend(weights.keys().filter(|name| !has(name)).cloned());
    let missing: Vec<String> = wanted
        .iter()
        .map(|parameter| parameter.name.clone())
        .filter(|name| !weights.contains_key(name))
        .collect();
    let loaded = weights.keys().filter(|name| has(name)).count();
    let hint = size_hint(&weights, &wanted, heads);
    let model = load(model, weights, &allowed)
        .map_err(|error| Error::SavedModel { path: path.clone(), problem: misfit(&error, hint) })?;
    let backbone = Backbone::of(&model, &missing);
    let unused = grouped(unused);
    let missing = grouped(missing);
    Ok((model, LoadReport { path, loaded, missing, unused, resized, notices, backbone }))
}

/// The problem with weights that do not fit, and the remedy.
pub(super) fn misfit(error: &multimae::Error, hint: Option<String>) -> String {
    let hint = hint.map(|hint| format!("{hint}\n")).unwrap_or_default();
    format!(
        "{hint}{error}\nallow by name what is meant to be so: `allow_missing: [...]` for parameters \
         that begin fresh, `allow_unexpected: [...]` for tensors to leave out"
    )
}

/// Says so if the encoder of a file has another size than that of the model, with the key to set.
pub(super) fn size_hint(
    weights: &StateDict,
    wanted: &[ParameterInfo],
    heads: Option<usize>,
) -> Option<String> {
    let (width, depth) = encoder_sizes(weights)?;
    let own: Vec<&ParameterInfo> = wanted.iter().filter(|p| is_norm(&p.name)).collect();
    let (own_width, own_depth) = (own.first()?.shape.iter().product::<usize>(), own.len());
    if (width, depth) == (own_width, own_depth) {
        return None;
    }
    let heads = heads.or_else(|| usual_heads(width)).unwrap_or(1);
    Some(format!(
        "the file's encoder has dimension {width} and {depth} blocks, the recipe's {own_width} and \
         {own_depth}; set `model` to its size, such as `--set 'model={{width: {width}, depth: {depth}, \
         heads: {heads}}}'`"
    ))
}

/// Whether a parameter is the first norm of a block.
fn is_norm(name: &str) -> bool {
    name.starts_with("encoder.") && name.ends_with(".norm1.weight")
}

/// Dimension and depth of the encoder of a file.
fn encoder_sizes(weights: &StateDict) -> Option<(usize, usize)> {
    let norms: Vec<_> = weights.iter().filter(|(name, _)| is_norm(name)).collect();
    Some((norms.first()?.1.num_elements(), norms.len()))
}

/// Says so if a file states another number of heads than the model of its size has: no tensor would
/// show it.
pub(super) fn heads_notice(
    stated: Option<usize>,
    weights: &StateDict,
    model: &EncoderConfig,
) -> Option<String> {
    let EncoderConfig { width, depth, heads, .. } = model;
    let stated = stated.filter(|stated| stated != heads)?;
    (encoder_sizes(weights)? == (*width, *depth)).then(|| {
        format!(
            "the file's encoder has {stated} heads by its recipe, the model {heads}, so that it \
             computes something else; set `model` to its size: `--set 'model={{width: {width}, \
             depth: {depth}, heads: {stated}}}'`"
        )
    })
}

/// The model with the prompts of an adapter.
///
/// # Errors
/// If the file cannot be read, or its prompts are not those of the model.
pub fn prompts_of(model: PeftModel, path: &Path) -> Result<PeftModel> {
    let is_prompt = |name: &str| ParameterKind::of(name) == ParameterKind::Prompts;
    let path = &Adapter::file_of(path)?;
    let (mut weights, _) = read_safetensors(path)?;
    weights.retain(|name, _| is_prompt(name));
    let others = parameters(&model).into_iter().map(|parameter| parameter.name);
    let allowed = AllowedKeys {
        missing: others.filter(|name| !is_prompt(name)).collect(),
        ..AllowedKeys::default()
    };
    load(model, weights, &allowed).map_err(|error| Error::SavedModel {
        path: path.to_owned(),
        problem: format!("its prompts are not those that the recipe describes: {error}"),
    })
}

pub(super) fn in_words(fitted: &Fitted) -> String {
    format!("{} from {:?} to {:?}", fitted.name, fitted.from, fitted.to)
}

/// Summarises the names of an adapter in one entry: hundreds of names help no reader.
pub(super) fn grouped(names: Vec<String>) -> Vec<String> {
    let mut groups: Vec<(String, usize)> = Vec::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let group = match parts.as_slice() {
            [adapters, which, _, ..] if adapters.ends_with("_adapters") => {
                format!("{adapters}.{which}")
            }
            _ => name,
        };
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, count)) => *count += 1,
            None => groups.push((group, 1)),
        }
    }
    let text = |(name, count): (String, usize)| {
        if count == 1 { name } else { format!("{name} ({count} tensors)") }
    };
    groups.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::TensorData;

    use super::*;

    #[test]
    fn another_number_of_heads_is_named() {
        let norm = |width: usize| {
            let data = TensorData::new(vec![1.0_f32; width], [width]);
            [("encoder.0.norm1.weight".to_owned(), data)].into_iter().collect::<StateDict>()
        };
        let model = EncoderConfig::new(8, 1, 2);
        let notice = heads_notice(Some(4), &norm(8), &model).unwrap();
        assert!(notice.contains("has 4 heads by its recipe, the model 2"), "{notice}");
        assert!(notice.contains("heads: 4}"), "{notice}");
        assert_eq!(heads_notice(Some(2), &norm(8), &model), None);
        assert_eq!(heads_notice(None, &norm(8), &model), None);
        // Other sizes are reported as such, with the known number of heads.
        assert_eq!(heads_notice(Some(4), &norm(16), &model), None);
        let wanted = [ParameterInfo {
            name: "encoder.0.norm1.weight".to_owned(),
            shape: vec![768],
            trainable: true,
        }];
        let hint = |heads| size_hint(&norm(1280), &wanted, heads).unwrap();
        assert!(hint(None).contains("heads: 16"), "{}", hint(None));
        assert!(hint(Some(20)).contains("heads: 20"));
    }

    #[test]
    fn names_of_an_adapter_are_one_entry() {
        let names = ["output_adapters.rgb.a.b", "output_adapters.rgb.c", "encoder.0.norm1.weight"];
        let grouped = grouped(names.map(str::to_owned).to_vec());
        assert_eq!(grouped, ["output_adapters.rgb (2 tensors)", "encoder.0.norm1.weight"]);
    }
}
