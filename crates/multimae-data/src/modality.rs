//! The storage of one modality, and its conversion to values.

mod class_map;
mod label_keys;
mod label_rule;
mod naming;
mod value_rules;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use class_map::ClassMap;
pub(crate) use class_map::color_key;
pub(crate) use label_keys::LabelKeys;
pub use label_rule::{LabelRule, usual_void};
pub use naming::Naming;
pub use value_rules::{Excepted, Flip, FlipRule, Saturated, Stored, Valid, ValidRule, ValueRules};
pub(crate) use value_rules::{InvalidNumbers, NumberRange, selected};

/// Mean of the RGB channels over ImageNet, in `0..=1`.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of the RGB channels over ImageNet.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The storage of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataModality {
    /// The name under which the sample carries it.
    pub name: String,
    /// Its folder below the root of the data set.
    pub folder: String,
    /// The encoding of its files.
    pub encoding: Encoding,
    /// Its maps have 1/stride of the geometry's size.
    pub stride: usize,
    /// The meaning of its stored values.
    #[serde(default, skip_serializing_if = "ValueRules::is_default")]
    pub rules: ValueRules,
    /// The treatment of files that carry an EXIF orientation.
    #[serde(default, skip_serializing_if = "Orientation::is_applied")]
    pub orientation: Orientation,
    /// The names of its files.
    #[serde(default, skip_serializing_if = "Naming::is_default")]
    pub naming: Naming,
}

/// The treatment of files whose EXIF orientation says that a viewer turns or mirrors them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Files are read as a viewer shows them. Annotations have to fit that.
    #[default]
    Apply,
    /// Files are read as they are stored.
    Ignore,
}

impl Orientation {
    /// Whether files are read as a viewer shows them.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        *self == Self::Apply
    }

    /// The word of recipes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Ignore => "ignore",
        }
    }
}

/// The content of a modality's files, and its conversion to the values of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// 8-bit RGB or grey images; a grey image gets three equal channels.
    /// Values are `(x / 255 - mean) / std`. Resized bicubically.
    Color {
        /// Mean per channel.
        mean: [f32; 3],
        /// Standard deviation per channel.
        std: [f32; 3],
    },
    /// Real values: images of 8 or more bits (tiff also floats) with as many channels, or arrays
    /// (npy) of shape `(C, H, W)`, for one channel also `(H, W)` or `(H, W, 1)`. Values are
    /// `(x / divisor - mean) / std`; those that are not finite are invalid pixels.
    Continuous {
        /// Channels.
        channels: usize,
        /// Stored values are divided by this.
        divisor: f32,
        /// Mean per channel, empty for none.
        mean: Vec<f32>,
        /// Standard deviation per channel, empty for none.
        std: Vec<f32>,
        /// The interpolation between pixels.
        interpolation: Interpolation,
        /// Standardise each sample at the end, see [`robust_standardize`](crate::robust_standardize).
        standardize: bool,
        /// The quantity that is measured, which decides what geometry does to the values.
        #[serde(default, skip_serializing_if = "Quantity::is_plain")]
        quantity: Quantity,
    },
    /// Class indices: grey or palette images (the indices count, not the colours) in formats
    /// without loss, or arrays of integers (npy) of shape `(H, W)`; with a map from colours, images
    /// of 8 bits whose colours count. Resized to the nearest pixel.
    Labels {
        /// Labels are in `0..classes`.
        classes: usize,
        /// A stored value that stands for "unknown". It may lie outside `0..classes`, also below 0.
        ignore: Option<i64>,
        /// Added to every label but the ignored one. A label that a negative offset brings below
        /// zero becomes the ignored label: -1 with 255 ignored makes classes 1, 2, ... into
        /// 0, 1, ... and 0 into 255.
        offset: i64,
        /// The stored values of the classes, in their order: `[0, 255]` makes a mask of two
        /// classes. Empty where classes are stored as they are, but for the offset.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<i64>,
        /// The classes of stored ids or of colours, in the place of `ignore`, `offset` and `values`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        map: Option<ClassMap>,
    },
}

/// A measured quantity, as far as moving pixels changes its values.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Values that stay as they are wherever their pixels go.
    #[default]
    Plain,
    /// Distance from the camera: enlarging the image by a factor divides it by that factor.
    Distance,
    /// Vectors in camera coordinates, x to the right in channel 0: mirroring negates x, unless the
    /// modality's [`Flip`](crate::Flip) says otherwise.
    Direction,
}

impl Quantity {
    /// Whether geometry leaves the values alone.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// The interpolation between pixels. The first two smooth when they reduce, as Pillow does.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Cubic convolution with a = -0.5 (Catmull-Rom).
    Bicubic,
    /// Linear.
    Bilinear,
    /// The nearest pixel's value.
    Nearest,
}

impl DataModality {
    /// Creates a modality at full resolution whose folder has its name.
    #[must_use]
    pub fn new(name: impl Into<String>, encoding: Encoding) -> Self {
        let name = name.into();
        Self {
            folder: name.clone(),
            name,
            encoding,
            stride: 1,
            orientation: Orientation::Apply,
            rules: ValueRules::default(),
            naming: Naming::default(),
        }
    }

    /// The modality as the only file of a frame is read: as a viewer shows it, since no other file
    /// has to fit.
    #[must_use]
    pub fn photo(self) -> Self {
        Self { orientation: Orientation::Apply, ..self }
    }

