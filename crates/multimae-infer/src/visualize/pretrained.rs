//! A pre-trained model, and its reconstructions.

use std::path::Path;

use indexmap::{IndexMap, IndexSet};
use multimae::burn::tensor::Device;
use multimae::encoder::Phase;
use multimae::masking::{SampleMask, TokenMasks};
use multimae::model::MultiMae;
use multimae::state::{AllowedKeys, StateDict, load};
use multimae::weights::Layout;
use multimae_data::{DataModality, Dataset, Encoding, Geometry, Map, RawSample, Sample, Values};
use multimae_kernels::precision::Precision;
use multimae_report::picture::Picture;
use serde_json::{Map as Keys, Value};

use super::published::spec_of;
use super::{PretrainSpec, ReconstructionFigure};
use crate::weights_source::WeightsSource;
use crate::{Error, Result, batch};
use multimae_config::{PretrainRecipe, ReadingKeys, Resolved};

/// A pre-trained model with what its recipe says of modalities and sizes.
#[derive(Debug)]
pub struct Pretrained {
    spec: PretrainSpec,
    model: MultiMae,
    device: Device,
    precision: Precision,
    notices: Vec<String>,
}

/// Derives the model that the recipe of a run describes.
fn spec_of_recipe(recipe: &str, path: &Path) -> Result<PretrainSpec> {
    let problem = |problem: String| Error::SavedModel { path: path.to_owned(), problem };
    let keys: Keys<String, Value> =
        serde_saphyr::from_str(recipe).map_err(|error| problem(format!("its recipe: {error}")))?;
    let source = path.display().to_string();
    let mut recipe = Resolved::<PretrainRecipe>::of_run(&keys, &source)?.recipe;
    // The device of training says nothing of the one here.
    recipe.run.device = PretrainRecipe::default().run.device;
    recipe.run.precision = PretrainRecipe::default().run.precision;
    PretrainSpec::new(recipe)
}

/// The prefixes of output adapters that are heads and no decoders.
fn heads_in(weights: &StateDict) -> Vec<String> {
    const ADAPTERS: &str = "output_adapters.";
    let name = |key: &String| Some(key.strip_prefix(ADAPTERS)?.split('.').next()?.to_owned());
    let names: IndexSet<String> = weights.keys().filter_map(name).collect();
    let prefixes = names.into_iter().map(|name| format!("{ADAPTERS}{name}."));
    prefixes.filter(|prefix| !weights.contains_key(&format!("{prefix}mask_token"))).collect()
}

/// A frame as a model sees it: every modality at the model's size.
#[derive(Debug, Clone)]
pub struct PretrainView {
    sample: Sample,
    /// Modalities of the model that the frame does not have. They are zeros in the sample.
    unknown: Vec<String>,
}

impl PretrainView {
    /// The frame's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.sample.id
    }

    /// The maps by modality, those that the frame does not have of zeros.
    #[must_use]
    pub fn maps(&self) -> &IndexMap<String, Map> {
        &self.sample.maps
    }

    /// Whether the frame has a modality.
    #[must_use]
    pub fn has(&self, modality: &str) -> bool {
        self.sample.maps.contains_key(modality) && !self.unknown.iter().any(|name| name == modality)
    }
}

impl Pretrained {
    /// Reads a pre-trained model: that of a run's folder, or weights with decoders in any format.
    /// Where no recipe is beside the weights, the architecture is inferred from the tensors and
    /// images are normalised as for the published models.
    ///
    /// # Errors
    /// If there is none, or its weights have no decoders.
    pub fn load(source: impl Into<WeightsSource>, device: &Device) -> Result<Self> {
        let source = source.into();
        Self::find(&source, device)?.ok_or_else(|| Error::SavedModel {
            path: source.path,
            problem: "holds weights without decoders, of a plain encoder or of fine-tuning that is \
                      not finished; to reconstruct, give a run of `multimae pretrain` or pre-trained \
                      weights with decoders; to predict, a finished run of `multimae finetune`"
                .to_owned(),
        })
    }

    /// Reads a pre-trained model like [`load`](Self::load); `None` if the weights have no decoders,
    /// such as those of fine-tuned models and plain ViTs.
    ///
    /// # Errors
    /// If the weights cannot be read, or do not fit their recipe.
    pub fn find(source: &WeightsSource, device: &Device) -> Result<Option<Self>> {
        let read = source.read()?;
        let path = read.path.clone();
        let problem = |problem: String| Error::SavedModel { path: path.clone(), problem };
        if read.layout() != Layout::MultiMae {
            return Ok(None);
        }
        let mut notices = read.notices;
        let spec = match &read.recipe {
            Some(recipe) => spec_of_recipe(recipe, &path)?,
            None => {
                let inferred = spec_of(&read.weights, &read.arguments);
                let (spec, assumed) = inferred.map_err(|error| problem(error.to_string()))?;
                notices.push(assumed);
                spec
            }
        };
        let model = MultiMae::new(&spec.model, device)?;
        // Heads beside the decoders have no place here.
        let heads = AllowedKeys { unexpected: heads_in(&read.weights), ..AllowedKeys::default() };
        let model =
            load(model, read.weights, &heads).map_err(|error| problem(error.to_string()))?;
        let (device, precision) = (device.clone(), Precision::Fp32);
        Ok(Some(Self { spec, model, device, precision, notices }))
    }

