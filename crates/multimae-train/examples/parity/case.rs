//! A case folder and what all kinds of cases share.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::masking::{SampleMask, TokenMasks};
use multimae::state::StateDict;
use multimae::weights::{read_safetensors, write_safetensors};

/// An error of a case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParityError {
    /// A kind that this program does not compute.
    #[error("cases of kind `{0}` are not known")]
    Unknown(String),
    /// The configuration is not as agreed.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A tensor is missing or of the wrong kind.
    #[error("{}: tensor `{name}`: {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The problem.
        problem: String,
    },
    /// The model refuses.
    #[error(transparent)]
    Model(#[from] multimae::Error),
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The output files of a case: names and bytes.
pub(crate) type Files = Vec<(&'static str, Vec<u8>)>;

/// A case folder.
pub(crate) struct Case {
    dir: PathBuf,
    /// `pretrain`, `head`, `prompt` or `metrics`.
    pub(crate) kind: String,
    config: serde_json::Value,
}

impl Case {
    /// Opens a folder. A folder without configuration is one of metrics.
    pub(crate) fn open(dir: &Path) -> Result<Self, ParityError> {
        let path = dir.join("config.json");
        if !path.exists() && dir.join("inputs.safetensors").exists() {
            let config = serde_json::Value::Null;
            return Ok(Self { dir: dir.to_owned(), kind: "metrics".to_owned(), config });
        }
        let text = fs_err::read_to_string(&path)?;
        let config: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| ParityError::Config { path: path.clone(), problem: e.to_string() })?;
        let kind = config["kind"].as_str().unwrap_or_default().to_owned();
        Ok(Self { dir: dir.to_owned(), kind, config })
    }

    /// An error about a key of the configuration.
    pub(crate) fn config_error(&self, key: &str, problem: &str) -> ParityError {
        ParityError::Config {
            path: self.dir.join("config.json"),
            problem: format!("`{key}`: {problem}"),
        }
    }

    /// A count that must be there.
    pub(crate) fn count(&self, key: &str) -> Result<usize, ParityError> {
        self.config[key]
            .as_u64()
            .and_then(|value| usize::try_from(value).ok())
            .ok_or_else(|| self.config_error(key, "a whole number is expected"))
    }

    /// A count that may be absent.
    pub(crate) fn count_or(&self, key: &str, default: usize) -> Result<usize, ParityError> {
        if self.config[key].is_null() { Ok(default) } else { self.count(key) }
    }

    /// A number that may be absent.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.config[key].as_f64()
    }

    /// A text that may be absent.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.config[key].as_str()
    }

    /// A flag, false where absent.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.config[key].as_bool().unwrap_or(false)
    }

    /// A list of as many counts.
    pub(crate) fn counts<const N: usize>(&self, key: &str) -> Result<[usize; N], ParityError> {
        let count = |value: &serde_json::Value| usize::try_from(value.as_u64()?).ok();
        self.config[key]
            .as_array()
            .and_then(|list| list.iter().map(count).collect::<Option<Vec<_>>>())
            .and_then(|list| list.try_into().ok())
            .ok_or_else(|| self.config_error(key, &format!("{N} whole numbers are expected")))
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<&str, ParityError> {
        self.text(key).ok_or_else(|| self.config_error(key, "a text is expected"))
    }

    /// A list of names.
    pub(crate) fn names(&self, key: &str) -> Result<Vec<String>, ParityError> {
        let list = self.config[key].as_array();
        list.and_then(|list| list.iter().map(|v| v.as_str().map(str::to_owned)).collect())
            .ok_or_else(|| self.config_error(key, "a list of names is expected"))
    }

    /// A file of tensors.
    pub(crate) fn tensors(&self, name: &str) -> Result<Tensors, ParityError> {
        let path = self.dir.join(name);
        let (tensors, _) = read_safetensors(&path)?;
        Ok(Tensors { path, tensors })
    }
}

/// The tensors of a file.
pub(crate) struct Tensors {
    path: PathBuf,
    /// By name.
    pub(crate) tensors: StateDict,
}

impl Tensors {
    /// A tensor that must be there.
    pub(crate) fn get(&self, name: &str) -> Result<&TensorData, ParityError> {
        self.tensors.get(name).ok_or_else(|| self.error(name, "is missing"))
    }

    /// An error about a tensor.
    pub(crate) fn error(&self, name: &str, problem: &str) -> ParityError {
        ParityError::Tensor {
            path: self.path.clone(),
            name: name.to_owned(),
            problem: problem.to_owned(),
        }
    }

    /// The tensor `input.<modality>`: three axes are labels, four are values.
    pub(crate) fn input(
        &self,
        modality: &str,
        device: &Device,
    ) -> Result<ModalityTensor, ParityError> {
        let name = format!("input.{modality}");
        let data = self.get(&name)?.clone();
        match data.shape().len() {
            3 => Ok(ModalityTensor::Categorical(Tensor::from_data(data, device))),
            4 => Ok(ModalityTensor::Continuous(Tensor::from_data(data, device))),
            _ => Err(self.error(&name, "has neither three nor four axes")),
        }
    }

    /// The masks `mask.<modality>` of the modalities in order.
    pub(crate) fn masks(&self, modalities: &[String]) -> Result<TokenMasks, ParityError> {
        let mut samples: Vec<Vec<bool>> = Vec::new();
        for modality in modalities {
            let name = format!("mask.{modality}");
            let data = self.get(&name)?;
            let &[batch, tokens] = data.shape().as_slice() else {
                return Err(self.error(&name, "does not have two axes"));
            };
            samples.resize(batch, Vec::new());
            let flags: Vec<bool> = data.iter::<i64>().map(|value| value != 0).collect();
            for (sample, flags) in samples.iter_mut().zip(flags.chunks(tokens.max(1))) {
                sample.extend_from_slice(flags);
            }
        }
        Ok(TokenMasks::new(samples.into_iter().map(SampleMask::new).collect())?)
    }
}

/// The bytes of a file of tensors.
pub(crate) fn encode(tensors: &StateDict) -> Result<Vec<u8>, ParityError> {
    Ok(write_safetensors(tensors, &IndexMap::new())?)
}
