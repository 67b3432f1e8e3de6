//! One entry under `modalities:`.

use multimae::losses::ReconstructionLoss;
use multimae::modality::{DEFAULT_DIM_CLASS_EMB, ModalityKind};
use multimae_data::labels::{ClassMap, LabelRule};
use multimae_data::{Encoding, Flip, Interpolation, Naming, Orientation, Quantity, Stored, Valid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes::{Classes, ClassesForm};

/// The kind of a modality's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Squared error.
    Mse,
    /// Absolute error.
    L1,
    /// Softmax cross-entropy.
    CrossEntropy,
}

/// The meaning of stored numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredAs {
    /// They stand for themselves, or count from `zero`.
    Numbers,
    /// Components of vectors of length 1.
    UnitVectors,
}

/// One entry under `modalities:`. Absent keys keep their usual values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModalityRecipe {
    /// Folder of its files; its name unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The beginning of its files' names that is no part of the sample's, e.g. `rgb_`. Modalities may
    /// then share a folder: files without it are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// The end of its files' names, likewise, before the extension (`_domain_rgb`) or with it
    /// (`.png`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_suffix: Option<String>,
    /// The column of its files in lists, from 1: lines are paths from the root of the data, or from
    /// its folder, and the first column names the sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// color | continuous | labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Channels of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Number of classes, or `{map: FILE}`: a file that says the class of each stored id or colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ClassesForm>")]
    pub classes: Option<Classes>,
    /// The modality is brought to 1 / stride of the image size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// A stored label whose pixels do not count, for example 255 or -1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<i64>,
    /// Added to every stored label but the ignored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The stored labels of the classes, in their order: [0, 255] for a mask of two classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<i64>>,
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
    /// apply | ignore: the EXIF orientation of its files. Applied, files are read as a viewer shows
    /// them, and the other files of a sample have to fit that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<Orientation>,
    /// all | quantity | a map as in {except: [0, saturated], min: 0.3, max: 10}: the numbers that
    /// are measurements. `except` names stored numbers, `min` and `max` are in the unit after
    /// `divisor`. NaN and infinite numbers are always invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<Valid>,
    /// numbers | `unit_vectors`: the meaning of stored numbers. Unit vectors fill the range of the
    /// file's type: 0 is 127.5 in 8 bits, 32767.5 in 16 bits, 0 in arrays of floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredAs>,
    /// The stored number that stands for 0; subtracted before the division.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero: Option<f32>,
    /// nothing | quantity | a map as in `{negate: [0]}` (channels of numbers) or `{swap: [[3, 4]]}`
    /// (labels as stored, or channels): the change of values where a frame is mirrored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// The channels that are taken of files with more channels than it has, in their order: [0, 1] for
    /// two values stored in a picture of three channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Vec<usize>>,
    /// The least and the greatest value, after `divisor`; values beyond become these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f32; 2]>,
    /// The kind of task that predicts it in fine-tuning: depth | labels | values | normals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

impl ModalityRecipe {
    /// Returns its kind: as stated, else as its other properties imply.
    pub(super) fn kind_or_implied(&self) -> Kind {
        self.kind.unwrap_or(match (self.said_classes(), self.channels) {
            (Some(_), None) => Kind::Labels,
            _ => Kind::Continuous,
        })
    }

    /// The number of classes that the entry says, or lists as `values`.
    #[must_use]
    pub fn said_classes(&self) -> Option<usize> {
        let classes = self.classes.as_ref().map(Classes::count);
        classes.or(self.values.as_ref().map(Vec::len))
    }

    /// The map from what is stored to classes, if there is one.
    #[must_use]
    pub fn class_map(&self) -> Option<&ClassMap> {
        self.classes.as_ref().and_then(Classes::map)
    }

