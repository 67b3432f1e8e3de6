//! Scores of surface normals: angular errors over all known pixels of a set together.

use indexmap::IndexMap;
use multimae_report::colormap::ValueRange;
use multimae_report::picture::{Grid, Picture, color_bar};
use multimae_report::{Colormap, Table};
use serde_json::{Value, json};

use super::{SHORTEST, colors};
use crate::pictures::{COLUMNS, PictureRow, Worst, percent};
use crate::{
    Error, FrameFacts, NamedPicture, Outcome, Result, ScoreRules, ScoredFrame, Scorer, Task,
};

/// Bins of the histogram of errors per degree; the median is exact to one bin.
const BINS_PER_DEGREE: usize = 100;
/// The error that the last colour of pictures stands for, in degrees.
const LARGEST_ERROR: f64 = 60.0;
/// Errors below these count as right, in degrees (Fouhey et al., 2013).
const THRESHOLDS: [f64; 3] = [11.25, 22.5, 30.0];

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
