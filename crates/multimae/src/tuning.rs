//! The selection of trained parameters of a pre-trained model.
//!
//! A mode is an allow-list: what it does not name is frozen. Heads and the norms before them are
//! always trained, since they begin with random values.

use std::fmt;
use std::str::FromStr;

use burn::module::Module;

use crate::state::{ParameterInfo, parameters, with_trained};
use crate::{Error, Result};

/// The kind of a parameter, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// The pre-trained model: input adapters, tokens, encoder.
    Backbone,
    /// Prompts, of all tasks or of one, and the norms that they condition.
    Prompts,
    /// Low-rank adaptation.
    Lora,
    /// Scale and shift of features.
    Ssf,
    /// The side network.
    Side,
    /// Norms before the heads.
    EntryNorms,
    /// Heads.
    Heads,
}

impl ParameterKind {
    /// All kinds, the pre-trained one first.
    pub const ALL: [Self; 7] = [
        Self::Backbone,
        Self::Prompts,
        Self::Lora,
        Self::Ssf,
        Self::Side,
        Self::EntryNorms,
        Self::Heads,
    ];

    /// The kind of the parameter of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let mut parts = name.split('.');
        match parts.next() {
            Some("output_adapters") => Self::Heads,
            Some("prompts" | "branch_prompts" | "task_prompts" | "prompt_norms") => Self::Prompts,
            Some("side") => Self::Side,
            Some("entry_norms") => Self::EntryNorms,
            _ if parts.clone().any(|part| part == "lora") => Self::Lora,
            _ if parts.any(|part| part == "ssf") => Self::Ssf,
            _ => Self::Backbone,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backbone => "backbone",
            Self::Prompts => "prompts",
            Self::Lora => "lora",
            Self::Ssf => "ssf",
            Self::Side => "side network",
            Self::EntryNorms => "entry norms",
            Self::Heads => "heads",
        }
    }

    /// Whether tuning adds such parameters to a pre-trained model, heads aside.
    #[must_use]
    pub fn is_peft(self) -> bool {
        !matches!(self, Self::Backbone | Self::Heads)
    }
}

/// One group of parameters that a mode trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TuningPart {
    /// All biases (Ben Zaken et al., 2022).
    Bias,
    /// The scales and biases of all LayerNorms of the encoder.
    Norm,
    /// The last blocks of the encoder, this many.
    Last(usize),
    /// Scale and shift of features (Lian et al., 2022).
    Ssf,
    /// Low-rank adaptation (Hu et al., 2022).
    Lora,
    /// Prompts (Jia et al., 2022).
    Prompts,
    /// A ladder beside the frozen encoder (Sung et al., 2022).
    Side,
}

impl TuningPart {
    fn trains(self, name: &str, depth: usize) -> bool {
        let kind = ParameterKind::of(name);
        let block = name.strip_prefix("encoder.").and_then(|rest| rest.split_once('.'));
        match self {
            Self::Bias => kind == ParameterKind::Backbone && name.ends_with(".bias"),
            Self::Norm => {
                kind == ParameterKind::Backbone
                    && block.is_some_and(|(_, part)| part.starts_with("norm"))
            }
            Self::Last(count) => {
                kind == ParameterKind::Backbone
                    && block
                        .and_then(|(index, _)| index.parse::<usize>().ok())
                        .is_some_and(|index| index < depth && index + count >= depth)
            }
            Self::Ssf => kind == ParameterKind::Ssf,
            Self::Lora => kind == ParameterKind::Lora,
            Self::Prompts => kind == ParameterKind::Prompts,
            Self::Side => kind == ParameterKind::Side,
        }
    }
}

/// The parameters that are trained besides the heads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tuning {
    /// Everything that is not fixed by its nature, such as position tables.
    #[default]
    Full,
    /// These groups; without any, the heads alone: linear probing and its kin.
    Parts(Vec<TuningPart>),
}

impl Tuning {
    /// The names that [`Tuning::from_str`] reads.
    pub const NAMES: &'static str = "full | head | bias | norm | ssf | lora | prompts | side | \
                                     last-1, last-2, ... | several of them: prompts+norm";

    /// Whether the mode trains this group.
    #[must_use]
    pub fn has(&self, part: TuningPart) -> bool {
        matches!(self, Self::Parts(parts) if parts.contains(&part))
    }

    /// Whether the mode trains the parameter of this name in an encoder of `depth` blocks.
    #[must_use]
    pub fn trains(&self, name: &str, depth: usize) -> bool {
        match ParameterKind::of(name) {
            ParameterKind::Heads | ParameterKind::EntryNorms => true,
            _ => match self {
                Self::Full => true,
                Self::Parts(parts) => parts.iter().any(|part| part.trains(name, depth)),
            },
        }
    }

    /// Freezes the parameters that the mode does not train. Frozen ones stay frozen.
    ///
    /// # Errors
    /// If a group has no parameter in the model, or is of more blocks than it has.
    pub fn apply<M: Module>(&self, model: M, depth: usize) -> Result<M> {
        let error = |problem: String| Err(Error::Config(format!("tuning `{self}`: {problem}")));
        let model = with_trained(model, |name, trained| trained && self.trains(name, depth));
        let trained = TrainedParameters::of(&model);
        if trained.tensors.is_empty() {
            return error("the model has no parameter that it trains".to_owned());
        }
        let Self::Parts(parts) = self else { return Ok(model) };
        for part in parts {
            if let TuningPart::Last(count) = part
                && (*count == 0 || *count > depth)
            {
                return error(format!("the encoder has {depth} blocks; choose 1 to {depth}"));
            }
            if !trained.tensors.iter().any(|parameter| part.trains(&parameter.name, depth)) {
                return error(format!("the model has no parameter of `{part}`"));
            }
        }
        Ok(model)
    }
}

