//! Scoring labels, frame by frame.

use multimae::metrics::{SemsegMetrics, SemsegScores};
use multimae::modality::Size;
use multimae_report::palette::Palette;
use serde::{Deserialize, Serialize};

use super::label_names::LabelNames;
use super::label_sets::{LabelMap, LabelSet, VOID};
use crate::{Error, FrameSum, Result};

/// The rules of scoring labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemsegProtocol {
    /// Each is scored by itself.
    pub label_sets: Vec<LabelSet>,
    /// Whether label sets that the model's classes do not map to are left out.
    pub fitting_only: bool,
}

/// Predicted and true labels of one frame, both in the model's labels.
#[derive(Debug, Clone, Copy)]
pub struct SemsegFrame<'a> {
    /// The frame's name, for messages.
    pub id: &'a str,
    /// The frame's size.
    pub size: Size,
    /// `(H, W)`.
    pub prediction: &'a [i64],
    /// `(H, W)`.
    pub target: &'a [i64],
}

/// The scores of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SemsegImage {
    /// The frame's name.
    pub id: String,
    /// Labelled pixels.
    pub pixels: u64,
    /// Mean IoU over the classes of the image, in the first label set; `None` if all is void.
    pub miou: Option<f64>,
    /// Share of labelled pixels that are right.
    pub pixel_acc: Option<f64>,
}

/// One class of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Intersection over union; `None` where neither predictions nor labels have the class.
    pub iou: Option<f64>,
    /// Share of its pixels that are right; `None` where the labels do not have it.
    pub accuracy: Option<f64>,
    /// Its share of the labelled pixels.
    pub share: f64,
}

/// The scores of a set in one label set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SemsegRow {
    /// The classes.
    pub label_set: LabelSet,
    /// Mean of the classes' IoU, over those that occur.
    pub miou: f64,
    /// Share of labelled pixels that are right.
    pub pixel_acc: f64,
    /// Mean of the classes' accuracy, over those that are labelled.
    pub mean_acc: f64,
    /// Labelled pixels.
    pub pixels: u64,
    /// In the order of the labels.
    pub classes: Vec<ClassScore>,
}

/// The scores of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SemsegResult {
    /// One per label set.
    pub rows: Vec<SemsegRow>,
    /// In the order they came.
    pub images: Vec<SemsegImage>,
}

/// Counts over the frames of a set, as a protocol wants them.
#[derive(Debug, Clone)]
pub struct SemsegScorer {
    labels: LabelNames,
    counts: Vec<(LabelSet, LabelMap, SemsegMetrics)>,
    images: Vec<SemsegImage>,
    /// In the first label set.
    frames: Vec<FrameSum<SemsegMetrics>>,
}

impl SemsegScorer {
    /// Nothing yet.
    ///
    /// # Errors
    /// If the labels do not fit the protocol.
    pub fn new(protocol: &SemsegProtocol, labels: &LabelNames) -> Result<Self> {
        let maps: Vec<(LabelSet, Result<LabelMap>)> =
            protocol.label_sets.iter().map(|&set| (set, set.map(labels))).collect();
        let any = maps.iter().any(|(_, map)| map.is_ok());
        let kept = |map: &Result<LabelMap>| map.is_ok() || !(protocol.fitting_only && any);
        let counts = maps
            .into_iter()
            .filter(|(_, map)| kept(map))
            .map(|(set, map)| {
                let map = map?;
                let metrics = SemsegMetrics::new(map.classes, VOID);
                Ok((set, map, metrics))
            })
            .collect::<Result<_>>()?;
        Ok(Self { labels: labels.clone(), counts, images: Vec::new(), frames: Vec::new() })
    }

