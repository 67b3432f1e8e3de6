//! Surface normals: unit vectors in camera coordinates, x to the right.
//!
//! Annotations are vectors of any length; shorter ones than 0.5 mark unknown pixels. The
//! loss is the mean absolute error plus one minus the cosine, as in Eftekhar et al., "Omnidata"
//! (2021); scores are those of Fouhey et al. (2013): mean and median angular error and the shares
//! of pixels within 11.25°, 22.5° and 30°.

mod scorer;

use std::ops::RangeInclusive;
use std::sync::Arc;

use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_data::encode::npy;
use multimae_data::{Encoding, Quantity, Values};
use multimae_report::colormap::ValueRange;
use multimae_report::picture::Picture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use scorer::{AngularErrors, NormalRules, angular_errors};

use super::common::{fields, not_fitting};
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::overlay::color_overlay;
use crate::{
    AnnotationBatch, Constant, DecodingStep, Error, HeadOutput, Protocol, Result, ScoreRules,
    Target, Task, TaskPrediction,
};

/// Components of a vector.
const CHANNELS: usize = 3;
/// Keeps the length of a vector away from zero where it divides.
const EPS: f64 = 1e-12;

/// The kind.
pub const KIND: TaskKind = TaskKind {
    name: "normals",
    about: "surface normals, unit vectors in camera coordinates",
    read: |value| Ok(Arc::new(fields::<Normals>(value)?)),
    build,
    valid_range: |_| (f64::NEG_INFINITY, f64::INFINITY),
    quantity: Quantity::Direction,
    protocols: || {
        let about =
            "angular error of surface normals: mean, median, within 11.25, 22.5, 30 degrees";
        vec![(Protocol::native("normals", NormalRules), about)]
    },
    scores: &[
        Score::lower("mean_angle"),
        Score::lower("median_angle"),
        Score::higher("within_11_25"),
        Score::higher("within_22_5"),
        Score::higher("within_30"),
    ],
};

/// Surface normals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normals {}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    match &context.modality()?.data.encoding {
        Encoding::Continuous { channels: CHANNELS, quantity: Quantity::Direction, .. } => {}
        _ => {
            return Err(context.problem(
                "normals are three numbers per pixel in -1 to 1; `channels: 3, stored: \
                 unit_vectors` reads them from images of 8 or 16 bits and from arrays",
            ));
        }
    }
    Ok(Built {
        task: Arc::new(Normals {}),
        loss: SupervisedLoss::Regression(RegressionLoss::CosineL1),
        outputs: CHANNELS,
    })
}

/// Scales every vector of three planes to unit length.
fn normalise(planes: &mut [f32], area: usize) {
    for pixel in 0..area {
        let at = |channel: usize| channel * area + pixel;
        let squares: f32 = (0..CHANNELS).map(|c| planes[at(c)] * planes[at(c)]).sum();
        let length = squares.sqrt().max(f32::MIN_POSITIVE);
        (0..CHANNELS).for_each(|c| planes[at(c)] /= length);
    }
}

impl Task for Normals {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn fields(&self) -> Value {
        json!({})
    }

    fn summary(&self) -> String {
        "surface normals".to_owned()
    }

    fn api(&self) -> Value {
        json!({"shown": "picture", "channels": ["x", "y", "z"], "low": -1, "high": 1})
    }

    fn head_output(&self) -> HeadOutput {
        HeadOutput::Values
    }

    fn outputs(&self) -> RangeInclusive<usize> {
        CHANNELS..=CHANNELS
    }

    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target> {
        batch.values(self.valid_range(), Some(SHORTEST))
    }

    /// Annotations are compared at unit length, predictions as they are.
    fn comparable(
        &self,
        _loss: &SupervisedLoss,
        prediction: Prediction,
        target: SupervisedTarget,
    ) -> (Prediction, SupervisedTarget) {
        match target {
            SupervisedTarget::Values { values, valid } => (
                prediction,
                SupervisedTarget::Values {
                    values: DecodingStep::UnitLength { eps: EPS }.apply(values),
                    valid,
                },
            ),
            target => (prediction, target),
        }
    }

    fn decoding(&self) -> Vec<DecodingStep> {
        vec![DecodingStep::UnitLength { eps: EPS }]
    }

    fn at_frame_size(&self, maps: &Maps<'_>, size: Size) -> TaskPrediction {
        let mut planes: Vec<f32> = maps.planes().flat_map(|plane| plane.resized(size)).collect();
        normalise(&mut planes, size.area());
        TaskPrediction::Values(planes)
    }

    fn constant(&self, constant: &Constant) -> Option<Vec<f32>> {
        let Constant::Values(moments) = constant else { return None };
        let mut mean: Vec<f32> = moments.means().into_iter().map(|mean| mean as f32).collect();
        mean.resize(CHANNELS, 0.0);
        normalise(&mut mean, 1);
        Some(mean)
    }

