//! A class per pixel.

mod label_names;
mod label_sets;
mod pictures;
mod report;
mod scorer;

use std::ops::RangeInclusive;
use std::sync::Arc;

use multimae::losses::SupervisedLoss;
use multimae::modality::Size;
use multimae_data::encode::{label_png, npy, palette_png};
use multimae_data::labels::LabelRule;
use multimae_data::{Encoding, Quantity, Values};
use multimae_report::Palette;
use multimae_report::colormap::ValueRange;
use multimae_report::palette::VOID;
use multimae_report::picture::{Picture, palette_legend};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{fields, log_shares, not_fitting};
use crate::classes::palette;
use crate::kind::{BuildContext, Built, Score, TaskKind};
use crate::maps::Maps;
use crate::overlay::label_overlay;
use crate::{
    AnnotationBatch, ClassInfo, Constant, DecodingStep, Error, EvaluationView, HeadOutput,
    Protocol, Result, ScoreRules, Target, Task, TaskPrediction,
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
    /// The values that files store for the classes, in their order; empty where the offset says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<i64>,
}

impl Labels {
    /// Names and colours of the classes.
    #[must_use]
    pub fn palette(&self) -> Palette {
        Palette::new(self.classes.iter().map(|class| (class.name.clone(), class.color)).collect())
    }

    /// The value that files store for a class, so that files look like the annotations that the
    /// model was trained on.
    fn stored(&self, class: i64) -> i64 {
        let listed = usize::try_from(class).ok().and_then(|class| self.values.get(class));
        listed.copied().unwrap_or(class - self.offset)
    }

    /// The stored values of all classes.
    fn stored_values(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.classes.len() as i64).map(|class| self.stored(class))
    }

    /// Checks that files can hold what is predicted: better said before training than after it.
    fn check_files(&self) -> Result<(), String> {
        match self.stored_values().find(|value| u16::try_from(*value).is_err()) {
            None => Ok(()),
            Some(value) => Err(format!(
                "the stored value {value} of a class does not fit into the files that predictions \
                 are written to, which hold 0 to {}; correct `classes`, `offset` or `values`, or \
                 convert the annotations",
                u16::MAX
            )),
        }
    }

    /// Whether all stored values fit into 8 bits.
    fn in_8_bits(&self) -> bool {
        self.stored_values().all(|value| u8::try_from(value).is_ok())
    }

    /// The colours of stored values of 8 bits.
    fn stored_colors(&self) -> Vec<[u8; 3]> {
        let values = self.stored_values().filter_map(|value| usize::try_from(value).ok());
        let mut colors = vec![VOID; values.max().map_or(0, |value| value + 1)];
        for (value, class) in self.stored_values().zip(&self.classes) {
            if let Some(color) = usize::try_from(value).ok().and_then(|at| colors.get_mut(at)) {
                *color = class.color;
            }
        }
        colors
    }
}