    /// These properties, and those of another entry where these have none.
    #[must_use]
    pub fn over(self, usual: Self) -> Self {
        // A map says everything about labels.
        let usual = match self.class_map() {
            Some(_) => Self { ignore: None, offset: None, values: None, ..usual },
            None => usual,
        };
        let listed = self.values.as_ref().map(|values| values.len().into());
        let classes = self.classes.clone().or(listed).or(usual.classes);
        Self {
            folder: self.folder.or(usual.folder),
            strip_prefix: self.strip_prefix.or(usual.strip_prefix),
            strip_suffix: self.strip_suffix.or(usual.strip_suffix),
            column: self.column.or(usual.column),
            kind: self.kind.or(usual.kind),
            channels: self.channels.or(usual.channels),
            classes,
            stride: self.stride.or(usual.stride),
            ignore: self.ignore.or(usual.ignore),
            offset: self.offset.or(usual.offset),
            values: self.values.or(usual.values),
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
            orientation: self.orientation.or(usual.orientation),
            valid: self.valid.or(usual.valid),
            stored: self.stored.or(usual.stored),
            zero: self.zero.or(usual.zero),
            flip: self.flip.or(usual.flip),
            // The usual selection is of the usual number of channels, and the usual range that of the
            // usual divisor.
            select: self.select.or(usual.select.filter(|_| self.channels.is_none())),
            clamp: self.clamp.or(usual.clamp.filter(|_| self.divisor.is_none())),
            task: self.task.or(usual.task),
        }
    }

    /// The usual properties, those of unit vectors for an entry that stores them.
    pub(super) fn usual_of_stored(&self, usual: Self) -> Result<Self, String> {
        if self.stored != Some(StoredAs::UnitVectors) {
            return Ok(usual);
        }
        if self.divisor.is_some() || self.zero.is_some() {
            return Err(
                "`stored: unit_vectors` says what 0 and 1 are stored as; leave out `divisor` \
                        and `zero`"
                    .to_owned(),
            );
        }
        Ok(Self { divisor: None, zero: None, quantity: Some(Quantity::Direction), ..usual })
    }

    /// The names of its files, over those of another entry.
    #[must_use]
    pub fn naming(&self, usual: &Naming) -> Naming {
        let either = |own: &Option<String>, usual: &String| own.as_ref().unwrap_or(usual).clone();
        Naming {
            strip_prefix: either(&self.strip_prefix, &usual.strip_prefix),
            strip_suffix: either(&self.strip_suffix, &usual.strip_suffix),
            column: self.column.or(usual.column),
        }
    }

    /// The stored number that stands for 0.
    pub(super) fn stored(&self) -> Stored {
        match (self.stored, self.zero) {
            (Some(StoredAs::UnitVectors), _) => Stored::UnitVectors,
            (_, Some(zero)) => Stored::ZeroAt(zero),
            _ => Stored::Plain,
        }
    }

    /// The storage, the model's view and the loss of labels.
    pub(super) fn labels(&self) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
        let classes = self.said_classes().ok_or("say how many `classes` it has")?;
        let values = self.values.clone().unwrap_or_default();
        if !matches!(self.loss, None | Some(LossName::CrossEntropy)) {
            return Err("labels are learned with `loss: cross_entropy`".to_owned());
        }
        let offset = self.offset.unwrap_or(0);
        let map = self.class_map().cloned();
        let encoding = Encoding::Labels { classes, ignore: self.ignore, offset, values, map };
        let ignore = LabelRule::of(&encoding).and_then(|rule| rule.void());
        let kind = ModalityKind::Categorical {
            classes,
            dim_class_emb: self.dim_class_emb.unwrap_or(DEFAULT_DIM_CLASS_EMB),
            // A label that is ignored and is no class is an input all the same.
            padding: ignore.is_some_and(|label| !(0..classes as i64).contains(&label)),
        };
        Ok((encoding, kind, ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore }))
    }

    /// The storage, the model's view and the loss of colours.
    pub(super) fn color(&self) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
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

    /// The storage, the model's view and the loss of numbers.
    pub(super) fn continuous(
        &self,
    ) -> Result<(Encoding, ModalityKind, ReconstructionLoss), String> {
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