    /// Checks that the description makes sense.
    ///
    /// # Errors
    /// [`Error::Config`], with the name of the modality.
    pub fn check(&self) -> Result<()> {
        let problem = if self.name.is_empty() {
            Some("it has no name".to_owned())
        } else if self.stride == 0 {
            Some("stride must be at least 1".to_owned())
        } else {
            let rules = || self.rules.problem(&self.encoding);
            self.encoding.problem().or_else(rules).or_else(|| self.naming.problem())
        };
        match problem {
            Some(problem) => Err(Error::Config(format!("modality `{}`: {problem}", self.name))),
            None => Ok(()),
        }
    }
}

impl Encoding {
    /// Class indices that are stored as they are, but for an offset.
    #[must_use]
    pub fn labels(classes: usize, ignore: Option<i64>, offset: i64) -> Self {
        Self::Labels { classes, ignore, offset, values: Vec::new(), map: None }
    }

    /// Class indices by a map from what is stored.
    #[must_use]
    pub fn mapped(map: ClassMap) -> Self {
        let (classes, values) = (map.classes(), Vec::new());
        Self::Labels { classes, ignore: None, offset: 0, values, map: Some(map) }
    }

    /// Whether files hold colours that stand for classes.
    pub(crate) fn is_of_color_labels(&self) -> bool {
        matches!(self, Self::Labels { map: Some(map), .. } if map.is_of_colors())
    }

    /// Converts stored real values to the quantities that they stand for:
    /// `(x / divisor - mean) / std`. Values of other encodings stay as they are.
    ///
    /// # Shapes
    /// `stored`: `channels` planes of equal size; the result is as long.
    #[must_use]
    pub fn decoded_values(&self, stored: &[f32], channels: usize) -> Vec<f32> {
        let Self::Continuous { divisor, mean, std, .. } = self else { return stored.to_vec() };
        let pixels = (stored.len() / channels.max(1)).max(1);
        stored
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let channel = index / pixels;
                let mean = mean.get(channel).copied().unwrap_or(0.0);
                (value / divisor - mean) / std.get(channel).copied().unwrap_or(1.0)
            })
            .collect()
    }

    fn problem(&self) -> Option<String> {
        match self {
            Self::Color { std, .. } => std_problem(std),
            Self::Continuous { channels, divisor, mean, std, quantity, .. } => {
                if *quantity == Quantity::Direction && *channels != 3 {
                    return Some(format!("a direction has 3 channels, not {channels}"));
                }
                if *channels == 0 {
                    return Some("it needs at least one channel".to_owned());
                }
                if !divisor.is_finite() || *divisor == 0.0 {
                    return Some(format!("divisor {divisor} must be finite and not zero"));
                }
                for (what, values) in [("mean", mean), ("std", std)] {
                    if !values.is_empty() && values.len() != *channels {
                        return Some(format!(
                            "{} values of {what} for {channels} channels; give one per channel or \
                             none",
                            values.len()
                        ));
                    }
                }
                std_problem(std)
            }
            Self::Labels { classes: 0, .. } => Some("it needs at least one class".to_owned()),
            Self::Labels { classes, ignore, offset, values, map: Some(map) } => {
                map_problem(*classes, (*ignore, *offset, values), map)
            }
            Self::Labels { classes, ignore, offset, values, .. } if !values.is_empty() => {
                values_problem(*classes, *ignore, *offset, values)
            }
            Self::Labels { classes, ignore: Some(ignore), offset, .. } if *offset != 0 => {
                // A shifted label would then be the same as an ignored one.
                (0..*classes as i64).contains(ignore).then(|| {
                    format!(
                        "the ignored label {ignore} is one of the {classes} classes after the \
                         offset {offset}; ignore a label outside them, for example 255"
                    )
                })
            }
            Self::Labels { .. } => None,
        }
    }
}

/// Checks the modalities of a sample: each on its own, and that no name is there twice.
///
/// # Errors
/// [`Error::Config`] if there is none, or one makes no sense.
pub(crate) fn check_modalities<'a>(
    modalities: impl IntoIterator<Item = &'a DataModality>,
) -> Result<()> {
    let mut names = Vec::new();
    for modality in modalities {
        modality.check()?;
        if names.contains(&&modality.name) {
            return Err(Error::Config(format!("modality `{}` is there twice", modality.name)));
        }
        names.push(&modality.name);
    }
    if names.is_empty() {
        return Err(Error::Config("a sample needs at least one modality".to_owned()));
    }
    Ok(())
}

fn map_problem(
    classes: usize,
    (ignore, offset, values): (Option<i64>, i64, &[i64]),
    map: &ClassMap,
) -> Option<String> {
    let keys =
        [("ignore", ignore.is_some()), ("offset", offset != 0), ("values", !values.is_empty())];
    if let Some((key, _)) = keys.iter().find(|(_, given)| *given) {
        return Some(format!(
            "`{key}` and a class map exclude each other; say it in the map, with `ignore` in the \
             place of a class"
        ));
    }
    let most = map.classes();
    (most > classes)
        .then(|| format!("its class map has a class {}, and there are {classes} classes", most - 1))
}

fn values_problem(
    classes: usize,
    ignore: Option<i64>,
    offset: i64,
    values: &[i64],
) -> Option<String> {
    let twice = values.iter().enumerate().find(|(at, value)| values[..*at].contains(value));
    if values.len() != classes {
        Some(format!("{} `values` for {classes} classes; list one per class", values.len()))
    } else if offset != 0 {
        Some("`values` and `offset` exclude each other".to_owned())
    } else if let Some((_, value)) = twice {
        Some(format!("`values` lists {value} twice"))
    } else {
        let ignored = ignore.filter(|ignore| values.contains(ignore))?;
        Some(format!("`ignore: {ignored}` is one of the `values`; remove it from one of them"))
    }
}

fn std_problem(std: &[f32]) -> Option<String> {
    let bad = std.iter().find(|std| !(std.is_finite() && **std > 0.0))?;
    Some(format!("std {bad} must be positive"))
}
