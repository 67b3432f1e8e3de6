//! A fine-tuned model in one file: its weights and everything that predicting needs.

mod adapter;
mod backbone;
mod bank;
mod card;
mod continued;
mod inputs;
mod pretrained;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::encoder::Phase;
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae::weights::{
    dequantised, quantised, read_metadata, read_safetensors, write_safetensors,
};
use multimae_io::atomic::write_atomically;
use multimae_kernels::precision::Precision;

pub use adapter::Adapter;
pub use backbone::{Backbone, weights_sha256};
pub use bank::AdapterBank;
pub use card::{InputModality, ModelCard, Normalisation};
pub use continued::load_for_pretraining;
pub use multimae_tasks::{TaskCard, mask_values};
pub use pretrained::{LoadReport, load_pretrained, prompts_of};

pub use inputs::valid_mask;

use crate::weights_source::{MODEL_FILE, WeightsSource, is_quantised};
use crate::{Error, Result};

/// The entry of a file's metadata that says what it holds.
const KIND: &str = "kind";
/// The kind of a file with a whole model.
const FINETUNED: &str = "finetuned";
/// The key of the card in the file's metadata.
const CARD: &str = "card";

/// A fine-tuned model and what is known of it.
///
/// ```no_run
/// use std::path::Path;
/// use multimae::burn::tensor::Device;
/// use multimae::output_adapters::Prediction;
/// use multimae_infer::saved_model::SavedModel;
/// # fn samples() -> Vec<multimae_data::Sample> { Vec::new() }
///
/// # fn main() -> multimae_infer::Result<()> {
/// let device = Device::default();
/// let saved = SavedModel::load(Path::new("runs/nyuv2/model.safetensors"), &device)?;
/// // Samples of a pipeline over `saved.card.data_modalities()` with `saved.card.geometry`.
/// let outputs = saved.predict(saved.card.inputs(&samples(), &device)?)?;
/// if let Some(Prediction::Maps(metres)) = outputs.get("depth") {
///     assert_eq!(metres.dims()[1], 1);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SavedModel {
    /// The weights, on a device without autodiff.
    pub model: PeftModel,
    /// Everything else that predicting needs.
    pub card: ModelCard,
    /// Further information: recipe, step, scores. Predicting does not need it.
    pub notes: IndexMap<String, String>,
    /// The precision of the GEMMs of predictions: fp32 after loading, or int8 of a
    /// [quantised](crate::quantize) model on a device that has it. bf16 is no part of the file.
    pub precision: Precision,
}

