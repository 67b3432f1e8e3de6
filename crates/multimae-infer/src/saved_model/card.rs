//! The model card of a fine-tuned model.

use indexmap::IndexMap;
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::multivit::MultiVitConfig;
use multimae::peft::PeftConfig;
use multimae_config::ReadingKeys;
use multimae_data::{DataModality, Encoding, Geometry, Quantity};
use multimae_tasks::TaskCard;
use serde::{Deserialize, Serialize};

/// Everything besides the weights that predicting needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The model's shape.
    pub model: MultiVitConfig,
    /// The PEFT modules.
    #[serde(default, rename = "additions")]
    pub peft: PeftConfig,
    /// The input modalities, in the order of their tokens.
    pub inputs: Vec<InputModality>,
    /// The tasks, by the name of their head.
    pub tasks: IndexMap<String, TaskCard>,
    /// The geometry that brings an image to the model's size; with its size.
    pub geometry: Geometry,
    /// The valid mask of annotations and inputs of real values, if the data has one: 255 means
    /// valid.
    pub valid_mask: Option<DataModality>,
}

/// An input modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputModality {
    /// The storage and the normalisation. Depth is in metres after that.
    pub data: DataModality,
    /// The input adapter that it goes to.
    pub adapter: String,
    /// The normalisation of its values in front of the model.
    pub normalisation: Normalisation,
    /// The unit of its values, for people.
    pub unit: Option<String>,
}

impl InputModality {
    /// Files of before quantities were recorded tell distances by their normalisation.
    fn infer_quantity(&mut self) {
        if let (
            Encoding::Continuous { quantity, .. },
            Normalisation::Robust { .. } | Normalisation::Range { .. },
        ) = (&mut self.data.encoding, self.normalisation)
        {
            *quantity = Quantity::Distance;
        }
    }
}

/// The normalisation of an input's values after decoding and resizing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// Nothing; missing values become 0.
    None,
    /// Values outside the range are holes. The others are standardised by the mean and deviation
    /// of those between the 10th and 90th percentile; holes become 0.
    Robust {
        /// Smallest valid value.
        min: f32,
        /// Largest valid value.
        max: f32,
    },
    /// Values outside the range are holes and become 0.
    Range {
        /// Smallest valid value.
        min: f32,
        /// Largest valid value.
        max: f32,
    },
}

impl ModelCard {
    /// Reads a card and checks that its parts fit together.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut card: Self =
            serde_json::from_str(text).map_err(|error| format!("its card: {error}"))?;
        card.inputs.iter_mut().for_each(InputModality::infer_quantity);
        card.check()?;
        Ok(card)
    }

    /// Height and width of what the model sees.
    #[must_use]
    pub fn input_size(&self) -> Size {
        let (height, width) = self.geometry.size();
        Size::new(height, width)
    }

    /// The modalities that predicting reads.
    #[must_use]
    pub fn data_modalities(&self) -> Vec<DataModality> {
        self.inputs.iter().map(|input| input.data.clone()).collect()
    }

    /// An input by the name under which samples carry it.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&InputModality> {
        self.inputs.iter().find(|input| input.data.name == name)
    }

    /// Reads files that are stored in another way than those of the training.
    ///
    /// # Errors
    /// If a key names no modality of the model, or does not fit it.
    pub fn read_as(&mut self, keys: &ReadingKeys) -> Result<(), String> {
        let targets = self.tasks.values_mut().filter_map(|task| task.target.as_mut());
        let inputs = self.inputs.iter_mut().map(|input| &mut input.data);
        keys.apply_to_all(inputs.chain(targets)).map_err(|error| error.to_string())
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        self.geometry.check().map_err(|e| e.to_string())?;
        let adapters: Vec<&str> = self.inputs.iter().map(|input| input.adapter.as_str()).collect();
        let modalities: Vec<&str> = self.model.inputs.iter().map(|m| m.name.as_str()).collect();
        if adapters != modalities {
            return Err(format!("its inputs are {adapters:?}, those of its model {modalities:?}"));
        }
        let heads: Vec<&str> = self.model.heads.iter().map(|head| head.name.as_str()).collect();
        let tasks: Vec<&str> = self.tasks.keys().map(String::as_str).collect();
        if heads != tasks {
            return Err(format!("its tasks are {tasks:?}, the heads of its model {heads:?}"));
        }
        for (head, task) in self.model.heads.iter().zip(self.tasks.values()) {
            let outputs = head.head.outputs();
            let wanted = task.task.outputs();
            if !wanted.contains(&outputs) {
                return Err(format!(
                    "task `{}` needs {} to {} outputs, its head has {outputs}",
                    head.name,
                    wanted.start(),
                    wanted.end()
                ));
            }
        }
        self.inputs.iter().zip(&self.model.inputs).try_for_each(|(input, modality)| {
            input.data.check().map_err(|e| e.to_string())?;
            if fits(&input.data.encoding, modality) && input.data.stride == modality.stride {
                Ok(())
            } else {
                Err(format!("input `{}` is not stored as its model reads it", input.data.name))
            }
        })
    }
}

/// Whether stored values are of a modality's kind.
fn fits(encoding: &Encoding, modality: &Modality) -> bool {
    match (encoding, &modality.kind) {
        (Encoding::Color { .. }, ModalityKind::Continuous { channels }) => *channels == 3,
        (Encoding::Continuous { channels, .. }, ModalityKind::Continuous { channels: read }) => {
            channels == read
        }
        (Encoding::Labels { classes, .. }, ModalityKind::Categorical { classes: read, .. }) => {
            classes == read
        }
        _ => false,
    }
}
