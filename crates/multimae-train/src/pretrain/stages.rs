//! The stages of progressive training: the images and masks of every step.

use multimae::masking::MaskingStrategy;
use multimae::modality::Size;
use multimae_infer::visualize::PretrainSpec;

use crate::Result;
use crate::observer::ScheduledInput;

/// Steps whose images have one size and whose masks have one distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingStage {
    /// The first step, from 0.
    pub first_step: u64,
    /// The size of the images.
    pub size: Size,
    /// The distribution of masks.
    pub masking: MaskingStrategy,
    /// Tokens of each input modality at that size.
    pub tokens_per_task: Vec<usize>,
}

/// The stages of a run. They are a function of the recipe and the number of steps alone, so a
/// resumed run has those of an uninterrupted one.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingStages {
    /// The stage of a run without a schedule: whole images and the recipe's masks.
    whole: TrainingStage,
    /// The scheduled stages in their order, the first from step 0.
    scheduled: Vec<TrainingStage>,
    total_steps: u64,
}

impl TrainingStages {
    /// The stages of a run of `total_steps` steps.
    ///
    /// # Errors
    /// If the patches do not divide a size.
    pub fn new(spec: &PretrainSpec, total_steps: u64) -> Result<Self> {
        let whole = TrainingStage {
            first_step: 0,
            size: spec.recipe.arch.input_size,
            masking: spec.masking.clone(),
            tokens_per_task: spec.layout.tokens_per_task(),
        };
        let scheduled = spec.recipe.input_stages().into_iter().map(|stage| {
            let num_encoded_tokens = stage.num_encoded_tokens;
            Ok(TrainingStage {
                first_step: stage.first_step(total_steps),
                size: stage.size,
                masking: MaskingStrategy { num_encoded_tokens, ..spec.masking.clone() },
                tokens_per_task: spec.model.layout(stage.size)?.tokens_per_task(),
            })
        });
        let scheduled = scheduled.collect::<Result<_>>()?;
        Ok(Self { whole, scheduled, total_steps })
    }

    /// The scheduled stages in their order; none without a schedule.
    #[must_use]
    pub fn scheduled(&self) -> &[TrainingStage] {
        &self.scheduled
    }

    /// All stages: the scheduled ones, else the only one.
    pub(super) fn all(&self) -> &[TrainingStage] {
        match self.scheduled.as_slice() {
            [] => std::slice::from_ref(&self.whole),
            scheduled => scheduled,
        }
    }

    /// The stage of a step, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> &TrainingStage {
        self.scheduled_at(step).unwrap_or(&self.whole)
    }

    /// The input of a step for the records, where there is a schedule.
    #[must_use]
    pub fn input_at(&self, step: u64) -> Option<ScheduledInput> {
        self.scheduled_at(step).map(|stage| ScheduledInput {
            size: stage.size,
            num_encoded_tokens: stage.masking.num_encoded_tokens,
        })
    }

    fn scheduled_at(&self, step: u64) -> Option<&TrainingStage> {
        // Where a short run has no step for a stage, the later of two counts.
        self.scheduled.iter().rev().find(|stage| stage.first_step <= step)
    }

    /// A line for the user about every scheduled stage that has a step.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let ends = self.scheduled.iter().skip(1).map(|stage| stage.first_step);
        let ends = ends.chain([self.total_steps]).map(|end| end.min(self.total_steps));
        let steps = self.scheduled.iter().zip(ends).filter(|(stage, end)| stage.first_step < *end);
        steps
            .map(|(stage, end)| {
                format!(
                    "steps {} to {}: images of {} x {} (height x width), {} of {} tokens visible",
                    stage.first_step,
                    end - 1,
                    stage.size.height,
                    stage.size.width,
                    stage.masking.num_encoded_tokens,
                    stage.tokens_per_task.iter().sum::<usize>()
                )
            })
            .collect()
    }
}
