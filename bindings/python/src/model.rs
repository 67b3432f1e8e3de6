//! Models over NumPy arrays.

use std::path::PathBuf;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::modality::Size;
use multimae::multivit::MultiVit;
use multimae_data::{DataModality, Map, RawSample, Sample};
use multimae_infer::batch;
use multimae_infer::device::device;
use multimae_infer::predict::{ModelPredictor, ModelView, PredictOptions, Predictor as _};
use multimae_infer::saved_model::{Adapter, SavedModel, TaskCard};
use multimae_infer::visualize::{PretrainView, Pretrained, VisiblePatches};
use multimae_infer::weights_source::WeightsSource;
use multimae_tasks::{FramePrediction, Protocol, TaskPrediction};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use serde_json::{Value, json};

use crate::arrays::{Frames, array, frames};
use crate::error::{PyContext, argument, error};
use crate::features::{FeatureOptions, Features, encode_tuned, encoder_of};
use crate::json::to_python;
use crate::metrics::{Scorer, rules_of};
use crate::process::check_threads;

/// A model that was loaded.
enum Loaded {
    /// One with heads.
    Tuned(Box<ModelPredictor>),
    /// One with decoders, and its encoder on whole inputs.
    Pretrained { model: Box<Pretrained>, encoder: Box<MultiVit> },
}

/// A model: with heads after fine-tuning, with decoders after pre-training. Made by `load`.
#[pyclass(frozen, module = "multimae")]
pub(crate) struct Model {
    loaded: Loaded,
    device: Device,
    path: PathBuf,
    adapter: Option<PathBuf>,
    weights_key: Option<String>,
}

/// Loads a model: a run's folder or file of fine-tuning or pre-training, or published weights.
///
/// `path` is the folder of a run, its `model.safetensors`, or a file of pre-trained weights in any
/// format. `adapter` is the folder or file of an adapter, whose backbone `path` then is. `weights_key`
/// chooses the state dict of a file with several, such as `model_ema`.
///
/// Raises `OSError` if a file cannot be read and `Error` if it holds no usable model.
#[pyfunction]
#[pyo3(signature = (path, adapter=None, weights_key=None))]
pub(crate) fn load(
    py: Python<'_>,
    path: PathBuf,
    adapter: Option<PathBuf>,
    weights_key: Option<String>,
) -> PyResult<Model> {
    check_threads()?;
    py.detach(|| Model::load(path, adapter, weights_key))
}

