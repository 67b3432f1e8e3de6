//! Weights by a path: a file of any format, or the folder of a run or of a downloaded model.

use std::fmt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae::state::StateDict;
use multimae::weights::{Layout, Loaded, Value, dequantised, read_weights_of};
use multimae_config::EncoderChoice;
use multimae_config::keys::RecipeValue as _;

use crate::{Error, Result, checkpoint};

mod arguments;

pub use arguments::TrainingArguments;

/// The note of a file whose weights are whole numbers of 8 bits.
pub(crate) const QUANTISED: (&str, &str) = ("quantised", "int8");

/// Whether notes are those of such a file.
pub(crate) fn is_quantised(notes: &IndexMap<String, String>) -> bool {
    notes.get(QUANTISED.0).is_some_and(|value| value == QUANTISED.1)
}

/// The finished model in a run's folder.
pub const MODEL_FILE: &str = "model.safetensors";
/// The adapter in a run's folder.
pub const ADAPTER_FILE: &str = "adapter.safetensors";
/// The resolved recipe in a run's folder.
const RECIPE_FILE: &str = "recipe.yaml";
/// The recipe in the metadata of a run's model.
pub const RECIPE: &str = "recipe";
/// The recipe in a PyTorch checkpoint that this program wrote.
pub const PTH_RECIPE: &str = "multimae_recipe";
/// Files of folders that Hugging Face writes.
const DOWNLOADED: [&str; 3] =
    ["model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Extensions of weights; the only such file of a folder is meant by the folder.
const EXTENSIONS: [&str; 6] = ["safetensors", "pth", "pt", "bin", "ckpt", "npz"];

/// A file of weights or a folder, and the state dict in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsSource {
    /// A file in any format, or the folder of a run or of a downloaded model.
    pub path: PathBuf,
    /// The key of the state dict in a file of several, such as `model_ema`.
    pub key: Option<String>,
}

/// Weights as they were read.
#[derive(Debug, Clone)]
pub struct SourceWeights {
    /// The file.
    pub path: PathBuf,
    /// The tensors, of a checkpoint of training those that prediction uses.
    pub weights: StateDict,
    /// The metadata of a safetensors file.
    pub metadata: IndexMap<String, String>,
    /// The recipe in the file, or beside a checkpoint in a run's folder.
    pub recipe: Option<String>,
    /// The arguments of the training script in a PyTorch checkpoint.
    pub arguments: TrainingArguments,
    /// Notes about the selection and the names.
    pub notices: Vec<String>,
}

impl From<&Path> for WeightsSource {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), key: None }
    }
}

impl From<&PathBuf> for WeightsSource {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<&str> for WeightsSource {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} ({key})", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

impl WeightsSource {
    /// The same path with a key of the file.
    #[must_use]
    pub fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// If there are none at the path or under the key, or the file is damaged.
    pub fn read(&self) -> Result<SourceWeights> {
        let path = self.file()?;
        let key = self.key.as_deref();
        let loaded = read_weights_of(&path, key)?;
        self.source_weights(path, loaded)
    }

    /// The weights of a file that has been read.
    ///
    /// # Errors
    /// If it is a checkpoint of training without the part of the key, or its recipe cannot be read.
    pub fn source_weights(&self, path: PathBuf, loaded: Loaded) -> Result<SourceWeights> {
        let mut recipe = recipe_in(&loaded);
        let arguments = TrainingArguments::of(&loaded.entries);
        let Loaded { mut weights, mut metadata, mut notices, .. } = loaded;
        if is_quantised(&metadata) {
            weights = dequantised(weights).map_err(|error| problem(&path, error.to_string()))?;
            metadata.shift_remove(QUANTISED.0);
            notices.push(format!("{}: weights of 8 bits are read as fp32", path.display()));
        }
        if checkpoint::is_checkpoint(&weights) {
            weights = self.of_checkpoint(&weights, &path)?;
            let dir = path.parent().and_then(Path::parent);
            let beside = dir.map(|dir| dir.join(RECIPE_FILE)).filter(|recipe| recipe.is_file());
            recipe = beside.map(fs::read_to_string).transpose()?;
            notices.push(format!("{} is a checkpoint of a run", path.display()));
        }
        Ok(SourceWeights { path, weights, metadata, recipe, arguments, notices })
    }

    /// The weights of a checkpoint of training: the averaged ones unless the key says otherwise.
    fn of_checkpoint(&self, tensors: &StateDict, path: &Path) -> Result<StateDict> {
        let averaged =
            tensors.keys().any(|name| name.starts_with(&format!("{}/", checkpoint::EMA)));
        match self.key.as_deref() {
            Some(checkpoint::MODEL) => Ok(checkpoint::part(tensors, checkpoint::MODEL)),
            Some(checkpoint::EMA) if !averaged => Err(problem(
                path,
                "holds no averaged weights: the run had `model_ema: false`".to_owned(),
            )),
            _ => Ok(checkpoint::evaluated_weights(tensors)),
        }
    }

