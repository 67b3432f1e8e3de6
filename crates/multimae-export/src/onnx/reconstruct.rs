//! The masked autoencoder as a graph: some patches of each modality in, all of them out.
//!
//! The visible patches are an input, the indices of their tokens, so that a page in a browser can let its
//! reader choose them.

use multimae::burn::tensor::TensorData;
use multimae::interpolate::Interpolation;
use multimae::modality::Size;
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::OutputTask;
use multimae::state::state_dict;
use multimae_infer::saved_model::InputModality;

use super::graph::{Attribute, Extent, Graph, Value};
use super::inputs::{InputContext, PixelInput};
use super::layers::Conditioning;
use super::proto::{GraphProto, data_type};
use super::tensors::{FLOAT, Storage};
use super::{OnnxModel, WeightStorage, model_of, model_with_half_weights};
use crate::{Error, Result};

/// The input with the indices of the visible tokens.
const VISIBLE: &str = "visible";
/// The extent of what is visible.
const COUNT: Extent = Extent::Named(VISIBLE);

/// The choices of a graph that reconstructs.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReconstructionOptions {
    /// Height and width of the image; those of the training if absent.
    pub size: Option<Size>,
    /// The number of samples; any if absent.
    pub batch: Option<usize>,
    /// The storage of the weights; not beside the graph.
    pub weights: WeightStorage,
}

/// The graph of a pre-trained model.
///
/// Its inputs are the modalities, and `visible`: the indices of the visible tokens, the same for all samples,
/// in any order, counted over the modalities in their order, each modality's patches in row-major order. Its
/// outputs are `TASK_reconstruction`.
///
/// # Errors
/// If an option does not fit the model.
pub fn export_reconstruction(
    model: &MultiMae,
    options: ReconstructionOptions,
) -> Result<OnnxModel> {
    let storage = match options.weights {
        WeightStorage::Inside => Storage::Inside,
        WeightStorage::Half => Storage::Half,
        WeightStorage::Beside => {
            return Err(Error::Request(
                "weights beside a graph are those of a fine-tuned model; keep them inside"
                    .to_owned(),
            ));
        }
    };
    let model = match options.weights {
        WeightStorage::Half => &model_with_half_weights(model)?,
        WeightStorage::Inside | WeightStorage::Beside => model,
    };
    let weights = state_dict(model);
    let config = model.config();
    let size = options.size.unwrap_or(config.image_size);
    let graph = Graph::new(&weights, storage, options.batch);
    let graph = Reconstruction { config, size, graph }.write()?;
    Ok(model_of(graph, "A multi-modal masked autoencoder", Vec::new()))
}

struct Reconstruction<'a> {
    config: &'a MultiMaeConfig,
    size: Size,
    graph: Graph<'a>,
}

/// The encoder's output as the decoders read it.
struct Encoded {
    /// `(B, visible + G, width)`.
    tokens: Value,
    /// The indices of the visible tokens.
    visible: Value,
}