#[pymethods]
impl Model {
    /// Predicts all tasks of a fine-tuned model, at the size of the inputs.
    ///
    /// `inputs` holds arrays by modality: colours uint8 `(H, W, 3)` or float32 `(3, H, W)` from 0 to 1,
    /// depth float32 `(H, W)` or `(1, H, W)` in metres, other numbers float32 `(C, H, W)`, labels
    /// integers `(H, W)` as files store them. Inputs of the model may be left out. With a batch axis in
    /// front of every array, results have one too; a list of dictionaries gives a list.
    ///
    /// Depth comes as float32 `(H, W)` in metres, labels as the ids that annotations store, other values
    /// as float32 `(C, H, W)`, classes of images as logits: the values of the files that `multimae predict`
    /// writes. `flip` takes the mean with the prediction for the mirrored input.
    #[pyo3(signature = (inputs, flip=false))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        flip: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Loaded::Tuned(predictor) = &self.loaded else {
            return Err(error(format!(
                "{}: a pre-trained model has no heads to predict with; use `reconstruct` or `features`, \
                 or load a fine-tuned model",
                self.path.display()
            )));
        };
        check_threads()?;
        let Frames { batched, samples } = frames(inputs, &self.modalities(predictor))?;
        let predict = |frame: &RawSample| -> PyResult<Vec<(String, Output)>> {
            let prediction = predictor.predict(frame, &options(predictor, frame, flip)).py()?;
            outputs(predictor.tasks(), prediction, Size::new(frame.height, frame.width))
        };
        let results: PyResult<Vec<_>> = py.detach(|| samples.iter().map(predict).collect());
        results_to_python(py, results?, batched, inputs)
    }

    /// Computes the outputs of encoder blocks, with the conventions of timm's `forward_intermediates`.
    ///
    /// Inputs are those of `predict`; every result has a batch axis. `indices` chooses blocks: all if
    /// `None`, the last `n` if a number, else a list, in which negative numbers count from the end. The
    /// result is a list with a dictionary by modality for each block: `(B, C, h, w)` for
    /// `output_fmt="NCHW"`, `(B, h * w, C)` for `"NLC"`. With `return_prefix_tokens`, its entries are pairs
    /// of the dictionary and the global tokens `(B, G, C)`. Without `intermediates_only`, the result is a
    /// pair of the last block's tokens `(B, N, C)`, patches first, and the list. The encoder has no norm
    /// behind its last block, so `norm=True` is an error. `task` chooses the features that its head reads,
    /// where a fine-tuned model has blocks of each task.
    #[pyo3(signature = (
        inputs, indices=None, return_prefix_tokens=false, norm=false, output_fmt="NCHW",
        intermediates_only=true, task=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "the arguments of timm's method")]
    fn features<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        indices: Option<&Bound<'py, PyAny>>,
        return_prefix_tokens: bool,
        norm: bool,
        output_fmt: &str,
        intermediates_only: bool,
        task: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        check_threads()?;
        let flags = (return_prefix_tokens, norm, intermediates_only);
        match &self.loaded {
            Loaded::Tuned(predictor) => {
                let saved = predictor.saved();
                let depth = saved.card.model.encoder.depth;
                let options_ = FeatureOptions::new(indices, flags, output_fmt, depth)?;
                let samples = frames(inputs, &self.modalities(predictor))?.samples;
                let features: PyResult<Features> = py.detach(|| {
                    let sample = |frame: &RawSample| -> multimae_infer::Result<Sample> {
                        let options = options(predictor, frame, false);
                        let size = Size::new(frame.height, frame.width);
                        let view = ModelView::of(&saved.card, size, &options)?;
                        view.sample(&saved.card, frame, &options, false)
                    };
                    let samples = samples.iter().map(sample).collect::<Result<Vec<_>, _>>().py()?;
                    let inputs = saved.card.inputs(&samples, &self.device).py()?;
                    let output =
                        saved.precision.scope(|| encode_tuned(&saved.model, inputs, task))?;
                    let name = |adapter: &str| {
                        let input = saved.card.inputs.iter().find(|input| input.adapter == adapter);
                        input.map_or_else(|| adapter.to_owned(), |input| input.data.name.clone())
                    };
                    Ok(Features::of(&output, &options_, name))
                });
                features?.into_python(py)
            }
            Loaded::Pretrained { model, encoder } => {
                if let Some(task) = task {
                    return Err(argument(format!(
                        "task={task:?}: a pre-trained model has the same features for all tasks"
                    )));
                }
                let depth = encoder.encoder.len();
                let options = FeatureOptions::new(indices, flags, output_fmt, depth)?;
                let samples = self.pretrained_frames(model, inputs)?.samples;
                let features: PyResult<Features> = py.detach(|| {
                    let views = samples.iter().map(|frame| model.view(frame));
                    let views = views.collect::<Result<Vec<_>, _>>().py()?;
                    let modalities = &model.spec().modalities;
                    let names = &model.spec().recipe.tasks.in_domains.0;
                    let given = |name: &&String| views.iter().any(|view| view.has(name));
                    let names: Vec<String> = names.iter().filter(given).cloned().collect();
                    let samples: Vec<Sample> =
                        views.iter().map(|view| sample_of(view, &names)).collect();
                    let own = names.iter().filter_map(|name| modalities.get(name));
                    let targets = batch::targets(&samples, own, &self.device).py()?;
                    let inputs = batch::inputs(&targets, &names, modalities);
                    let phase = &mut multimae::encoder::Phase::Evaluation;
                    let output = encoder.forward(inputs, phase).py()?;
                    Ok(Features::of(&output, &options, str::to_owned))
                });
                features?.into_python(py)
            }
        }
    }

    /// Reconstructs all modalities of a pre-trained model from visible patches of the inputs.
    ///
    /// Inputs are those of `predict`; the model sees their centre at its own size. `visible` holds the
    /// visible patches by modality, numbered row by row from 0, or the number of them to draw; of
    /// modalities without an entry none is visible. A number in place of the dictionary draws as many over
    /// all modalities, as in pre-training, and `seed` changes the draw.
    ///
    /// Results by task are float32 `(C, h, w)` at the model's size, normalised as the model learned them:
    /// logits of labels, standardised depth.
    #[pyo3(signature = (inputs, visible, seed=0))]
    fn reconstruct<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        visible: &Bound<'py, PyAny>,
        seed: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Loaded::Pretrained { model, .. } = &self.loaded else {
            return Err(error(format!(
                "{}: a fine-tuned model has no decoders to reconstruct with; use `predict`, or load a \
                 pre-trained model",
                self.path.display()
            )));
        };
        check_threads()?;
        let visible = visible_patches(visible)?;
        let Frames { batched, samples } = self.pretrained_frames(model, inputs)?;
        let one = |(number, frame): (usize, &RawSample)| -> PyResult<Vec<(String, Output)>> {
            let view = model.view(frame).py()?;
            let masks = visible.iter().try_fold(None, |drawn, visible| match drawn {
                None => visible.mask(model, &view, seed, number as u64).map(Some),
                drawn => Ok(drawn),
            });
            let Some(masks) = masks.py()? else { return Ok(Vec::new()) };
            let maps = model.reconstruct(std::slice::from_ref(&view), &masks).py()?;
            maps.into_iter().map(|(task, values)| decoded(model, &task, values)).collect()
        };
        let results: PyResult<Vec<_>> = py.detach(|| samples.iter().enumerate().map(one).collect());
        results_to_python(py, results?, batched, inputs)
    }

    /// Starts scoring a task of a fine-tuned model: by the rules of its training run, or by a named
    /// `protocol` of `multimae.metrics.protocols()`.
    #[pyo3(signature = (task, protocol=None))]
    fn scorer(&self, task: &str, protocol: Option<&str>) -> PyResult<Scorer> {
        let tasks = match &self.loaded {
            Loaded::Tuned(predictor) => predictor.tasks(),
            Loaded::Pretrained { .. } => {
                return Err(error("a pre-trained model has no tasks to score"));
            }
        };
        let card = tasks.get(task).ok_or_else(|| {
            let names: Vec<&str> = tasks.keys().map(String::as_str).collect();
            error(format!("the model has no task `{task}`; it has {}", names.join(", ")))
        })?;
        let rules = match protocol {
            None => card.task.rules(),
            Some(name) => rules_of(&Protocol::named(name).py()?, name, card.task.kind())?,
        };
        let target = card.target.as_ref().map(|target| target.encoding.clone());
        Scorer::new(rules, card.task.clone(), target)
    }

    /// Everything besides the weights, as a dictionary: the model card of a fine-tuned model; sizes and
    /// modalities of a pre-trained one.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json =
            |value: Result<Value, serde_json::Error>| value.map_err(|e| error(e.to_string()));
        let card = match &self.loaded {
            Loaded::Tuned(predictor) => json(serde_json::to_value(&predictor.saved().card))?,
            Loaded::Pretrained { model, .. } => {
                let sizes = json(serde_json::to_value(&model.spec().model))?;
                let modalities = json(serde_json::to_value(model.modalities()))?;
                json!({"model": sizes, "modalities": modalities, "grid": model.grid()})
            }
        };
        to_python(py, &card)
    }

    /// The names of the input modalities, in the order of their tokens.
    #[getter]
    fn inputs(&self) -> Vec<String> {
        match &self.loaded {
            Loaded::Tuned(predictor) => predictor.inputs().to_vec(),
            Loaded::Pretrained { model, .. } => {
                model.inputs().into_iter().map(|(name, _)| name.to_owned()).collect()
            }
        }
    }

    /// The names of the tasks: of the heads of a fine-tuned model, of the decoders of a pre-trained one.
    #[getter]
    fn tasks(&self) -> Vec<String> {
        match &self.loaded {
            Loaded::Tuned(predictor) => predictor.tasks().keys().cloned().collect(),
            Loaded::Pretrained { model, .. } => {
                model.spec().model.outputs.iter().map(|task| task.name.clone()).collect()
            }
        }
    }

    /// Rows and columns of patches of a pre-trained model; `None` of a fine-tuned one, which takes inputs of
    /// any size.
    #[getter]
    fn grid(&self) -> Option<(usize, usize)> {
        match &self.loaded {
            Loaded::Tuned(_) => None,
            Loaded::Pretrained { model, .. } => Some(model.grid()),
        }
    }

    /// Notes on the file: conversions, and assumptions where no recipe is beside the weights.
    #[getter]
    fn notices(&self) -> Vec<String> {
        match &self.loaded {
            Loaded::Tuned(_) => Vec::new(),
            Loaded::Pretrained { model, .. } => model.notices().to_vec(),
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "<multimae.Model {}: {} to {}>",
            self.path.display(),
            self.inputs().join(", "),
            self.tasks().join(", ")
        )
    }

    /// Pickles the arguments of `load`, not the weights.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let load = py.import("multimae")?.getattr("load")?;
        let arguments = (&self.path, &self.adapter, &self.weights_key);
        Ok((load, arguments).into_pyobject(py)?.into_any())
    }
}

