//! Beginning with pre-trained weights.

use std::path::{Path, PathBuf};

use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, StateDict, load, parameters};
use multimae::tuning::ParameterKind;
use multimae::weights::{
    Fitted, Layout, fit_input_adapters, from_timm, read_safetensors, read_weights,
};

use super::Backbone;
use crate::{Error, Result, checkpoint};

/// Heads and decoders: they are always fresh.
const HEADS: &str = "output_adapters.";
const ADAPTERS: &str = "input_adapters.";

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
        vec![
            format!("weights of {}: {} tensors loaded", self.path.display(), self.loaded),
            format!("not in the file: {}", list(&self.missing)),
            format!("in the file and not used: {}", list(&self.unused)),
            format!("brought to another size: {}", list(&self.resized)),
        ]
    }
}

/// Loads pre-trained weights into a model: input adapters, tokens and encoder. Heads and what
/// tuning adds stay as they are. Everything else that is missing or left over must be allowed by
/// name.
///
/// `source` is a file or the folder of a run.
///
/// # Errors
/// If the file cannot be read, or does not fit.
pub fn load_pretrained(
    model: PeftModel,
    source: &str,
    allowed: &AllowedKeys,
) -> Result<(PeftModel, LoadReport)> {
    let (path, mut weights) = read(source)?;
    let problem = |problem: String| Error::SavedModel { path: path.clone(), problem };
    if matches!(Layout::of(&weights), Layout::TimmVit | Layout::JaxVit) {
        weights = from_timm(&weights).map_err(|error| problem(error.to_string()))?.weights;
    }
    if matches!(Layout::of(&weights), Layout::Unknown | Layout::Adapter) {
        return Err(problem(format!(
            "holds no weights of an encoder that is known: {}",
            Layout::of(&weights)
        )));
    }
    let wanted = parameters(&model);
    let resized = fit_input_adapters(&mut weights, &wanted).iter().map(in_words).collect();
    let has = |name: &str| wanted.iter().any(|parameter| parameter.name == name);
    let adapters: Vec<String> =
        model.vit.input_adapters.iter().map(|(name, _)| format!("{ADAPTERS}{name}.")).collect();
    let other_input = |name: &str| {
        name.starts_with(ADAPTERS) && !adapters.iter().any(|adapter| name.starts_with(adapter))
    };
    let mut unused: Vec<String> = Vec::new();
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
    let model = load(model, weights, &allowed).map_err(|error| {
        problem(format!(
            "{error}\nallow by name what is meant to be so: `allow_missing: [...]` for parameters \
             that begin fresh, `allow_unexpected: [...]` for tensors to leave out"
        ))
    })?;
    let backbone = Backbone::of(&model, &missing);
    let unused = grouped(unused);
    let missing = grouped(missing);
    Ok((model, LoadReport { path, loaded, missing, unused, resized, backbone }))
}

/// The model with the prompts of an adapter.
///
/// # Errors
/// If the file cannot be read, or its prompts are not those of the model.
pub fn prompts_of(model: PeftModel, path: &Path) -> Result<PeftModel> {
    let is_prompt = |name: &str| ParameterKind::of(name) == ParameterKind::Prompts;
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

fn in_words(fitted: &Fitted) -> String {
    format!("{} from {:?} to {:?}", fitted.name, fitted.from, fitted.to)
}

/// Summarises the names of an adapter in one entry: hundreds of names help no reader.
fn grouped(names: Vec<String>) -> Vec<String> {
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

/// The weights of a file, of a checkpoint, or of a run's folder: its finished model, else its best
/// checkpoint, else its newest.
fn read(source: &str) -> Result<(PathBuf, StateDict)> {
    if source.starts_with("http://") || source.starts_with("https://") {
        return Err(Error::SavedModel {
            path: source.into(),
            problem: "weights are not downloaded; fetch the file and give its path".to_owned(),
        });
    }
    let path = Path::new(source);
    let path = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
    let loaded = read_weights(&path)?;
    if checkpoint::is_checkpoint(&loaded.weights) {
        return Ok((path, checkpoint::evaluated_weights(&loaded.weights)));
    }
    Ok((path, loaded.weights))
}

fn in_folder(dir: &Path) -> Result<PathBuf> {
    let checkpoints = dir.join("checkpoints");
    let fixed = [dir.join("model.safetensors"), checkpoints.join(checkpoint::BEST)];
    if let Some(path) = fixed.into_iter().find(|path| path.is_file()) {
        return Ok(path);
    }
    checkpoint::list(&checkpoints)?.pop().ok_or_else(|| Error::SavedModel {
        path: dir.to_owned(),
        problem: "holds neither model.safetensors nor checkpoints".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_adapter_are_one_entry() {
        let names = ["output_adapters.rgb.a.b", "output_adapters.rgb.c", "encoder.0.norm1.weight"];
        let grouped = grouped(names.map(str::to_owned).to_vec());
        assert_eq!(grouped, ["output_adapters.rgb (2 tensors)", "encoder.0.norm1.weight"]);
    }

    #[test]
    fn addresses_are_not_fetched() {
        let error = read("https://example.org/weights.pth").unwrap_err().to_string();
        assert!(error.contains("fetch the file"), "{error}");
    }
}
