//! Tokens of label maps.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::patched::PatchProjection;
use super::{InputAdapterConfig, own_grid};
use crate::Result;
use crate::interpolate::Interpolation;
use crate::modality::{Modality, Size};
use crate::nn::parameter;
use crate::positions::{frozen_table, table_tokens};

/// The table of class vectors.
#[derive(Module, Debug)]
pub struct ClassEmbedding {
    /// `(classes, dim_class_emb)`, one row more with a padding class.
    pub weight: Param<Tensor<2>>,
}

/// Every pixel's class vector, patches of them projected, plus the position table
/// (MultiMAE, section 3.1).
#[derive(Module, Debug)]
pub struct SemSegInputAdapter {
    /// `(1, width, h, w)`, not trained.
    pub pos_emb: Param<Tensor<4>>,
    /// The class vectors.
    pub class_emb: ClassEmbedding,
    /// The patch embedding.
    pub proj: PatchProjection,
    padding: bool,
}

impl SemSegInputAdapter {
    pub(super) fn new(
        modality: &Modality,
        classes: usize,
        dim_class_emb: usize,
        padding: bool,
        config: InputAdapterConfig,
        device: &Device,
    ) -> Result<Self> {
        let patch = modality.patch(config.patch_size)?;
        let table = config.image_size.grid(config.patch_size)?;
        let rows = classes + usize::from(padding);
        Ok(Self {
            pos_emb: frozen_table(config.width, table, config.tables, device)?,
            class_emb: ClassEmbedding { weight: parameter([rows, dim_class_emb], device) },
            proj: PatchProjection::new(dim_class_emb, patch, config.width, device),
            padding,
        })
    }

    /// The class vectors; no gradient reaches the padding row.
    fn class_vectors(&self) -> Tensor<2> {
        let table = self.class_emb.weight.val();
        if !self.padding {
            return table;
        }
        let [rows, _] = table.dims();
        let mut trained = vec![1.0_f32; rows];
        trained[rows - 1] = 0.0;
        let trained = Tensor::<2>::from_data(TensorData::new(trained, [rows, 1]), &table.device());
        let fixed = trained.clone().neg().add_scalar(1.0);
        table.clone() * trained + table.detach() * fixed
    }

    pub(super) fn forward(&self, name: &str, labels: Tensor<3, Int>) -> Result<(Tensor<3>, Size)> {
        let [batch, height, width] = labels.dims();
        let [_, dim, patch, _] = self.proj.weight.dims();
        let grid = own_grid(name, Size::new(height, width), patch)?;
        // Look up patch by patch, so that the vectors come out in token order.
        let pixels = labels
            .reshape([batch, grid.height, patch, grid.width, patch])
            .swap_dims(2, 3)
            .reshape([batch * height * width]);
        let patches = self
            .class_vectors()
            .select(0, pixels)
            .reshape([batch, grid.area(), patch * patch, dim])
            .swap_dims(2, 3)
            .reshape([batch, grid.area(), dim * patch * patch]);
        let positions = table_tokens(self.pos_emb.val(), grid, Interpolation::Bilinear);
        Ok((self.proj.forward(patches) + positions, grid))
    }
}