    /// Notes about the file: the state dict that was read, stripped prefixes, a missing recipe.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the same model with reconstructions in another precision than 32 bits, which its
    /// device must [have](Precision::check).
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Reads files that are stored in another way than those of the training.
    ///
    /// # Errors
    /// If a key names no modality of the model, or does not fit it.
    pub fn read_as(&mut self, keys: &ReadingKeys) -> Result<(), String> {
        let modalities = self.spec.modalities.values_mut().map(|modality| &mut modality.data);
        keys.apply_to_all(modalities).map_err(|error| error.to_string())
    }

    /// The model's modalities, inputs first, as they are stored.
    #[must_use]
    pub fn modalities(&self) -> Vec<DataModality> {
        self.spec.modalities.values().map(|modality| modality.data.clone()).collect()
    }

    /// The names of the modalities that have tokens, in their order, with the number of their patches.
    #[must_use]
    pub fn inputs(&self) -> Vec<(&str, usize)> {
        let layout = &self.spec.layout;
        layout.tasks.iter().map(|task| (task.name.as_str(), layout.grid.area())).collect()
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        (self.spec.layout.grid.height, self.spec.layout.grid.width)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &MultiMae {
        &self.model
    }

    /// The modalities, the shape and the losses that its recipe describes.
    #[must_use]
    pub fn spec(&self) -> &PretrainSpec {
        &self.spec
    }

    /// The frames of a data set of some of its modalities as the model sees them.
    ///
    /// # Errors
    /// If the model's size does not fit the strides of the modalities.
    pub fn frames(&self, dataset: Dataset) -> Result<Frames<'_>> {
        for modality in dataset.modalities() {
            self.check_stride(modality)?;
        }
        Ok(Frames { model: self, dataset })
    }

    /// A frame as the model sees it: its centre, at the model's size.
    ///
    /// # Errors
    /// If a map is not of its modality's kind, or the model's size does not fit its stride.
    pub fn view(&self, frame: &RawSample) -> Result<PretrainView> {
        let (size, modalities) = (self.size(), &self.spec.modalities);
        let given = modalities.values().map(|modality| &modality.data);
        let given: Vec<&DataModality> =
            given.filter(|modality| frame.maps.contains_key(&modality.name)).collect();
        for modality in &given {
            self.check_stride(modality)?;
        }
        // The centre is the same whatever is drawn.
        let mut rng = multimae_data::stream(self.spec.recipe.run.seed, "view", 0, 0);
        let geometry = Geometry::CenterFit { size };
        let placement = geometry.place(frame.height, frame.width, &mut rng);
        let mut sample = multimae_data::view(frame, &given, placement, size)?;
        let unknown = modalities.keys().filter(|name| !sample.maps.contains_key(*name));
        let unknown: Vec<String> = unknown.cloned().collect();
        for name in &unknown {
            sample.maps.insert(name.clone(), zeros(&modalities[name].data, size));
        }
        Ok(PretrainView { sample, unknown })
    }

    fn size(&self) -> (usize, usize) {
        let size = self.spec.recipe.arch.input_size;
        (size.height, size.width)
    }

    fn check_stride(&self, modality: &DataModality) -> Result<()> {
        let ((height, width), stride) = (self.size(), modality.stride.max(1));
        if height.is_multiple_of(stride) && width.is_multiple_of(stride) {
            return Ok(());
        }
        Err(Error::Prediction(format!(
            "modality `{}`: the model's size {height} x {width} is not a multiple of its stride \
             {stride}",
            modality.name
        )))
    }

    /// Computes the decoders' predictions for views, of which only the visible patches enter the
    /// encoder.
    ///
    /// # Shapes
    /// `(B, C, h, w)` by task, flat.
    ///
    /// # Errors
    /// If the masks do not fit the views, or show a modality that a view does not have.
    pub fn reconstruct(
        &self,
        views: &[PretrainView],
        masks: &TokenMasks,
    ) -> Result<IndexMap<String, Vec<f32>>> {
        self.check(views, masks)?;
        let samples: Vec<Sample> = views.iter().map(|view| view.sample.clone()).collect();
        let modalities = &self.spec.modalities;
        let targets = batch::targets(&samples, modalities.values(), &self.device)?;
        let inputs = batch::inputs(&targets, &self.spec.recipe.tasks.in_domains.0, modalities);
        let pass = || self.model.forward(inputs, masks, &mut Phase::Evaluation);
        let output = self.precision.scope(pass)?;
        let flat = |prediction: multimae::burn::tensor::Tensor<4>| {
            prediction.into_data().iter::<f32>().collect::<Vec<f32>>()
        };
        Ok(output.predictions.into_iter().map(|(task, p)| (task, flat(p))).collect())
    }

