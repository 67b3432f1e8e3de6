//! Scoring depth, frame by frame.

use multimae::metrics::{DepthAverages, DepthMetrics, DepthScores};
use multimae::modality::Size;
use serde::{Deserialize, Serialize};

use super::region::Region;
use crate::{Error, FrameSum, Result};

/// The rules of scoring depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthProtocol {
    /// The bounds of valid depth.
    pub caps: Option<Caps>,
    /// Each is scored by itself.
    pub regions: Vec<Region>,
    /// Each is computed.
    pub averages: Vec<Average>,
    /// Whether the root mean squared difference of natural logarithms has the name `log10`, as in
    /// the published code.
    pub published_log10: bool,
}

/// Bounds of depth, in metres: targets strictly between them count, predictions are clamped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Caps {
    /// The lower bound.
    pub min: f32,
    /// The upper bound, if there is one.
    pub max: Option<f32>,
}

/// The set that a mean is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// All pixels of the set together.
    Pixels,
    /// The images' scores.
    Images,
    /// The scores of batches of this many images, all batches alike.
    Batches(usize),
}

impl Caps {
    /// Whether a target counts.
    #[must_use]
    pub fn hold(self, target: f32) -> bool {
        target > self.min && self.max.is_none_or(|max| target < max)
    }

    /// A prediction between the bounds.
    #[must_use]
    pub fn clamp(self, prediction: f32) -> f32 {
        let above = prediction.max(self.min);
        self.max.map_or(above, |max| above.min(max))
    }
}

impl Average {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Pixels => "pixels".to_owned(),
            Self::Images => "images".to_owned(),
            Self::Batches(size) => format!("batches of {size}"),
        }
    }
}

/// Predicted and true depth of one frame.
#[derive(Debug, Clone, Copy)]
pub struct DepthFrame<'a> {
    /// The frame's name, for messages.
    pub id: &'a str,
    /// The frame's size.
    pub size: Size,
    /// `(H, W)`, metres.
    pub prediction: &'a [f32],
    /// `(H, W)`, metres; not finite where it is not known.
    pub target: &'a [f32],
    /// `(H, W)`, if the data says which pixels are valid.
    pub valid: Option<&'a [bool]>,
}

impl DepthFrame<'_> {
    /// Returns the valid mask of a frame under a protocol.
    #[must_use]
    pub fn counted(&self, protocol: &DepthProtocol) -> Vec<bool> {
        let holds = |target: f32| protocol.caps.is_none_or(|caps| caps.hold(target));
        let marked = |pixel: usize| self.valid.is_none_or(|valid| valid[pixel]);
        let counts =
            |(pixel, &target): (usize, &f32)| target.is_finite() && holds(target) && marked(pixel);
        self.target.iter().enumerate().map(counts).collect()
    }

    fn check(&self) -> Result<()> {
        let lens =
            [Some(self.prediction.len()), Some(self.target.len()), self.valid.map(<[_]>::len)];
        if lens.iter().flatten().all(|&len| len == self.size.area()) {
            return Ok(());
        }
        Err(Error::Evaluation(format!(
            "frame `{}`: prediction, target and valid pixels have {lens:?} values, not those of {}",
            self.id, self.size
        )))
    }
}

/// The scores of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthImage {
    /// The frame's name.
    pub id: String,
    /// Pixels that count in the first region.
    pub pixels: u64,
    /// Scores in the first region; `None` without such a pixel.
    pub scores: Option<DepthScores>,
}

/// The scores of a set in one region by one average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthRow {
    /// The part of the frames.
    pub region: Region,
    /// The set that the mean is over.
    pub average: Average,
    /// Pixels that count.
    pub pixels: u64,
    /// Lengths in metres.
    pub scores: DepthScores,
}

/// The scores of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthResult {
    /// Every region by every average.
    pub rows: Vec<DepthRow>,
    /// In the order they came.
    pub images: Vec<DepthImage>,
}

/// Sums over the frames of a set, as a protocol wants them.
#[derive(Debug, Clone)]
pub struct DepthScorer {
    protocol: DepthProtocol,
    sums: Vec<(Region, Average, DepthAverages)>,
    images: Vec<DepthImage>,
    /// Of the first region.
    frames: Vec<FrameSum<DepthMetrics>>,
}

impl DepthScorer {
    /// Nothing yet.
    #[must_use]
    pub fn new(protocol: &DepthProtocol) -> Self {
        let sums_of = |average| match average {
            Average::Batches(size) => DepthAverages::new(size),
            Average::Pixels | Average::Images => DepthAverages::new(1),
        };
        let averages = |&region: &Region| {
            protocol.averages.iter().map(move |&average| (region, average, sums_of(average)))
        };
        let sums = protocol.regions.iter().flat_map(averages).collect();
        Self { protocol: protocol.clone(), sums, images: Vec::new(), frames: Vec::new() }
    }

