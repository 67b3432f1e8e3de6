//! Scores of predictions, accumulated over frames by the rules of a protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use multimae::modality::Size;
use multimae_data::labels::LabelRule;
use multimae_data::{ArrayValues, Encoding, Interpolation, Quantity, Values};
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_tasks::kinds::labels::Labels;
use multimae_tasks::kinds::normals::Normals;
use multimae_tasks::kinds::values::{RealValues, ValueScale};
use multimae_tasks::{ClassInfo, Protocol, ScoreRules, ScoredFrame, Task, TaskPrediction};
use numpy::PyUntypedArrayMethods as _;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict as _, PyDict};

use crate::arrays::{as_array, modality_arrays, values as array_values};
use crate::error::{PyContext, error};
use crate::json::to_python;

/// The largest depth that a `Depth` task speaks of; protocols have bounds of their own.
const FAR: f64 = 1e6;

/// Accumulates the scores of one task over frames.
///
/// `update` adds frames, `compute` gives the scores of all frames so far. Made by the functions of
/// `multimae.metrics` or by `Model.scorer`.
#[pyclass(frozen, module = "multimae")]
pub(crate) struct Scorer {
    rules: Arc<dyn ScoreRules>,
    task: Arc<dyn Task>,
    target: Encoding,
    state: Mutex<State>,
}

struct State {
    scorer: Box<dyn multimae_tasks::Scorer>,
    frames: usize,
}

/// One frame of an update.
struct Frame {
    size: Size,
    prediction: TaskPrediction,
    target: Values,
    valid: Option<Vec<bool>>,
}

#[pymethods]
impl Scorer {
    /// Adds a frame, or frames with a batch axis: `prediction` as `Model.predict` gives it and `target` in
    /// the same form, at the same size. `valid` is an array of booleans of the pixels that count.
    #[pyo3(signature = (prediction, target, valid=None))]
    fn update(
        &self,
        py: Python<'_>,
        prediction: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        valid: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let frames = self.frames(prediction, target, valid)?;
        py.detach(|| {
            let mut state = self.state();
            for Frame { size, prediction, target, valid } in frames {
                let id = state.frames.to_string();
                let scored = ScoredFrame {
                    id: &id,
                    size,
                    prediction: &prediction,
                    annotation: Some(&target),
                    valid: valid.as_deref(),
                    input: &|| None,
                };
                state.scorer.add(&scored).py()?;
                state.frames += 1;
            }
            Ok(())
        })
    }

    /// The scores of all frames so far, by name. Raises `Error` if no pixel counted.
    fn compute<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let outcome = py.detach(|| self.state().scorer.outcome()).py()?;
        outcome.scores.into_py_dict(py)
    }

    /// All scores of all frames so far, as `multimae evaluate --json` writes them: by region, average and
    /// class.
    fn details<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let outcome = py.detach(|| self.state().scorer.outcome()).py()?;
        to_python(py, &outcome.details)
    }

    /// Forgets all frames.
    fn reset(&self) -> PyResult<()> {
        *self.state() = State::new(&*self.rules, &*self.task)?;
        Ok(())
    }

    /// The number of frames so far.
    fn __len__(&self) -> usize {
        self.state().frames
    }
}

impl State {
    fn new(rules: &dyn ScoreRules, task: &dyn Task) -> PyResult<Self> {
        Ok(Self { scorer: rules.scorer(task, 0).py()?, frames: 0 })
    }
}

