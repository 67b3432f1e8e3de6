//! The decoder of pre-training (MultiMAE, section 3.3).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::encoder::check_heads;
use crate::interpolate::Interpolation;
use crate::limits::check_depth;
use crate::masking::TokenMasks;
use crate::modality::{Modality, Size};
use crate::nn::{Block, BlockConfig, CrossAttention, LayerNorm, Linear, Mlp, ModuleMap, parameter};
use crate::patches::unpatchify;
use crate::positions::{NonSquareTables, frozen_table, table_tokens};
use crate::tokens::TokenLayout;

/// The sizes of the decoders of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Width of the decoder's tokens.
    pub width: usize,
    /// Self-attention blocks after the cross-attention.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden dimension of the MLPs divided by the embedding dimension.
    pub mlp_ratio: f64,
    /// Queries are the task's own tokens where it is an input, not mask tokens alone.
    pub use_task_queries: bool,
    /// Cross-attention to the visible tokens before the blocks.
    pub use_xattn: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            width: 256,
            depth: 2,
            heads: 8,
            mlp_ratio: 4.0,
            use_task_queries: true,
            use_xattn: true,
        }
    }
}

/// The prediction of one decoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTask {
    /// The name of the decoder and of its prediction, e.g. `norm_rgb`.
    pub name: String,
    /// The modality that it predicts; its tokens are the queries.
    pub modality: Modality,
}

impl OutputTask {
    /// A decoder named as the modality that it predicts.
    #[must_use]
    pub fn of(modality: Modality) -> Self {
        Self { name: modality.name.clone(), modality }
    }
}

/// Cross-attention from a task's queries to the visible tokens, a shallow transformer over the
/// queries, and a linear map to patches.
#[derive(Module, Debug)]
pub struct SpatialOutputAdapter {
    /// `(1, 1, width)`: stands for a token that the encoder did not see.
    pub mask_token: Param<Tensor<3>>,
    /// `(1, width, h, w)`, not trained.
    pub pos_emb: Param<Tensor<4>>,
    /// `(1, 1, width)` for every input modality.
    pub task_embeddings: ModuleMap<Param<Tensor<3>>>,
    /// Queries to context.
    pub decoder: Option<CrossAttention>,
    /// Before the cross-attention, of the context.
    pub context_norm: Option<LayerNorm>,
    /// Before the cross-attention, of the queries.
    pub query_norm: Option<LayerNorm>,
    /// Before the MLP.
    pub out_norm: Option<LayerNorm>,
    /// After the cross-attention.
    pub mlp: Option<Mlp>,
    /// Blocks over the queries.
    pub decoder_transformer: Vec<Block>,
    /// Width to the values of a patch.
    pub out_proj: Linear,
    /// The encoder's width to the decoder's.
    pub proj_context: Linear,
    #[module(skip)]
    task: String,
    channels: usize,
    patch: usize,
    use_task_queries: bool,
}

/// The sizes that decoders take from the rest of the model.
#[derive(Debug, Clone, Copy)]
pub struct DecoderContext<'a> {
    /// Names of the input modalities.
    pub context_tasks: &'a [&'a str],
    /// Width of the encoder.
    pub encoder_width: usize,
    /// Side of a patch at full resolution.
    pub patch_size: usize,
    /// Image size that the position table is built for.
    pub image_size: Size,
    /// The layout of position tables that are not square.
    pub tables: NonSquareTables,
}

impl SpatialOutputAdapter {
    /// A decoder of zeros but for its position table.
    ///
    /// # Errors
    /// If widths, heads, patch and image size do not fit.
    pub fn new(
        task: &OutputTask,
        config: &DecoderConfig,
        around: DecoderContext<'_>,
        device: &Device,
    ) -> Result<Self> {
        check_heads(&format!("decoder `{}`", task.name), config.width, config.heads)?;
        check_depth(&format!("decoder `{}`", task.name), config.depth)?;
        let width = config.width;
        let block = BlockConfig { width, heads: config.heads, mlp_ratio: config.mlp_ratio };
        let patch = task.modality.patch(around.patch_size)?;
        let channels = task.modality.prediction_channels();
        let table = around.image_size.grid(around.patch_size)?;
        let norm = || config.use_xattn.then(|| LayerNorm::new(width, device));
        Ok(Self {
            mask_token: parameter([1, 1, width], device),
            pos_emb: frozen_table(width, table, around.tables, device)?,
            task_embeddings: around
                .context_tasks
                .iter()
                .map(|name| ((*name).to_owned(), parameter([1, 1, width], device)))
                .collect(),
            decoder: config.use_xattn.then(|| CrossAttention::new(width, config.heads, device)),
            context_norm: norm(),
            query_norm: norm(),
            out_norm: norm(),
            mlp: config.use_xattn.then(|| Mlp::new(width, block.hidden(), device)),
            decoder_transformer: (0..config.depth).map(|_| Block::new(block, device)).collect(),
            out_proj: Linear::new(width, channels * patch * patch, device),
            proj_context: Linear::new(around.encoder_width, width, device),
            task: task.modality.name.clone(),
            channels,
            patch,
            use_task_queries: config.use_task_queries,
        })
    }