impl SavedModel {
    /// Writes the model into one safetensors file, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &self.to_bytes()?)?)
    }

    /// The content of the file that [`Self::save`] writes.
    ///
    /// # Errors
    /// If the card or the weights cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let card = serde_json::to_string(&self.card).map_err(|error| {
            Error::Samples(format!("the model's card cannot be written: {error}"))
        })?;
        let mut metadata = self.notes.clone();
        metadata.insert(KIND.to_owned(), FINETUNED.to_owned());
        metadata.insert(CARD.to_owned(), card);
        let mut weights = state_dict(&self.model);
        if self.is_quantised() {
            weights = quantised(weights)?;
        }
        Ok(write_safetensors(&weights, &metadata)?)
    }

    /// Whether a file, or the file of a folder, is a fine-tuned model or an adapter, and not
    /// pre-trained weights. Only its beginning is read.
    ///
    /// # Errors
    /// If it cannot be read or certainly holds no weights.
    pub fn is_at(path: &Path) -> Result<bool> {
        let metadata = read_metadata(&WeightsSource::from(path).file()?)?;
        let own = |kind: &String| [FINETUNED, adapter::ADAPTER].contains(&kind.as_str());
        Ok(metadata.get(KIND).is_some_and(own))
    }

    /// The model's file in a run's folder, or the file itself.
    #[must_use]
    pub fn file_of(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(MODEL_FILE) } else { path.to_owned() }
    }

    /// The model's file in a run's folder, or the file itself.
    ///
    /// # Errors
    /// If the run is not finished.
    pub fn find(path: &Path) -> Result<PathBuf> {
        let file = Self::file_of(path);
        if path.is_dir() && !file.is_file() {
            let text = format!(
                "holds no {MODEL_FILE}, so it is no finished run; finish it with --resume, or give \
                 another folder"
            );
            return Err(problem(path, text));
        }
        Ok(file)
    }

    /// Reads a model. Strict: every weight must be there, and no other.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, is no fine-tuned model, or its weights do not fit
    /// its own description.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let (weights, metadata) = read_safetensors(path)?;
        Self::of_parts(path, weights, metadata, device)
    }

    /// The model of the content of a file.
    fn of_parts(
        path: &Path,
        weights: StateDict,
        mut metadata: IndexMap<String, String>,
        device: &Device,
    ) -> Result<Self> {
        let problem = |text: String| problem(path, text);
        let kind = metadata.shift_remove(KIND);
        if kind.as_deref() == Some(adapter::ADAPTER) {
            return Err(problem(
                "is an adapter, which needs its backbone: --model BACKBONE --adapter FILE"
                    .to_owned(),
            ));
        }
        if kind.as_deref() != Some(FINETUNED) {
            return Err(problem(
                "no fine-tuned model (a pre-trained one has no heads); give the model.safetensors \
                 of a fine-tuning run"
                    .to_owned(),
            ));
        }
        let card = metadata.shift_remove(CARD).unwrap_or_default();
        let card = ModelCard::read(&card).map_err(problem)?;
        let is_quantised = is_quantised(&metadata);
        let weights = if is_quantised {
            dequantised(weights).map_err(|error| problem(error.to_string()))?
        } else {
            weights
        };
        let model = PeftModel::new(&card.model, &card.peft, device)?;
        let model = load(model, weights, &AllowedKeys::default())
            .map_err(|error| problem(error.to_string()))?;
        let rounds = is_quantised && Precision::Int8.check(device).is_ok();
        let precision = if rounds { Precision::Int8 } else { Precision::Fp32 };
        Ok(Self { model, card, notes: metadata, precision })
    }

    /// Whether its weights are stored in whole numbers of 8 bits.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        is_quantised(&self.notes)
    }

    /// The same model with predictions in another precision, which its device must
    /// [have](Precision::check).
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same model with low-rank adaptation and scale and shift in its weights.
    #[must_use]
    pub fn merged(self) -> Self {
        let Self { model, mut card, notes, precision } = self;
        let model = model.merged();
        card.peft = model.peft().clone();
        Self { model, card, notes, precision }
    }

    /// The predictions of all tasks, from one pass of the encoder unless tasks branch.
    ///
    /// # Shapes
    /// Inputs as [`ModelCard::inputs`] gives them; any of the model's modalities may be left out,
    /// as long as the heads do not read their tokens.
    ///
    /// # Errors
    /// If the inputs do not fit the model.
    pub fn predict(&self, inputs: Inputs) -> Result<IndexMap<String, Prediction>> {
        self.card.outputs(self.forward(inputs)?)
    }

    /// The outputs of the heads, before they are decoded.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn forward(&self, inputs: Inputs) -> Result<IndexMap<String, Prediction>> {
        let pass = || self.model.forward(inputs, &mut Phase::Evaluation);
        Ok(self.precision.scope(pass)?.predictions)
    }
}

/// Checks tensors and metadata as the readers of fine-tuned models and of adapters do; `path` is named
/// in errors. `false` if the metadata are of neither.
///
/// # Errors
/// If the reader would refuse them.
pub fn check_saved(
    path: &Path,
    weights: &StateDict,
    metadata: &IndexMap<String, String>,
) -> Result<bool> {
    let (weights, metadata) = (weights.clone(), metadata.clone());
    match metadata.get(KIND).map(String::as_str) {
        Some(FINETUNED) => {
            SavedModel::of_parts(path, weights, metadata, &Device::default()).map(|_| true)
        }
        Some(adapter::ADAPTER) => Adapter::of_parts(path, weights, metadata).map(|_| true),
        _ => Ok(false),
    }
}

fn problem(path: &Path, problem: String) -> Error {
    Error::SavedModel { path: path.to_owned(), problem }
}

impl ModelCard {
    /// Decodes the outputs of the heads: values in the unit of their task, or logits of its classes.
    ///
    /// # Errors
    /// If a prediction is not of its task's kind.
    pub fn outputs(
        &self,
        predictions: IndexMap<String, Prediction>,
    ) -> Result<IndexMap<String, Prediction>> {
        let output = |(name, prediction): (String, Prediction)| {
            let task = self.tasks.get(&name).ok_or_else(|| unknown(&name))?;
            let decoded = task.task.decode(prediction).ok_or_else(|| unknown(&name))?;
            Ok((name, decoded))
        };
        predictions.into_iter().map(output).collect()
    }
}

