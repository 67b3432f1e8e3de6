//! Surface normals: unit vectors in camera coordinates, x to the right.
//!
//! Annotations are vectors of any length; shorter ones than 0.5 mark unknown pixels. The
//! loss is the mean absolute error plus one minus the cosine, as in Eftekhar et al., "Omnidata"
//! (2021); scores are those of Fouhey et al. (2013): mean and median angular error and the shares
//! of pixels within 11.25°, 22.5° and 30°.

use std::ops::RangeInclusive;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_data::encode::npy;
use multimae_data::{Encoding, Quantity, Values};
use multimae_report::colormap::ValueRange;
use multimae_report::picture::{Grid, Picture, color_bar};
use multimae_report::{Colormap, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, not_fitting};
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::overlay::color_overlay;
use crate::pictures::{COLUMNS, PictureRow, Worst, percent};
use crate::{
    AnnotationBatch, Constant, Error, FrameFacts, HeadOutput, NamedPicture, Outcome, Protocol,
    Result, ScoreRules, ScoredFrame, Scorer, Target, Task, TaskPrediction,
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
                "normals are three numbers per pixel in -1 to 1, for example `channels: 3, \
                 divisor: 127.5, mean: [1, 1, 1], quantity: direction` for 8-bit images",
            ));
        }
    }
    Ok(Built {
        task: Arc::new(Normals {}),
        loss: SupervisedLoss::Regression(RegressionLoss::CosineL1),
        outputs: CHANNELS,
    })
}

/// Vectors of unit length.
///
/// # Shapes
/// `(B, 3, H, W)` to `(B, 3, H, W)`.
fn unit(vectors: Tensor<4>) -> Tensor<4> {
    let length = vectors.clone().square().sum_dim(1).add_scalar(EPS).sqrt();
    vectors / length
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
            SupervisedTarget::Values { values, valid } => {
                (prediction, SupervisedTarget::Values { values: unit(values), valid })
            }
            target => (prediction, target),
        }
    }

    fn decode(&self, prediction: Prediction) -> Option<Prediction> {
        let Prediction::Maps(maps) = prediction else { return None };
        Some(Prediction::Maps(unit(maps)))
    }

    /// A surface seen in a mirror points the other way along x.
    fn unmirror(&self, maps: &mut [f32], area: usize) {
        maps.iter_mut().take(area).for_each(|x| *x = -*x);
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
/// Bins of the histogram of errors per degree; the median is exact to one bin.
const BINS_PER_DEGREE: usize = 100;
/// The error that the last colour of pictures stands for, in degrees.
const LARGEST_ERROR: f64 = 60.0;
/// Errors below these count as right, in degrees (Fouhey et al., 2013).
const THRESHOLDS: [f64; 3] = [11.25, 22.5, 30.0];

/// Draws vectors as colours: -1 to 1 becomes 0 to 255.
///
/// # Errors
/// If there are not three planes of that size.
pub(crate) fn colors(planes: &[f32], size: (usize, usize)) -> Result<Picture> {
    Ok(Picture::from_chw(planes, size, [0.5; 3], [0.5; 3])?)
}

/// Scores surface normals by their angular error over all known pixels of the set together.
#[derive(Debug, Clone, Copy)]
pub struct NormalRules;

impl ScoreRules for NormalRules {
    fn kind(&self) -> &'static str {
        "normals"
    }

    fn fields(&self) -> Value {
        json!({"thresholds": THRESHOLDS})
    }

    fn scorer(&self, _task: &dyn Task, worst: usize) -> Result<Box<dyn Scorer>> {
        Ok(Box::new(NormalScorer {
            errors: AngularErrors::default(),
            images: Vec::new(),
            worst: Worst::new(worst),
        }))
    }
}

/// Sums over angular errors; add frames in any number.
#[derive(Debug, Clone)]
pub struct AngularErrors {
    histogram: Vec<u64>,
    sum: f64,
    pixels: u64,
    within: [u64; 3],
}

impl Default for AngularErrors {
    fn default() -> Self {
        let histogram = vec![0; 180 * BINS_PER_DEGREE + 1];
        Self { histogram, sum: 0.0, pixels: 0, within: [0; 3] }
    }
}

impl AngularErrors {
    /// Adds an error in degrees.
    pub fn add(&mut self, degrees: f64) {
        let bin = (degrees * BINS_PER_DEGREE as f64) as usize;
        let last = self.histogram.len() - 1;
        self.histogram[bin.min(last)] += 1;
        self.sum += degrees;
        self.pixels += 1;
        for (count, threshold) in self.within.iter_mut().zip(THRESHOLDS) {
            *count += u64::from(degrees < threshold);
        }
    }

    /// Mean error in degrees; `None` without a pixel.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.pixels > 0).then(|| self.sum / self.pixels as f64)
    }

    /// Median error in degrees, exact to a hundredth of a degree; `None` without a pixel.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let half = self.pixels.div_ceil(2);
        let mut seen = 0;
        let bin = self.histogram.iter().position(|count| {
            seen += count;
            seen >= half && half > 0
        })?;
        Some((bin as f64 + 0.5) / BINS_PER_DEGREE as f64)
    }

    /// Shares of pixels with errors below 11.25, 22.5 and 30 degrees.
    #[must_use]
    pub fn within(&self) -> [f64; 3] {
        self.within.map(|count| count as f64 / self.pixels.max(1) as f64)
    }
}