    /// Reconstructs an empty frame from one patch, and says whether the model computes.
    ///
    /// # Errors
    /// If it cannot, or the reconstruction is not finite.
    pub fn probe(&self) -> Result<()> {
        let (size, modalities) = (self.size(), &self.spec.modalities);
        let maps = modalities.iter().map(|(name, own)| (name.clone(), zeros(&own.data, size)));
        let sample = Sample { id: "empty".to_owned(), index: 0, maps: maps.collect() };
        let view = PretrainView { sample, unknown: Vec::new() };
        let masked = (0..self.spec.layout.num_tokens()).map(|token| token > 0).collect();
        let masks = TokenMasks::new(vec![SampleMask::new(masked)])?;
        let maps = self.reconstruct(std::slice::from_ref(&view), &masks)?;
        match maps.iter().find(|(_, values)| values.iter().any(|value| !value.is_finite())) {
            None => Ok(()),
            Some((task, _)) => Err(Error::Prediction(format!(
                "task `{task}`: the reconstruction of an empty frame is not finite; the weights of \
                 the pre-trained model are damaged"
            ))),
        }
    }

    fn check(&self, views: &[PretrainView], masks: &TokenMasks) -> Result<()> {
        let layout = &self.spec.layout;
        if masks.batch() != views.len() || masks.tokens() != layout.num_tokens() {
            return Err(Error::Prediction(format!(
                "masks of {} samples with {} tokens for {} frames with {}",
                masks.batch(),
                masks.tokens(),
                views.len(),
                layout.num_tokens()
            )));
        }
        for (view, mask) in views.iter().zip(masks.samples()) {
            for task in &layout.tasks {
                let tokens = &mask.masked()[task.start..task.start + layout.grid.area()];
                if !view.has(&task.name) && tokens.iter().any(|masked| !masked) {
                    return Err(Error::Prediction(format!(
                        "patches of `{}` are to be visible, which frame `{}` does not have",
                        task.name,
                        view.id()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Frames as a pre-trained model sees them.
#[derive(Debug)]
pub struct Frames<'a> {
    model: &'a Pretrained,
    dataset: Dataset,
}

impl Frames<'_> {
    /// Returns the number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dataset.len()
    }

    /// Never: a data set without samples is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// A frame.
    ///
    /// # Errors
    /// If a file is bad.
    pub fn get(&self, index: usize) -> Result<PretrainView> {
        self.model.view(&self.dataset.decode(index)?)
    }
}

/// Returns the stand-in of a modality that a frame does not have; none of its patches is ever
/// visible.
fn zeros(modality: &DataModality, size: (usize, usize)) -> Map {
    let (height, width) = (size.0 / modality.stride, size.1 / modality.stride);
    let values = match &modality.encoding {
        Encoding::Labels { .. } => Values::Labels(vec![0; height * width]),
        Encoding::Color { .. } => {
            Values::Continuous { channels: 3, data: vec![0.0; 3 * height * width] }
        }
        Encoding::Continuous { channels, .. } => {
            Values::Continuous { channels: *channels, data: vec![0.0; channels * height * width] }
        }
    };
    Map { height, width, values }
}

/// By task, the prediction and the original as pictures; `None` where the frame has no original.
/// Predictions have the visible patches pasted in, as in [`figure`] with `keep_visible`.
///
/// # Errors
/// If the parts do not fit each other.
pub fn pictures(
    model: &Pretrained,
    view: &PretrainView,
    masks: &TokenMasks,
    predictions: &IndexMap<String, Vec<f32>>,
) -> Result<Vec<(String, [Option<Picture>; 2])>> {
    let figure = ReconstructionFigure {
        spec: &model.spec,
        samples: std::slice::from_ref(&view.sample),
        masks,
        predictions,
        unknown: &view.unknown,
        keep_visible: true,
    };
    let both = |(task, mut cells): (String, Vec<Option<Picture>>)| {
        let original = cells.pop().flatten();
        (task, [cells.pop().flatten(), original])
    };
    Ok(figure.rows()?.into_iter().map(both).collect())
}

/// The classic figure of a view: a row per task with what was visible, the prediction and the
/// original, legends below. With `keep_visible`, predictions have the visible patches pasted in.
///
/// # Errors
/// If the parts do not fit each other.
pub fn figure(
    model: &Pretrained,
    view: &PretrainView,
    masks: &TokenMasks,
    predictions: &IndexMap<String, Vec<f32>>,
    keep_visible: bool,
) -> Result<Picture> {
    ReconstructionFigure {
        spec: &model.spec,
        samples: std::slice::from_ref(&view.sample),
        masks,
        predictions,
        unknown: &view.unknown,
        keep_visible,
    }
    .draw()
}
