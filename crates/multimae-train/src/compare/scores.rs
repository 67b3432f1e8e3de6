//! The scores that are compared, and the mean relative difference over the tasks.

use serde::{Deserialize, Serialize};

use multimae_config::unknown_of;

/// The ends of scores' names, and whether higher is better.
const SCORES: [(&str, bool); 14] = [
    ("rmse", false),
    ("rel", false),
    ("srel", false),
    ("rmse_log", false),
    ("log10", false),
    ("delta_1", true),
    ("delta_2", true),
    ("delta_3", true),
    ("miou", true),
    ("mean_acc", true),
    ("pixel_acc", true),
    ("mae", false),
    ("top1", true),
    ("top5", true),
];

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
    /// A score by its name.
    ///
    /// # Errors
    /// If the task has no such score; suggests the nearest.
    pub fn named(task: &str, name: &str) -> Result<Self, String> {
        let end = name.strip_prefix(task).and_then(|rest| rest.strip_prefix('_'));
        let known = SCORES.iter().find(|(score, _)| Some(*score) == end);
        let (_, higher_is_better) = known.ok_or_else(|| {
            let names: Vec<String> =
                SCORES.iter().map(|(score, _)| format!("{task}_{score}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("task `{task}`: {}", unknown_of("score", name, &names))
        })?;
        Ok(Self {
            task: task.to_owned(),
            name: name.to_owned(),
            higher_is_better: *higher_is_better,
        })
    }

    /// The usual score of a task: RMSE of depth, mean IoU of labels, top-1 of classes, and the mean
    /// error of other values.
    #[must_use]
    pub fn usual(task: &str) -> Self {
        let (end, higher_is_better) = match task {
            "depth" => ("rmse", false),
            "semseg" => ("miou", true),
            multimae_config::CLASSES => ("top1", true),
            _ => ("mae", false),
        };
        Self { task: task.to_owned(), name: format!("{task}_{end}"), higher_is_better }
    }

    /// How much better `score` is than `reference`, as a share of the latter; negative is worse.
    /// `None` if the reference is 0.
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
    use super::*;

    #[test]
    fn better_is_positive_whatever_the_score() {
        let rmse = TaskScore::named("depth", "depth_rmse").unwrap();
        let miou = TaskScore::named("semseg", "semseg_miou").unwrap();
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
        assert!(TaskScore::named("depth", "depth_delta_1").unwrap().higher_is_better);
        assert!(!TaskScore::named("depth", "depth_rmse_log").unwrap().higher_is_better);
        let error = TaskScore::named("semseg", "semseg_moiu").unwrap_err();
        assert!(error.contains("did you mean `semseg_miou`"), "{error}");
        assert!(TaskScore::named("depth", "semseg_miou").is_err());
        for task in ["depth", "semseg", "cls", "normal"] {
            let usual = TaskScore::usual(task);
            assert_eq!(TaskScore::named(task, &usual.name), Ok(usual));
        }
    }
}
