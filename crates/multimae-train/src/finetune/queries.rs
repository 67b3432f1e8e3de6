//! Queries of prompt pools, kept where they cannot change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use multimae::burn::tensor::{Tensor, TensorData};
use multimae::model::Inputs;
use multimae::peft::PeftModel;
use multimae::tuning::{Tuning, TuningPart};
use multimae_data::Sample;

use crate::Result;
use multimae_config::FinetuneRecipe;

/// The queries of samples by set and name. A query costs a pass of the frozen encoder; it is the
/// same in every epoch where the encoder is, and where a sample always looks alike.
#[derive(Debug, Default)]
pub(super) struct QueryCache {
    /// Whether training samples look alike in every epoch; those of evaluation do.
    training: bool,
    kept: Mutex<HashMap<(&'static str, String), Vec<f32>>>,
}

/// The training samples, in [`QueryCache::queries`].
pub(super) const TRAINING: &str = "training";

impl QueryCache {
    /// Creates a cache for a run; none if tuning changes the encoder's output for a sample without
    /// prompts.
    pub(super) fn of(recipe: &FinetuneRecipe) -> Option<Self> {
        let prompts_alone =
            matches!(&recipe.tuning, Tuning::Parts(parts) if parts == &[TuningPart::Prompts]);
        prompts_alone.then(|| Self { training: looks_alike(recipe), kept: Mutex::default() })
    }

    /// The queries of samples of a set, `(B, width)`; none if the model has no pool.
    ///
    /// # Errors
    /// If the inputs do not fit the model.
    pub(super) fn queries(
        &self,
        set: &'static str,
        samples: &[Sample],
        model: &PeftModel,
        inputs: &Inputs,
    ) -> Result<Option<Tensor<2>>> {
        if set == TRAINING && !self.training {
            return Ok(model.query(inputs.clone())?);
        }
        let key = |sample: &Sample| (set, sample.id.clone());
        let device = model.vit.global_tokens.val().device();
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let rows: Option<Vec<&Vec<f32>>> =
                samples.iter().map(|sample| kept.get(&key(sample))).collect();
            if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
                let width = rows[0].len();
                let values: Vec<f32> = rows.into_iter().flatten().copied().collect();
                let data = TensorData::new(values, [samples.len(), width]);
                return Ok(Some(Tensor::from_data(data, &device)));
            }
        }
        let Some(queries) = model.query(inputs.clone())? else { return Ok(None) };
        let [_, width] = queries.dims();
        let values: Vec<f32> = queries.clone().into_data().iter().collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (sample, row) in samples.iter().zip(values.chunks(width.max(1))) {
            kept.insert(key(sample), row.to_vec());
        }
        Ok(Some(queries))
    }
}

/// Whether nothing about a training sample is random.
fn looks_alike(recipe: &FinetuneRecipe) -> bool {
    use multimae_config::Augmentation;
    let colours = recipe.color_augs.unwrap_or(recipe.aug_name == Augmentation::Simple);
    !recipe.classifies()
        && recipe.aug_name == Augmentation::Simple
        && recipe.data.hflip == 0.0
        && recipe.scale_jitter == Some([1.0, 1.0])
        && !colours
}
