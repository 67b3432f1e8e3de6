//! The scores that are compared, and the mean relative difference over the tasks.

use serde::{Deserialize, Serialize};

use multimae_config::unknown_of;
use multimae_tasks::{Score, TaskKind};

/// The score that stands for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// The score's name, `<task>_<score>`.
    pub name: String,
    /// Whether higher is better.
    pub higher_is_better: bool,
}

impl TaskScore {
    /// A score of a task by its name.
    ///
    /// # Errors
    /// If tasks of the kind have no such score; suggests the nearest.
    pub fn named(task: &str, kind: &TaskKind, name: &str) -> Result<Self, String> {
        let end = name.strip_prefix(task).and_then(|rest| rest.strip_prefix('_'));
        let known = kind.scores.iter().find(|score| Some(score.name) == end);
        let known = known.ok_or_else(|| {
            let names: Vec<String> =
                kind.scores.iter().map(|score| format!("{task}_{}", score.name)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("task `{task}`: {}", unknown_of("score", name, &names))
        })?;
        Ok(Self::of(task, known))
    }

    /// The usual score of a task: the first of its kind.
    #[must_use]
    pub fn usual(task: &str, kind: &TaskKind) -> Option<Self> {
        kind.scores.first().map(|score| Self::of(task, score))
    }

    fn of(task: &str, score: &Score) -> Self {
        Self {
            task: task.to_owned(),
            name: format!("{task}_{}", score.name),
            higher_is_better: score.higher_is_better,
        }
    }

    /// Returns the improvement of `score` over `reference`, as a share of the latter; negative is
    /// worse. `None` if the reference is 0.
    #[must_use]
    pub fn relative_difference(&self, score: f64, reference: f64) -> Option<f64> {
        let difference = (score - reference) / reference;
        let signed = if self.higher_is_better { difference } else { -difference };
        signed.is_finite().then_some(signed)
    }
}

/// The mean over tasks of the relative differences of `(score, its value, the reference's)`,
/// delta m in papers on multi-task learning. `None` if there is no task or one has no difference.
#[must_use]
pub fn mean_relative_difference(tasks: &[(&TaskScore, f64, f64)]) -> Option<f64> {
    let differences: Option<Vec<f64>> = tasks
        .iter()
        .map(|(score, value, reference)| score.relative_difference(*value, *reference))
        .collect();
    let differences = differences.filter(|differences| !differences.is_empty())?;
    Some(differences.iter().sum::<f64>() / differences.len() as f64)
}

#[cfg(test)]
mod tests {
    use multimae_tasks::kind;

    use super::*;

    #[test]
    fn better_is_positive_whatever_the_score() {
        let rmse = TaskScore::named("depth", kind("depth").unwrap(), "depth_rmse").unwrap();
        let miou = TaskScore::named("semseg", kind("labels").unwrap(), "semseg_miou").unwrap();
        // 0.8 m becomes 0.6 m: a quarter better. 0.40 becomes 0.36: a tenth worse.
        let tasks = [(&rmse, 0.6, 0.8), (&miou, 0.36, 0.40)];
        assert!((mean_relative_difference(&tasks[..1]).unwrap() - 0.25).abs() < 1e-12);
        assert!((mean_relative_difference(&tasks[1..]).unwrap() + 0.1).abs() < 1e-12);
        assert!((mean_relative_difference(&tasks).unwrap() - 0.075).abs() < 1e-12);
        // 1 m becomes 1.5 m: half worse; 0.2 becomes 0.3: half better. Nothing remains.
        let even = [(&rmse, 1.5, 1.0), (&miou, 0.3, 0.2)];
        assert!(mean_relative_difference(&even).unwrap().abs() < 1e-12);
        assert_eq!(mean_relative_difference(&[(&miou, 0.3, 0.0)]), None);
        assert_eq!(mean_relative_difference(&[]), None);
    }

    #[test]
    fn scores_are_known_by_name() {
        assert!(
            TaskScore::named("depth", kind("depth").unwrap(), "depth_delta_1")
                .unwrap()
                .higher_is_better
        );
        assert!(
            !TaskScore::named("depth", kind("depth").unwrap(), "depth_rmse_log")
                .unwrap()
                .higher_is_better
        );
        let error = TaskScore::named("semseg", kind("labels").unwrap(), "semseg_moiu").unwrap_err();
        assert!(error.contains("did you mean `semseg_miou`"), "{error}");
        assert!(TaskScore::named("depth", kind("depth").unwrap(), "semseg_miou").is_err());
        let of = |task: &str, name: &str| TaskScore::usual(task, kind(name).unwrap()).unwrap().name;
        assert_eq!(of("depth", "depth"), "depth_rmse");
        assert_eq!(of("semseg", "labels"), "semseg_miou");
        assert_eq!(of("cls", "classes"), "cls_top1");
        assert_eq!(of("edges", "values"), "edges_mae");
        assert_eq!(of("normal", "normals"), "normal_mean_angle");
    }
}
