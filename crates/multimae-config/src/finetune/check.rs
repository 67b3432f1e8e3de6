//! Rules between the keys of fine-tuning.

use multimae::tuning::{Tuning, TuningPart};

use super::{CLASSES, FinetuneRecipe};
use crate::Result;
use crate::shared::problem;
use crate::values::PromptInit;

impl FinetuneRecipe {
    pub(super) fn check_numbers(&self) -> Result<()> {
        let positive = [
            ("batch_size", self.optim.batch_size),
            ("update_freq", self.optim.update_freq),
            ("epochs", self.optim.epochs),
            ("save_ckpt_freq", self.run.save_ckpt_freq),
            ("save_ckpt_steps", self.run.save_ckpt_steps.unwrap_or(1)),
            ("eval_freq", self.run.eval_freq),
            ("log_freq", self.run.log_freq),
            ("log_images_freq", self.run.log_images_freq),
            ("num_classes", self.num_classes.unwrap_or(1)),
        ];
        let shares = [
            ("smoothing", self.smoothing),
            ("mixup_prob", self.mixup_prob),
            ("mixup_switch_prob", self.mixup_switch_prob),
            ("hflip", self.data.hflip),
            ("silog_focus", self.silog_focus),
            ("crop_pct", self.crop_pct.unwrap_or(1.0)),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return problem(format!("`{key}` must be at least 1"));
        }
        if let Some((key, value)) = shares.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return problem(format!("`{key}` {value} must be from 0 to 1"));
        }
        if self.lr.is_some() == self.blr.is_some() {
            return problem("set one of `lr` and `blr`, and not both");
        }
        if !(0.0..1.0).contains(&self.drop_path_encoder) {
            return problem(format!(
                "`drop_path_encoder` {} must be in [0, 1)",
                self.drop_path_encoder
            ));
        }
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return problem(format!("`layer_decay` {} must be in (0, 1]", self.layer_decay));
        }
        if !(self.depth_min > 0.0 && self.depth_min < self.depth_max) {
            return problem("`depth_min` must be above 0 and below `depth_max`");
        }
        if self.depth_std.is_some_and(|std| std <= 0.0) {
            return problem("`depth_std` must be above 0");
        }
        if !(self.added_lr_scale > 0.0 && self.backbone_lr_scale > 0.0) {
            return problem("`added_lr_scale` and `backbone_lr_scale` must be above 0");
        }
        Ok(())
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
        Ok(())
    }
}
