//! What a fine-tuned model says of itself.

use indexmap::IndexMap;
use multimae::burn::tensor::{Tensor, TensorData};
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::multivit::MultiVitConfig;
use multimae::tuned::Additions;
use multimae_data::{DataModality, Encoding, Geometry};
use serde::{Deserialize, Serialize};

/// Everything besides the weights that predicting needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The model's shape.
    pub model: MultiVitConfig,
    /// What tuning added to the model.
    #[serde(default)]
    pub additions: Additions,
    /// The input modalities, in the order of their tokens.
    pub inputs: Vec<InputModality>,
    /// The tasks, by the name of their head.
    pub tasks: IndexMap<String, TaskCard>,
    /// How an image is brought to the model's size; with its size.
    pub geometry: Geometry,
    /// Where annotations and inputs of real values are valid, if the data has such a mask: 255
    /// means valid.
    pub valid_mask: Option<DataModality>,
}

/// An input modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputModality {
    /// How it is stored and normalised. For depth, values are in metres after that.
    pub data: DataModality,
    /// The input adapter that it goes to.
    pub adapter: String,
    /// What is made of its values before they enter the model.
    pub normalisation: Normalisation,
    /// The unit of its values, for people.
    pub unit: Option<String>,
}

/// What is made of an input's values after decoding and resizing.
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

/// A task of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCard {
    /// What is predicted.
    pub kind: TaskKind,
    /// How its annotations are stored; none for classes, which are folders.
    pub target: Option<DataModality>,
}

/// What a task predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum TaskKind {
    /// Distance from the camera in metres.
    Depth {
        /// From the head's output to metres.
        scale: DepthScale,
        /// Smallest valid depth in metres; smaller annotations are holes.
        min: f64,
        /// Largest valid depth in metres; larger annotations do not count, predictions are clamped.
        max: f64,
    },
    /// A class per pixel.
    Labels {
        /// The classes, in the order of their logits. The head may have one output more, for void.
        classes: Vec<ClassInfo>,
        /// The label of pixels that do not count.
        ignore: i64,
        /// A class's index minus the value that files store for it.
        offset: i64,
    },
    /// Other real values per pixel.
    Values {
        /// From the head's output to the values.
        scale: ValueScale,
        /// Their unit, for people.
        unit: Option<String>,
    },
    /// A class per image.
    Classes {
        /// Their names, in the order of their logits.
        names: Vec<String>,
    },
}

/// A class of pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassInfo {
    /// Its name.
    pub name: String,
    /// Its colour, RGB.
    pub color: [u8; 3],
}

/// How the output `z` of a depth head becomes metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthScale {
    /// `z * std + mean`.
    Linear {
        /// Mean depth in metres.
        mean: f64,
        /// Standard deviation in metres.
        std: f64,
    },
    /// `exp(z * std + mean)`, which is always positive.
    Log {
        /// Mean of the natural logarithm of metres.
        mean: f64,
        /// Its standard deviation.
        std: f64,
    },
}

impl DepthScale {
    /// Metres of a head's output.
    #[must_use]
    pub fn metres<const D: usize>(self, output: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear { mean, std } => output.mul_scalar(std).add_scalar(mean),
            Self::Log { mean, std } => output.mul_scalar(std).add_scalar(mean).exp(),
        }
    }

    /// The output that stands for these metres, which are positive.
    #[must_use]
    pub fn output<const D: usize>(self, metres: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear { mean, std } => metres.sub_scalar(mean).div_scalar(std),
            Self::Log { mean, std } => metres.log().sub_scalar(mean).div_scalar(std),
        }
    }
}

/// How the output of a head for real values becomes those values: `z * std + mean` per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueScale {
    /// Per channel.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
}

impl ValueScale {
    fn per_channel(values: &[f32], like: &Tensor<4>) -> Tensor<4> {
        let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
        Tensor::from_data(data, &like.device())
    }

    /// The values of a head's output `(B, C, H, W)`.
    #[must_use]
    pub fn restore(&self, output: Tensor<4>) -> Tensor<4> {
        let (mean, std) =
            (Self::per_channel(&self.mean, &output), Self::per_channel(&self.std, &output));
        output * std + mean
    }

    /// The output that stands for values `(B, C, H, W)`.
    #[must_use]
    pub fn output(&self, values: Tensor<4>) -> Tensor<4> {
        let (mean, std) =
            (Self::per_channel(&self.mean, &values), Self::per_channel(&self.std, &values));
        (values - mean) / std
    }
}

impl ModelCard {
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
            let (least, most, what) = match &task.kind {
                TaskKind::Depth { .. } => (1, 1, "one value".to_owned()),
                // One more for void.
                TaskKind::Labels { classes, .. } => {
                    (classes.len(), classes.len() + 1, format!("{} classes", classes.len()))
                }
                TaskKind::Values { scale, .. } => {
                    (scale.mean.len(), scale.mean.len(), format!("{} values", scale.mean.len()))
                }
                TaskKind::Classes { names } => {
                    (names.len(), names.len(), format!("{} classes", names.len()))
                }
            };
            if !(least..=most).contains(&outputs) {
                return Err(format!("task `{}` has {what}, its head {outputs} outputs", head.name));
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