impl Model {
    fn load(
        path: PathBuf,
        adapter: Option<PathBuf>,
        weights_key: Option<String>,
    ) -> PyResult<Self> {
        let device = device("cpu").py()?;
        let source = WeightsSource::from(&path).with_key(weights_key.clone());
        let tuned =
            |saved: SavedModel| Loaded::Tuned(Box::new(ModelPredictor::new(saved, device.clone())));
        let loaded = match &adapter {
            Some(adapter) => tuned(Adapter::load(adapter).py()?.on(&source, &device).py()?),
            None if SavedModel::is_at(&path).py()? => {
                if let Some(key) = &weights_key {
                    return Err(error(format!(
                        "weights_key={key:?}: {} is a fine-tuned model, which holds one set of weights; \
                         leave the argument out, or give a backbone with `adapter`",
                        path.display()
                    )));
                }
                tuned(SavedModel::load(&SavedModel::find(&path).py()?, &device).py()?)
            }
            None => {
                let model = Pretrained::load(source, &device).py()?;
                let encoder = Box::new(encoder_of(model.model(), &device)?);
                Loaded::Pretrained { model: Box::new(model), encoder }
            }
        };
        Ok(Self { loaded, device, path, adapter, weights_key })
    }

    /// The modalities that a fine-tuned model can be given, with its mask of valid pixels.
    fn modalities<'a>(&self, predictor: &'a ModelPredictor) -> Vec<&'a DataModality> {
        let card = &predictor.saved().card;
        card.inputs.iter().map(|input| &input.data).chain(&card.valid_mask).collect()
    }

    fn pretrained_frames(&self, model: &Pretrained, inputs: &Bound<'_, PyAny>) -> PyResult<Frames> {
        let names: Vec<&str> = model.inputs().into_iter().map(|(name, _)| name).collect();
        let known = model.spec().modalities.values().map(|modality| &modality.data);
        let known: Vec<&DataModality> =
            known.filter(|modality| names.contains(&modality.name.as_str())).collect();
        frames(inputs, &known)
    }
}

