//! Other real values per pixel.

use std::ops::RangeInclusive;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;
use multimae::losses::{SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_config::DownstreamLoss;
use multimae_data::encode::npy;
use multimae_data::{Quantity, Values as MapValues};
use multimae_report::colormap::ValueRange;
use multimae_report::picture::{Picture, color_bar};
use multimae_report::{Colormap, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, not_fitting, regression};
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::tensors::per_channel;
use crate::{
    AnnotationBatch, Constant, DecodingStep, Error, FrameFacts, HeadOutput, NamedPicture, Outcome,
    Protocol, Result, ScoreRules, ScoredFrame, Scorer, Target, Task, TaskPrediction, valid_values,
};

/// The kind.
pub const KIND: TaskKind = TaskKind {
    name: "values",
    about: "other real values per pixel",
    read: |value| Ok(Arc::new(fields::<RealValues>(value)?)),
    build,
    valid_range: |_| (f64::NEG_INFINITY, f64::INFINITY),
    quantity: Quantity::Plain,
    protocols: || {
        vec![(Protocol::native("values", ValueRules), "errors of real values, native size")]
    },
    scores: &[Score::lower("mae"), Score::lower("rmse")],
};

/// Other real values per pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealValues {
    /// From the head's output to the values.
    pub scale: ValueScale,
    /// Their unit, for people.
    pub unit: Option<String>,
}

/// The conversion of a head's output to values: `z * std + mean` per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueScale {
    /// Per channel.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
}

impl ValueScale {
    /// The output that stands for values `(B, C, H, W)`.
    #[must_use]
    pub fn output(&self, values: Tensor<4>) -> Tensor<4> {
        let (mean, std) = (per_channel(&self.mean, &values), per_channel(&self.std, &values));
        (values - mean) / std
    }
}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    let modality = context.modality()?;
    let channels = modality.model.prediction_channels();
    if context.recipe.loss == DownstreamLoss::Silog {
        return Err(context.problem("`loss: silog` is for depth; set berhu or l1"));
    }
    let scale = ValueScale { mean: vec![0.0; channels], std: vec![1.0; channels] };
    Ok(Built {
        task: Arc::new(RealValues { scale, unit: modality.unit.clone() }),
        loss: SupervisedLoss::Regression(regression(context.recipe)),
        outputs: channels,
    })
}

impl Task for RealValues {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn summary(&self) -> String {
        format!("{} real values per pixel", self.scale.mean.len())
    }

    fn api(&self) -> Value {
        json!({"shown": "map", "unit": self.unit})
    }

    fn head_output(&self) -> HeadOutput {
        HeadOutput::Values
    }

    fn outputs(&self) -> RangeInclusive<usize> {
        self.scale.mean.len()..=self.scale.mean.len()
    }

    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target> {
        batch.values(self.valid_range(), None)
    }

    fn comparable(
        &self,
        _loss: &SupervisedLoss,
        prediction: Prediction,
        target: SupervisedTarget,
    ) -> (Prediction, SupervisedTarget) {
        match target {
            SupervisedTarget::Values { values, valid } => {
                let values = self.scale.output(values);
                (prediction, SupervisedTarget::Values { values, valid })
            }
            target => (prediction, target),
        }
    }

    fn decoding(&self) -> Vec<DecodingStep> {
        let ValueScale { mean, std } = self.scale.clone();
        vec![DecodingStep::Affine { scale: std, shift: mean }]
    }

    fn at_frame_size(&self, maps: &Maps<'_>, size: Size) -> TaskPrediction {
        TaskPrediction::Values(maps.planes().flat_map(|plane| plane.resized(size)).collect())
    }

    fn constant(&self, constant: &Constant) -> Option<Vec<f32>> {
        let Constant::Values(moments) = constant else { return None };
        let scaled = moments.means().into_iter().zip(self.scale.mean.iter().zip(&self.scale.std));
        Some(scaled.map(|(value, (mean, std))| (value as f32 - mean) / std).collect())
    }

