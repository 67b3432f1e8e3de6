//! A case's folder: `case.json`, `weights.safetensors`, `inputs.safetensors`.

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Int, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::masking::{SampleMask, TokenMasks};
use multimae::model::Inputs;
use multimae::state::StateDict;
use multimae::weights::{read_safetensors, write_safetensors};

use crate::case::BenchmarkCase;
use crate::{Error, Result};

/// The state dict of the model.
pub(crate) const WEIGHTS_FILE: &str = "weights.safetensors";
/// Everything that goes into it.
const INPUTS_FILE: &str = "inputs.safetensors";

/// A case with its tensors.
#[derive(Debug)]
pub struct CaseFolder {
    dir: PathBuf,
    /// The case.
    pub case: BenchmarkCase,
    /// The model's state dict; empty where there is no model.
    pub weights: StateDict,
    /// `input.*`, `mask.*`, `target.*`, `layer.*`.
    pub inputs: StateDict,
}

impl CaseFolder {
    /// Writes a case.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(
        dir: &Path,
        case: &BenchmarkCase,
        weights: &StateDict,
        inputs: &StateDict,
    ) -> Result<()> {
        fs::create_dir_all(dir)?;
        let path = dir.join("case.json");
        let text = serde_json::to_string_pretty(case)
            .map_err(|error| Error::CaseFile { path: path.clone(), problem: error.to_string() })?;
        fs::write(path, text)?;
        for (file, tensors) in [(WEIGHTS_FILE, weights), (INPUTS_FILE, inputs)] {
            fs::write(dir.join(file), write_safetensors(tensors, &IndexMap::new())?)?;
        }
        Ok(())
    }

    /// Reads a case.
    ///
    /// # Errors
    /// If a file is missing or not as it should be.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("case.json");
        let text = fs::read_to_string(&path)?;
        let case = serde_json::from_str(&text)
            .map_err(|error| Error::CaseFile { path: path.clone(), problem: error.to_string() })?;
        let (weights, _) = read_safetensors(&dir.join(WEIGHTS_FILE))?;
        let (inputs, _) = read_safetensors(&dir.join(INPUTS_FILE))?;
        Ok(Self { dir: dir.to_owned(), case, weights, inputs })
    }

    /// An error about the case.
    #[must_use]
    pub fn error(&self, problem: &str) -> Error {
        Error::CaseFile { path: self.dir.join("case.json"), problem: problem.to_owned() }
    }

    /// A tensor of the inputs.
    fn input(&self, name: &str) -> Result<TensorData> {
        self.inputs.get(name).cloned().ok_or_else(|| Error::CaseFile {
            path: self.dir.join(INPUTS_FILE),
            problem: format!("`{name}` is missing"),
        })
    }

    /// A tensor of real values.
    ///
    /// # Errors
    /// If it is missing.
    pub fn values<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        Ok(Tensor::from_data(self.input(name)?, device))
    }

    /// A tensor of whole numbers.
    ///
    /// # Errors
    /// If it is missing.
    pub fn labels(&self, name: &str, device: &Device) -> Result<Tensor<3, Int>> {
        Ok(Tensor::from_data(self.input(name)?, device))
    }

    /// The inputs of the model.
    ///
    /// # Errors
    /// If one is missing.
    pub fn model_inputs(&self, device: &Device) -> Result<Inputs> {
        let input = |name: &String| {
            let key = format!("input.{name}");
            let values = match self.input(&key)?.shape().len() {
                3 => ModalityTensor::Categorical(self.labels(&key, device)?),
                _ => ModalityTensor::Continuous(self.values(&key, device)?),
            };
            Ok((name.clone(), values))
        };
        self.case.in_domains.iter().map(input).collect()
    }

    /// The masks of all samples.
    ///
    /// # Errors
    /// If one is missing, or they do not fit each other.
    pub fn masks(&self) -> Result<TokenMasks> {
        let mut samples = vec![Vec::new(); self.case.batch];
        for name in &self.case.in_domains {
            let data = self.input(&format!("mask.{name}"))?;
            let flags: Vec<bool> = data.iter::<i64>().map(|flag| flag != 0).collect();
            let tokens = flags.len() / self.case.batch.max(1);
            for (sample, flags) in samples.iter_mut().zip(flags.chunks(tokens.max(1))) {
                sample.extend_from_slice(flags);
            }
        }
        Ok(TokenMasks::new(samples.into_iter().map(SampleMask::new).collect())?)
    }
}
