//! Protocols: everything that a score depends on besides the model and the frames.

use serde::{Deserialize, Serialize};

use super::labels::LabelSet;
use super::region::Region;
use crate::{Error, Result};

/// Images that the published depth evaluation uses unless told otherwise.
const PUBLISHED_IMAGES: usize = 100;
/// Images in a batch of it: one and a half times the 64 of training.
const PUBLISHED_BATCH: usize = 96;
/// Side of its images for depth, in pixels.
const PUBLISHED_DEPTH_SIDE: usize = 256;
/// Side of its images for segmentation, in pixels.
const PUBLISHED_SEMSEG_SIDE: usize = 640;

/// The name of both published protocols together.
const PUBLISHED: &str = "reference-compatible";

/// What scores mean: which images, what of them, compared how, averaged how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// Which images of the split.
    pub images: Images,
    /// What the model sees of a frame, and at which size it is scored.
    pub view: View,
    /// What is compared.
    pub scores: Scores,
}

/// Which images of a split are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    /// All.
    All,
    /// The first of a permutation of the images in the order of their names, drawn by NumPy's
    /// legacy generator with seed 0, in the order of the permutation.
    Permuted {
        /// At most so many.
        first: usize,
    },
}

/// What the model sees of a frame, and at which size predictions are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The whole frame, as the model takes it; scored at the frame's own size.
    Native,
    /// The shorter side is brought to `side`, then the central square; scored there.
    CentralSquare {
        /// In pixels.
        side: usize,
    },
    /// The longer side is brought to `side` and the frame padded to a square, below and to the
    /// right; scored there, without the padding.
    PaddedSquare {
        /// In pixels.
        side: usize,
    },
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Metric depth.
    Depth(DepthProtocol),
    /// Labels.
    Semseg(SemsegProtocol),
}

/// How depth is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthProtocol {
    /// Which depths count.
    pub caps: Option<Caps>,
    /// Each is scored by itself.
    pub regions: Vec<Region>,
    /// Each is computed.
    pub averages: Vec<Average>,
    /// What the published code calls `log10` is the root mean squared difference of natural
    /// logarithms; this gives it that name.
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

/// What a mean is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// All pixels of the set together.
    Pixels,
    /// The images' scores.
    Images,
    /// The scores of batches of so many images, all batches alike.
    Batches(usize),
}

/// How labels are scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemsegProtocol {
    /// Each is scored by itself.
    pub label_sets: Vec<LabelSet>,
    /// Whether label sets that the model's classes do not map to are left out.
    pub fitting_only: bool,
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

impl Protocol {
    /// The names that [`Self::named`] knows, each with a line on it.
    pub const NAMES: [(&'static str, &'static str); 7] = [
        ("nyuv2-depth", "full frame and Eigen crop, 0.001 to 10 m, native size, both averages"),
        ("nyuv2-semseg", "40 and 13 classes, void ignored, native size"),
        ("depth", "full frame, every depth above 0.001 m, native size, both averages"),
        ("semseg", "the model's own classes, native size"),
        ("reference-depth", "as the published depth fine-tuning measures, quirks included"),
        ("reference-semseg", "as the published segmentation fine-tuning measures"),
        (PUBLISHED, "the two reference protocols"),
    ];

    /// The protocols of a name.
    ///
    /// # Errors
    /// If the name is not known; the message lists those that are.
    pub fn named(name: &str) -> Result<Vec<Self>> {
        let (depth, semseg) = match name {
            "nyuv2-depth" => (Some(Self::nyuv2_depth()), None),
            "nyuv2-semseg" => (None, Some(Self::nyuv2_semseg())),
            "depth" => (Some(Self::depth()), None),
            "semseg" => (None, Some(Self::semseg())),
            "reference-depth" => (Some(Self::reference_depth()), None),
            "reference-semseg" => (None, Some(Self::reference_semseg())),
            PUBLISHED => (Some(Self::reference_depth()), Some(Self::reference_semseg())),
            _ => {
                let lines: Vec<String> =
                    Self::NAMES.iter().map(|(name, what)| format!("  {name}: {what}")).collect();
                let lines = lines.join("\n");
                return Err(Error::Evaluation(format!("no protocol `{name}`; there are\n{lines}")));
            }
        };
        Ok(depth.into_iter().chain(semseg).collect())
    }

    /// Depth of NYUv2 as monocular depth estimation scores it, in both crops and averages.
    #[must_use]
    pub fn nyuv2_depth() -> Self {
        let scores = DepthProtocol {
            caps: Some(Caps { min: 1e-3, max: Some(10.0) }),
            regions: vec![Region::FullFrame, Region::EigenCrop],
            averages: vec![Average::Pixels, Average::Images],
            published_log10: false,
        };
        Self::native("nyuv2-depth", Scores::Depth(scores))
    }

    /// Labels of NYUv2.
    #[must_use]
    pub fn nyuv2_semseg() -> Self {
        let label_sets = vec![LabelSet::Nyu40, LabelSet::Nyu13];
        Self::native(
            "nyuv2-semseg",
            Scores::Semseg(SemsegProtocol { label_sets, fitting_only: true }),
        )
    }

    /// Depth of any frames.
    #[must_use]
    pub fn depth() -> Self {
        let scores = DepthProtocol {
            caps: Some(Caps { min: 1e-3, max: None }),
            regions: vec![Region::FullFrame],
            averages: vec![Average::Pixels, Average::Images],
            published_log10: false,
        };
        Self::native("depth", Scores::Depth(scores))
    }

    /// Labels of any frames.
    #[must_use]
    pub fn semseg() -> Self {
        let label_sets = vec![LabelSet::Own];
        Self::native("semseg", Scores::Semseg(SemsegProtocol { label_sets, fitting_only: false }))
    }

    /// Depth as the published fine-tuning measures it: 100 images, central square of 256 pixels,
    /// no caps, mean over batches.
    #[must_use]
    pub fn reference_depth() -> Self {
        let scores = DepthProtocol {
            caps: None,
            regions: vec![Region::FullFrame],
            averages: vec![Average::Batches(PUBLISHED_BATCH)],
            published_log10: true,
        };
        Self {
            name: "reference-depth".to_owned(),
            images: Images::Permuted { first: PUBLISHED_IMAGES },
            view: View::CentralSquare { side: PUBLISHED_DEPTH_SIDE },
            scores: Scores::Depth(scores),
        }
    }

    /// Labels as the published fine-tuning measures them: padded to a square of 640 pixels.
    #[must_use]
    pub fn reference_semseg() -> Self {
        let scores = SemsegProtocol { label_sets: vec![LabelSet::Own], fitting_only: false };
        Self {
            name: "reference-semseg".to_owned(),
            images: Images::All,
            view: View::PaddedSquare { side: PUBLISHED_SEMSEG_SIDE },
            scores: Scores::Semseg(scores),
        }
    }

    fn native(name: &str, scores: Scores) -> Self {
        Self { name: name.to_owned(), images: Images::All, view: View::Native, scores }
    }

    /// Whether it scores depth; labels otherwise.
    #[must_use]
    pub fn is_depth(&self) -> bool {
        matches!(self.scores, Scores::Depth(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_protocols() {
        for (name, _) in Protocol::NAMES {
            let protocols = Protocol::named(name).unwrap();
            assert_eq!(protocols.len(), if name == PUBLISHED { 2 } else { 1 });
            if name != PUBLISHED {
                assert_eq!(protocols[0].name, name);
            }
        }
        let error = Protocol::named("nyu").unwrap_err().to_string();
        assert!(error.contains("`nyu`") && error.contains("nyuv2-depth"), "{error}");
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
}