    /// Adds a frame. Its scores in the first region.
    ///
    /// # Errors
    /// If its arrays do not have its size, a region does not fit it, or a prediction that counts
    /// is not a finite number.
    pub fn add(&mut self, frame: &DepthFrame<'_>) -> Result<Option<DepthScores>> {
        frame.check()?;
        let counted = frame.counted(&self.protocol);
        self.check_finite(frame, &counted)?;
        let clamp = |&p: &f32| self.protocol.caps.map_or(p, |caps| caps.clamp(p));
        let prediction: Vec<f32> = frame.prediction.iter().map(clamp).collect();
        let mut first = None;
        for &region in &self.protocol.regions {
            let inside = region.mask(frame.size)?;
            let valid: Vec<bool> = counted.iter().zip(inside).map(|(c, i)| *c && i).collect();
            let mut metrics = DepthMetrics::default();
            metrics.add(&prediction, frame.target, &valid);
            for (_, _, sums) in self.sums.iter_mut().filter(|(of, ..)| *of == region) {
                sums.add(&metrics);
            }
            first.get_or_insert(metrics);
        }
        let metrics = first.unwrap_or_default();
        let (pixels, scores) = (metrics.pixels(), metrics.scores());
        self.images.push(DepthImage { id: frame.id.to_owned(), pixels, scores });
        self.frames.push(FrameSum { id: frame.id.to_owned(), sum: metrics });
        Ok(scores)
    }

    /// The sums of every frame in the first region, if its first average is over pixels.
    #[must_use]
    pub fn frame_sums(&self) -> Option<Vec<FrameSum<DepthMetrics>>> {
        let (_, average, _) = self.sums.first()?;
        (*average == Average::Pixels).then(|| self.frames.clone())
    }

    fn check_finite(&self, frame: &DepthFrame<'_>, counted: &[bool]) -> Result<()> {
        let bad =
            frame.prediction.iter().zip(counted).filter(|(p, c)| **c && !p.is_finite()).count();
        if bad == 0 {
            return Ok(());
        }
        Err(Error::Evaluation(format!(
            "frame `{}`: {bad} predicted depths are NaN or infinite, so there is no score",
            frame.id
        )))
    }

