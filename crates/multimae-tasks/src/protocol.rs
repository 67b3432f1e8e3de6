//! Protocols: everything that a score depends on besides the model and the frames.

use std::sync::Arc;

use multimae::modality::Size;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use crate::ScoreRules;

/// The meaning of scores: which images, what of them, compared how, averaged how.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// The images of the split.
    pub images: Images,
    /// The part of a frame that the model sees, and the size at which it is scored.
    pub view: EvaluationView,
    /// The comparison of predictions and annotations.
    pub rules: Arc<dyn ScoreRules>,
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.images, self.view) == (&other.name, other.images, other.view)
            && self.rules.key() == other.rules.key()
            && self.rules.fields() == other.rules.fields()
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Protocol", 4)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("images", &self.images)?;
        fields.serialize_field("view", &self.view)?;
        fields.serialize_field("scores", &json!({ self.rules.key(): self.rules.fields() }))?;
        fields.end()
    }
}

/// The scored images of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    /// All.
    All,
    /// The first of a permutation of the images in the order of their names, drawn by NumPy's
    /// legacy generator with seed 0, in the order of the permutation.
    Permuted {
        /// The largest number.
        first: usize,
    },
}

/// The model's view of a frame, and the size at which predictions are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationView {
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

impl EvaluationView {
    /// The size of the model's input, if the protocol fixes it.
    #[must_use]
    pub fn canvas(self) -> Option<Size> {
        match self {
            Self::Native => None,
            Self::CentralSquare { side } | Self::PaddedSquare { side } => Some(Size::square(side)),
        }
    }
}

impl Protocol {
    /// A protocol over all images as they are.
    #[must_use]
    pub fn native(name: &str, rules: impl ScoreRules + 'static) -> Self {
        Self::of_rules(name, Arc::new(rules))
    }

    /// As [`Self::native`], with shared rules.
    #[must_use]
    pub fn of_rules(name: &str, rules: Arc<dyn ScoreRules>) -> Self {
        Self { name: name.to_owned(), images: Images::All, view: EvaluationView::Native, rules }
    }
}
