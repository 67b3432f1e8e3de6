//! First values of prompts.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use indexmap::IndexMap;
use rand::{Rng, RngExt};

use super::PeftModel;
use crate::phase::Phase;
use crate::prompts::{PoolConfig, PoolForm, PromptConfig, PromptSource};
use crate::state::{parameters, update};
use crate::tokens::Inputs;
use crate::tuning::ParameterKind;
use crate::{Error, Result};

/// Draws all prompts uniformly in `±sqrt(6 / (3 p^2 + width))`, `p` the side of a patch (Jia et
/// al., 2022); matrices whose product is the prompts so that it is of that size. Gates begin as they are configured; norms that
/// prompts condition, and changes of patches, without effect. `stream` gives the random numbers for a
/// parameter's name. Entries of a mixture are made orthonormal after that.
///
/// # Errors
/// If a mixture has more entries than the encoder is wide.
pub fn random_prompts<R: Rng>(
    model: PeftModel,
    mut stream: impl FnMut(&str) -> R,
) -> Result<PeftModel> {
    let config = model.vit.config();
    let sizes = Sizes {
        patch: config.patch_size as f64,
        width: config.encoder.width as f64,
        prompts: model.peft().prompts.clone(),
    };
    let shapes: IndexMap<String, Vec<usize>> =
        parameters(&model).into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
    let model = update(model, |name, current| {
        let bound = match sizes.first_value(name, &shapes[name]) {
            FirstValue::Kept => return None,
            FirstValue::Constant(value) => return Some(current.full_like(value)),
            FirstValue::Uniform(bound) => bound,
        };
        let (rng, [len]) = (&mut stream(name), current.dims());
        let mut draw = |_| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32;
        let values: Vec<f32> = (0..len).map(&mut draw).collect();
        Some(Tensor::from_data(TensorData::new(values, [len]), &current.device()))
    });
    model.map_sources(|source| match source {
        PromptSource::Coda(prompts) => prompts.orthonormal().map(PromptSource::Coda),
        other => Ok(other),
    })
}

/// The first values of a parameter.
enum FirstValue {
    /// Those that [`initialise`](crate::init::initialise) gave it.
    Kept,
    /// The same everywhere.
    Constant(f64),
    /// Uniform in `±bound`.
    Uniform(f64),
}

/// The sizes that first values depend on.
struct Sizes {
    /// Side of a patch.
    patch: f64,
    /// Of the encoder.
    width: f64,
    prompts: Option<PromptConfig>,
}

impl Sizes {
    fn first_value(&self, name: &str, shape: &[usize]) -> FirstValue {
        if ParameterKind::of(name) != ParameterKind::Prompts {
            return FirstValue::Kept;
        }
        if name.starts_with("prompt_norms.") {
            let begins = name.ends_with(".up.weight");
            return if begins { FirstValue::Constant(0.0) } else { FirstValue::Kept };
        }
        let of_shared = name.strip_prefix("prompts.").or(name.strip_prefix("branch_prompts."));
        let of_source = match of_shared {
            Some(of_source) => of_source,
            None => name.splitn(3, '.').last().unwrap_or(name),
        };
        match &self.prompts {
            Some(PromptConfig::Shallow(config) | PromptConfig::Deep(config)) => match of_source {
                "gate" => FirstValue::Constant(config.gate.unwrap_or_default()),
                "tokens" | "bilinear" if config.bilinear.is_some() => {
                    // Products of `rank` terms, with the deviation of tokens that are no products.
                    let rank = config.bilinear.unwrap_or(1) as f64;
                    let deviation = self.bound(self.width) / 3.0_f64.sqrt();
                    FirstValue::Uniform((3.0 * deviation / rank.sqrt()).sqrt())
                }
                "tokens" => FirstValue::Uniform(self.bound_of(shape)),
                _ => FirstValue::Kept,
            },
            Some(PromptConfig::Rein(config)) => match of_source {
                "left" | "right" => {
                    FirstValue::Uniform(self.bound((self.width * config.rank as f64).sqrt()))
                }
                "change.up.weight" => FirstValue::Constant(0.0),
                // Kaiming with `a = sqrt(5)`, as published.
                _ if of_source.ends_with(".weight") => {
                    let inputs = shape.last().copied().unwrap_or(1).max(1) as f64;
                    FirstValue::Uniform(inputs.powf(-0.5))
                }
                _ => FirstValue::Kept,
            },
            Some(PromptConfig::Evp(config)) => match of_source {
                "up.weight" => FirstValue::Constant(0.0),
                // Xavier, as of all linear maps.
                "weight" => FirstValue::Uniform((3.0 / config.rank as f64).sqrt()),
                _ => FirstValue::Kept,
            },
            _ => FirstValue::Uniform(self.bound_of(shape)),
        }
    }

    fn bound_of(&self, shape: &[usize]) -> f64 {
        self.bound(shape.last().copied().unwrap_or(1) as f64)
    }

    fn bound(&self, width: f64) -> f64 {
        (6.0 / (3.0 * self.patch * self.patch + width)).sqrt()
    }
}