    /// The scores of all frames so far.
    ///
    /// # Errors
    /// If no pixel counts.
    pub fn result(&self) -> Result<DepthResult> {
        let row = |(region, average, sums): &(Region, Average, DepthAverages)| {
            let scores = match average {
                Average::Pixels => sums.over_pixels(),
                Average::Images | Average::Batches(_) => sums.over_groups(),
            };
            let scores = scores.ok_or_else(|| {
                let (images, region) = (self.images.len(), region.name());
                Error::Evaluation(format!(
                    "no pixel of {images} images has a valid depth in the {region}; check \
                     the unit of depth (`divisor`) and the protocol's bounds"
                ))
            })?;
            Ok(DepthRow { region: *region, average: *average, pixels: sums.pixels(), scores })
        };
        let rows = self.sums.iter().map(row).collect::<Result<_>>()?;
        Ok(DepthResult { rows, images: self.images.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SIZE: Size = Size { height: 240, width: 320 };

    fn scorer(name: &str) -> DepthScorer {
        let protocol = crate::Protocol::named(name).unwrap().remove(0);
        let fields: Value = protocol.rules.fields();
        DepthScorer::new(&serde_json::from_value(fields).unwrap())
    }

    fn frame<'a>(prediction: &'a [f32], target: &'a [f32]) -> DepthFrame<'a> {
        DepthFrame { id: "a", size: SIZE, prediction, target, valid: None }
    }

    fn row(result: &DepthResult, region: Region, average: Average) -> &DepthRow {
        result.rows.iter().find(|row| row.region == region && row.average == average).unwrap()
    }

    #[test]
    fn crops_and_caps_decide_what_counts() {
        // 2 m everywhere; 4 m predicted outside the crop, 2.2 m inside.
        let mut target = vec![2.0_f32; SIZE.area()];
        let inside = Region::EigenCrop.mask(SIZE).unwrap();
        let prediction: Vec<f32> = inside.iter().map(|i| if *i { 2.2 } else { 4.0 }).collect();
        // Four pixels inside do not count: a hole, the lower cap, the upper cap, no number.
        let start = 100 * 320 + 100;
        target[start..start + 4].copy_from_slice(&[0.0, 1e-3, 10.0, f32::NAN]);
        let mut scorer = scorer("nyuv2-depth");
        scorer.add(&frame(&prediction, &target)).unwrap();
        let result = scorer.result().unwrap();
        let crop = row(&result, Region::EigenCrop, Average::Pixels);
        assert_eq!(crop.pixels, 213 * 280 - 4);
        assert!((crop.scores.rel - 0.1).abs() < 1e-6 && crop.scores.delta_1 == 1.0);
        let full = row(&result, Region::FullFrame, Average::Pixels);
        assert_eq!(full.pixels, 240 * 320 - 4);
        let outside = (240 * 320 - 213 * 280) as f64;
        let expected = (0.1 * crop.pixels as f64 + outside) / full.pixels as f64;
        assert!((full.scores.rel - expected).abs() < 1e-6);
        // One image: both averages agree.
        assert_eq!(row(&result, Region::FullFrame, Average::Images).scores, full.scores);
        assert_eq!(result.images[0].scores, Some(full.scores));
    }

    #[test]
    fn caps_are_strict_for_targets_and_clamp_predictions() {
        let caps = Caps { min: 1e-3, max: Some(10.0) };
        assert_eq!(
            [0.0, 1e-3, 2e-3, 9.99, 10.0].map(|t| caps.hold(t)),
            [false, false, true, true, false]
        );
        assert_eq!([-1.0, 5.0, 80.0].map(|p| caps.clamp(p)), [1e-3, 5.0, 10.0]);
        let open = Caps { min: 1e-3, max: None };
        assert!(open.hold(80.0) && open.clamp(80.0) == 80.0 && !open.hold(f32::NAN));
    }

    #[test]
    fn predictions_are_clamped_to_the_caps() {
        let (prediction, target) = (vec![50.0; SIZE.area()], vec![5.0; SIZE.area()]);
        let mut scorer = scorer("nyuv2-depth");
        let scores = scorer.add(&frame(&prediction, &target)).unwrap().unwrap();
        assert!((scores.rmse - 5.0).abs() < 1e-6 && (scores.rel - 1.0).abs() < 1e-6);
    }

    #[test]
    fn pixels_that_the_data_calls_invalid_do_not_count() {
        let (mut prediction, target) = (vec![5.0; SIZE.area()], vec![5.0; SIZE.area()]);
        let mut valid = vec![true; SIZE.area()];
        (prediction[7], valid[7]) = (f32::NAN, false);
        let mut scorer = scorer("depth");
        let frame = DepthFrame { valid: Some(&valid), ..frame(&prediction, &target) };
        assert_eq!(scorer.add(&frame).unwrap().unwrap().rmse, 0.0);
        assert_eq!(scorer.result().unwrap().rows[0].pixels, SIZE.area() as u64 - 1);
    }

    #[test]
    fn predictions_that_are_no_numbers_are_an_error_with_the_frame() {
        let (mut prediction, target) = (vec![5.0; SIZE.area()], vec![5.0; SIZE.area()]);
        prediction[7] = f32::NAN;
        let error = scorer("depth").add(&frame(&prediction, &target)).unwrap_err();
        assert!(error.to_string().contains("`a`: 1 predicted"), "{error}");
        assert!(scorer("depth").add(&frame(&prediction[1..], &target)).is_err());
    }

    #[test]
    fn nothing_to_score_is_an_error_that_speaks_of_the_unit() {
        let millimetres = vec![2000.0; SIZE.area()];
        let mut scorer = scorer("nyuv2-depth");
        assert_eq!(scorer.add(&frame(&millimetres, &millimetres)).unwrap(), None);
        let error = scorer.result().unwrap_err();
        assert!(error.to_string().contains("divisor"), "{error}");
    }

    #[test]
    fn the_published_average_is_over_batches() {
        let size = Size::new(1, 1);
        let mut scorer = scorer("reference-depth");
        // 96 exact images, then one that is off by 3 m: the second batch.
        for index in 0..97 {
            let prediction = if index < 96 { [2.0] } else { [5.0] };
            let frame =
                DepthFrame { id: "a", size, prediction: &prediction, target: &[2.0], valid: None };
            scorer.add(&frame).unwrap();
        }
        let result = scorer.result().unwrap();
        assert_eq!(result.rows.len(), 1);
        assert!((result.rows[0].scores.rmse - 1.5).abs() < 1e-12);
        assert!((result.rows[0].scores.delta_1 - 0.5).abs() < 1e-12);
    }
}
