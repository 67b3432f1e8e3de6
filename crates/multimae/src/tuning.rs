//! Which parameters of a pre-trained model training changes.
//!
//! A mode is an allow-list: what it does not name is frozen. Heads are always trained, since they
//! begin with random values.

use std::fmt;
use std::str::FromStr;

use burn::module::Module;

use crate::state::{ParameterInfo, parameters, with_trained};
use crate::{Error, Result};

const HEADS: &str = "output_adapters.";
const ENCODER: &str = "encoder.";

/// What is trained besides the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// Everything that is not fixed by its nature, such as position tables.
    #[default]
    Full,
    /// Nothing: linear probing and its kin.
    Head,
    /// All biases (Ben Zaken et al., 2022).
    Bias,
    /// The scales and biases of all LayerNorms.
    Norm,
    /// The last blocks of the encoder, so many.
    Last(usize),
}

impl Tuning {
    /// The names that [`Tuning::from_str`] reads.
    pub const NAMES: &'static str = "full | head | bias | norm | last-1, last-2, ...";

    /// Whether the mode trains the parameter of this name in an encoder of `depth` blocks.
    #[must_use]
    pub fn trains(self, name: &str, depth: usize) -> bool {
        if name.starts_with(HEADS) {
            return true;
        }
        let block = name.strip_prefix(ENCODER).and_then(|rest| rest.split_once('.'));
        match self {
            Self::Full => true,
            Self::Head => false,
            Self::Bias => name.ends_with(".bias"),
            Self::Norm => block.is_some_and(|(_, part)| part.starts_with("norm")),
            Self::Last(count) => block
                .and_then(|(index, _)| index.parse::<usize>().ok())
                .is_some_and(|index| index < depth && index + count >= depth),
        }
    }

    /// Freezes what the mode does not train. What was frozen before stays so.
    ///
    /// # Errors
    /// If the mode names no parameter of the model, or more blocks than it has.
    pub fn apply<M: Module>(self, model: M, depth: usize) -> Result<M> {
        if let Self::Last(count) = self
            && (count == 0 || count > depth)
        {
            return Err(Error::Config(format!(
                "tuning `{self}`: the encoder has {depth} blocks; choose 1 to {depth}"
            )));
        }
        let model = with_trained(model, |name, trained| trained && self.trains(name, depth));
        let trained = TrainedParameters::of(&model);
        let none = trained.tensors.is_empty() || (self != Self::Head && trained.backbone() == 0);
        if none {
            return Err(Error::Config(format!(
                "tuning `{self}`: the model has no parameter that it trains"
            )));
        }
        Ok(model)
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Head => f.write_str("head"),
            Self::Bias => f.write_str("bias"),
            Self::Norm => f.write_str("norm"),
            Self::Last(count) => write!(f, "last-{count}"),
        }
    }
}

impl FromStr for Tuning {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let last = || text.strip_prefix("last-").and_then(|count| count.parse().ok());
        match text {
            "full" => Ok(Self::Full),
            "head" => Ok(Self::Head),
            "bias" => Ok(Self::Bias),
            "norm" => Ok(Self::Norm),
            _ => last().map(Self::Last).ok_or_else(|| format!("`{text}` is not {}", Self::NAMES)),
        }
    }
}

/// What of a model is trained.
#[derive(Debug, Clone, Default)]
pub struct TrainedParameters {
    /// The tensors, in the order of the model.
    pub tensors: Vec<ParameterInfo>,
    /// Values of the whole model.
    pub total: usize,
}

impl TrainedParameters {
    /// Of a model on a device with autodiff; without, nothing is trained.
    #[must_use]
    pub fn of(model: &impl Module) -> Self {
        let all = parameters(model);
        let total = all.iter().map(values).sum();
        Self { tensors: all.into_iter().filter(|parameter| parameter.trainable).collect(), total }
    }

    /// Values that are trained.
    #[must_use]
    pub fn values(&self) -> usize {
        self.tensors.iter().map(values).sum()
    }

    /// Values that are trained outside the heads.
    #[must_use]
    pub fn backbone(&self) -> usize {
        let backbone = |parameter: &&ParameterInfo| !parameter.name.starts_with(HEADS);
        self.tensors.iter().filter(backbone).map(values).sum()
    }
}

impl fmt::Display for TrainedParameters {
    /// Counts and shares in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trained, backbone) = (self.values(), self.backbone());
        let share = |values: usize| 100.0 * values as f64 / self.total.max(1) as f64;
        write!(
            f,
            "{} tensors are trained, {trained} of {} values ({:.2} %): {backbone} of the backbone \
             ({:.2} %), {} of the heads ({:.2} %)",
            self.tensors.len(),
            self.total,
            share(trained),
            share(backbone),
            trained - backbone,
            share(trained - backbone)
        )
    }
}

fn values(parameter: &ParameterInfo) -> usize {
    parameter.shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_choose_by_name() {
        let trained = |mode: Tuning| -> Vec<&str> {
            let names = [
                "global_tokens",
                "input_adapters.rgb.proj.bias",
                "encoder.0.norm1.weight",
                "encoder.0.attn.qkv.bias",
                "encoder.10.mlp.fc1.weight",
                "encoder.11.norm2.bias",
                "output_adapters.depth.head.weight",
            ];
            names.into_iter().filter(|name| mode.trains(name, 12)).collect()
        };
        let head = "output_adapters.depth.head.weight";
        assert_eq!(trained(Tuning::Full).len(), 7);
        assert_eq!(trained(Tuning::Head), [head]);
        assert_eq!(
            trained(Tuning::Bias),
            [
                "input_adapters.rgb.proj.bias",
                "encoder.0.attn.qkv.bias",
                "encoder.11.norm2.bias",
                head
            ]
        );
        assert_eq!(
            trained(Tuning::Norm),
            ["encoder.0.norm1.weight", "encoder.11.norm2.bias", head]
        );
        assert_eq!(trained(Tuning::Last(1)), ["encoder.11.norm2.bias", head]);
        assert_eq!(trained(Tuning::Last(2)).len(), 3);
    }

    #[test]
    fn names_are_read_and_written() {
        for name in ["full", "head", "bias", "norm", "last-3"] {
            assert_eq!(name.parse::<Tuning>().unwrap().to_string(), name);
        }
        assert!("last-".parse::<Tuning>().is_err());
        assert!("lora".parse::<Tuning>().unwrap_err().contains("full | head"));
    }
}
