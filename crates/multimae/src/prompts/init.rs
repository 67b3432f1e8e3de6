//! First values of prompts.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use indexmap::IndexMap;
use rand::{Rng, RngExt};

use super::{PromptConfig, PromptSource};
use crate::encoder::Phase;
use crate::state::{parameters, update};
use crate::tokens::Inputs;
use crate::tuned::TunedMultiVit;
use crate::tuning::ParameterKind;
use crate::{Error, Result};

/// Draws all prompts uniformly in `±sqrt(6 / (3 p^2 + width))`, `p` the side of a patch (Jia et
/// al., 2022); gates begin as they are configured, norms that prompts condition without effect. `stream` gives the random numbers for a
/// parameter's name.
#[must_use]
pub fn random_prompts<R: Rng>(
    model: TunedMultiVit,
    mut stream: impl FnMut(&str) -> R,
) -> TunedMultiVit {
    let patch = model.vit.config().patch_size as f64;
    let gate = match &model.additions().prompts {
        Some(PromptConfig::Shallow(config) | PromptConfig::Deep(config)) => config.gate,
        _ => None,
    };
    let widths: IndexMap<String, usize> = parameters(&model)
        .into_iter()
        .map(|parameter| (parameter.name, parameter.shape.last().copied().unwrap_or(1)))
        .collect();
    update(model, |name, current| {
        if ParameterKind::of(name) != ParameterKind::Prompts || name.contains(".projection.") {
            return None;
        }
        if name.starts_with("prompt_norms.") {
            return name.ends_with(".up.weight").then(|| current.zeros_like());
        }
        if name.ends_with(".gate") {
            return Some(current.full_like(gate.unwrap_or_default()));
        }
        let bound = (6.0 / (3.0 * patch * patch + widths[name] as f64)).sqrt();
        let (rng, [len]) = (&mut stream(name), current.dims());
        let mut draw = |_| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32;
        let values: Vec<f32> = (0..len).map(&mut draw).collect();
        Some(Tensor::from_data(TensorData::new(values, [len]), &current.device()))
    })
}

/// Begins prompts with what the encoder makes of images (self-prompt tuning; Wang et al., 2024):
/// those of a block are modality tokens in front of it, of images and places drawn at random;
/// prefix prompts are the keys and values that the block makes of such tokens.
///
/// # Errors
/// If the prompts are of a kind that does not lie among the tokens, or the inputs do not fit.
pub fn self_prompts<R: Rng>(
    model: TunedMultiVit,
    inputs: Inputs,
    mut stream: impl FnMut(&str) -> R,
) -> Result<TunedMultiVit> {
    let embedded = model.vit.embed(inputs)?;
    let count = embedded.layout.num_tokens();
    let outputs = model.vit.encode(embedded.sequence.clone(), &mut Phase::Evaluation);
    let fronts: Vec<Tensor<3>> = std::iter::once(embedded.sequence)
        .chain(outputs)
        .map(|layer| layer.narrow(1, 0, count).detach())
        .collect();
    let (depth, branch) = (model.vit.encoder.len(), model.branch());
    let mut values: IndexMap<String, Tensor<1>> = IndexMap::new();
    let mut begin = |name: &str, source: &PromptSource, blocks: Range<usize>| {
        let picks = Picks { model: &model, fronts: &fronts, blocks };
        for (parameter, value) in picks.of_source(source, &mut stream(name))? {
            values.insert(format!("{name}.{parameter}"), value);
        }
        Ok::<(), Error>(())
    };
    if let Some(source) = &model.prompts {
        begin("prompts", source, 0..branch)?;
    }
    for (task, source) in model.task_prompts.iter() {
        begin(&format!("task_prompts.{task}"), source, branch..depth)?;
    }
    Ok(update(model, |name, _| values.swap_remove(name)))
}

/// Where prompts are taken from.
struct Picks<'a> {
    model: &'a TunedMultiVit,
    /// The modality tokens in front of every block.
    fronts: &'a [Tensor<3>],
    /// The blocks that the source is for.
    blocks: Range<usize>,
}

impl Picks<'_> {
    fn of_source(
        &self,
        source: &PromptSource,
        rng: &mut impl Rng,
    ) -> Result<Vec<(&'static str, Tensor<1>)>> {
        let tokens =
            |first: usize, [layers, count, _]: [usize; 3], rng: &mut _| -> Vec<Tensor<2>> {
                let first = self.blocks.start + first;
                (first..first + layers).map(|block| self.tokens(block, count, rng)).collect()
            };
        match source {
            PromptSource::Tokens(prompts) if prompts.projection.is_some() => Err(Error::Config(
                "prompts of a lower rank cannot begin with tokens of images: leave `rank` out, or \
                 begin randomly"
                    .to_owned(),
            )),
            PromptSource::Tokens(prompts) => {
                let own = tokens(prompts.first(), prompts.tokens.dims(), rng);
                Ok(vec![("tokens", flat(own))])
            }
            PromptSource::Prefix(prompts) => {
                let first = self.blocks.start + prompts.first();
                let own = tokens(prompts.first(), prompts.key.dims(), rng);
                let (keys, values) = own
                    .into_iter()
                    .enumerate()
                    .map(|(layer, tokens)| self.keys_and_values(first + layer, tokens))
                    .unzip();
                Ok(vec![("key", flat(keys)), ("value", flat(values))])
            }
        }
    }

    /// Tokens in front of a block, `(count, width)`.
    fn tokens(&self, block: usize, count: usize, rng: &mut impl Rng) -> Tensor<2> {
        let front = &self.fronts[block];
        let [batch, tokens, width] = front.dims();
        let places: Vec<i64> =
            (0..count).map(|_| rng.random_range(0..batch * tokens) as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &front.device());
        front.clone().reshape([batch * tokens, width]).select(0, places)
    }

    /// What a block's attention makes of tokens, `(count, width)` each.
    fn keys_and_values(&self, block: usize, tokens: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let [_, width] = tokens.dims();
        let block = &self.model.vit.encoder[block];
        let qkv = block.attn.qkv.forward(block.norm1.forward(tokens)).detach();
        (qkv.clone().narrow(1, width, width), qkv.narrow(1, 2 * width, width))
    }
}

fn flat(layers: Vec<Tensor<2>>) -> Tensor<1> {
    let all = Tensor::cat(layers, 0);
    let [count, width] = all.dims();
    all.reshape([count * width])
}