/// The request of a frame: all inputs that it has, in the model's order.
fn options(predictor: &ModelPredictor, frame: &RawSample, flip: bool) -> PredictOptions {
    let given = |name: &&String| frame.maps.contains_key(*name);
    let inputs = predictor.inputs().iter().filter(given).cloned().collect();
    PredictOptions { inputs, canvas: None, flip }
}

/// The maps of a view of these modalities.
fn sample_of(view: &PretrainView, names: &[String]) -> Sample {
    let map = |name: &String| -> Option<(String, Map)> {
        Some((name.clone(), view.maps().get(name)?.clone()))
    };
    Sample { id: view.id().to_owned(), index: 0, maps: names.iter().filter_map(map).collect() }
}

/// The result for one task of one frame.
enum Output {
    Floats(Vec<f32>, Vec<usize>),
    Bytes(Vec<u8>, Vec<usize>),
    Words(Vec<u16>, Vec<usize>),
}

/// The predictions of a frame as arrays, with the values of the files that the command line writes.
fn outputs(
    tasks: &IndexMap<String, TaskCard>,
    prediction: FramePrediction,
    size: Size,
) -> PyResult<Vec<(String, Output)>> {
    let (height, width) = (size.height, size.width);
    let output = |(name, predicted): (String, TaskPrediction)| -> PyResult<(String, Output)> {
        let task =
            &tasks.get(&name).ok_or_else(|| error(format!("task `{name}` is not known")))?.task;
        let output = match predicted {
            TaskPrediction::Values(values) => {
                let channels = values.len() / size.area().max(1);
                let shape = if task.kind() == "depth" {
                    vec![height, width]
                } else {
                    vec![channels, height, width]
                };
                Output::Floats(values, shape)
            }
            TaskPrediction::Classes(logits) => {
                let classes = logits.len();
                Output::Floats(logits, vec![classes])
            }
            labels @ TaskPrediction::Labels(_) => {
                stored_labels(&task.encode(&labels, (height, width), "npy").py()?)?
            }
        };
        Ok((name, output))
    };
    prediction.tasks.into_iter().map(output).collect()
}

/// The labels of a file that the task encoded, whose ids are those of annotations.
fn stored_labels(npy: &[u8]) -> PyResult<Output> {
    let file = npyz::NpyFile::new(npy)?;
    let shape = file.shape().iter().map(|&side| side as usize).collect();
    let bytes = match file.dtype() {
        npyz::DType::Plain(kind) => kind.num_bytes(),
        _ => None,
    };
    Ok(match bytes {
        Some(1) => Output::Bytes(file.into_vec()?, shape),
        _ => Output::Words(file.into_vec()?, shape),
    })
}