impl Reconstruction<'_> {
    fn write(mut self) -> Result<GraphProto> {
        let encoded = self.encode()?;
        for output in &self.config.outputs {
            let maps = self.decode(output, &encoded)?;
            let name = format!("{}_reconstruction", output.name);
            self.graph.output(
                &name,
                &maps,
                FLOAT,
                "in the units of the input; logits of classes",
            )?;
        }
        Ok(self.graph.finish("multimae"))
    }

    fn grid(&self) -> Result<Size> {
        Ok(self.size.grid(self.config.patch_size)?)
    }

    fn encode(&mut self) -> Result<Encoded> {
        let mut inputs = Vec::new();
        for modality in &self.config.inputs {
            let context = InputContext {
                patch_size: self.config.patch_size,
                size: self.size,
                pixels: PixelInput::Normalised,
                card: None::<&InputModality>,
            };
            inputs.push(self.graph.modality(modality, &modality.name, context)?.tokens);
        }
        let about = "indices of the visible tokens, over all modalities";
        let visible = self.graph.input(VISIBLE, vec![COUNT], data_type::INT64, about)?;
        let all = self.graph.at("tokens").concat(&inputs, 1);
        let shown = self.gathered(&all, &visible);
        let mut tokens = self.graph.with_global_tokens(shown)?;
        for index in 0..self.config.encoder.depth {
            let (name, heads) = (format!("encoder.{index}"), self.config.encoder.heads);
            tokens = self.graph.block(&name, &tokens, heads, &Conditioning::default())?;
        }
        Ok(Encoded { tokens, visible })
    }

    /// The tokens of these indices.
    fn gathered(&mut self, tokens: &Value, indices: &Value) -> Value {
        let shape = vec![tokens.shape[0], COUNT, tokens.shape[2]];
        let axis = vec![("axis", Attribute::Int(1))];
        self.graph.node("Gather", &[tokens, indices], axis, shape)
    }

    /// The maps of one task.
    fn decode(&mut self, output: &OutputTask, encoded: &Encoded) -> Result<Value> {
        let name = format!("output_adapters.{}", output.name);
        let heads = self.config.decoder.heads;
        let projected = self.graph.linear(&format!("{name}.proj_context"), &encoded.tokens)?;
        let global = self.config.num_global_tokens;
        let shown = self.graph.at(&name).without_last(&projected, global)?;
        let table = format!("{name}.pos_emb");
        let positions = self.graph.positions(&table, self.grid()?, Interpolation::Bilinear)?;
        let mut x = self.queries((&name, output), (&shown, &positions), encoded)?;
        if self.config.decoder.use_xattn {
            let mut context = self.context(&name, (&shown, &positions), encoded)?;
            if global > 0 {
                let last = self.graph.at(&name).last(&projected, global)?;
                context = self.graph.concat(&[context, last], 1);
            }
            let queries = self.graph.layer_norm(&format!("{name}.query_norm"), &x)?;
            let context = self.graph.layer_norm(&format!("{name}.context_norm"), &context)?;
            let attention = format!("{name}.decoder");
            x = self.graph.cross_attention(&attention, &queries, &context, heads)?;
            let normed = self.graph.layer_norm(&format!("{name}.out_norm"), &x)?;
            let change = self.graph.mlp(&format!("{name}.mlp"), &normed)?;
            x = self.graph.at(&name).add(&x, &change);
        }
        for index in 0..self.config.decoder.depth {
            let block = format!("{name}.decoder_transformer.{index}");
            x = self.graph.block(&block, &x, heads, &Conditioning::default())?;
        }
        let patches = self.graph.linear(&format!("{name}.out_proj"), &x)?;
        let side = output.modality.patch(self.config.patch_size)?;
        let grid = self.grid()?;
        self.graph.at(&name).unpatchify(&patches, grid, side)
    }

    /// Positions with the embedding of a modality, if the decoder knows it.
    fn embedding(&mut self, name: &str, positions: &Value, modality: &str) -> Result<Value> {
        let embedding = format!("{name}.task_embeddings.{modality}");
        if !self.graph.has(&embedding) {
            return Ok(positions.clone());
        }
        let embedding = self.graph.at(name).weight(&embedding)?;
        Ok(self.graph.add(positions, &embedding))
    }

    /// The visible tokens with their places and modalities.
    fn context(
        &mut self,
        name: &str,
        (shown, positions): (&Value, &Value),
        encoded: &Encoded,
    ) -> Result<Value> {
        let mut tables = Vec::new();
        for modality in &self.config.inputs {
            tables.push(self.embedding(name, positions, &modality.name)?);
        }
        let table = self.graph.concat(&tables, 1);
        let places = self.gathered(&table, &encoded.visible);
        Ok(self.graph.add(shown, &places))
    }

    /// One query per patch: its token where it is visible and of the task's own modality, else the mask token.
    fn queries(
        &mut self,
        (name, output): (&str, &OutputTask),
        (shown, positions): (&Value, &Value),
        encoded: &Encoded,
    ) -> Result<Value> {
        let modality = &output.modality.name;
        let embedding = self.embedding(name, positions, modality)?;
        let mask = self.graph.at(name).weight(&format!("{name}.mask_token"))?;
        let own = self.config.inputs.iter().position(|input| input.name == *modality);
        let Some(own) = own.filter(|_| self.config.decoder.use_task_queries) else {
            let queries = self.graph.add(&embedding, &mask);
            return self.graph.for_each_sample(&queries);
        };
        let area = self.grid()?.area();
        let taken = self.graph.taken(&encoded.visible, (own * area, area))?;
        let mut shape = shown.shape.clone();
        shape[1] = Extent::Of(area);
        let tokens = self.graph.node("MatMul", &[&taken, shown], Vec::new(), shape);
        let hidden = self.graph.hidden(&taken, &mask)?;
        let queries = self.graph.add(&tokens, &hidden);
        Ok(self.graph.add(&queries, &embedding))
    }
}

