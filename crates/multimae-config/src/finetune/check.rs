//! Rules between the keys of fine-tuning.

use multimae::nn::LoraConfig;
use multimae::tuning::{Tuning, TuningPart};
use serde_json::json;

use super::{CLASSES, FinetuneRecipe, MASK};
use crate::Result;
use crate::modality_entry::ModalityRecipe;
use crate::range::{above, at_least};
use crate::shared::problem;
use crate::values::PromptInit;

impl FinetuneRecipe {
    pub(super) fn check_rates_and_depth(&self) -> Result<()> {
        if self.lr.is_some() == self.blr.is_some() {
            return problem("set one of `lr` and `blr`, and not both");
        }
        if self.depth_min >= self.depth_max {
            return problem(format!(
                "`depth_min: {}` must be below `depth_max: {}`",
                self.depth_min, self.depth_max
            ));
        }
        Ok(())
    }

    /// Masks are stored in one way.
    pub(super) fn check_mask(&self) -> Result<()> {
        let entry = self.tasks.modalities.0.get(MASK).filter(|_| self.use_mask_valid);
        let other =
            entry.map(|own| ModalityRecipe { folder: None, orientation: None, ..own.clone() });
        match other {
            Some(other) if other != ModalityRecipe::default() => problem(format!(
                "`modalities.{MASK}` takes `folder` and `orientation` only: masks are valid at 255, \
                 or at 1 where no value is greater"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn check_tasks(&self) -> Result<()> {
        let (inputs, tasks) = (&self.tasks.in_domains.0, &self.tasks.out_domains.0);
        if tasks.len() > 1 && tasks.iter().any(|task| task == CLASSES) {
            return problem(format!("`{CLASSES}` cannot be learned beside other tasks"));
        }
        if let Some(both) = inputs.iter().find(|input| tasks.contains(input)) {
            return problem(format!(
                "`{both}` is an input and a task: the input would leak the target; remove it from \
                 one of the two"
            ));
        }
        if let Some(name) = self.decoder_main_tasks.0.iter().find(|name| !inputs.contains(name))
            && self.decoder_main_tasks.0 != ["rgb"]
        {
            return problem(format!("`decoder_main_tasks`: `{name}` is none of `in_domains`"));
        }
        let known = |name: &String| tasks.contains(name);
        if let Some(name) = self.task_weights.0.keys().find(|name| !known(name)) {
            return problem(format!("`task_weights`: `{name}` is none of `out_domains`"));
        }
        if let Some(name) = self.heads.0.keys().find(|name| !known(name)) {
            return problem(format!("`heads`: `{name}` is none of `out_domains`"));
        }
        Ok(())
    }

    /// PEFT modules must be trained, and trained ones must exist.
    pub(super) fn check_tuning(&self) -> Result<()> {
        let tuning = &self.tuning;
        let full = *tuning == Tuning::Full;
        let prompts = tuning.has(TuningPart::Prompts);
        if prompts && self.prompts.is_none() {
            return problem(format!(
                "`tuning: {tuning}`: say which prompts, as in `prompts: {{kind: deep, count: 10}}`"
            ));
        }
        if self.prompts.is_some() && !prompts && !full {
            return problem(format!(
                "`prompts` are not trained by `tuning: {tuning}`; add +prompts"
            ));
        }
        if self.prompts.is_none() && self.prompt_init != PromptInit::Random {
            return problem("`prompt_init` is set, and there are no `prompts`");
        }
        if self.lora.is_some() && !tuning.has(TuningPart::Lora) && !full {
            return problem(format!("`lora` is not trained by `tuning: {tuning}`; add +lora"));
        }
        if self.side.is_some() && !tuning.has(TuningPart::Side) && !full {
            return problem(format!("`side` is not trained by `tuning: {tuning}`; add +side"));
        }
        if let Some(side) = &self.side {
            side.check(self.arch.model.config.depth)?;
        }
        if let Some(prompts) = &self.prompts {
            prompts.check(self.arch.model.config.depth)?;
        }
        self.lora.as_ref().map_or(Ok(()), check_lora)
    }
}

fn check_lora(lora: &LoraConfig) -> Result<()> {
    let problems = [
        at_least(1.0).problem("lora.rank", &json!(lora.rank)),
        above(0.0).problem("lora.alpha", &json!(lora.alpha)),
    ];
    if let Some(first) = problems.into_iter().flatten().next() {
        return problem(first);
    }
    if lora.targets.is_empty() {
        return problem("`lora.targets` names no layer; choose from qkv, proj, fc1 and fc2");
    }
    Ok(())
}