impl Scorer {
    /// Starts scoring by rules; `target` is the storage of labels.
    ///
    /// # Errors
    /// If the task does not fit the rules, or is of a kind without maps.
    pub(crate) fn new(
        rules: Arc<dyn ScoreRules>,
        task: Arc<dyn Task>,
        target: Option<Encoding>,
    ) -> PyResult<Self> {
        let target = match (task.kind(), target) {
            ("labels", Some(target @ Encoding::Labels { .. })) => target,
            ("depth", _) => numbers(1),
            ("normals", _) => numbers(3),
            (_, Some(Encoding::Continuous { channels, .. })) => numbers(channels),
            (kind, _) => {
                return Err(error(format!("tasks of kind `{kind}` have no maps to score")));
            }
        };
        let state = Mutex::new(State::new(&*rules, &*task)?);
        Ok(Self { rules, task, target, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frames(
        &self,
        prediction: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        valid: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Frame>> {
        let predicted = modality_arrays("prediction", &self.target, prediction)?.samples;
        let annotated = modality_arrays("target", &self.target, target)?.samples;
        if predicted.len() != annotated.len() {
            return Err(error(format!(
                "there are {} predictions and {} targets",
                predicted.len(),
                annotated.len()
            )));
        }
        let valid = valid.map(|valid| masks(valid, annotated.len())).transpose()?;
        let mut frames = Vec::new();
        for (number, (predicted, annotated)) in predicted.into_iter().zip(annotated).enumerate() {
            let sizes = [(predicted.0, predicted.1), (annotated.0, annotated.1)];
            if sizes[0] != sizes[1] {
                return Err(error(format!(
                    "the prediction has {:?} pixels and the target {:?}",
                    sizes[0], sizes[1]
                )));
            }
            let size = Size::new(sizes[0].0, sizes[0].1);
            let valid = valid.as_ref().map(|valid| valid[number].clone());
            if valid.as_ref().is_some_and(|valid| valid.len() != size.area()) {
                return Err(error(format!(
                    "valid: its pixels are not those of the target, {size}"
                )));
            }
            let prediction = match self.values(predicted.2)? {
                Values::Continuous { data, .. } => TaskPrediction::Values(data),
                Values::Labels(labels) => TaskPrediction::Labels(labels),
            };
            let target = self.values(annotated.2)?;
            frames.push(Frame { size, prediction, target, valid });
        }
        Ok(frames)
    }

    /// The values of an array; labels are brought from stored values to classes.
    fn values(&self, values: ArrayValues) -> PyResult<Values> {
        let channels = match &self.target {
            Encoding::Continuous { channels, .. } => *channels,
            _ => 1,
        };
        match (values, LabelRule::of(&self.target)) {
            (ArrayValues::Continuous(data), _) => Ok(Values::Continuous { channels, data }),
            (ArrayValues::Labels(stored), Some(rule)) => {
                let label = |stored: i64| {
                    rule.label(stored).ok_or_else(|| error(format!("label {stored} is no class")))
                };
                let labels = stored.into_iter().map(label).collect::<PyResult<_>>()?;
                Ok(Values::Labels(labels))
            }
            _ => Err(error("the array is of another kind than the task")),
        }
    }
}

/// The masks of valid pixels of a batch, one per frame.
fn masks(valid: &Bound<'_, PyAny>, frames: usize) -> PyResult<Vec<Vec<bool>>> {
    let array = as_array(valid)?;
    let flags: Vec<bool> = array_values(&array)
        .map_err(|_| error(format!("valid: it is an array of {}, expected bool", array.dtype())))?;
    let pixels = flags.len() / frames.max(1);
    if pixels == 0 || pixels * frames != flags.len() {
        return Err(error(format!("valid: it has {} values for {frames} frames", flags.len())));
    }
    Ok(flags.chunks(pixels).map(<[bool]>::to_vec).collect())
}

fn numbers(channels: usize) -> Encoding {
    Encoding::Continuous {
        channels,
        divisor: 1.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Plain,
    }
}

/// The rules of protocols for a kind of task.
///
/// # Errors
/// If none is for it.
pub(crate) fn rules_of(
    protocols: &[Protocol],
    name: &str,
    kind: &str,
) -> PyResult<Arc<dyn ScoreRules>> {
    let fitting = protocols.iter().find(|protocol| protocol.rules.kind() == kind);
    let fitting = fitting.ok_or_else(|| {
        error(format!("the protocol `{name}` does not score tasks of kind `{kind}`"))
    })?;
    Ok(Arc::clone(&fitting.rules))
}

/// The named protocols with a line on each. Arrays are scored as they are given: the part of the images and
/// the size at which a protocol looks at frames are those of `multimae evaluate`.
#[pyfunction]
pub(crate) fn protocols(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    Protocol::names().into_py_dict(py)
}

/// Scores depth in metres: `rmse`, `rel`, `srel`, `rmse_log`, `log10` and `delta_1` to `delta_3`.
#[pyfunction]
#[pyo3(signature = (protocol="depth"))]
pub(crate) fn depth(protocol: &str) -> PyResult<Scorer> {
    let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
    let rules = rules_of(&Protocol::named(protocol).py()?, protocol, "depth")?;
    Scorer::new(rules, Arc::new(Depth { scale, min: 0.0, max: FAR }), None)
}

/// Scores labels: `miou`, `mean_acc` and `pixel_acc`. `classes` is the number of classes; `offset` is added
/// to every stored label but `ignore`, as in recipes.
#[pyfunction]
#[pyo3(signature = (classes, ignore=255, offset=0, protocol="semseg"))]
pub(crate) fn labels(classes: usize, ignore: i64, offset: i64, protocol: &str) -> PyResult<Scorer> {
    let class = |index: usize| ClassInfo { name: index.to_string(), color: [0; 3] };
    let task =
        Labels { classes: (0..classes).map(class).collect(), ignore, offset, values: Vec::new() };
    let target = Encoding::labels(classes, Some(ignore), offset);
    let rules = rules_of(&Protocol::named(protocol).py()?, protocol, "labels")?;
    Scorer::new(rules, Arc::new(task), Some(target))
}

/// Scores surface normals `(3, H, W)`: `mean_angle`, `median_angle`, `within_11_25`, `within_22_5` and
/// `within_30`.
#[pyfunction]
#[pyo3(signature = (protocol="normals"))]
pub(crate) fn normals(protocol: &str) -> PyResult<Scorer> {
    let rules = rules_of(&Protocol::named(protocol).py()?, protocol, "normals")?;
    Scorer::new(rules, Arc::new(Normals {}), None)
}

/// Scores other values of `channels` channels: `mae` and `rmse`.
#[pyfunction]
#[pyo3(signature = (channels=1, protocol="values"))]
pub(crate) fn values(channels: usize, protocol: &str) -> PyResult<Scorer> {
    let rules = rules_of(&Protocol::named(protocol).py()?, protocol, "values")?;
    let scale = ValueScale { mean: vec![0.0; channels], std: vec![1.0; channels] };
    let task = RealValues { scale, unit: None };
    Scorer::new(rules, Arc::new(task), Some(numbers(channels)))
}
