//! The modalities of a recipe, over the defaults of the usual ones.

use indexmap::IndexMap;
use multimae::losses::ReconstructionLoss;
use multimae::modality::{DEFAULT_DIM_CLASS_EMB, Modality, ModalityKind};
use multimae_data::{DataModality, Encoding, IMAGENET_MEAN, IMAGENET_STD, Interpolation, Quantity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::RecipeValue;
use crate::{Error, Result};

/// Classes of the COCO panoptic pseudo labels that the published models are pre-trained on.
pub const COCO_CLASSES: usize = 133;
/// The published divisor of 16-bit depth.
const DEPTH_DIVISOR: f32 = 65536.0;
/// Normalisation of RGB other than ImageNet's.
const INCEPTION: [f32; 3] = [0.5; 3];

/// The kind of a modality's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 8-bit RGB images.
    Color,
    /// Numbers: 8- or 16-bit images or `.npy`.
    Continuous,
    /// Class ids: 8- or 16-bit images or `.npy`.
    Labels,
}

/// The loss between prediction and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Squared error.
    Mse,
    /// Absolute error.
    L1,
    /// Softmax cross-entropy.
    CrossEntropy,
}

/// One entry under `modalities:`. Absent keys keep their usual values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModalityRecipe {
    /// Folder of its files; its name unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// color | continuous | labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Channels of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Number of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// The modality is brought to 1 / stride of the image size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// A label whose pixels do not count in the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<i64>,
    /// Added to every stored label but the ignored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Width of the class embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dim_class_emb: Option<usize>,
    /// Stored numbers are divided by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<f32>,
    /// Subtracted from the numbers, per channel, after the division.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// The numbers are divided by it, per channel, after the mean is subtracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// bicubic | bilinear | nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// Robust standardisation per sample over the values between the 10th and 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standardize: Option<bool>,
    /// mse | l1 | `cross_entropy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossName>,
    /// Colours and names of the classes: nyu40 | nyu13 | coco133.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub palette: Option<String>,
    /// Unit of the numbers in pictures, e.g. m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// plain | distance | direction: the quantity, which decides what zooming and mirroring do to
    /// the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// The kind of task that predicts it in fine-tuning: depth | labels | values | normals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// The entries under `modalities:`, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Modalities(pub IndexMap<String, ModalityRecipe>);

impl RecipeValue for Modalities {
    fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(entries) = value else {
            return match value {
                Value::Null => Ok(Self::default()),
                _ => Err(format!("{value} is not {}", Self::kind())),
            };
        };
        let entry = |(name, value): (&String, &Value)| {
            ModalityRecipe::deserialize(value)
                .map(|entry| (name.clone(), entry))
                .map_err(|problem| format!("modality `{name}`: {problem}"))
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    fn kind() -> String {
        "a map from names to properties".to_owned()
    }
}

/// Everything that a run needs to know of a modality.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskModality {
    /// The storage of its files.
    pub data: DataModality,
    /// The model's view of it.
    pub model: Modality,
    /// The loss of its decoder.
    pub loss: ReconstructionLoss,
    /// Colours and names of its classes, if given.
    pub palette: Option<String>,
    /// Unit of its numbers, if given.
    pub unit: Option<String>,
    /// The kind of task that predicts it, if given.
    pub task: Option<String>,
}

/// The keys outside `modalities:` that concern them.
#[derive(Debug, Clone, Copy)]
pub struct ModalityDefaults {
    /// ImageNet's normalisation of RGB, not Inception's.
    pub imagenet_normalisation: bool,
    /// Robust standardisation of depth.
    pub standardize_depth: bool,
}

impl Modalities {
    /// A modality with the recipe's properties over its usual ones.
    ///
    /// # Errors
    /// If the properties do not fit together, or too little is known.
    pub fn resolve(&self, name: &str, defaults: ModalityDefaults) -> Result<TaskModality> {
        self.resolve_over(name, usual(name, defaults))
    }

