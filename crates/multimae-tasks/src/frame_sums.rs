//! The sums behind the scores of a set, frame by frame, from which scores of other draws of its frames
//! follow.
//!
//! Scores over all pixels of a set are no means over its frames: a mean IoU is a quotient of counts that
//! are summed over frames first. Resampling has to draw frames, sum, and compute the score then.

use multimae::metrics::{DepthMetrics, DepthScores, SemsegMetrics};
use serde::{Deserialize, Serialize};

/// The sums of one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameSum<T> {
    /// The frame's name.
    pub id: String,
    /// Its sums.
    pub sum: T,
}

/// The sums of a set's frames, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", content = "frames", rename_all = "snake_case")]
pub enum FrameSums {
    /// Of depth, averaged over all pixels.
    Depth(Vec<FrameSum<DepthMetrics>>),
    /// Of labels.
    Labels(Vec<FrameSum<SemsegMetrics>>),
}

impl FrameSums {
    /// The names of the frames.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        match self {
            Self::Depth(frames) => frames.iter().map(|frame| frame.id.as_str()).collect(),
            Self::Labels(frames) => frames.iter().map(|frame| frame.id.as_str()).collect(),
        }
    }

    /// A score of a draw in which every frame occurs as often as `times` says, by the name that results
    /// have for it. `None` if there is no such score, or no pixel of the draw counts.
    ///
    /// The mean IoU is over the classes that pixels of the draw are labelled with, which are the same for
    /// all models; one that is only predicted does not count.
    ///
    /// # Panics
    /// If `times` is not of as many frames.
    #[must_use]
    pub fn score(&self, name: &str, times: &[u32]) -> Option<f64> {
        match self {
            Self::Depth(frames) => {
                let mut all = DepthMetrics::default();
                drawn(frames, times, |sum, count| all.merge_times(sum, count));
                let values = all.scores()?.values();
                let place = DepthScores::NAMES.iter().position(|own| *own == name)?;
                values.get(place).copied()
            }
            Self::Labels(frames) => {
                let mut all = frames.first()?.sum.cleared();
                drawn(frames, times, |sum, count| all.merge_times(sum, count));
                match name {
                    "miou" => all.miou_of_labelled(),
                    "pixel_acc" => Some(all.scores()?.pixel_acc),
                    "mean_acc" => Some(all.scores()?.mean_acc),
                    _ => None,
                }
            }
        }
    }
}

fn drawn<'a, T: 'a>(frames: &'a [FrameSum<T>], times: &[u32], mut merge: impl FnMut(&'a T, u32)) {
    assert_eq!(frames.len(), times.len(), "a draw of another set");
    for (frame, &count) in frames.iter().zip(times).filter(|(_, count)| **count > 0) {
        merge(&frame.sum, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(predictions: &[&[f32]]) -> FrameSums {
        let frame = |(index, prediction): (usize, &&[f32])| {
            let mut sum = DepthMetrics::default();
            sum.add(prediction, &vec![2.0; prediction.len()], &vec![true; prediction.len()]);
            FrameSum { id: index.to_string(), sum }
        };
        FrameSums::Depth(predictions.iter().enumerate().map(frame).collect())
    }

    #[test]
    fn a_draw_is_a_set_in_which_frames_repeat() {
        let sums = depth(&[&[3.0], &[2.0, 5.0], &[2.5]]);
        let repeated = depth(&[&[3.0], &[2.0, 5.0], &[2.0, 5.0]]);
        for name in ["rmse", "rel", "delta_1"] {
            assert_eq!(sums.score(name, &[1, 2, 0]), repeated.score(name, &[1; 3]));
        }
        // One error of 1 m, two of 3 m, two of nothing.
        assert_eq!(sums.score("rmse", &[1, 2, 0]), Some((19.0_f64 / 5.0).sqrt()));
        assert_eq!(sums.score("rmse", &[0; 3]), None);
        assert_eq!(sums.score("miou", &[1; 3]), None);
        assert_eq!(sums.ids(), ["0", "1", "2"]);
    }

    #[test]
    fn counts_are_summed_before_the_quotient() {
        let frame = |id: &str, prediction: &[i64], target: &[i64]| {
            let mut sum = SemsegMetrics::new(4, 255);
            sum.add(prediction, target);
            FrameSum { id: id.to_owned(), sum }
        };
        // Class 0: 1 of 2 and 2 of 2; class 1 is labelled in the second alone; class 3 is only predicted.
        let sums = FrameSums::Labels(vec![
            frame("a", &[0, 3], &[0, 0]),
            frame("b", &[0, 0, 1, 0], &[0, 0, 1, 1]),
        ]);
        let expected = (3.0 / 5.0 + 1.0 / 2.0) / 2.0;
        assert!((sums.score("miou", &[1, 1]).unwrap() - expected).abs() < 1e-12);
        assert!((sums.score("miou", &[2, 0]).unwrap() - 0.5).abs() < 1e-12);
        assert!((sums.score("pixel_acc", &[1, 2]).unwrap() - 7.0 / 10.0).abs() < 1e-12);
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(serde_json::from_str::<FrameSums>(&text).unwrap(), sums);
    }
}
