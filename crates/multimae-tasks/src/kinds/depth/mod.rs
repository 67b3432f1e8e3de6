//! Distance from the camera in metres.

mod pictures;
mod region;
mod report;
mod scorer;

use std::ops::RangeInclusive;
use std::sync::Arc;

use multimae::burn::tensor::Tensor;
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_config::{DepthOutput, DownstreamLoss};
use multimae_data::encode::{depth_png, npy};
use multimae_data::{Quantity, Values};
use multimae_report::Colormap;
use multimae_report::colormap::ValueRange;
use multimae_report::picture::{Picture, color_bar};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, not_fitting, regression};
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::overlay::map_overlay;
use crate::{
    AnnotationBatch, Constant, DecodingStep, EvaluationView, HeadOutput, Images, Protocol, Result,
    ScoreRules, Target, Task, TaskPrediction,
};

pub use region::Region;
pub use scorer::{
    Average, Caps, DepthFrame, DepthImage, DepthProtocol, DepthResult, DepthRow, DepthScorer,
};

/// Images that the published depth evaluation uses unless told otherwise.
const PUBLISHED_IMAGES: usize = 100;
/// Images in a batch of it: one and a half times the 64 of training.
const PUBLISHED_BATCH: usize = 96;
/// Side of its images, in pixels.
const PUBLISHED_SIDE: usize = 256;

/// The kind.
pub const KIND: TaskKind = TaskKind {
    name: "depth",
    about: "distance from the camera in metres",
    read: |value| Ok(Arc::new(fields::<Depth>(value)?)),
    build,
    valid_range: |recipe| (recipe.depth_min, recipe.depth_max),
    quantity: Quantity::Distance,
    protocols,
    scores: &[
        Score::lower("rmse"),
        Score::lower("rel"),
        Score::lower("srel"),
        Score::lower("rmse_log"),
        Score::lower("log10"),
        Score::higher("delta_1"),
        Score::higher("delta_2"),
        Score::higher("delta_3"),
    ],
};

/// Distance from the camera in metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depth {
    /// From the head's output to metres.
    pub scale: DepthScale,
    /// Smallest valid depth in metres; smaller annotations are invalid.
    pub min: f64,
    /// Largest valid depth in metres; larger annotations do not count, predictions are clamped.
    pub max: f64,
}

/// The conversion of a depth head's output `z` to metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthScale {
    /// `z * std + mean`.
    Linear {
        /// Mean depth in metres.
        mean: f64,
        /// Standard deviation in metres.
        std: f64,
    },
    /// `exp(z * std + mean)`, which is always positive.
    Log {
        /// Mean of the natural logarithm of metres.
        mean: f64,
        /// Its standard deviation.
        std: f64,
    },
}

impl DepthScale {
    /// Metres of a head's output.
    #[must_use]
    pub fn metres<const D: usize>(self, output: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear { mean, std } => output.mul_scalar(std).add_scalar(mean),
            Self::Log { mean, std } => output.mul_scalar(std).add_scalar(mean).exp(),
        }
    }

    /// The steps of [`Self::metres`].
    fn steps(self) -> Vec<DecodingStep> {
        let affine = |mean: f64, std: f64| DecodingStep::Affine {
            scale: vec![std as f32],
            shift: vec![mean as f32],
        };
        match self {
            Self::Linear { mean, std } => vec![affine(mean, std)],
            Self::Log { mean, std } => vec![affine(mean, std), DecodingStep::Exp],
        }
    }

    /// The output that stands for these metres, which are positive.
    #[must_use]
    pub fn output<const D: usize>(self, metres: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear { mean, std } => metres.sub_scalar(mean).div_scalar(std),
            Self::Log { mean, std } => metres.log().sub_scalar(mean).div_scalar(std),
        }
    }
}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    let recipe = context.recipe;
    let Some(Constant::Values(moments)) = context.constant else {
        return Err(context.problem(
            "its annotations are not continuous values; give the modality `channels: 1`",
        ));
    };
    let usual =
        if recipe.loss == DownstreamLoss::Silog { DepthOutput::Log } else { DepthOutput::Linear };
    let output = recipe.depth_output.unwrap_or(usual);
    let (mean, std) = match output {
        DepthOutput::Linear => moments.linear(),
        DepthOutput::Log => moments.log(),
    };
    let mean = recipe.depth_mean.unwrap_or(mean);
    // A set of one depth has no deviation.
    let std = recipe.depth_std.unwrap_or(if std > 1e-3 { std } else { 1.0 });
    let scale = match output {
        DepthOutput::Linear => DepthScale::Linear { mean, std },
        DepthOutput::Log => DepthScale::Log { mean, std },
    };
    Ok(Built {
        task: Arc::new(Depth { scale, min: recipe.depth_min, max: recipe.depth_max }),
        loss: SupervisedLoss::Regression(regression(recipe)),
        outputs: 1,
    })
}

impl Task for Depth {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn summary(&self) -> String {
        format!("depth from {} to {} m", self.min, self.max)
    }

    fn api(&self) -> Value {
        json!({"shown": "map", "unit": "m", "min": self.min, "max": self.max})
    }

    fn head_output(&self) -> HeadOutput {
        HeadOutput::Values
    }

    fn outputs(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn unit(&self) -> Option<&'static str> {
        Some("m")
    }

    fn valid_range(&self) -> (f64, f64) {
        (self.min, self.max)
    }

    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target> {
        batch.values(self.valid_range(), None)
    }