    /// A modality with the recipe's properties over these.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_over(&self, name: &str, usual: ModalityRecipe) -> Result<TaskModality> {
        let entry = self.0.get(name).cloned().unwrap_or_default().over(usual);
        let problem = |problem: String| Error::Recipe(format!("modality `{name}`: {problem}"));
        let kind = entry.kind.unwrap_or(match (entry.classes, entry.channels) {
            (Some(_), None) => Kind::Labels,
            _ => Kind::Continuous,
        });
        let stride = entry.stride.unwrap_or(if kind == Kind::Labels { 4 } else { 1 });
        let (encoding, model_kind, loss) = match kind {
            Kind::Labels => entry.labels(),
            Kind::Color => entry.color(),
            Kind::Continuous => entry.continuous(),
        }
        .map_err(problem)?;
        let data = DataModality {
            name: name.to_owned(),
            folder: entry.folder.unwrap_or_else(|| name.to_owned()),
            encoding,
            stride,
        };
        data.check()?;
        let model = Modality { name: name.to_owned(), stride, kind: model_kind };
        Ok(TaskModality {
            data,
            model,
            loss,
            palette: entry.palette,
            unit: entry.unit,
            task: entry.task,
        })
    }
}

/// The published properties of the usual modalities.
pub fn usual(name: &str, defaults: ModalityDefaults) -> ModalityRecipe {
    match name {
        "rgb" => {
            let (mean, std) = if defaults.imagenet_normalisation {
                (IMAGENET_MEAN, IMAGENET_STD)
            } else {
                (INCEPTION, INCEPTION)
            };
            ModalityRecipe {
                kind: Some(Kind::Color),
                mean: Some(mean.to_vec()),
                std: Some(std.to_vec()),
                loss: Some(LossName::Mse),
                ..ModalityRecipe::default()
            }
        }
        "depth" => ModalityRecipe {
            kind: Some(Kind::Continuous),
            channels: Some(1),
            divisor: Some(DEPTH_DIVISOR),
            standardize: Some(defaults.standardize_depth),
            ..ModalityRecipe::default()
        },
        "semseg" => ModalityRecipe {
            kind: Some(Kind::Labels),
            classes: Some(COCO_CLASSES),
            ..ModalityRecipe::default()
        },
        _ => ModalityRecipe::default(),
    }
}

impl ModalityRecipe {
    fn over(self, usual: Self) -> Self {
        Self {
            folder: self.folder.or(usual.folder),
            kind: self.kind.or(usual.kind),
            channels: self.channels.or(usual.channels),
            classes: self.classes.or(usual.classes),
            stride: self.stride.or(usual.stride),
            ignore: self.ignore.or(usual.ignore),
            offset: self.offset.or(usual.offset),
            dim_class_emb: self.dim_class_emb.or(usual.dim_class_emb),
            divisor: self.divisor.or(usual.divisor),
            mean: self.mean.or(usual.mean),
            std: self.std.or(usual.std),
            interpolation: self.interpolation.or(usual.interpolation),
            standardize: self.standardize.or(usual.standardize),
            loss: self.loss.or(usual.loss),
            palette: self.palette.or(usual.palette),
            unit: self.unit.or(usual.unit),
            quantity: self.quantity.or(usual.quantity),
            task: self.task.or(usual.task),
        }
    }