impl fmt::Display for TuningPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bias => f.write_str("bias"),
            Self::Norm => f.write_str("norm"),
            Self::Last(count) => write!(f, "last-{count}"),
            Self::Ssf => f.write_str("ssf"),
            Self::Lora => f.write_str("lora"),
            Self::Prompts => f.write_str("prompts"),
            Self::Side => f.write_str("side"),
        }
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Parts(parts) if parts.is_empty() => f.write_str("head"),
            Self::Parts(parts) => {
                let names: Vec<String> = parts.iter().map(ToString::to_string).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl FromStr for TuningPart {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        Ok(match text {
            "bias" => Self::Bias,
            "norm" => Self::Norm,
            "ssf" => Self::Ssf,
            "lora" => Self::Lora,
            "prompts" => Self::Prompts,
            "side" => Self::Side,
            _ => {
                let count = text.strip_prefix("last-").and_then(|count| count.parse().ok());
                Self::Last(count.ok_or(())?)
            }
        })
    }
}

impl FromStr for Tuning {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.trim() {
            "full" => return Ok(Self::Full),
            "head" => return Ok(Self::Parts(Vec::new())),
            _ => {}
        }
        let mut parts: Vec<TuningPart> = Vec::new();
        for word in text.split('+').map(str::trim) {
            let part = word.parse().map_err(|()| format!("`{text}` is not {}", Self::NAMES))?;
            if parts.contains(&part) {
                return Err(format!("`{text}` names {word} twice"));
            }
            parts.push(part);
        }
        Ok(Self::Parts(parts))
    }
}

/// Counts of the trained parameters of a model.
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

    /// Trained tensors and values of a kind.
    #[must_use]
    pub fn of_kind(&self, kind: ParameterKind) -> (usize, usize) {
        let tensors =
            self.tensors.iter().filter(|parameter| ParameterKind::of(&parameter.name) == kind);
        tensors.fold((0, 0), |(count, sum), parameter| (count + 1, sum + values(parameter)))
    }
}

impl fmt::Display for TrainedParameters {
    /// Counts and shares in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |values: usize| 100.0 * values as f64 / self.total.max(1) as f64;
        let trained = self.values();
        let (tensors, total) = (self.tensors.len(), self.total);
        write!(f, "{tensors} tensors are trained, {trained} of {total} values ")?;
        write!(f, "({:.2} %)", share(trained))?;
        let mut separator = ": ";
        for kind in ParameterKind::ALL {
            let (_, values) = self.of_kind(kind);
            if values > 0 || kind == ParameterKind::Backbone {
                write!(f, "{separator}{} {values} ({:.2} %)", kind.name(), share(values))?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

fn values(parameter: &ParameterInfo) -> usize {
    parameter.shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(name: &str) -> Tuning {
        name.parse().unwrap()
    }

    #[test]
    fn modes_choose_by_name() {
        let trained = |mode: &str| -> Vec<&str> {
            let mode: Tuning = mode.parse().unwrap();
            let names = [
                "global_tokens",
                "input_adapters.rgb.proj.bias",
                "encoder.0.norm1.weight",
                "encoder.0.norm1.ssf.scale",
                "encoder.0.attn.qkv.bias",
                "encoder.10.mlp.fc1.weight",
                "encoder.11.attn.qkv.lora.a",
                "encoder.11.norm2.bias",
                "prompts.projection.bias",
                "task_prompts.depth.tokens",
                "entry_norms.depth.11.bias",
                "output_adapters.depth.head.weight",
            ];
            names.into_iter().filter(|name| mode.trains(name, 12)).collect()
        };
        let always = ["entry_norms.depth.11.bias", "output_adapters.depth.head.weight"];
        let and_always =
            |names: &[&'static str]| names.iter().copied().chain(always).collect::<Vec<_>>();
        assert_eq!(trained("full").len(), 12);
        assert_eq!(trained("head"), always);
        let biases =
            ["input_adapters.rgb.proj.bias", "encoder.0.attn.qkv.bias", "encoder.11.norm2.bias"];
        assert_eq!(trained("bias"), and_always(&biases));
        let norms = ["encoder.0.norm1.weight", "encoder.11.norm2.bias"];
        assert_eq!(trained("norm"), and_always(&norms));
        assert_eq!(trained("last-1"), and_always(&["encoder.11.norm2.bias"]));
        assert_eq!(trained("last-2").len(), 4);
        assert_eq!(trained("lora"), and_always(&["encoder.11.attn.qkv.lora.a"]));
        assert_eq!(trained("ssf"), and_always(&["encoder.0.norm1.ssf.scale"]));
        let prompts = ["prompts.projection.bias", "task_prompts.depth.tokens"];
        assert_eq!(trained("prompts"), and_always(&prompts));
        assert_eq!(trained("prompts+norm").len(), 6);
    }

    #[test]
    fn names_are_read_and_written() {
        for name in ["full", "head", "bias", "norm", "last-3", "ssf", "lora", "prompts+norm"] {
            assert_eq!(mode(name).to_string(), name);
        }
        for wrong in ["last-", "adapters", "full+norm", "norm+norm", "prompts+"] {
            assert!(wrong.parse::<Tuning>().is_err(), "{wrong}");
        }
        assert!("adapters".parse::<Tuning>().unwrap_err().contains("full | head"));
    }
}