    /// Values are compared on the scale of the head's output, but silog compares metres.
    fn comparable(
        &self,
        loss: &SupervisedLoss,
        prediction: Prediction,
        target: SupervisedTarget,
    ) -> (Prediction, SupervisedTarget) {
        let silog = matches!(loss, SupervisedLoss::Regression(RegressionLoss::Silog { .. }));
        match (prediction, target) {
            (Prediction::Maps(maps), target) if silog => {
                (Prediction::Maps(self.scale.metres(maps)), target)
            }
            (prediction, SupervisedTarget::Values { values, valid }) => {
                let values = self.scale.output(values);
                (prediction, SupervisedTarget::Values { values, valid })
            }
            unchanged => unchanged,
        }
    }

    fn decoding(&self) -> Vec<DecodingStep> {
        let mut steps = self.scale.steps();
        steps.push(DecodingStep::Clamp { min: self.min, max: self.max });
        steps
    }

    fn at_frame_size(&self, maps: &Maps<'_>, size: Size) -> TaskPrediction {
        TaskPrediction::Values(maps.resized(size))
    }

    fn constant(&self, constant: &Constant) -> Option<Vec<f32>> {
        let Constant::Values(moments) = constant else { return None };
        let (mean, _) = moments.linear();
        Some(vec![match self.scale {
            DepthScale::Linear { mean: zero, std } => (mean - zero) / std,
            DepthScale::Log { mean: zero, std } => (mean.ln() - zero) / std,
        } as f32])
    }

    fn rules(&self) -> Arc<dyn ScoreRules> {
        let caps = Caps { min: self.min as f32, max: Some(self.max as f32) };
        Arc::new(full_frame(caps))
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png", "npy"]
    }

    /// Millimetres in pictures, metres in arrays.
    fn stored_as(&self, extension: &str) -> Value {
        let divisor = if extension == "png" { 1000.0 } else { 1.0 };
        json!({"channels": 1, "divisor": divisor, "quantity": "distance", "unit": "m"})
    }

    /// 16-bit PNG in millimetres, `.npy` `(H, W)` in metres.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        match (prediction, extension) {
            (TaskPrediction::Values(metres), "png") => Ok(depth_png(metres, size)?),
            (TaskPrediction::Values(metres), "npy") => Ok(npy(metres, &[size.0, size.1])?),
            (other, _) => Err(not_fitting(self.kind(), extension, other)),
        }
    }

    fn has_overlay(&self) -> bool {
        true
    }

    fn overlay(
        &self,
        prediction: &TaskPrediction,
        frame: Option<&Picture>,
        size: (usize, usize),
    ) -> Result<Option<Picture>> {
        let Some(depth) = prediction.values() else { return Ok(None) };
        map_overlay(frame, depth, size, ("depth", "m")).map(Some)
    }

    /// Invalid depth stays blank.
    fn draw(&self, map: &Values, size: (usize, usize), range: ValueRange) -> Result<Picture> {
        let Values::Continuous { data, .. } = map else {
            return Err(crate::Error::Prediction("depth is drawn from numbers".to_owned()));
        };
        let valid = |value: f32| (self.min..=self.max).contains(&f64::from(value));
        let plane: Vec<f32> = data[..size.0 * size.1]
            .iter()
            .map(|&value| if valid(value) { value } else { f32::NAN })
            .collect();
        Ok(Picture::from_map(&plane, size, Colormap::Viridis, range)?)
    }

    fn legend(
        &self,
        name: &str,
        _annotations: &[&Values],
        range: ValueRange,
        width: usize,
    ) -> Option<Picture> {
        Some(color_bar(Colormap::Viridis, range, name, "m", width))
    }
}

fn full_frame(caps: Caps) -> DepthProtocol {
    DepthProtocol {
        caps: Some(caps),
        regions: vec![Region::FullFrame],
        averages: vec![Average::Pixels, Average::Images],
        published_log10: false,
    }
}

fn protocols() -> Vec<(Protocol, &'static str)> {
    let nyuv2 = DepthProtocol {
        regions: vec![Region::FullFrame, Region::EigenCrop],
        ..full_frame(Caps { min: 1e-3, max: Some(10.0) })
    };
    let reference = DepthProtocol {
        caps: None,
        regions: vec![Region::FullFrame],
        averages: vec![Average::Batches(PUBLISHED_BATCH)],
        published_log10: true,
    };
    vec![
        (
            Protocol::native("nyuv2-depth", nyuv2),
            "full frame and Eigen crop, 0.001 to 10 m, native size, both averages",
        ),
        (
            Protocol::native("depth", full_frame(Caps { min: 1e-3, max: None })),
            "full frame, every depth above 0.001 m, native size, both averages",
        ),
        (
            Protocol {
                images: Images::Permuted { first: PUBLISHED_IMAGES },
                view: EvaluationView::CentralSquare { side: PUBLISHED_SIDE },
                ..Protocol::native("reference-depth", reference)
            },
            "as the published depth fine-tuning measures, quirks included",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::Device;

    use super::*;

    #[test]
    fn depth_scales_are_undone() {
        let metres = Tensor::<1>::from_floats([0.5, 2.0, 9.0], &Device::default());
        for scale in
            [DepthScale::Linear { mean: 2.8, std: 1.4 }, DepthScale::Log { mean: 0.9, std: 0.5 }]
        {
            let back: Vec<f32> =
                scale.metres(scale.output(metres.clone())).into_data().iter().collect();
            for (got, expected) in back.iter().zip([0.5, 2.0, 9.0]) {
                assert!((got - expected).abs() < 1e-5, "{scale:?} {back:?}");
            }
        }
    }
}