/// The error of every pixel in degrees, NaN where the annotation is not known.
///
/// # Shapes
/// `target` and `prediction` `(3, H, W)`, `valid` `(H, W)`.
#[must_use]
pub fn angular_errors(target: &[f32], prediction: &[f32], valid: Option<&[bool]>) -> Vec<f32> {
    let area = target.len() / 3;
    let error = |pixel: usize| {
        let at = |planes: &[f32]| -> [f64; 3] {
            std::array::from_fn(|c| f64::from(planes[c * area + pixel]))
        };
        let length = |v: [f64; 3]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (t, p) = (at(target), at(prediction));
        let known = length(t) >= f64::from(SHORTEST)
            && valid.is_none_or(|valid| valid.get(pixel) == Some(&true));
        if !known {
            return f32::NAN;
        }
        let dot: f64 = t.iter().zip(p).map(|(t, p)| t * p).sum();
        let cosine = dot / (length(t) * length(p)).max(f64::MIN_POSITIVE);
        cosine.clamp(-1.0, 1.0).acos().to_degrees() as f32
    };
    (0..area).map(error).collect()
}

struct NormalScorer {
    errors: AngularErrors,
    images: Vec<(String, Option<f64>)>,
    worst: Worst<PictureRow<f32>>,
}

impl Scorer for NormalScorer {
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()> {
        let (target, prediction) = frame.values()?;
        if target.len() != 3 * frame.size.area() || prediction.len() != target.len() {
            return Err(frame.problem("has maps that are not three numbers per pixel of its size"));
        }
        if prediction.iter().any(|x| !x.is_finite()) {
            return Err(frame.problem("has predicted normals that are not finite"));
        }
        let error = angular_errors(target, prediction, frame.valid);
        let mut own = AngularErrors::default();
        for degrees in error.iter().filter(|error| !error.is_nan()) {
            own.add(f64::from(*degrees));
            self.errors.add(f64::from(*degrees));
        }
        self.images.push((frame.id.to_owned(), own.mean()));
        let Some(mean) = own.mean() else { return Ok(()) };
        self.worst.offer(mean, || {
            let area = frame.size.area();
            let known = |(at, &x): (usize, &f32)| if error[at % area].is_nan() { 0.0 } else { x };
            Ok(PictureRow {
                title: format!("{} mean error {mean:.1} degrees", frame.id),
                input: (frame.input)(),
                size: frame.size,
                target: target.iter().enumerate().map(known).collect(),
                prediction: prediction.to_vec(),
            })
        })
    }

    fn outcome(&self) -> Result<Outcome> {
        let (Some(mean), Some(median)) = (self.errors.mean(), self.errors.median()) else {
            return Err(Error::Evaluation(format!(
                "no pixel of {} images has a known normal; check `divisor` and `mean`, which must \
                 bring the values to -1 to 1",
                self.images.len()
            )));
        };
        let [a, b, c] = self.errors.within();
        let mut table =
            Table::new(["mean error °", "median error °", "< 11.25° %", "< 22.5° %", "< 30° %"]);
        let cells =
            [format!("{mean:.2}"), format!("{median:.2}"), percent(a), percent(b), percent(c)];
        table.row(cells.clone());
        let scores: IndexMap<String, f64> = [
            ("mean_angle", mean),
            ("median_angle", median),
            ("within_11_25", a),
            ("within_22_5", b),
            ("within_30", c),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let images: Vec<Value> =
            self.images.iter().map(|(id, mean)| json!({"id": id, "mean_angle": mean})).collect();
        Ok(Outcome {
            joint: a,
            details: json!({"scores": scores, "pixels": self.errors.pixels, "images": images}),
            scores,
            classes: Vec::new(),
            headline: vec![
                ("mean error °".to_owned(), cells[0].clone()),
                ("< 11.25° %".to_owned(), cells[2].clone()),
            ],
            table,
            class_tables: Vec::new(),
        })
    }

    fn statement(&self, facts: FrameFacts<'_>) -> Result<Vec<(String, String)>> {
        let mask = if facts.mask { "mask_valid is 255, and " } else { "" };
        let line = |key: &str, value: String| (key.to_owned(), value);
        Ok(vec![
            line("valid pixels", format!("{mask}the annotated vector is at least {SHORTEST} long")),
            line(
                "scores",
                "angle between prediction and annotation over all valid pixels of the set together; \
                 the median is exact to 0.01 degrees"
                    .to_owned(),
            ),
        ])
    }

    fn pictures(&self, name: &str) -> Result<Vec<NamedPicture>> {
        let errors = ValueRange::new(0.0, LARGEST_ERROR)?;
        let frames = self.worst.worst_first();
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let mut grid = Grid::new(COLUMNS);
        for shown in frames {
            let size = shown.size();
            let draw = |planes: &[f32]| colors(planes, size);
            let error = angular_errors(&shown.target, &shown.prediction, None);
            let maps = [
                draw(&shown.target)?,
                draw(&shown.prediction)?,
                Picture::from_map(&error, size, Colormap::Magma, errors)?,
            ];
            grid.row(shown.title.clone(), shown.cells(maps));
        }
        let width = grid.content_width();
        let label = "angular error, white: not known";
        grid.footer(color_bar(Colormap::Magma, errors, label, "degrees and more", width));
        let picture = grid.render();
        let caption = "The frames with the largest mean angular error.".to_owned();
        Ok(vec![(format!("{name}-worst"), caption, picture)])
    }
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::{Device, TensorData};

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
    fn a_mirrored_frame_has_its_x_negated() {
        let mut planes = vec![0.6, -0.6, 0.1, 0.2, 0.8, 0.8];
        (Normals {}).unmirror(&mut planes, 2);
        assert_eq!(planes, [-0.6, 0.6, 0.1, 0.2, 0.8, 0.8]);
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