    /// The file that the path means. Of a run's folder its finished model, else its best checkpoint,
    /// else its newest.
    ///
    /// # Errors
    /// If the path is an address, or a folder without weights.
    pub fn file(&self) -> Result<PathBuf> {
        let text = self.path.to_string_lossy();
        if text.starts_with("http://") || text.starts_with("https://") {
            let text = "weights are not downloaded; fetch the file and give its path";
            return Err(problem(&self.path, text.to_owned()));
        }
        if self.path.is_dir() { in_folder(&self.path) } else { Ok(self.path.clone()) }
    }
}

/// The recipe in a file.
fn recipe_in(loaded: &Loaded) -> Option<String> {
    let entry = match loaded.entries.get(PTH_RECIPE) {
        Some(Value::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    loaded.metadata.get(RECIPE).cloned().or(entry)
}

fn in_folder(dir: &Path) -> Result<PathBuf> {
    let checkpoints = dir.join("checkpoints");
    let fixed = [dir.join(MODEL_FILE), checkpoints.join(checkpoint::BEST)];
    if let Some(path) = fixed.into_iter().find(|path| path.is_file()) {
        return Ok(path);
    }
    if let Some(path) = checkpoint::list(&checkpoints)?.pop() {
        return Ok(path);
    }
    let downloaded = DOWNLOADED.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    if let Some(path) = downloaded {
        return Ok(path);
    }
    if dir.join(ADAPTER_FILE).is_file() {
        return Err(problem(
            dir,
            "holds an adapter and no backbone; give the backbone as the model and this as the \
             adapter: --model BACKBONE --adapter FOLDER"
                .to_owned(),
        ));
    }
    let mut files = weight_files(dir)?;
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (Some(_), false) => {
            Err(problem(dir, "holds several files of weights; give one of them".to_owned()))
        }
        (None, _) => Err(problem(
            dir,
            format!(
                "holds neither {MODEL_FILE} nor checkpoints; give the folder of a run or a file of \
                 weights"
            ),
        )),
    }
}

/// The files of a folder that are named as weights are.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if extension.is_some_and(|e| EXTENSIONS.contains(&e)) && path.is_file() && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl SourceWeights {
    /// The layout of the names.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::of(&self.weights)
    }

    /// The heads of the encoder, if the recipe or the arguments of the training script state them.
    #[must_use]
    pub fn encoder_heads(&self) -> Option<usize> {
        let of_recipe = |recipe: &String| {
            let keys: serde_json::Value = serde_saphyr::from_str(recipe).ok()?;
            EncoderChoice::read(keys.get("model")?).ok()
        };
        let of_recipe = self.recipe.as_ref().and_then(of_recipe).map(|choice| choice.config);
        let encoder = of_recipe.or_else(|| self.arguments.encoder.clone())?;
        // A recipe or a name may be that of another encoder.
        let norms = ["encoder.0.norm1.weight", "blocks.0.norm1.weight"];
        let norm = norms.iter().find_map(|name| self.weights.get(*name))?;
        (norm.num_elements() == encoder.width).then_some(encoder.heads)
    }
}

fn problem(path: &Path, problem: String) -> Error {
    Error::SavedModel { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::TensorData;
    use multimae::encoder::EncoderConfig;

    use super::*;

    fn message(path: &Path) -> String {
        WeightsSource::from(path).file().unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_not_fetched() {
        let error = message(Path::new("https://example.org/weights.pth"));
        assert!(error.contains("fetch the file"), "{error}");
    }

    #[test]
    fn heads_are_those_that_the_recipe_or_the_arguments_state_for_this_encoder() {
        let norm = TensorData::new(vec![1.0_f32; 64], [64]);
        let mut read = SourceWeights {
            path: PathBuf::new(),
            weights: [("encoder.0.norm1.weight".to_owned(), norm)].into_iter().collect(),
            metadata: IndexMap::new(),
            recipe: None,
            arguments: TrainingArguments::default(),
            notices: Vec::new(),
        };
        assert_eq!(read.encoder_heads(), None);
        read.arguments.encoder = Some(EncoderConfig::new(64, 1, 8));
        assert_eq!(read.encoder_heads(), Some(8));
        read.recipe = Some("model: {width: 64, depth: 1, heads: 2}\nepochs: 3\n".to_owned());
        assert_eq!(read.encoder_heads(), Some(2));
        read.recipe = Some("model: base\n".to_owned());
        assert_eq!(read.encoder_heads(), None);
    }

    #[test]
    fn a_folder_means_its_only_file_of_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert!(message(dir.path()).contains("neither model.safetensors nor checkpoints"));
        fs::write(path(ADAPTER_FILE), "").unwrap();
        assert!(message(dir.path()).contains("--adapter FOLDER"));
        fs::rename(path(ADAPTER_FILE), path("vit.pth")).unwrap();
        fs::write(path("._vit.pth"), "").unwrap();
        let found = WeightsSource::from(dir.path()).file().unwrap();
        assert_eq!(found, path("vit.pth"));
        fs::write(path("other.pt"), "").unwrap();
        assert!(message(dir.path()).contains("several files"));
        fs::write(path("pytorch_model.bin.index.json"), "{}").unwrap();
        let found = WeightsSource::from(dir.path()).file().unwrap();
        assert_eq!(found, path("pytorch_model.bin.index.json"));
        fs::write(path(MODEL_FILE), "").unwrap();
        assert_eq!(WeightsSource::from(dir.path()).file().unwrap(), path(MODEL_FILE));
    }
}
