//! A class per pixel.

mod label_names;
mod label_sets;
mod pictures;
mod report;
mod scorer;

use std::ops::RangeInclusive;
use std::sync::Arc;

use multimae::burn::tensor::Tensor;
use multimae::losses::SupervisedLoss;
use multimae::modality::Size;
use multimae::output_adapters::Prediction;
use multimae_data::encode::{npy, palette_png};
use multimae_data::{Encoding, Quantity, Values};
use multimae_report::Palette;
use multimae_report::colormap::ValueRange;
use multimae_report::palette::VOID;
use multimae_report::picture::{Picture, palette_legend};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, log_shares, not_fitting, per_channel};
use crate::classes::palette;
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::overlay::label_overlay;
use crate::{
    AnnotationBatch, ClassInfo, Constant, Error, EvaluationView, HeadOutput, Protocol, Result,
    ScoreRules, Target, Task, TaskPrediction,
};

pub use label_names::LabelNames;
pub use label_sets::{LabelMap, LabelSet, VOID as VOID_CLASS};
pub use scorer::{
    ClassScore, SemsegFrame, SemsegImage, SemsegProtocol, SemsegResult, SemsegRow, SemsegScorer,
};

/// Side of the published segmentation's images, in pixels.
const PUBLISHED_SIDE: usize = 640;
/// Far below every logit.
const UNLIKELY: f32 = -1e9;

/// The kind.
pub const KIND: TaskKind = TaskKind {
    name: "labels",
    about: "a class per pixel",
    read: |value| Ok(Arc::new(fields::<Labels>(value)?)),
    build,
    valid_range: |_| (f64::NEG_INFINITY, f64::INFINITY),
    quantity: Quantity::Plain,
    protocols,
    scores: &[Score::higher("miou"), Score::higher("mean_acc"), Score::higher("pixel_acc")],
};

/// A class per pixel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The classes, in the order of their logits. The head may have one output more, for void.
    pub classes: Vec<ClassInfo>,
    /// The label of pixels that do not count.
    pub ignore: i64,
    /// A class's index minus the value that files store for it.
    pub offset: i64,
}

impl Labels {
    /// Names and colours of the classes.
    #[must_use]
    pub fn palette(&self) -> Palette {
        Palette::new(self.classes.iter().map(|class| (class.name.clone(), class.color)).collect())
    }

    /// The colours of the values that files store for classes: index `i` is stored as
    /// `i - offset`, so that files look like the annotations that the model was trained on.
    fn stored_colors(&self) -> Result<Vec<[u8; 3]>> {
        let before = usize::try_from(-self.offset).map_err(|_| {
            Error::Prediction(format!(
                "labels with the offset {} have no values for the first classes",
                self.offset
            ))
        })?;
        let colors = self.classes.iter().map(|class| class.color);
        Ok(std::iter::repeat_n(VOID, before).chain(colors).collect())
    }
}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    let modality = context.modality()?;
    let Encoding::Labels { classes, ignore, offset } = &modality.data.encoding else {
        return Err(context.problem("its annotations are no labels; set `classes` of the modality"));
    };
    let palette = palette(modality);
    let class = |label: usize| ClassInfo {
        name: palette.name(label as i64).to_owned(),
        color: palette.color(label as i64),
    };
    let task = Labels {
        classes: (0..*classes).map(class).collect(),
        ignore: ignore.unwrap_or(-1),
        offset: *offset,
    };
    let ignored = ignore.and_then(|label| usize::try_from(label).ok());
    Ok(Built {
        task: Arc::new(task),
        loss: SupervisedLoss::CrossEntropy {
            label_smoothing: context.recipe.smoothing,
            ignore: ignored,
        },
        outputs: classes + usize::from(context.recipe.seg_use_void_label),
    })
}

impl Task for Labels {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn summary(&self) -> String {
        format!("{} classes of pixels", self.classes.len())
    }

    fn api(&self) -> Value {
        json!({"shown": "classes", "classes": self.classes, "offset": self.offset})
    }

    fn head_output(&self) -> HeadOutput {
        HeadOutput::Labels
    }

    /// One more for void.
    fn outputs(&self) -> RangeInclusive<usize> {
        self.classes.len()..=self.classes.len() + 1
    }

    fn classes(&self) -> &[ClassInfo] {
        &self.classes
    }

    fn ignored_label(&self) -> Option<i64> {
        Some(self.ignore)
    }

    fn label_offset(&self) -> i64 {
        self.offset
    }

    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target> {
        batch.labels(Some(self.ignore))
    }

