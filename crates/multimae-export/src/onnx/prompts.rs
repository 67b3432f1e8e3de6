//! Prompts as values of the graph: those that all samples share as constants, those of pools chosen in it.

use multimae::burn::tensor::{Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::prompts::{
    CodaPrompts, EVP_BLUR, EvpPrompts, PoolKeys, PromptPool, PromptSource, Prompts, ReinPrompts,
    SourceInput,
};

use super::graph::{Attribute, Extent, Graph, Value};
use super::inputs::InputValues;
use super::ops::Convolution;
use crate::Result;

/// The name of the tokens that all tasks share behind the branch.
const SHARED_ENTRIES: &str = "branch_prompts";
/// Rows shorter than the root of this are divided by it.
const NORM_EPS: f32 = 1e-12;

/// Prompts of one source for the blocks from `first` on; see [`Prompts`].
#[derive(Debug)]
pub(super) struct BlockPrompts {
    /// The block of the first layer.
    pub(super) first: usize,
    /// The values by layer.
    pub(super) form: Form,
}

/// The values of prompts by layer. Those of all samples have one sample.
#[derive(Debug)]
pub(super) enum Form {
    /// `(B, P, width)`, and the gates of blocks.
    Tokens { layers: Vec<Value>, gates: Option<Vec<f32>> },
    /// Keys and values, `(B, P, width)` each.
    Prefix(Vec<(Value, Value)>),
    /// Four rows `(B, 1, width)`.
    Norms(Vec<[Value; 4]>),
    /// `(B, N, width)`, for the tokens from `start` on.
    Additive { start: usize, layers: Vec<Value> },
    /// Keys `(width, P)` and values `(P, width)`; the name of the map from what is found to a change.
    Regions { layers: Vec<(TensorData, TensorData)>, change: String },
    /// `(P, width)`.
    Cross(Vec<Tensor<2>>),
}

impl BlockPrompts {
    /// The layer of a block, if it has one among this number of layers.
    pub(super) fn layer(&self, block: usize, layers: usize) -> Option<usize> {
        block.checked_sub(self.first).filter(|layer| *layer < layers)
    }
}

/// The values that prompts are made of besides parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct PromptInput<'a> {
    /// The queries of pools, `(B, width)`.
    pub(super) queries: Option<&'a Value>,
    /// The embedded inputs.
    pub(super) inputs: &'a [InputValues],
    /// The tokens that all tasks share behind the branch, where tasks have further ones.
    pub(super) shared: Option<&'a ReinPrompts>,
}