fn unknown(task: &str) -> Error {
    Error::Model(multimae::Error::Head {
        head: task.to_owned(),
        problem: "its prediction is not of the kind that the model's card says".to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fs_err as fs;
    use multimae::encoder::EncoderConfig;
    use multimae::modality::{Modality, Size};
    use multimae::multivit::MultiVitConfig;
    use multimae::output_adapters::{HeadConfig, LightConfig, TaskHead};
    use multimae::peft::PeftConfig;
    use multimae::positions::NonSquareTables;
    use multimae_data::{
        DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, Map, Sample, Values, stream,
    };
    use multimae_tasks::ClassInfo;
    use multimae_tasks::kinds::depth::{Depth, DepthScale};
    use multimae_tasks::kinds::labels::Labels;

    fn head(name: &str, num_classes: usize) -> TaskHead {
        let config = LightConfig { num_classes, hooks: vec![0, 1], width: 8, depth: 1 };
        TaskHead {
            name: name.to_owned(),
            main_tasks: vec!["rgb".to_owned()],
            head: HeadConfig::Light(config),
        }
    }

    pub(crate) fn card() -> ModelCard {
        let rgb =
            DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
        let class = |i: u8| ClassInfo { name: format!("class {i}"), color: [i; 3] };
        let scale = DepthScale::Linear { mean: 2.5, std: 1.5 };
        let depth = Depth { scale, min: 0.001, max: 10.0 };
        let labels = Labels {
            classes: (0..3).map(class).collect(),
            ignore: 255,
            offset: -1,
            values: Vec::new(),
        };
        let tasks = [
            ("depth".to_owned(), TaskCard::new(depth, None)),
            ("semseg".to_owned(), TaskCard::new(labels, None)),
        ];
        ModelCard {
            model: MultiVitConfig {
                encoder: EncoderConfig::new(16, 2, 2),
                patch_size: 8,
                image_size: Size::new(16, 24),
                num_global_tokens: 1,
                inputs: vec![Modality::continuous("rgb", 3)],
                heads: vec![head("depth", 1), head("semseg", 4)],
                tables: NonSquareTables::RowColumn,
            },
            peft: PeftConfig::default(),
            inputs: vec![InputModality {
                data: rgb,
                adapter: "rgb".to_owned(),
                normalisation: Normalisation::None,
                unit: None,
            }],
            tasks: tasks.into_iter().collect(),
            geometry: Geometry::Inside { size: (16, 24) },
            valid_mask: None,
        }
    }

    pub(crate) fn saved() -> SavedModel {
        let card = card();
        let model = PeftModel::new(&card.model, &card.peft, &Device::default()).unwrap();
        let model = multimae::init::initialise(model, |name| stream(1, name, 0, 0));
        let notes = [("step".to_owned(), "7".to_owned())].into_iter().collect();
        SavedModel { model, card, notes, precision: Precision::Fp32 }
    }

    pub(crate) fn samples() -> Vec<Sample> {
        let data: Vec<f32> = (0..3 * 16 * 24).map(|i| (i % 17) as f32 / 9.0 - 1.0).collect();
        let values = Values::Continuous { channels: 3, data };
        let map = Map { height: 16, width: 24, values };
        vec![Sample {
            id: "a".to_owned(),
            index: 0,
            maps: [("rgb".to_owned(), map)].into_iter().collect(),
        }]
    }

    fn predictions(saved: &SavedModel) -> (Vec<f32>, Vec<f32>) {
        let inputs = saved.card.inputs(&samples(), &Device::default()).unwrap();
        let mut outputs = saved.predict(inputs).unwrap();
        match (outputs.swap_remove("depth"), outputs.swap_remove("semseg")) {
            (Some(Prediction::Maps(depth)), Some(Prediction::Maps(labels))) => {
                assert_eq!(depth.dims(), [1, 1, 16, 24]);
                assert_eq!(labels.dims(), [1, 3, 16, 24], "void is no class");
                (depth.into_data().iter().collect(), labels.into_data().iter().collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_model_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let saved = saved();
        saved.save(&path).unwrap();
        let loaded = SavedModel::load(&path, &Device::default()).unwrap();
        assert_eq!(loaded.card, saved.card);
        assert_eq!(loaded.notes["step"], "7");
        assert_eq!(predictions(&loaded), predictions(&saved));
        let (depth, _) = predictions(&loaded);
        assert!(depth.iter().all(|metres| (0.001..=10.0).contains(metres)), "{depth:?}");
    }

    #[test]
    fn what_is_no_such_model_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let load = || SavedModel::load(&path, &Device::default()).unwrap_err().to_string();
        let weights = state_dict(&saved().model);
        fs::write(&path, write_safetensors(&weights, &IndexMap::new()).unwrap()).unwrap();
        assert!(load().contains("no fine-tuned model"), "{}", load());
        let mut other = saved();
        other.card.model.heads.pop();
        other.save(&path).unwrap();
        assert!(load().contains("semseg"), "{}", load());
        // Weights that the card does not speak of.
        other.card.tasks.shift_remove("semseg");
        other.save(&path).unwrap();
        assert!(load().contains("unexpected"), "{}", load());
    }
}