fn build(context: &BuildContext<'_>) -> Result<Built> {
    let modality = context.modality()?;
    let Encoding::Labels { classes, offset, values, .. } = &modality.data.encoding else {
        return Err(context.problem("its annotations are no labels; set `classes` of the modality"));
    };
    let palette = palette(modality);
    let class = |label: usize| ClassInfo {
        name: palette.name(label as i64).to_owned(),
        color: palette.color(label as i64),
    };
    // Without an ignored value, the padding of images is still to be left out.
    let ignore = LabelRule::of(&modality.data.encoding).and_then(|rule| rule.void());
    let task = Labels {
        classes: (0..*classes).map(class).collect(),
        ignore: ignore.unwrap_or(-1),
        offset: *offset,
        values: values.clone(),
    };
    task.check_files().map_err(|problem| context.problem(&problem))?;
    Ok(Built {
        task: Arc::new(task),
        loss: SupervisedLoss::CrossEntropy { label_smoothing: context.recipe.smoothing, ignore },
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
        let mut api = json!({"shown": "classes", "classes": self.classes, "offset": self.offset});
        if !self.values.is_empty() {
            api["values"] = json!(self.values);
        }
        api
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
    fn decoding(&self) -> Vec<DecodingStep> {
        let scored = self.classes.len();
        let mut steps = vec![DecodingStep::Channels(scored)];
        if let Ok(label) = usize::try_from(self.ignore)
            && label < scored
        {
            let mut shift = vec![0.0_f32; scored];
            shift[label] = UNLIKELY;
            steps.push(DecodingStep::Affine { scale: vec![1.0; scored], shift });
        }
        steps
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

    fn stored_as(&self, _extension: &str) -> Value {
        match self.values.as_slice() {
            [] => json!({"kind": "labels", "classes": self.classes.len(), "offset": self.offset}),
            values => json!({"kind": "labels", "values": values}),
        }
    }

    /// PNG and `.npy` with the values of the annotations: a palette and uint8, or 16-bit grey and
    /// uint16 where a value is above 255.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>> {
        let TaskPrediction::Labels(labels) = prediction else {
            return Err(not_fitting(self.kind(), extension, prediction));
        };
        let stored: Vec<i64> = labels.iter().map(|&label| self.stored(label)).collect();
        match (extension, self.in_8_bits()) {
            ("png", true) => Ok(palette_png(&stored, size, &self.stored_colors())?),
            ("png", false) => Ok(label_png(&stored, size)?),
            ("npy", true) => Ok(npy(&narrow::<u8>(&stored)?, &[size.0, size.1])?),
            ("npy", false) => Ok(npy(&narrow::<u16>(&stored)?, &[size.0, size.1])?),
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

/// Stored labels in a narrower type.
fn narrow<T: TryFrom<i64>>(stored: &[i64]) -> Result<Vec<T>> {
    let value = |&label: &i64| {
        let outside = || Error::Prediction(format!("label {label} does not fit into a file"));
        T::try_from(label).map_err(|_| outside())
    };
    stored.iter().map(value).collect()
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
    use multimae::burn::tensor::{Device, Tensor};
    use multimae::output_adapters::Prediction;

    use super::*;

    fn class(i: u8) -> ClassInfo {
        ClassInfo { name: format!("class {i}"), color: [i; 3] }
    }

    #[test]
    fn an_ignored_class_is_never_predicted() {
        let logits = Tensor::<4>::ones([1, 3, 1, 1], &Device::default());
        let classes = (0..3).map(class).collect();
        let task = Labels { classes, ignore: 0, offset: 0, values: Vec::new() };
        let Some(Prediction::Maps(logits)) = task.decode(Prediction::Maps(logits)) else {
            panic!()
        };
        let logits: Vec<f32> = logits.into_data().iter().collect();
        assert!(logits[0] < -1e8 && logits[1..] == [1.0, 1.0]);
    }

    #[test]
    fn stored_values_are_those_of_the_annotations() {
        let task = |offset, values: &[i64]| Labels {
            classes: vec![class(1), class(2)],
            ignore: 255,
            offset,
            values: values.to_vec(),
        };
        assert_eq!(task(-1, &[]).stored_colors(), [VOID, [1; 3], [2; 3]]);
        assert_eq!(task(0, &[]).stored_colors(), [[1; 3], [2; 3]]);
        assert_eq!(task(0, &[3, 1]).stored_colors(), [VOID, [2; 3], VOID, [1; 3]]);
        let mask = task(0, &[0, 255]);
        let npy = mask.encode(&TaskPrediction::Labels(vec![0, 1]), (1, 2), "npy").unwrap();
        assert_eq!(npy[npy.len() - 2..], [0, 255]);
        assert!(task(0, &[0, 65535]).check_files().is_ok());
        for task in [task(3, &[]), task(0, &[0, 65536]), task(0, &[-1, 0])] {
            assert!(task.check_files().unwrap_err().contains("`values`"));
        }
    }

    #[test]
    fn more_than_256_classes_are_written_in_16_bits() {
        let classes = (0..300).map(|i| class((i % 256) as u8)).collect();
        let task = Labels { classes, ignore: -1, offset: 0, values: Vec::new() };
        let labels = TaskPrediction::Labels(vec![0, 255, 299]);
        let npy = task.encode(&labels, (1, 3), "npy").unwrap();
        assert_eq!(npy[npy.len() - 6..], [0, 0, 255, 0, 43, 1]);
        let png = task.encode(&labels, (1, 3), "png").unwrap();
        // Bit depth 16, grey.
        assert_eq!(png[24..26], [16, 0]);
    }
}