    fn rules(&self) -> Arc<dyn ScoreRules> {
        Arc::new(ValueRules)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn stored_as(&self, _extension: &str) -> Value {
        json!({"channels": self.scale.mean.len(), "unit": self.unit})
    }

    /// `.npy` `(C, H, W)`.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        match (prediction, extension) {
            (TaskPrediction::Values(values), "npy") => {
                let channels = values.len() / (size.0 * size.1).max(1);
                Ok(npy(values, &[channels, size.0, size.1])?)
            }
            (other, _) => Err(not_fitting(self.kind(), extension, other)),
        }
    }

    /// Three numbers are drawn as three colours over the range, one number in the colour map.
    fn draw(&self, map: &MapValues, size: (usize, usize), range: ValueRange) -> Result<Picture> {
        match map {
            MapValues::Continuous { channels: 3, data } => {
                let low = range.min as f32;
                let width = ((range.max - range.min) as f32).max(f32::MIN_POSITIVE);
                Ok(Picture::from_chw(data, size, [-low / width; 3], [1.0 / width; 3])?)
            }
            MapValues::Continuous { data, .. } => {
                Ok(Picture::from_map(&data[..size.0 * size.1], size, Colormap::Viridis, range)?)
            }
            MapValues::Labels(_) => {
                Err(Error::Prediction("real values are drawn from numbers".to_owned()))
            }
        }
    }

    fn legend(
        &self,
        name: &str,
        _annotations: &[&MapValues],
        range: ValueRange,
        width: usize,
    ) -> Option<Picture> {
        let unit = self.unit.as_deref().unwrap_or("");
        let single = self.scale.mean.len() == 1;
        single.then(|| color_bar(Colormap::Viridis, range, name, unit, width))
    }
}

/// Scores real values by their errors over all valid values of the set together.
#[derive(Debug, Clone, Copy)]
pub struct ValueRules;

impl ScoreRules for ValueRules {
    fn kind(&self) -> &'static str {
        "values"
    }

    fn fields(&self) -> Value {
        json!({})
    }

    fn scorer(&self, _task: &dyn Task, _worst: usize) -> Result<Box<dyn Scorer>> {
        Ok(Box::new(ValueScorer::default()))
    }
}

#[derive(Debug, Default)]
struct ValueScorer {
    sum: f64,
    squares: f64,
    count: f64,
    images: usize,
}

impl Scorer for ValueScorer {
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()> {
        let (target, prediction) = frame.values()?;
        if target.len() != prediction.len() {
            return Err(frame.problem("has other numbers of annotated and predicted values"));
        }
        let everything = (f64::NEG_INFINITY, f64::INFINITY);
        let valid = valid_values(target, frame.size.area(), everything, frame.valid);
        self.images += 1;
        for ((p, t), _) in prediction.iter().zip(target).zip(&valid).filter(|(_, v)| **v) {
            let error = f64::from(*p) - f64::from(*t);
            self.sum += error.abs();
            self.squares += error * error;
            self.count += 1.0;
        }
        Ok(())
    }

    fn outcome(&self) -> Result<Outcome> {
        if self.count == 0.0 {
            return Err(Error::Evaluation(format!(
                "no value of {} images is annotated, so there is nothing to score",
                self.images
            )));
        }
        let (mae, rmse) = (self.sum / self.count, (self.squares / self.count).sqrt());
        let mut table = Table::new(["mean absolute error", "RMSE"]);
        table.row([format!("{mae:.4}"), format!("{rmse:.4}")]);
        let scores: IndexMap<String, f64> =
            [("mae".to_owned(), mae), ("rmse".to_owned(), rmse)].into();
        Ok(Outcome {
            joint: 1.0 / (1.0 + mae),
            details: json!({"scores": scores, "values": self.count}),
            scores,
            classes: Vec::new(),
            headline: vec![("mean absolute error".to_owned(), format!("{mae:.4}"))],
            table,
            class_tables: Vec::new(),
        })
    }

    fn statement(&self, facts: FrameFacts<'_>) -> Result<Vec<(String, String)>> {
        let mask = if facts.mask { "mask_valid is 255, and " } else { "" };
        Ok(vec![
            ("valid pixels".to_owned(), format!("{mask}the annotation is finite")),
            ("scores".to_owned(), "over all valid values of the set together".to_owned()),
        ])
    }

    fn pictures(&self, _name: &str) -> Result<Vec<NamedPicture>> {
        Ok(Vec::new())
    }
}