    fn labels(&self) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
        let classes = self.classes.ok_or("say how many `classes` it has")?;
        if !matches!(self.loss, None | Some(LossName::CrossEntropy)) {
            return Err("labels are learned with `loss: cross_entropy`".to_owned());
        }
        let ignore = match self.ignore {
            Some(label) => Some(usize::try_from(label).map_err(|_| "`ignore` is negative")?),
            None => None,
        };
        let encoding =
            Encoding::Labels { classes, ignore: self.ignore, offset: self.offset.unwrap_or(0) };
        let kind = ModalityKind::Categorical {
            classes,
            dim_class_emb: self.dim_class_emb.unwrap_or(DEFAULT_DIM_CLASS_EMB),
            // A label that is ignored and is no class is an input all the same.
            padding: ignore.is_some_and(|label| label >= classes),
        };
        Ok((encoding, kind, ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore }))
    }

    fn color(&self) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
        if !matches!(self.channels, None | Some(3)) {
            return Err("colour images have 3 channels".to_owned());
        }
        let three = |what: &str, values: &Option<Vec<f32>>, otherwise: f32| match values.as_deref()
        {
            None => Ok([otherwise; 3]),
            Some(values) => <[f32; 3]>::try_from(values)
                .map_err(|_| format!("`{what}` needs 3 numbers, one per channel")),
        };
        let encoding = Encoding::Color {
            mean: three("mean", &self.mean, 0.0)?,
            std: three("std", &self.std, 1.0)?,
        };
        Ok((encoding, ModalityKind::Continuous { channels: 3 }, self.continuous_loss()?))
    }

    fn continuous(&self) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
        let channels = self.channels.ok_or(
            "it is not known; say how many `channels` (numbers) or `classes` (labels) it has",
        )?;
        let encoding = Encoding::Continuous {
            channels,
            divisor: self.divisor.unwrap_or(1.0),
            mean: self.mean.clone().unwrap_or_default(),
            std: self.std.clone().unwrap_or_default(),
            interpolation: self.interpolation.unwrap_or(Interpolation::Bicubic),
            standardize: self.standardize.unwrap_or(false),
            quantity: self.quantity.unwrap_or_default(),
        };
        Ok((encoding, ModalityKind::Continuous { channels }, self.continuous_loss()?))
    }

    fn continuous_loss(&self) -> Result<ReconstructionLoss, String> {
        match self.loss.unwrap_or(LossName::L1) {
            LossName::Mse => Ok(ReconstructionLoss::Mse { norm_pix: false }),
            LossName::L1 => Ok(ReconstructionLoss::L1 { norm_pix: false }),
            LossName::CrossEntropy => {
                Err("numbers are learned with `loss: l1` or `mse`".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEFAULTS: ModalityDefaults =
        ModalityDefaults { imagenet_normalisation: true, standardize_depth: true };

    fn resolve(modalities: &Value, name: &str) -> Result<TaskModality> {
        Modalities::read(modalities).unwrap().resolve(name, DEFAULTS)
    }

    #[test]
    fn usual_modalities_are_the_published_ones() {
        let rgb = resolve(&json!(null), "rgb").unwrap();
        assert_eq!(rgb.loss, ReconstructionLoss::Mse { norm_pix: false });
        assert_eq!(rgb.data.encoding, Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
        let depth = resolve(&json!(null), "depth").unwrap();
        assert_eq!(depth.loss, ReconstructionLoss::L1 { norm_pix: false });
        assert!(matches!(
            depth.data.encoding,
            Encoding::Continuous { divisor: 65536.0, standardize: true, channels: 1, .. }
        ));
        let semseg = resolve(&json!(null), "semseg").unwrap();
        assert_eq!(semseg.model, Modality::categorical("semseg", 133, 4));
    }

    #[test]
    fn a_new_modality_is_an_entry() {
        let entry = json!({ "normal": { "channels": 3, "divisor": 255, "loss": "l1" } });
        let normal = resolve(&entry, "normal").unwrap();
        assert_eq!(normal.model, Modality::continuous("normal", 3));
        assert_eq!(normal.data.folder, "normal");
        let error = resolve(&json!({}), "normal").unwrap_err().to_string();
        assert!(error.contains("channels"), "{error}");
    }

    #[test]
    fn entries_change_what_they_name() {
        let entry = json!({ "semseg": { "folder": "label40", "classes": 41, "ignore": 0 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert_eq!((semseg.data.folder.as_str(), semseg.data.stride), ("label40", 4));
        assert!(matches!(semseg.model.kind, ModalityKind::Categorical { padding: false, .. }));
        let entry = json!({ "semseg": { "classes": 40, "ignore": 255 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert!(matches!(semseg.model.kind, ModalityKind::Categorical { padding: true, .. }));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let misspelt = Modalities::read(&json!({ "depth": { "divider": 1000 } })).unwrap_err();
        assert!(misspelt.contains("divider") && misspelt.contains("divisor"), "{misspelt}");
        assert!(resolve(&json!({ "depth": { "loss": "cross_entropy" } }), "depth").is_err());
        assert!(resolve(&json!({ "semseg": { "loss": "l1" } }), "semseg").is_err());
        assert!(resolve(&json!({ "rgb": { "mean": [0.5] } }), "rgb").is_err());
    }
}