/// Starts prompts from the encoder's tokens of images (self-prompt tuning; Wang et al., 2024):
/// those of a block are modality tokens in front of it, of images and places drawn at random;
/// prefix prompts are the keys and values of such tokens.
///
/// # Errors
/// If the prompts are of a kind that does not lie among the tokens, or the inputs do not fit.
pub fn self_prompts<R: Rng>(
    model: PeftModel,
    inputs: Inputs,
    mut stream: impl FnMut(&str) -> R,
) -> Result<PeftModel> {
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

/// The tokens that prompts start from.
struct Picks<'a> {
    model: &'a PeftModel,
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
        match source {
            PromptSource::Tokens(prompts)
                if prompts.projection.is_some() || prompts.bilinear.is_some() =>
            {
                Err(Error::Config(
                    "prompts of a lower rank cannot begin with tokens of images: leave `rank` and \
                     `bilinear` out, or begin randomly"
                        .to_owned(),
                ))
            }
            PromptSource::Tokens(prompts) => {
                let [layers, count, _] = prompts.tokens.dims();
                let own = self.layers(prompts.first(), layers, count, rng);
                Ok(vec![("tokens", flat(own))])
            }
            PromptSource::Prefix(prompts) => {
                let [layers, count, _] = prompts.key.dims();
                let (keys, values) = self.prefixes(prompts.first(), layers, count, rng);
                Ok(vec![("key", flat(keys)), ("value", flat(values))])
            }
            PromptSource::Pool(pool) => {
                let PoolConfig { entries, length, first, layers, form, .. } = *pool.config();
                let count = entries * length;
                match form {
                    PoolForm::Tokens => {
                        let own = self.layers(first, layers, count, rng);
                        Ok(vec![("tokens", by_entry(own, entries))])
                    }
                    PoolForm::Prefix => {
                        let (keys, values) = self.prefixes(first, layers, count, rng);
                        let (keys, values) = (by_entry(keys, entries), by_entry(values, entries));
                        Ok(vec![("key_prefix", keys), ("value_prefix", values)])
                    }
                }
            }
            PromptSource::Dual(dual) => {
                let config = dual.config();
                let (layers, count) = (config.general_layers, config.general_length);
                let (key, value) = self.prefixes(config.general_first, layers, count, rng);
                let count = config.entries * config.expert_length;
                let (keys, values) =
                    self.prefixes(config.expert_first, config.expert_layers, count, rng);
                Ok(vec![
                    ("general.key", flat(key)),
                    ("general.value", flat(value)),
                    ("expert.key_prefix", by_entry(keys, config.entries)),
                    ("expert.value_prefix", by_entry(values, config.entries)),
                ])
            }
            PromptSource::Cross(prompts) => {
                let [layers, count, _] = prompts.tokens.dims();
                let own = self.layers(prompts.first(), layers, count, rng);
                Ok(vec![("tokens", flat(own))])
            }
            PromptSource::Rein(_) | PromptSource::Entries(_) | PromptSource::Evp(_) => {
                Err(Error::Config(
                    "prompts that begin without effect do not begin with tokens of images: leave \
                 `prompt_init` out"
                        .to_owned(),
                ))
            }
            PromptSource::Coda(_) => Err(Error::Config(
                "a mixture begins orthonormal, not with tokens of images: leave `prompt_init` out"
                    .to_owned(),
            )),
        }
    }

    /// Tokens in front of some blocks, `(count, width)` each.
    fn layers(
        &self,
        first: usize,
        layers: usize,
        count: usize,
        rng: &mut impl Rng,
    ) -> Vec<Tensor<2>> {
        let first = self.blocks.start + first;
        (first..first + layers).map(|block| self.tokens(block, count, rng)).collect()
    }

    /// Keys and values of such tokens.
    fn prefixes(
        &self,
        first: usize,
        layers: usize,
        count: usize,
        rng: &mut impl Rng,
    ) -> (Vec<Tensor<2>>, Vec<Tensor<2>>) {
        let block = self.blocks.start + first;
        let tokens = self.layers(first, layers, count, rng).into_iter().enumerate();
        tokens.map(|(layer, tokens)| self.keys_and_values(block + layer, tokens)).unzip()
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

    /// Returns the output of a block's attention for tokens, `(count, width)` each.
    fn keys_and_values(&self, block: usize, tokens: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let [_, width] = tokens.dims();
        let block = &self.model.vit.encoder[block];
        let qkv = block.attn.qkv.forward(block.norm1.forward(tokens)).detach();
        (qkv.clone().narrow(1, width, width), qkv.narrow(1, 2 * width, width))
    }
}

/// `(entries * P, width)` per layer to `(entries, layers, P, width)`, flattened.
fn by_entry(layers: Vec<Tensor<2>>, entries: usize) -> Tensor<1> {
    let rows = |layer: Tensor<2>| {
        let [count, width] = layer.dims();
        layer.reshape([entries, 1, count / entries, width])
    };
    let all = Tensor::cat(layers.into_iter().map(rows).collect(), 1);
    let len = all.dims().iter().product::<usize>();
    all.reshape([len])
}

fn flat(layers: Vec<Tensor<2>>) -> Tensor<1> {
    let all = Tensor::cat(layers, 0);
    let [count, width] = all.dims();
    all.reshape([count * width])
}