impl Graph<'_> {
    /// `(N, visible)`: one where the visible token is this one of `count` from `start` on, else zero.
    fn taken(&mut self, visible: &Value, (start, count): (usize, usize)) -> Result<Value> {
        let own: Vec<i64> = (start..start + count).map(|token| token as i64).collect();
        let own = self.constant("own", &TensorData::new(own, [count, 1]))?;
        let shape = vec![Extent::Of(count), COUNT];
        let equal = self.node("Equal", &[&own, visible], Vec::new(), shape.clone());
        let to = vec![("to", Attribute::Int(FLOAT.into()))];
        Ok(self.node("Cast", &[&equal], to, shape))
    }

    /// The mask token where no visible token is taken, `(1, N, width)`.
    fn hidden(&mut self, taken: &Value, mask: &Value) -> Result<Value> {
        let count = taken.shape[0];
        let axes = self.integers(&[1])?;
        let shape = vec![count, Extent::Of(1)];
        let keep = vec![("keepdims", Attribute::Int(1))];
        let seen = self.node("ReduceSum", &[taken, &axes], keep, shape.clone());
        let one = self.scalar(1.0)?;
        let hidden = self.node("Sub", &[&one, &seen], Vec::new(), shape);
        let shape = vec![Extent::Of(1), count, mask.shape[2]];
        Ok(self.node("Mul", &[&hidden, mask], Vec::new(), shape))
    }

    /// All but the last `count` tokens.
    fn without_last(&mut self, tokens: &Value, count: usize) -> Result<Value> {
        if count == 0 {
            return Ok(tokens.clone());
        }
        let (start, end) = (self.integers(&[0])?, self.integers(&[-(count as i64)])?);
        let axis = self.integers(&[1])?;
        let shape = vec![tokens.shape[0], COUNT, tokens.shape[2]];
        Ok(self.node("Slice", &[tokens, &start, &end, &axis], Vec::new(), shape))
    }

    /// The last `count` tokens.
    fn last(&mut self, tokens: &Value, count: usize) -> Result<Value> {
        let (start, end) = (self.integers(&[-(count as i64)])?, self.integers(&[i64::MAX])?);
        let axis = self.integers(&[1])?;
        let shape = vec![tokens.shape[0], Extent::Of(count), tokens.shape[2]];
        Ok(self.node("Slice", &[tokens, &start, &end, &axis], Vec::new(), shape))
    }

    /// `(B, h * w, C * side * side)` to `(B, C, h * side, w * side)`.
    fn unpatchify(&mut self, patches: &Value, grid: Size, side: usize) -> Result<Value> {
        let (batch, channels) = (patches.shape[0], patches.extent(2) / (side * side));
        let cells = [grid.height, grid.width, channels, side, side].map(Extent::Of);
        let [rows, columns, channels, down, right] = cells;
        let apart = self.reshape(patches, &[batch, rows, columns, channels, down, right])?;
        let apart = self.transpose(&apart, &[0, 3, 1, 4, 2, 5]);
        let sides = [grid.height * side, grid.width * side].map(Extent::Of);
        self.reshape(&apart, &[batch, channels, sides[0], sides[1]])
    }
}