/// The output of a decoder with its shape.
fn decoded(model: &Pretrained, task: &str, values: Vec<f32>) -> PyResult<(String, Output)> {
    let spec = model.spec();
    let unknown = || error(format!("the model has no decoder `{task}`"));
    let own = spec.model.outputs.iter().find(|output| output.name == task).ok_or_else(unknown)?;
    let (size, stride) = (spec.recipe.arch.input_size, own.modality.stride.max(1));
    let (height, width) = (size.height / stride, size.width / stride);
    let channels = values.len() / (height * width).max(1);
    Ok((task.to_owned(), Output::Floats(values, vec![channels, height, width])))
}

/// The visible patches of an argument. A dictionary may mix lists of patches and numbers to draw only if
/// it is all of one kind.
fn visible_patches(visible: &Bound<'_, PyAny>) -> PyResult<Vec<VisiblePatches>> {
    if let Ok(count) = visible.extract::<usize>() {
        return Ok(vec![VisiblePatches::Sampled(count)]);
    }
    let Ok(entries) = visible.cast::<PyDict>() else {
        return Err(error(
            "visible: give lists of patches by modality, numbers of patches by modality, or one number",
        ));
    };
    let (mut patches, mut counts) = (IndexMap::new(), IndexMap::new());
    for (name, value) in entries.iter() {
        let name: String = name.extract()?;
        if let Ok(count) = value.extract::<usize>() {
            counts.insert(name, count);
        } else {
            let listed = value.try_iter()?.map(|patch| patch?.extract::<usize>());
            patches.insert(name, listed.collect::<PyResult<Vec<_>>>()?);
        }
    }
    match (counts.is_empty(), patches.is_empty()) {
        (false, false) => Err(error("visible: give lists of patches or numbers of them, not both")),
        (false, true) => Ok(vec![VisiblePatches::Counts(counts)]),
        _ => Ok(vec![VisiblePatches::Patches(patches)]),
    }
}

/// The results of a call: a dictionary for a dictionary, stacked if it had a batch axis; a list for a
/// list.
fn results_to_python<'py>(
    py: Python<'py>,
    results: Vec<Vec<(String, Output)>>,
    batched: bool,
    inputs: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    if batched {
        return stacked(py, results);
    }
    let dicts: Vec<Bound<'py, PyDict>> = results
        .into_iter()
        .map(|frame| {
            let dict = PyDict::new(py);
            for (name, output) in frame {
                dict.set_item(name, output.into_python(py)?)?;
            }
            Ok(dict)
        })
        .collect::<PyResult<_>>()?;
    if inputs.is_instance_of::<PyList>() || inputs.is_instance_of::<PyTuple>() {
        return Ok(PyList::new(py, dicts)?.into_any());
    }
    let one = dicts.into_iter().next().ok_or_else(|| error("no frame is given"))?;
    Ok(one.into_any())
}

/// The results of frames of one size, with a batch axis.
fn stacked<'py>(
    py: Python<'py>,
    results: Vec<Vec<(String, Output)>>,
) -> PyResult<Bound<'py, PyAny>> {
    let count = results.len();
    let mut tasks: IndexMap<String, Output> = IndexMap::new();
    for (name, output) in results.into_iter().flatten() {
        match tasks.get_mut(&name) {
            Some(all) => all.append(output)?,
            None => {
                tasks.insert(name, output);
            }
        }
    }
    let dict = PyDict::new(py);
    for (name, output) in tasks {
        dict.set_item(name, output.batch(count).into_python(py)?)?;
    }
    Ok(dict.into_any())
}

impl Output {
    fn into_python<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::Floats(values, shape) => array(py, values, &shape)?.into_any(),
            Self::Bytes(values, shape) => array(py, values, &shape)?.into_any(),
            Self::Words(values, shape) => array(py, values, &shape)?.into_any(),
        })
    }

    /// Puts another frame's values behind these.
    fn append(&mut self, other: Self) -> PyResult<()> {
        match (self, other) {
            (Self::Floats(all, _), Self::Floats(more, _)) => all.extend(more),
            (Self::Bytes(all, _), Self::Bytes(more, _)) => all.extend(more),
            (Self::Words(all, _), Self::Words(more, _)) => all.extend(more),
            _ => return Err(error("results of a task are of different types")),
        }
        Ok(())
    }

    /// The same values with a batch axis in front.
    fn batch(self, count: usize) -> Self {
        let with = |shape: Vec<usize>| [vec![count], shape].concat();
        match self {
            Self::Floats(values, shape) => Self::Floats(values, with(shape)),
            Self::Bytes(values, shape) => Self::Bytes(values, with(shape)),
            Self::Words(values, shape) => Self::Words(values, with(shape)),
        }
    }
}