    /// The logit of void is left out, that of an ignored class is far below the others: it was not
    /// learned.
    fn decode(&self, prediction: Prediction) -> Option<Prediction> {
        let Prediction::Maps(logits) = prediction else { return None };
        let scored = self.classes.len().min(logits.dims()[1]);
        let logits: Tensor<4> = logits.narrow(1, 0, scored);
        Some(Prediction::Maps(match usize::try_from(self.ignore) {
            Ok(label) if label < scored => {
                let mut shift = vec![0.0_f32; scored];
                shift[label] = UNLIKELY;
                let shift = per_channel(&shift, &logits);
                logits + shift
            }
            _ => logits,
        }))
    }

    fn at_frame_size(&self, maps: &Maps<'_>, size: Size) -> TaskPrediction {
        TaskPrediction::Labels(maps.largest(size))
    }

    /// Logarithms of the shares, one more for void where the head has it.
    fn constant(&self, constant: &Constant) -> Option<Vec<f32>> {
        log_shares(constant)
    }

    fn rules(&self) -> Arc<dyn ScoreRules> {
        Arc::new(SemsegProtocol { label_sets: vec![LabelSet::Own], fitting_only: false })
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png", "npy"]
    }

    /// Palette PNG and `.npy` (uint8) with the values of the annotations.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        let TaskPrediction::Labels(labels) = prediction else {
            return Err(not_fitting(self.kind(), extension, prediction));
        };
        let stored: Vec<i64> = labels.iter().map(|label| label - self.offset).collect();
        let colors = self.stored_colors()?;
        match extension {
            "png" => Ok(palette_png(&stored, size, &colors)?),
            "npy" if colors.len() <= 256 => {
                let bytes: Vec<u8> = stored.iter().map(|&label| label as u8).collect();
                Ok(npy(&bytes, &[size.0, size.1])?)
            }
            _ => Err(not_fitting(self.kind(), extension, prediction)),
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
        let Some(labels) = prediction.labels() else { return Ok(None) };
        label_overlay(frame, labels, &self.palette(), size).map(Some)
    }

    fn draw(&self, map: &Values, size: (usize, usize), _range: ValueRange) -> Result<Picture> {
        let Values::Labels(labels) = map else {
            return Err(Error::Prediction("labels are drawn from class ids".to_owned()));
        };
        Ok(Picture::from_labels(labels, size, &self.palette(), 1)?)
    }

    fn legend(
        &self,
        _name: &str,
        annotations: &[&Values],
        _range: ValueRange,
        width: usize,
    ) -> Option<Picture> {
        let labels = annotations.iter().filter_map(|values| match values {
            Values::Labels(labels) => Some(labels),
            Values::Continuous { .. } => None,
        });
        Some(palette_legend(&self.palette(), labels.flatten(), width))
    }
}

fn protocols() -> Vec<(Protocol, &'static str)> {
    let own = || SemsegProtocol { label_sets: vec![LabelSet::Own], fitting_only: false };
    let nyuv2 =
        SemsegProtocol { label_sets: vec![LabelSet::Nyu40, LabelSet::Nyu13], fitting_only: true };
    vec![
        (Protocol::native("nyuv2-semseg", nyuv2), "40 and 13 classes, void ignored, native size"),
        (Protocol::native("semseg", own()), "the model's own classes, native size"),
        (
            Protocol {
                view: EvaluationView::PaddedSquare { side: PUBLISHED_SIDE },
                ..Protocol::native("reference-semseg", own())
            },
            "as the published segmentation fine-tuning measures",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::Device;

    use super::*;

    fn class(i: u8) -> ClassInfo {
        ClassInfo { name: format!("class {i}"), color: [i; 3] }
    }

    #[test]
    fn an_ignored_class_is_never_predicted() {
        let logits = Tensor::<4>::ones([1, 3, 1, 1], &Device::default());
        let task = Labels { classes: (0..3).map(class).collect(), ignore: 0, offset: 0 };
        let Some(Prediction::Maps(logits)) = task.decode(Prediction::Maps(logits)) else {
            panic!()
        };
        let logits: Vec<f32> = logits.into_data().iter().collect();
        assert!(logits[0] < -1e8 && logits[1..] == [1.0, 1.0]);
    }

    #[test]
    fn stored_values_are_those_of_the_annotations() {
        let task = |offset| Labels { classes: vec![class(1), class(2)], ignore: 255, offset };
        assert_eq!(task(-1).stored_colors().unwrap(), [VOID, [1; 3], [2; 3]]);
        assert_eq!(task(0).stored_colors().unwrap(), [[1; 3], [2; 3]]);
        assert!(task(3).stored_colors().is_err());
    }
}