    fn rules(&self) -> Arc<dyn ScoreRules> {
        Arc::new(NormalRules)
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png", "npy"]
    }

    fn stored_as(&self, _extension: &str) -> Value {
        json!({"channels": CHANNELS, "stored": "unit_vectors", "quantity": "direction"})
    }

    /// 8-bit RGB with -1 to 1 as 0 to 255, `.npy` `(3, H, W)`.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        match (prediction, extension) {
            (TaskPrediction::Values(normals), "png") => Ok(colors(normals, size)?.png()?),
            (TaskPrediction::Values(normals), "npy") => {
                Ok(npy(normals, &[CHANNELS, size.0, size.1])?)
            }
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
        let Some(normals) = prediction.values() else { return Ok(None) };
        color_overlay(frame, colors(normals, size)?).map(Some)
    }

    fn draw(&self, map: &Values, size: (usize, usize), _range: ValueRange) -> Result<Picture> {
        match map {
            Values::Continuous { channels: CHANNELS, data } => {
                let known: Vec<f32> =
                    data.iter().map(|&x| if x.is_finite() { x } else { 0.0 }).collect();
                colors(&known, size)
            }
            _ => {
                Err(Error::Prediction("normals are drawn from three numbers per pixel".to_owned()))
            }
        }
    }
}

/// Annotated vectors shorter than this stand for unknown normals.
pub(crate) const SHORTEST: f32 = 0.5;
/// Draws vectors as colours: -1 to 1 becomes 0 to 255.
///
/// # Errors
/// If there are not three planes of that size.
pub(crate) fn colors(planes: &[f32], size: (usize, usize)) -> Result<Picture> {
    Ok(Picture::from_chw(planes, size, [0.5; 3], [0.5; 3])?)
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::{Device, Tensor, TensorData};

    use super::*;

    fn maps(values: &[f32], width: usize) -> Tensor<4> {
        let data = TensorData::new(values.to_vec(), [1, 3, 1, width]);
        Tensor::from_data(data, &Device::default())
    }

    #[test]
    fn decoded_normals_have_unit_length() {
        let output = Prediction::Maps(maps(&[3.0, 0.0, 0.0, 0.0, 4.0, 2.0], 2));
        let Some(Prediction::Maps(units)) = (Normals {}).decode(output) else { panic!() };
        let units: Vec<f32> = units.into_data().iter().collect();
        let expected = [0.6, 0.0, 0.0, 0.0, 0.8, 1.0];
        for (got, expected) in units.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{units:?}");
        }
    }

    #[test]
    fn resized_normals_keep_unit_length() {
        let values = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let canvas = Size::new(1, 2);
        let maps = Maps { values: &values, canvas, shown: canvas };
        let TaskPrediction::Values(normals) = (Normals {}).at_frame_size(&maps, Size::new(1, 5))
        else {
            panic!()
        };
        for pixel in 0..5 {
            let length: f32 = (0..3).map(|c| normals[5 * c + pixel].powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-5, "{normals:?}");
        }
        // Halfway between x and y.
        assert!((normals[2] - normals[7]).abs() < 1e-6 && normals[2] > 0.7);
    }

    #[test]
    fn angles_are_in_degrees_and_unknown_pixels_do_not_count() {
        // x against x, x against y, x against -x, an unknown one.
        let target =
            [1.0, 1.0, 1.0, 0.0, /* y */ 0.0, 0.0, 0.0, 0.0, /* z */ 0.0, 0.0, 0.0, 0.0];
        let prediction =
            [2.0, 0.0, -1.0, 1.0, /* y */ 0.0, 1.0, 0.0, 0.0, /* z */ 0.0, 0.0, 0.0, 0.0];
        let errors = angular_errors(&target, &prediction, None);
        assert!(errors[0].abs() < 1e-4 && (errors[1] - 90.0).abs() < 1e-4);
        assert!((errors[2] - 180.0).abs() < 1e-4 && errors[3].is_nan());
        let masked = angular_errors(&target, &prediction, Some(&[false, true, true, true]));
        assert!(masked[0].is_nan());
    }

    #[test]
    fn scores_are_those_of_the_errors() {
        let mut errors = AngularErrors::default();
        for degrees in [5.0, 10.0, 20.0, 25.0, 100.0] {
            errors.add(degrees);
        }
        assert_eq!(errors.mean(), Some(32.0));
        assert!((errors.median().unwrap() - 20.0).abs() < 0.02);
        assert_eq!(errors.within(), [0.4, 0.6, 0.8]);
        assert_eq!(AngularErrors::default().mean(), None);
        assert_eq!(AngularErrors::default().median(), None);
    }
}
