//! A class per image.

use std::ops::RangeInclusive;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::losses::SupervisedLoss;
use multimae::metrics::ClassMetrics;
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_data::{Quantity, Values};
use multimae_report::Table;
use multimae_report::colormap::ValueRange;
use multimae_report::picture::Picture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, log_shares, not_fitting};
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::pictures::percent;
use crate::{
    AnnotationBatch, Constant, Error, FrameFacts, HeadOutput, NamedPicture, Outcome, Protocol,
    Result, ScoreRules, ScoredFrame, Scorer, Target, Task, TaskPrediction, class_of,
};

/// The kind.
pub const KIND: TaskKind = TaskKind {
    name: "classes",
    about: "a class per image",
    read: |value| Ok(Arc::new(fields::<Classes>(value)?)),
    build,
    valid_range: |_| (f64::NEG_INFINITY, f64::INFINITY),
    quantity: Quantity::Plain,
    protocols: || vec![(Protocol::native("classes", ClassRules), "top-1 and top-5 of images")],
    scores: &[Score::higher("top1"), Score::higher("top5")],
};

/// A class per image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// The classes' names, in the order of their logits.
    pub names: Vec<String>,
}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    Ok(Built {
        task: Arc::new(Classes { names: context.classes.to_vec() }),
        loss: SupervisedLoss::CrossEntropy {
            label_smoothing: context.recipe.smoothing,
            ignore: None,
        },
        outputs: context.classes.len(),
    })
}

impl Task for Classes {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn summary(&self) -> String {
        format!("{} classes of images", self.names.len())
    }

    fn api(&self) -> Value {
        json!({"shown": "text", "classes": self.names})
    }

    fn head_output(&self) -> HeadOutput {
        HeadOutput::Classes
    }

    fn outputs(&self) -> RangeInclusive<usize> {
        self.names.len()..=self.names.len()
    }

    fn image_classes(&self) -> &[String] {
        &self.names
    }

    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target> {
        batch.classes(&self.names)
    }

    fn decode(&self, prediction: Prediction) -> Option<Prediction> {
        matches!(prediction, Prediction::Classes(_)).then_some(prediction)
    }

    fn at_frame_size(&self, maps: &Maps<'_>, _size: Size) -> TaskPrediction {
        TaskPrediction::Classes(maps.values.to_vec())
    }

    fn constant(&self, constant: &Constant) -> Option<Vec<f32>> {
        log_shares(constant)
    }

    fn rules(&self) -> Arc<dyn ScoreRules> {
        Arc::new(ClassRules)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["csv"]
    }

    fn stored_as(&self, _extension: &str) -> Value {
        Value::Null
    }

    /// A table of the classes with their probabilities, the most probable first.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        _size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        match (prediction, extension) {
            (TaskPrediction::Classes(logits), "csv") => {
                Ok(csv(&self.names, &softmax(logits)).into_bytes())
            }
            (other, _) => Err(not_fitting(self.kind(), extension, other)),
        }
    }

    fn draw(&self, _map: &Values, _size: (usize, usize), _range: ValueRange) -> Result<Picture> {
        Err(Error::Prediction("a class of an image is no picture".to_owned()))
    }
}

/// Probabilities of logits.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Classes with their probabilities, the most probable first.
fn csv(names: &[String], shares: &[f32]) -> String {
    let mut classes: Vec<(&String, f32)> = names.iter().zip(shares.iter().copied()).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let line =
        |(name, share): (&String, f32)| format!("\"{}\",{share:.6}\n", name.replace('"', "\"\""));
    std::iter::once("class,probability\n".to_owned()).chain(classes.into_iter().map(line)).collect()
}

/// Scores classes of images, whose annotation is the first folder of a frame's name.
#[derive(Debug, Clone, Copy)]
pub struct ClassRules;

impl ScoreRules for ClassRules {
    fn kind(&self) -> &'static str {
        "classes"
    }

    fn fields(&self) -> Value {
        json!({})
    }

    fn scorer(&self, task: &dyn Task, _worst: usize) -> Result<Box<dyn Scorer>> {
        let names = task.image_classes().to_vec();
        Ok(Box::new(ClassScorer { names, metrics: ClassMetrics::default() }))
    }
}

struct ClassScorer {
    names: Vec<String>,
    metrics: ClassMetrics,
}

impl Scorer for ClassScorer {
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()> {
        let logits = frame.prediction.logits();
        let logits = logits.ok_or_else(|| frame.problem("has no predicted class"))?;
        self.metrics.add(logits, class_of(&self.names, frame.id)?);
        Ok(())
    }

    fn outcome(&self) -> Result<Outcome> {
        let scores = self.metrics.scores();
        let found = scores.ok_or_else(|| Error::Evaluation("there is no image".to_owned()))?;
        let mut table = Table::new(["top-1 %", "top-5 %"]);
        table.row([percent(found.top1), percent(found.top5)]);
        let scores: IndexMap<String, f64> =
            [("top1".to_owned(), found.top1), ("top5".to_owned(), found.top5)].into();
        Ok(Outcome {
            joint: found.top1,
            details: json!({ "scores": scores }),
            scores,
            classes: Vec::new(),
            headline: vec![("top-1 %".to_owned(), percent(found.top1))],
            table,
            class_tables: Vec::new(),
        })
    }

    fn statement(&self, _facts: FrameFacts<'_>) -> Result<Vec<(String, String)>> {
        let text = "the class is the first folder of an image; one prediction per image";
        Ok(vec![("scores".to_owned(), text.to_owned())])
    }

    fn pictures(&self, _name: &str) -> Result<Vec<NamedPicture>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_listed_by_probability() {
        let names = ["a".to_owned(), "b \"c\"".to_owned()];
        assert_eq!(
            csv(&names, &[0.25, 0.75]),
            "class,probability\n\"b \"\"c\"\"\",0.750000\n\"a\",0.250000\n"
        );
    }

    #[test]
    fn probabilities_sum_to_one_and_keep_the_order() {
        let shares = softmax(&[1000.0, 1001.0, 999.0]);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(shares[1] > shares[0] && shares[0] > shares[2]);
    }
}
