//! The outputs of encoder blocks, with the conventions of timm's `forward_intermediates`.

use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::encoder_output::EncoderOutput;
use multimae::model::{Inputs, MultiMae};
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::peft::PeftModel;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arrays::array;
use crate::error::{PyContext, argument, error};

/// The arrangement of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `(B, C, h, w)`.
    Maps,
    /// `(B, h * w, C)`.
    Tokens,
}

/// The options of a call, checked.
pub(crate) struct FeatureOptions {
    blocks: Vec<usize>,
    prefix: bool,
    format: Format,
    only_intermediates: bool,
}

impl FeatureOptions {
    /// Checks the arguments of a call for an encoder of `depth` blocks.
    ///
    /// # Errors
    /// If there is no such block or format.
    pub(crate) fn new(
        indices: Option<&Bound<'_, PyAny>>,
        (prefix, norm, only_intermediates): (bool, bool, bool),
        output_fmt: &str,
        depth: usize,
    ) -> PyResult<Self> {
        if norm {
            return Err(argument("norm=True: the encoder has no norm behind its last block"));
        }
        let format = match output_fmt {
            "NCHW" => Format::Maps,
            "NLC" => Format::Tokens,
            other => return Err(argument(format!("output_fmt={other:?}: give 'NCHW' or 'NLC'"))),
        };
        Ok(Self { blocks: blocks(indices, depth)?, prefix, format, only_intermediates })
    }
}

/// The blocks of `indices`: all, the last `n`, or a list that may count from the end.
fn blocks(indices: Option<&Bound<'_, PyAny>>, depth: usize) -> PyResult<Vec<usize>> {
    let Some(indices) = indices else { return Ok((0..depth).collect()) };
    if let Ok(last) = indices.extract::<usize>() {
        if last == 0 || last > depth {
            return Err(argument(format!("indices={last}: the encoder has {depth} blocks")));
        }
        return Ok((depth - last..depth).collect());
    }
    let mut blocks = Vec::new();
    for index in indices.extract::<Vec<i64>>()? {
        let block = if index < 0 { index + depth as i64 } else { index };
        let block = usize::try_from(block).ok().filter(|block| *block < depth);
        blocks.push(block.ok_or_else(|| {
            argument(format!("indices: there is no block {index}; the encoder has {depth}"))
        })?);
    }
    Ok(blocks)
}

/// Encodes inputs by a fine-tuned model with its prompts, as the head of a task reads them.
///
/// # Errors
/// If the inputs do not fit, there is no such task, or none is named where tasks have blocks of their own.
pub(crate) fn encode_tuned(
    model: &PeftModel,
    inputs: Inputs,
    task: Option<&str>,
) -> PyResult<EncoderOutput> {
    let tasks: Vec<&str> = model.vit.output_adapters.names().collect();
    let shared = model.branch() == model.vit.encoder.len();
    let chosen = match task {
        Some(task) => tasks.iter().find(|name| **name == task).copied(),
        None => tasks.first().copied().filter(|_| shared || tasks.len() == 1),
    };
    let Some(chosen) = chosen else {
        let tasks = tasks.join(", ");
        return Err(argument(match task {
            Some(task) => format!("task={task:?}: the model has {tasks}"),
            None => format!(
                "every task of this model has blocks of its own; give task=, one of {tasks}"
            ),
        }));
    };
    let mut outputs = model.encode(inputs, None, &mut Phase::Evaluation).py()?.outputs;
    outputs.swap_remove(chosen).ok_or_else(|| error(format!("task `{chosen}` has no features")))
}

/// The encoder of a pre-trained model on whole inputs.
///
/// # Errors
/// If the model's configuration does not fit together.
pub(crate) fn encoder_of(model: &MultiMae, device: &Device) -> PyResult<MultiVit> {
    let own = model.config();
    let config = MultiVitConfig {
        encoder: own.encoder.clone(),
        patch_size: own.patch_size,
        image_size: own.image_size,
        num_global_tokens: own.num_global_tokens,
        inputs: own.inputs.clone(),
        heads: Vec::new(),
        tables: own.tables,
    };
    let mut vit = MultiVit::new(&config, device).py()?;
    vit.global_tokens = model.global_tokens.clone();
    vit.input_adapters = model.input_adapters.clone();
    vit.encoder = model.encoder.clone();
    Ok(vit)
}

/// Values in host memory with their shape.
struct Host(Vec<f32>, Vec<usize>);

impl Host {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let shape = tensor.dims().to_vec();
        Self(tensor.into_data().iter::<f32>().collect(), shape)
    }

    fn array<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(array(py, self.0, &self.1)?.into_any())
    }
}

/// The features of one block.
struct BlockFeatures {
    modalities: Vec<(String, Host)>,
    prefix: Option<Host>,
}

/// The features of a call, in host memory.
pub(crate) struct Features {
    last: Option<Host>,
    blocks: Vec<BlockFeatures>,
}

impl Features {
    /// Reads the features that the options ask for; `name` gives a modality's name by that of its input
    /// adapter.
    pub(crate) fn of(
        output: &EncoderOutput,
        options: &FeatureOptions,
        name: impl Fn(&str) -> String,
    ) -> Self {
        let grid = output.layout.grid;
        let block = |&index: &usize| {
            let layer = &output.layers[index];
            let modality = |task: &multimae::model::TaskTokens| {
                let tokens = layer.clone().narrow(1, task.start, grid.area());
                let host = match options.format {
                    Format::Tokens => Host::of(tokens),
                    Format::Maps => {
                        let [batch, _, channels] = tokens.dims();
                        let maps = tokens.swap_dims(1, 2);
                        Host::of(maps.reshape([batch, channels, grid.height, grid.width]))
                    }
                };
                (name(&task.name), host)
            };
            let first = output.layout.num_tokens();
            let prefix = options
                .prefix
                .then(|| Host::of(layer.clone().narrow(1, first, output.num_global_tokens)));
            BlockFeatures { modalities: output.layout.tasks.iter().map(modality).collect(), prefix }
        };
        let last = output.layers.last().filter(|_| !options.only_intermediates);
        Self {
            last: last.cloned().map(Host::of),
            blocks: options.blocks.iter().map(block).collect(),
        }
    }

    /// A list with a dictionary of arrays by modality for each block; with prefix tokens, pairs of both;
    /// with the last block's tokens, a pair of these and the list.
    ///
    /// # Errors
    /// If the interpreter fails.
    pub(crate) fn into_python<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let list = PyList::empty(py);
        for BlockFeatures { modalities, prefix } in self.blocks {
            let maps = PyDict::new(py);
            for (name, host) in modalities {
                maps.set_item(name, host.array(py)?)?;
            }
            match prefix {
                Some(prefix) => list.append((maps, prefix.array(py)?))?,
                None => list.append(maps)?,
            }
        }
        match self.last {
            Some(last) => Ok((last.array(py)?, list).into_pyobject(py)?.into_any()),
            None => Ok(list.into_any()),
        }
    }
}
