//! The agreement of a model's predictions in two precisions.

use indexmap::IndexMap;
use multimae_tasks::{FramePrediction, TaskPrediction};
use serde::Serialize;

/// The agreement of predictions, by task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agreement {
    tasks: IndexMap<String, Sums>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sums {
    /// Of absolute differences and of absolute values of the exact prediction.
    Values { difference: f64, size: f64 },
    /// Places of the same label or class, and all.
    Labels { same: u64, all: u64 },
}

/// The agreement of a task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreementOfTask {
    /// The mean absolute difference over the mean absolute value.
    Difference(f64),
    /// The share of places with the same label, or of frames of the same class.
    Same(f64),
}

impl Agreement {
    /// Adds a frame's prediction and the exact one.
    pub fn add(&mut self, prediction: &FramePrediction, exact: &FramePrediction) {
        for (task, exact) in &exact.tasks {
            let Some(prediction) = prediction.tasks.get(task) else { continue };
            let Some(more) = Sums::of(prediction, exact) else { continue };
            let sums = self.tasks.entry(task.clone()).or_insert(more.none());
            sums.add(more);
        }
    }

    /// The agreement of every task.
    pub fn tasks(&self) -> impl Iterator<Item = (&str, AgreementOfTask)> {
        self.tasks.iter().map(|(name, sums)| (name.as_str(), sums.agreement()))
    }
}

impl Sums {
    fn of(prediction: &TaskPrediction, exact: &TaskPrediction) -> Option<Self> {
        match (prediction, exact) {
            (TaskPrediction::Values(values), TaskPrediction::Values(exact)) => {
                let pairs = || {
                    let both =
                        values.iter().zip(exact).map(|(a, b)| (f64::from(*a), f64::from(*b)));
                    both.filter(|(a, b)| a.is_finite() && b.is_finite())
                };
                Some(Self::Values {
                    difference: pairs().map(|(a, b)| (a - b).abs()).sum(),
                    size: pairs().map(|(_, b)| b.abs()).sum(),
                })
            }
            (TaskPrediction::Labels(labels), TaskPrediction::Labels(exact)) => {
                let same = labels.iter().zip(exact).filter(|(a, b)| a == b).count() as u64;
                Some(Self::Labels { same, all: exact.len() as u64 })
            }
            (TaskPrediction::Classes(logits), TaskPrediction::Classes(exact)) => {
                Some(Self::Labels { same: u64::from(largest(logits) == largest(exact)), all: 1 })
            }
            _ => None,
        }
    }

    fn none(self) -> Self {
        match self {
            Self::Values { .. } => Self::Values { difference: 0.0, size: 0.0 },
            Self::Labels { .. } => Self::Labels { same: 0, all: 0 },
        }
    }

    fn add(&mut self, more: Self) {
        match (self, more) {
            (Self::Values { difference, size }, Self::Values { difference: d, size: s }) => {
                *difference += d;
                *size += s;
            }
            (Self::Labels { same, all }, Self::Labels { same: s, all: a }) => {
                *same += s;
                *all += a;
            }
            // A task predicts things of one kind.
            _ => {}
        }
    }

    fn agreement(self) -> AgreementOfTask {
        match self {
            Self::Values { difference, size } => {
                AgreementOfTask::Difference(difference / size.max(f64::MIN_POSITIVE))
            }
            Self::Labels { same, all } => AgreementOfTask::Same(same as f64 / all.max(1) as f64),
        }
    }
}

impl std::fmt::Display for AgreementOfTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Difference(share) => write!(f, "mean difference {:.2} %", 100.0 * share),
            Self::Same(share) => write!(f, "{:.2} % the same", 100.0 * share),
        }
    }
}

fn largest(logits: &[f32]) -> Option<usize> {
    let indexed = logits.iter().enumerate();
    indexed.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(depth: &[f32], labels: &[i64], logits: &[f32]) -> FramePrediction {
        let tasks = [
            ("depth", TaskPrediction::Values(depth.to_vec())),
            ("semseg", TaskPrediction::Labels(labels.to_vec())),
            ("scene", TaskPrediction::Classes(logits.to_vec())),
        ];
        let tasks = tasks.into_iter().map(|(name, task)| (name.to_owned(), task)).collect();
        FramePrediction { tasks }
    }

    #[test]
    fn agreement_is_of_all_frames_together() {
        let mut agreement = Agreement::default();
        let exact = frame(&[1.0, 3.0], &[1, 2, 3, 4], &[0.1, 0.9]);
        agreement.add(&exact, &exact);
        agreement.add(&frame(&[1.5, 2.5], &[1, 2, 3, 0], &[0.6, 0.5]), &exact);
        let tasks: Vec<_> = agreement.tasks().collect();
        assert_eq!(
            tasks,
            [
                ("depth", AgreementOfTask::Difference(1.0 / 8.0)),
                ("semseg", AgreementOfTask::Same(7.0 / 8.0)),
                ("scene", AgreementOfTask::Same(0.5)),
            ]
        );
        assert_eq!(tasks[0].1.to_string(), "mean difference 12.50 %");
    }
}
