//! `result.json`: what a finished run of fine-tuning cost and what it reached.

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::state::parameters;
use multimae::tuning::ParameterKind;
use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The first steps of a process are slower: memory is claimed, caches are cold.
const WARM_UP: usize = 2;

/// The cost and the scores of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`Self::VERSION`].
    pub format_version: u32,
    /// The parameters that were trained besides the heads, as the recipe names them.
    pub tuning: String,
    /// The seed of every random choice.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training over all parts of the run, waiting for data included.
    pub training_seconds: f64,
    /// Seconds of a step; none if too few were done without an interruption.
    pub step_seconds: Option<StepSeconds>,
    /// Largest resident memory in bytes before anything was evaluated; none where the system does
    /// not tell.
    pub peak_memory: Option<u64>,
    /// The number of parameters, and of trained ones.
    pub parameters: ParameterCounts,
    /// Size of the whole model's file in bytes.
    pub model_bytes: u64,
    /// Size in bytes of the file that holds only what was trained, if there is one.
    pub adapter_bytes: Option<u64>,
    /// On the set that chose the best model, if there was one.
    pub validation: Option<SetScores>,
    /// On the set that was measured once, at the end, if there was one.
    pub test: Option<SetScores>,
    /// Every key of the resolved recipe.
    pub recipe: Map<String, Value>,
}

/// Scores on a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetScores {
    /// The set's name.
    pub set: String,
    /// Of the finished model, by name.
    pub model: IndexMap<String, f64>,
    /// Of predicting a constant, by name.
    pub constant: IndexMap<String, f64>,
}

/// Seconds of one step of the optimiser without waiting for data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepSeconds {
    /// Half of the steps were faster.
    pub median: f64,
    /// A quarter of the steps were faster.
    pub quarter: f64,
    /// Three quarters of the steps were faster.
    pub three_quarters: f64,
    /// Steps that were measured.
    pub steps: usize,
}

impl StepSeconds {
    /// Of the steps of a process in their order, of which the first two do not count. `None` if
    /// there are no others.
    #[must_use]
    pub fn of(seconds: &[f64]) -> Option<Self> {
        let mut sorted = seconds.get(WARM_UP..)?.to_vec();
        sorted.sort_by(f64::total_cmp);
        let quantile = |share: f64| -> Option<f64> {
            let place = share * sorted.len().checked_sub(1)? as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            Some(below + (above - below) * place.fract())
        };
        Some(Self {
            median: quantile(0.5)?,
            quarter: quantile(0.25)?,
            three_quarters: quantile(0.75)?,
            steps: sorted.len(),
        })
    }
}

/// Values of a model by what they belong to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterCounts {
    /// Of the whole model.
    pub total: usize,
    /// Of the backbone, trained or not.
    pub of_backbone: usize,
    /// That are trained.
    pub trained: usize,
    /// Of the backbone, that are trained.
    pub backbone: usize,
    /// That tuning adds to the backbone and trains: prompts, low-rank adaptation, scale and shift,
    /// entry norms.
    pub added: usize,
    /// Of heads, that are trained.
    pub heads: usize,
}

impl ParameterCounts {
    /// Of a model on a device with autodiff; without, nothing is trained.
    #[must_use]
    pub fn of(model: &impl Module) -> Self {
        let mut counts = Self::default();
        for parameter in parameters(model) {
            let values: usize = parameter.shape.iter().product();
            let kind = ParameterKind::of(&parameter.name);
            counts.total += values;
            if kind == ParameterKind::Backbone {
                counts.of_backbone += values;
            }
            if parameter.trainable {
                counts.trained += values;
                *match kind {
                    ParameterKind::Heads => &mut counts.heads,
                    ParameterKind::Backbone => &mut counts.backbone,
                    _ => &mut counts.added,
                } += values;
            }
        }
        counts
    }

    /// Returns the number of parameters trained outside the heads, as a share of the backbone.
    #[must_use]
    pub fn trained_share(&self) -> f64 {
        (self.backbone + self.added) as f64 / self.of_backbone.max(1) as f64
    }
}

impl RunResult {
    /// The version of the file's format.
    pub const VERSION: u32 = 1;

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::RunFolder {
            path: path.to_owned(),
            problem: format!("the result cannot be written: {error}"),
        })?;
        Ok(write_atomically(path, format!("{text}\n").as_bytes())?)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or is no result of this version.
    pub fn read(path: &Path) -> Result<Self> {
        let problem = |problem: String| Error::RunFolder { path: path.to_owned(), problem };
        let text = fs::read_to_string(path)?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| problem(format!("is not the JSON of a run's result: {error}")))?;
        let version = value.get("format_version").and_then(Value::as_u64);
        if version != Some(u64::from(Self::VERSION)) {
            let version = version.map_or("no version".to_owned(), |v| format!("version {v}"));
            return Err(problem(format!(
                "has {version}, this program reads version {}; run again with --resume to write it \
                 anew",
                Self::VERSION
            )));
        }
        serde_json::from_value(value)
            .map_err(|error| problem(format!("is not a run's result: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_steps_do_not_count() {
        assert_eq!(StepSeconds::of(&[9.0, 9.0]), None);
        assert_eq!(StepSeconds::of(&[9.0]), None);
        // 1 to 4 in any order: quartiles lie between them.
        let seconds = StepSeconds::of(&[9.0, 8.0, 4.0, 2.0, 1.0, 3.0]).unwrap();
        assert_eq!((seconds.quarter, seconds.median, seconds.three_quarters), (1.75, 2.5, 3.25));
        assert_eq!(seconds.steps, 4);
    }

    #[test]
    fn a_file_that_is_no_result_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        let message = || RunResult::read(&path).unwrap_err().to_string();
        assert!(message().contains("result.json"), "{}", message());
        for (text, word) in [
            ("{\"form", "not the JSON"),
            ("{}", "no version"),
            ("{\"format_version\": 7}", "version 7"),
            ("{\"format_version\": 1}", "not a run's result"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(message().contains(word) && message().contains("result.json"), "{}", message());
        }
    }
}
