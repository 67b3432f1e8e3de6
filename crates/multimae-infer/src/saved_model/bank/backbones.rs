//! Backbones in the memory that models share.

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;
use multimae::multivit::MultiVitConfig;
use multimae::peft::PeftModel;
use multimae::state::update;
use multimae::tuning::ParameterKind;

use crate::saved_model::adapter::ENCODER;
use crate::saved_model::{Adapter, Backbone};

/// A backbone's weights in the memory that models share.
#[derive(Debug)]
pub(super) struct SharedBackbone {
    backbone: Backbone,
    like: MultiVitConfig,
    tensors: IndexMap<String, Tensor<1>>,
}

impl SharedBackbone {
    /// The backbone of an adapter's model, which holds its weights.
    pub(super) fn of(model: &PeftModel, adapter: &Adapter) -> Self {
        let (backbone, like) = (adapter.backbone.clone(), adapter.card.model.clone());
        Self { backbone, like, tensors: flat_backbone(model) }
    }

    /// Whether an adapter's model has these tensors: position tables depend on the size.
    pub(super) fn is_that_of(&self, adapter: &Adapter) -> bool {
        let (own, other) = (&self.like, &adapter.card.model);
        self.backbone == adapter.backbone
            && (&own.encoder, &own.inputs, own.image_size, own.tables)
                == (&other.encoder, &other.inputs, other.image_size, other.tables)
    }

    /// Whether the blocks are those of another model: they are the same whatever the inputs.
    pub(super) fn has_blocks_of(&self, model: &MultiVitConfig) -> bool {
        self.like.encoder == model.encoder
    }

    /// A model with these weights.
    pub(super) fn under(&self, model: PeftModel) -> PeftModel {
        update(model, |name, _| self.tensors.get(name).cloned())
    }

    /// A model with the weights of the blocks alone.
    pub(super) fn blocks_under(&self, model: PeftModel) -> PeftModel {
        update(model, |name, _| {
            name.starts_with(ENCODER).then(|| self.tensors.get(name).cloned()).flatten()
        })
    }
}

/// The backbone's parameters, flattened, in the memory of the model.
fn flat_backbone(model: &PeftModel) -> IndexMap<String, Tensor<1>> {
    let mut all = IndexMap::new();
    let _same = update(model.clone(), |name, value| {
        if ParameterKind::of(name) == ParameterKind::Backbone {
            all.insert(name.to_owned(), value);
        }
        None
    });
    all
}