impl Graph<'_> {
    /// The prompts of a source whose parameters begin with `name`.
    pub(super) fn prompts(
        &mut self,
        name: &str,
        source: &PromptSource,
        input: PromptInput<'_>,
    ) -> Result<Vec<BlockPrompts>> {
        self.at(name);
        let query = || {
            input.queries.cloned().ok_or_else(|| {
                crate::Error::Request(format!("`{name}` needs queries, and the model has none"))
            })
        };
        match source {
            PromptSource::Pool(pool) => Ok(vec![self.pool(pool, &query()?)?]),
            PromptSource::Dual(dual) => {
                let general = dual.general.forward(1, &mut Phase::Evaluation);
                Ok(vec![self.shared(name, general)?, self.pool(&dual.expert, &query()?)?])
            }
            PromptSource::Coda(coda) => Ok(vec![self.coda(coda, &query()?)?]),
            PromptSource::Evp(evp) => Ok(vec![self.evp(name, evp, input.inputs)?]),
            PromptSource::Entries(entries) => {
                let shared = input.shared.ok_or_else(|| {
                    crate::Error::Request(format!(
                        "`{name}` stands beside tokens that there are not"
                    ))
                })?;
                Ok(vec![self.shared(SHARED_ENTRIES, shared.forward_with(entries, 1))?])
            }
            PromptSource::Tokens(_)
            | PromptSource::Prefix(_)
            | PromptSource::Rein(_)
            | PromptSource::Cross(_) => {
                let one = SourceInput { batch: 1, ..SourceInput::default() };
                let output = source.forward(one, &mut Phase::Evaluation)?;
                output.prompts.into_iter().map(|prompts| self.shared(name, prompts)).collect()
            }
        }
    }

    /// Prompts that all samples share, as constants.
    fn shared(&mut self, name: &str, prompts: Prompts) -> Result<BlockPrompts> {
        match prompts {
            Prompts::Tokens { first, tokens, gates } => {
                let gates = gates.map(|gates| gates.into_data().iter::<f32>().collect());
                let form = Form::Tokens { layers: self.layers(&tokens)?, gates };
                Ok(BlockPrompts { first, form })
            }
            Prompts::Prefix { first, keys, values } => {
                let (keys, values) = (self.layers(&keys)?, self.layers(&values)?);
                let form = Form::Prefix(keys.into_iter().zip(values).collect());
                Ok(BlockPrompts { first, form })
            }
            Prompts::Regions { first, keys_and_values, .. } => {
                let layers = by_layer(&keys_and_values).map(|both| {
                    let [_, count, width] = both.dims();
                    let both = both.reshape([count, width]);
                    let keys = both.clone().narrow(1, 0, width / 2).transpose();
                    (keys.into_data(), both.narrow(1, width / 2, width / 2).into_data())
                });
                let change = format!("{name}.change");
                Ok(BlockPrompts { first, form: Form::Regions { layers: layers.collect(), change } })
            }
            Prompts::Cross { first, tokens } => {
                let [layers, count, width] = tokens.dims();
                let of = |layer| tokens.clone().narrow(0, layer, 1).reshape([count, width]);
                Ok(BlockPrompts { first, form: Form::Cross((0..layers).map(of).collect()) })
            }
            Prompts::Norms { .. } | Prompts::Additive { .. } => Err(crate::Error::Request(
                format!("`{name}` makes prompts of a form that is not shared by samples"),
            )),
        }
    }

    /// `(1, layers, P, width)` as a constant per layer.
    fn layers(&mut self, tokens: &Tensor<4>) -> Result<Vec<Value>> {
        by_layer(tokens).map(|layer| self.constant("prompt", &layer.into_data())).collect()
    }

    /// The rows of a matrix at unit length.
    fn unit(&mut self, rows: &Value) -> Result<Value> {
        let squares = self.reduced("ReduceSumSquare", rows, 1);
        let least = self.scalar(NORM_EPS)?;
        let squares = self.like_first("Max", &squares, &least);
        let length = self.unary("Sqrt", &squares);
        Ok(self.div(rows, &length))
    }

    /// The top entries of every sample by cosine similarity of its query and the keys.
    fn pool(&mut self, pool: &PromptPool, query: &Value) -> Result<BlockPrompts> {
        let config = pool.config();
        let keys: Tensor<3> = match &pool.keys {
            PoolKeys::Shared(keys) => keys.val().unsqueeze_dim(0),
            PoolKeys::PerLayer(keys) => keys.val(),
        };
        let [sets, entries, width] = keys.dims();
        let keys = unit(keys.reshape([sets * entries, width])).transpose();
        let keys = self.constant("keys", &keys.into_data())?;
        let query = self.unit(query)?;
        let cosines = self.matmul(&query, &keys);
        let batch = query.shape[0];
        let apart = [batch, Extent::Of(sets), Extent::Of(entries)];
        let cosines = self.reshape(&cosines, &apart)?;
        let chosen = self.top_entries(&cosines, config.top_n)?;
        let mut gathered = |pool: &Tensor<4>| self.gathered(pool, &chosen, config.top_n);
        let form = match (&pool.tokens, &pool.key_prefix, &pool.value_prefix) {
            (Some(tokens), _, _) => Form::Tokens { layers: gathered(&tokens.val())?, gates: None },
            (None, Some(keys), Some(values)) => {
                let (keys, values) = (gathered(&keys.val())?, gathered(&values.val())?);
                Form::Prefix(keys.into_iter().zip(values).collect())
            }
            _ => {
                return Err(crate::Error::Request(
                    "a prompt pool has either tokens or prefixes of keys and values".to_owned(),
                ));
            }
        };
        Ok(BlockPrompts { first: config.first, form })
    }

    /// The numbers of the `top_n` largest of the last axis, `(B, top_n)` by set.
    fn top_entries(&mut self, cosines: &Value, top_n: usize) -> Result<Vec<Value>> {
        let (batch, sets) = (cosines.shape[0], cosines.extent(1));
        let count = self.integers(&[top_n as i64])?;
        let shape = vec![batch, cosines.shape[1], Extent::Of(top_n)];
        let indices = self.top_indices(cosines, &count, shape);
        let of_set = |graph: &mut Self, set: usize| {
            let one = graph.slice(&indices, 1, set, 1)?;
            graph.reshape(&one, &[batch, Extent::Of(top_n)])
        };
        (0..sets).map(|set| of_set(self, set)).collect()
    }

    /// The chosen entries of `(entries, layers, P, width)` as `(B, top_n * P, width)` by layer.
    fn gathered(&mut self, pool: &Tensor<4>, chosen: &[Value], top_n: usize) -> Result<Vec<Value>> {
        let [entries, layers, count, width] = pool.dims();
        let of_layer = |graph: &mut Self, (layer, chosen): (usize, &Value)| {
            let rows = pool.clone().narrow(1, layer, 1).reshape([entries, count * width]);
            let rows = graph.constant("entries", &rows.into_data())?;
            let batch = chosen.shape[0];
            let shape = vec![batch, Extent::Of(top_n), Extent::Of(count * width)];
            let axis = vec![("axis", Attribute::Int(0))];
            let taken = graph.node("Gather", &[&rows, chosen], axis, shape);
            graph.reshape(&taken, &[batch, Extent::Of(top_n * count), Extent::Of(width)])
        };
        (0..layers).zip(chosen.iter().cycle()).map(|layer| of_layer(self, layer)).collect()
    }

    /// Mixtures of all entries.
    fn coda(&mut self, coda: &CodaPrompts, query: &Value) -> Result<BlockPrompts> {
        let [layers, entries, width] = coda.keys.dims();
        let rows = |values: Tensor<3>| values.reshape([layers * entries, width]);
        let (keys, attention) = (unit(rows(coda.keys.val())), rows(coda.attention.val()));
        let along = self.constant("along", &(attention.clone() * keys).transpose().into_data())?;
        let squares = self.constant("squares", &attention.square().transpose().into_data())?;
        let query = self.unit(query)?;
        let along = self.matmul(&query, &along);
        let square = self.mul(&query, &query);
        let squares = self.matmul(&square, &squares);
        let least = self.scalar(NORM_EPS)?;
        let squares = self.like_first("Max", &squares, &least);
        let length = self.unary("Sqrt", &squares);
        let shares = self.div(&along, &length);
        let [_, _, length, _] = coda.components.dims();
        let of_layer = |graph: &mut Self, layer: usize| {
            let components = coda.components.val().narrow(0, layer, 1);
            let components = components.reshape([entries, length * width]).into_data();
            let components = graph.constant("components", &components)?;
            let shares = graph.slice(&shares, 1, layer * entries, entries)?;
            let mixed = graph.matmul(&shares, &components);
            let apart = [shares.shape[0], Extent::Of(length), Extent::Of(width)];
            let mixed = graph.reshape(&mixed, &apart)?;
            let half = length / 2;
            Ok((graph.slice(&mixed, 1, 0, half)?, graph.slice(&mixed, 1, half, half)?))
        };
        let layers = (0..layers).map(|layer| of_layer(self, layer)).collect::<Result<_>>()?;
        Ok(BlockPrompts { first: coda.config().first, form: Form::Prefix(layers) })
    }

    /// Summands of the patches of one modality, made of the patches and their details.
    fn evp(
        &mut self,
        name: &str,
        evp: &EvpPrompts,
        inputs: &[InputValues],
    ) -> Result<BlockPrompts> {
        let place = inputs.iter().position(|input| input.name == evp.modality());
        let Some((place, input)) = place.and_then(|place| Some((place, inputs.get(place)?))) else {
            return Err(crate::Error::Request(format!(
                "`{name}` are made of `{}`, which is not among the inputs of the graph",
                evp.modality()
            )));
        };
        let details = self.details(&input.maps)?;
        let sum = {
            let embedding = self.linear(&format!("{name}.embedding"), &input.projected)?;
            let detail = format!("{name}.detail");
            let kernel = self.weight(&format!("{detail}.weight"))?;
            let (channels, patch) = (details.extent(1), input.patch);
            let sides = [channels, patch, patch].map(Extent::Of);
            let shape = [kernel.shape[0], sides[0], sides[1], sides[2]];
            let kernel = self.reshape(&kernel, &shape)?;
            let bias = self.weight(&format!("{detail}.bias"))?;
            let sizes = Convolution { stride: patch, padding: 0, groups: 1 };
            let maps = self.conv_by(&details, &kernel, Some(&bias), sizes);
            let tokens = self.maps_to_tokens(&maps)?;
            self.add(&embedding, &tokens)
        };
        let [layers, rank, _] = evp.weight.dims();
        let count = input.projected.extent(1);
        let of_layer = |graph: &mut Self, layer: usize| {
            graph.at(name);
            let weight = evp.weight.val().narrow(0, layer, 1).reshape([rank, rank]).transpose();
            let bias = evp.bias.val().narrow(0, layer, 1).reshape([rank]);
            let weight = graph.constant("weight", &weight.into_data())?;
            let bias = graph.constant("bias", &bias.into_data())?;
            let hidden = graph.matmul(&sum, &weight);
            let hidden = graph.add(&hidden, &bias);
            let hidden = graph.gelu(&hidden)?;
            graph.linear(&format!("{name}.up"), &hidden)
        };
        let layers = (0..layers).map(|layer| of_layer(self, layer)).collect::<Result<_>>()?;
        let form = Form::Additive { start: place * count, layers };
        Ok(BlockPrompts { first: evp.first(), form })
    }

    /// The magnitude of the high frequencies of maps; see [`multimae::prompts::details`].
    fn details(&mut self, maps: &Value) -> Result<Value> {
        let (channels, height, width) = (maps.extent(1), maps.extent(2), maps.extent(3));
        let side = EVP_BLUR.len();
        let filter: Vec<f32> =
            EVP_BLUR.iter().flat_map(|row| EVP_BLUR.map(|column| row * column)).collect();
        let filter = TensorData::new(filter.repeat(channels), [channels, 1, side, side]);
        let filter = self.constant("blur", &filter)?;
        // At the border, the mean of the pixels that there are.
        let (rows, columns) = (shares(height), shares(width));
        let inside: Vec<f32> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        let inside = self.constant("inside", &TensorData::new(inside, [1, 1, height, width]))?;
        let sizes = Convolution { groups: channels, ..Convolution::same(side) };
        let sums = self.conv_by(maps, &filter, None, sizes);
        let mean = self.div(&sums, &inside);
        let details = self.like_first("Sub", maps, &mean);
        Ok(self.unary("Abs", &details))
    }

    /// Scale and shift of norms, made of the mean of a source's prompts.
    pub(super) fn prompt_norms(
        &mut self,
        name: &str,
        prompts: &[BlockPrompts],
    ) -> Result<Option<BlockPrompts>> {
        self.at(name);
        let mut means = Vec::new();
        for prompts in prompts {
            means.extend(self.mean_prompt(&prompts.form)?);
        }
        let count = means.len() as f32;
        let Some(sum) = means.into_iter().reduce(|sum, mean| self.sum(&sum, &mean)) else {
            return Ok(None);
        };
        let mean = self.scaled(&sum, 1.0 / count)?;
        let width = mean.extent(2);
        let rank = self.linear(&format!("{name}.down"), &mean)?;
        let rows = self.linear(&format!("{name}.up"), &rank)?;
        let layers = rows.extent(2) / (4 * width);
        let mut of_layer = |layer: usize| -> Result<[Value; 4]> {
            let mut row = |row: usize| self.slice(&rows, 2, (4 * layer + row) * width, width);
            Ok([row(0)?, row(1)?, row(2)?, row(3)?])
        };
        let form = Form::Norms((0..layers).map(&mut of_layer).collect::<Result<_>>()?);
        Ok(Some(BlockPrompts { first: 0, form }))
    }

    /// The mean over layers and places, `(B, 1, width)`, of forms that norms are made of.
    fn mean_prompt(&mut self, form: &Form) -> Result<Option<Value>> {
        match form {
            Form::Tokens { layers, .. } => {
                let all = self.concat(layers, 1);
                Ok(Some(self.mean(&all, 1)))
            }
            Form::Prefix(layers) => {
                let (keys, values): (Vec<Value>, Vec<Value>) = layers.iter().cloned().unzip();
                let (keys, values) = (self.concat(&keys, 1), self.concat(&values, 1));
                let (keys, values) = (self.mean(&keys, 1), self.mean(&values, 1));
                let sum = self.add(&keys, &values);
                self.scaled(&sum, 0.5).map(Some)
            }
            Form::Norms(_) | Form::Additive { .. } | Form::Regions { .. } | Form::Cross(_) => {
                Ok(None)
            }
        }
    }

    /// `a + b`, either of which may be of one sample.
    fn sum(&mut self, a: &Value, b: &Value) -> Value {
        if a.shape[0] == Extent::Of(1) { self.add(b, a) } else { self.add(a, b) }
    }
}

/// `(1, layers, P, width)` by layer, `(1, P, width)` each.
fn by_layer(tokens: &Tensor<4>) -> impl Iterator<Item = Tensor<3>> {
    let [_, layers, count, width] = tokens.dims();
    (0..layers).map(move |layer| tokens.clone().narrow(1, layer, 1).reshape([1, count, width]))
}

/// Rows at unit length.
fn unit(rows: Tensor<2>) -> Tensor<2> {
    let length = rows.clone().square().sum_dim(1).clamp_min(NORM_EPS).sqrt();
    rows / length
}

/// The share of the blur's weights that lies inside an axis, by place.
fn shares(extent: usize) -> Vec<f32> {
    let reach = EVP_BLUR.len() / 2;
    let inside = |place: usize| {
        let taps = EVP_BLUR.iter().enumerate();
        let inside = taps.filter(|(tap, _)| (reach..extent + reach).contains(&(place + tap)));
        inside.map(|(_, weight)| weight).sum()
    };
    (0..extent).map(inside).collect()
}