    /// The label sets that are scored.
    pub fn label_sets(&self) -> impl Iterator<Item = LabelSet> + '_ {
        self.counts.iter().map(|(set, ..)| *set)
    }

    /// Adds a frame. Its scores in the first label set.
    ///
    /// # Errors
    /// If its arrays do not have its size.
    pub fn add(&mut self, frame: &SemsegFrame<'_>) -> Result<Option<SemsegScores>> {
        let lens = [frame.prediction.len(), frame.target.len()];
        if lens != [frame.size.area(); 2] {
            return Err(Error::Evaluation(format!(
                "frame `{}`: prediction and target have {lens:?} values, not those of {}",
                frame.id, frame.size
            )));
        }
        let mut first = None;
        for (_, map, metrics) in &mut self.counts {
            let mut image = SemsegMetrics::new(map.classes, VOID);
            image.add(&map.classes_of(frame.prediction), &map.classes_of(frame.target));
            metrics.merge(&image);
            first.get_or_insert(image);
        }
        let scores = first.as_ref().and_then(SemsegMetrics::scores);
        self.images.push(SemsegImage {
            id: frame.id.to_owned(),
            pixels: first.as_ref().map_or(0, |image| image.labelled().iter().sum()),
            miou: scores.as_ref().map(|scores| scores.miou),
            pixel_acc: scores.as_ref().map(|scores| scores.pixel_acc),
        });
        self.frames.extend(first.map(|sum| FrameSum { id: frame.id.to_owned(), sum }));
        Ok(scores)
    }

    /// The counts of every frame in the first label set.
    #[must_use]
    pub fn frame_sums(&self) -> Vec<FrameSum<SemsegMetrics>> {
        self.frames.clone()
    }

    /// Target and prediction in the classes of the first label set.
    #[must_use]
    pub fn drawn(&self, target: &[i64], prediction: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let classes = |labels: &[i64]| {
            let first = self.counts.first();
            first.map_or_else(Vec::new, |(_, map, _)| map.classes_of(labels))
        };
        (classes(target), classes(prediction))
    }

    /// Names and colours of the first label set.
    #[must_use]
    pub fn palette(&self) -> Option<Palette> {
        self.label_sets().next().map(|set| set.palette(&self.labels))
    }

    /// The scores of all frames so far.
    ///
    /// # Errors
    /// If no pixel is labelled.
    pub fn result(&self) -> Result<SemsegResult> {
        let row = |(set, _, metrics): &(LabelSet, LabelMap, SemsegMetrics)| {
            let scores = metrics.scores().ok_or_else(|| {
                Error::Evaluation(format!(
                    "no pixel of {} images has a valid label; check `ignore` and `offset` of \
                     the labels",
                    self.images.len()
                ))
            })?;
            Ok(self.row(*set, metrics.labelled(), scores))
        };
        let rows = self.counts.iter().map(row).collect::<Result<_>>()?;
        Ok(SemsegResult { rows, images: self.images.clone() })
    }

    fn row(&self, label_set: LabelSet, labelled: &[u64], scores: SemsegScores) -> SemsegRow {
        let pixels: u64 = labelled.iter().sum();
        let palette = label_set.palette(&self.labels);
        let class = |(index, &count): (usize, &u64)| ClassScore {
            name: palette.name(index as i64).to_owned(),
            iou: scores.iou[index],
            accuracy: scores.class_acc[index],
            share: count as f64 / pixels.max(1) as f64,
        };
        SemsegRow {
            label_set,
            miou: scores.miou,
            pixel_acc: scores.pixel_acc,
            mean_acc: scores.mean_acc,
            pixels,
            classes: labelled.iter().enumerate().map(class).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scorer(name: &str, labels: &LabelNames) -> Result<SemsegScorer> {
        let protocol = crate::Protocol::named(name).unwrap().remove(0);
        SemsegScorer::new(&serde_json::from_value(protocol.rules.fields()).unwrap(), labels)
    }

    fn zero_void() -> LabelNames {
        LabelNames { palette: Palette::nyu40(), ignore: Some(0), offset: 0 }
    }

    fn frame<'a>(prediction: &'a [i64], target: &'a [i64]) -> SemsegFrame<'a> {
        SemsegFrame { id: "a", size: Size::new(1, target.len()), prediction, target }
    }

    #[test]
    fn forty_and_thirteen_classes_by_hand() {
        // wall, wall, door, cabinet, void; a door predicted as wall is right among 13 classes.
        let (target, prediction) = ([1, 1, 8, 3, 0], [1, 3, 1, 3, 1]);
        let mut scorer = scorer("nyuv2-semseg", &zero_void()).unwrap();
        let of_image = scorer.add(&frame(&prediction, &target)).unwrap().unwrap();
        let result = scorer.result().unwrap();
        let [forty, thirteen] = &result.rows[..] else { panic!("two label sets") };
        // wall 1 / 3, cabinet 1 / 2, door 0 / 1.
        assert!((forty.miou - (1.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!((forty.pixel_acc, forty.mean_acc, forty.pixels), (0.5, 0.5, 4));
        assert_eq!(forty.classes[0].name, "wall");
        assert_eq!(forty.classes[0].share, 0.5);
        assert_eq!(forty.classes[7].iou, Some(0.0));
        assert_eq!(forty.classes[4].iou, None);
        // wall 2 / 3, furniture 1 / 2.
        assert!((thirteen.miou - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(thirteen.pixel_acc, 0.75);
        assert_eq!(thirteen.classes[11].name, "wall");
        assert_eq!(of_image.miou, forty.miou);
        assert_eq!(result.images[0].miou, Some(forty.miou));
    }

    #[test]
    fn thirteen_classes_alone_are_scored_alone() {
        let labels = LabelNames { palette: Palette::generated(13), ignore: Some(255), offset: 0 };
        let mut thirteen = scorer("nyuv2-semseg", &labels).unwrap();
        thirteen.add(&frame(&[0, 1], &[0, 1])).unwrap();
        let result = thirteen.result().unwrap();
        assert_eq!(result.rows.len(), 1);
        assert_eq!((result.rows[0].label_set, result.rows[0].miou), (LabelSet::Nyu13, 1.0));
        let labels = LabelNames { palette: Palette::generated(6), ..labels };
        assert!(scorer("nyuv2-semseg", &labels).is_err());
        assert!(scorer("semseg", &labels).is_ok());
    }

    #[test]
    fn a_set_without_labels_is_an_error() {
        let mut scorer = scorer("nyuv2-semseg", &zero_void()).unwrap();
        assert_eq!(scorer.add(&frame(&[1, 2], &[0, 0])).unwrap(), None);
        assert!(scorer.result().unwrap_err().to_string().contains("`ignore`"));
        assert!(scorer.add(&frame(&[1], &[0, 0])).is_err());
    }

    proptest! {
        #[test]
        fn the_order_of_frames_does_not_matter(
            frames in prop::collection::vec(prop::collection::vec((0_i64..41, 1_i64..41), 1..20), 1..6),
        ) {
            let result = |reverse: bool| {
                let mut scorer = scorer("nyuv2-semseg", &zero_void()).unwrap();
                let mut frames: Vec<_> = frames.iter().collect();
                if reverse { frames.reverse(); }
                for pixels in frames {
                    let (target, prediction): (Vec<i64>, Vec<i64>) = pixels.iter().copied().unzip();
                    scorer.add(&frame(&prediction, &target)).unwrap();
                }
                scorer.result().ok().map(|result| result.rows)
            };
            prop_assert_eq!(result(false), result(true));
        }

        #[test]
        fn right_predictions_score_one(target in prop::collection::vec(1_i64..41, 1..60)) {
            let mut scorer = scorer("nyuv2-semseg", &zero_void()).unwrap();
            scorer.add(&frame(&target, &target)).unwrap();
            for row in scorer.result().unwrap().rows {
                prop_assert_eq!((row.miou, row.pixel_acc, row.mean_acc), (1.0, 1.0, 1.0));
            }
        }

        #[test]
        fn one_class_everywhere_scores_its_share(
            target in prop::collection::vec(1_i64..41, 1..60),
        ) {
            let mut scorer = scorer("semseg", &zero_void()).unwrap();
            scorer.add(&frame(&vec![target[0]; target.len()], &target)).unwrap();
            let row = scorer.result().unwrap().rows.remove(0);
            let share = target.iter().filter(|&&t| t == target[0]).count() as f64 / target.len() as f64;
            let present = target.iter().collect::<std::collections::HashSet<_>>().len() as f64;
            prop_assert!((row.pixel_acc - share).abs() < 1e-12);
            prop_assert!((row.miou - share / present).abs() < 1e-12);
            prop_assert!((row.mean_acc - 1.0 / present).abs() < 1e-12);
        }
    }
}