    /// Predicts the whole map.
    ///
    /// # Shapes
    /// `encoder_tokens (B, visible + global, encoder width)`, global tokens last, to
    /// `(B, channels, grid height * patch, grid width * patch)`.
    #[must_use]
    pub fn forward(
        &self,
        encoder_tokens: Tensor<3>,
        layout: &TokenLayout,
        masks: &TokenMasks,
    ) -> Tensor<4> {
        let [_, tokens, _] = encoder_tokens.dims();
        let projected = self.proj_context.forward(encoder_tokens);
        let visible = projected.clone().narrow(1, 0, masks.visible());
        let positions = table_tokens(self.pos_emb.val(), layout.grid, Interpolation::Bilinear);

        let queries = self.queries(visible.clone(), &positions, layout, masks);
        let mut x = match (&self.decoder, &self.query_norm, &self.context_norm) {
            (Some(attention), Some(query_norm), Some(context_norm)) => {
                let mut context = self.context(visible, &positions, layout, masks);
                let global = tokens - masks.visible();
                if global > 0 {
                    let global = projected.narrow(1, masks.visible(), global);
                    context = Tensor::cat(vec![context, global], 1);
                }
                // The queries are not added back: the published decoder has no residual here.
                attention.forward_normed([query_norm, context_norm], queries, context)
            }
            _ => queries,
        };
        if let (Some(mlp), Some(out_norm)) = (&self.mlp, &self.out_norm) {
            x = x.clone() + mlp.forward_normed(out_norm, x);
        }
        for block in &self.decoder_transformer {
            x = block.forward(x);
        }
        unpatchify(self.out_proj.forward(x), layout.grid, self.patch)
    }

    /// Position plus embedding of a task; the position alone where this decoder has no embedding.
    ///
    /// # Shapes
    /// `(1, N, width)`.
    fn embedding(&self, positions: &Tensor<3>, task: &str) -> Tensor<3> {
        match self.task_embeddings.get(task) {
            Some(embedding) => positions.clone() + embedding.val(),
            None => positions.clone(),
        }
    }

    /// The visible tokens with this decoder's positions and task embeddings.
    ///
    /// # Shapes
    /// `(B, visible, width)` to `(B, visible, width)`.
    fn context(
        &self,
        visible: Tensor<3>,
        positions: &Tensor<3>,
        layout: &TokenLayout,
        masks: &TokenMasks,
    ) -> Tensor<3> {
        let [_, _, width] = visible.dims();
        let tables =
            layout.tasks.iter().map(|task| self.embedding(positions, &task.name)).collect();
        let rows = masks.visible_positions(&visible.device());
        let embeddings = Tensor::cat(tables, 1)
            .reshape([layout.num_tokens(), width])
            .select(0, rows)
            .reshape(visible.dims());
        visible + embeddings
    }

    /// The tokens of this decoder's own task: what the encoder says where visible, the mask token
    /// elsewhere, with position and task embedding.
    ///
    /// # Shapes
    /// `visible (B, visible, width)` to `(B, N, width)`.
    fn queries(
        &self,
        visible: Tensor<3>,
        positions: &Tensor<3>,
        layout: &TokenLayout,
        masks: &TokenMasks,
    ) -> Tensor<3> {
        let [batch, kept, width] = visible.dims();
        let tokens = layout.grid.area();
        let embedding = self.embedding(positions, &self.task);
        let own = layout.task(&self.task).filter(|_| self.use_task_queries);
        let Some(own) = own else {
            return (self.mask_token.val() + embedding).expand([batch, tokens, width]);
        };
        let rows = masks.unshuffle_rows(own.start, tokens, &visible.device());
        let sources = Tensor::cat(
            vec![visible.reshape([batch * kept, width]), self.mask_token.val().reshape([1, width])],
            0,
        );
        sources.select(0, rows).reshape([batch, tokens, width]) + embedding
    }
}
