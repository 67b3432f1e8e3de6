//! From inputs to one sequence of tokens: what every model does first.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;

use crate::input_adapters::{InputAdapter, InputAdapterConfig, ModalityTensor};
use crate::masking::{TaskMask, TokenMasks};
use crate::modality::{Modality, Size};
use crate::nn::ModuleMap;
use crate::{Error, Result};

/// The values of a batch, by modality, in the order of their tokens.
pub type Inputs = IndexMap<String, ModalityTensor>;

/// The place of one modality's tokens in the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTokens {
    /// The modality.
    pub name: String,
    /// Index of its first token.
    pub start: usize,
}

/// The sequence of all modalities' tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLayout {
    /// The modalities in order.
    pub tasks: Vec<TaskTokens>,
    /// The token grid that all of them share.
    pub grid: Size,
}

impl TokenLayout {
    /// The layout of modalities that share a grid.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, grid: Size) -> Self {
        let place = |(index, name): (usize, &str)| TaskTokens {
            name: name.to_owned(),
            start: index * grid.area(),
        };
        Self { tasks: names.into_iter().enumerate().map(place).collect(), grid }
    }

    /// The place of a modality's tokens, if it is an input.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&TaskTokens> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Tokens of all modalities together.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.tasks.len() * self.grid.area()
    }

    /// Tokens of each modality.
    #[must_use]
    pub fn tokens_per_task(&self) -> Vec<usize> {
        vec![self.grid.area(); self.tasks.len()]
    }

    /// One modality's part of the masks, if it is an input.
    #[must_use]
    pub fn task_mask(&self, masks: &TokenMasks, name: &str) -> Option<TaskMask> {
        self.task(name).map(|task| masks.task(task.start, self.grid.area()))
    }
}

/// One adapter per modality, of zeros but for the position tables.
pub(crate) fn input_adapters(
    modalities: &[Modality],
    config: InputAdapterConfig,
    device: &Device,
) -> Result<ModuleMap<InputAdapter>> {
    modalities.iter().map(|m| Ok((m.name.clone(), InputAdapter::new(m, config, device)?))).collect()
}

/// The tokens of all inputs, one modality after the other in the order of the inputs.
///
/// # Shapes
/// `(B, S, width)`.
///
/// # Errors
/// If there is none, one has no adapter or does not fit it, or batches or grids differ.
pub(crate) fn tokenise(
    adapters: &ModuleMap<InputAdapter>,
    inputs: Inputs,
) -> Result<(Tensor<3>, TokenLayout)> {
    let batch = inputs.values().next().map_or(0, ModalityTensor::batch);
    let mut names = Vec::new();
    let mut sequences = Vec::new();
    let mut shared: Option<(String, Size)> = None;
    for (name, input) in inputs {
        let problem = |problem: String| Error::Input { modality: name.clone(), problem };
        let Some(adapter) = adapters.get(&name) else {
            return Err(problem("the model has no input adapter for it".to_owned()));
        };
        if input.batch() != batch {
            return Err(problem(format!("{} samples, others have {batch}", input.batch())));
        }
        let (tokens, grid) = adapter.forward(&name, input)?;
        match &shared {
            Some((first, first_grid)) if *first_grid != grid => {
                return Err(problem(format!(
                    "its token grid {grid} is not that of `{first}`, {first_grid}"
                )));
            }
            Some(_) => {}
            None => shared = Some((name.clone(), grid)),
        }
        names.push(name);
        sequences.push(tokens);
    }
    let Some((_, grid)) = shared else {
        return Err(Error::Config("a forward pass needs at least one input".to_owned()));
    };
    let layout = TokenLayout::new(names.iter().map(String::as_str), grid);
    Ok((Tensor::cat(sequences, 1), layout))
}

/// A sequence with the global tokens after it; they have no position.
///
/// # Shapes
/// `(B, N, width)` and `(1, G, width)` to `(B, N + G, width)`.
pub(crate) fn with_global_tokens(sequence: Tensor<3>, global: &Param<Tensor<3>>) -> Tensor<3> {
    let [batch, _, width] = sequence.dims();
    let [_, count, _] = global.dims();
    if count == 0 {
        return sequence;
    }
    Tensor::cat(vec![sequence, global.val().expand([batch, count, width])], 1)
}

/// At least one input modality, each listed once.
pub(crate) fn check_inputs(inputs: &[Modality]) -> Result<()> {
    if inputs.is_empty() {
        return Err(Error::Config("at least one input modality is needed".to_owned()));
    }
    check_unique("input modality", inputs.iter().map(|m| &m.name))
}

/// No name twice.
pub(crate) fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::Config(format!("{what} `{name}` is listed twice")));
        }
    }
    Ok(())
}
