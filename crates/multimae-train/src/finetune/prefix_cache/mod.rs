//! The outputs of frozen, unprompted blocks over a fixed set of augmented views, computed once.
//!
//! Where training changes nothing before block `k` (heads alone, prompts of the last blocks), the first
//! `k` blocks give the same outputs in every epoch that shows a frame alike. With `cache_views: 8`
//! every frame has eight views, which are drawn once; epochs take them in turn. The outputs for a view are
//! rounded to 16 bits and kept in a file when they are first computed, and read from it afterwards: in later
//! epochs, when a run is resumed, and in other runs on the same backbone and frames. They are rounded in either
//! case, so that a run's numbers do not depend on what the file holds.
//!
//! The file is read by position and not mapped: the system keeps its pages in memory either way, and one that
//! is cut off is an error and not a signal.

mod file;
mod views;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use half::f16;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::model::Inputs;
use multimae::peft::{FrozenPrefix, PeftEncoding, PeftModel, PrefixFeatures};
use multimae::state::state_dict;
use multimae_data::{Loader, Sample};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use self::file::{CacheFile, Key, file_bytes, rounded, widened};
use super::FinetuneSetup;
use crate::{Error, Result};

pub(super) use views::FixedViews;

/// The folder of the cache in that of a run.
const FOLDER: &str = "prefix-cache";

/// The cache of a run.
#[derive(Debug)]
pub(super) struct PrefixCache {
    prefix: FrozenPrefix,
    dir: PathBuf,
    views: u64,
    records: u64,
    /// Tokens of a frame, and their width.
    tokens: usize,
    width: usize,
    /// All that made the content, besides the weights.
    source: serde_json::Value,
    /// Opened when the weights are known, which those of a resumed run are with its first step; by one of the
    /// threads that compute its passes.
    file: Mutex<Option<Arc<CacheFile>>>,
}

impl PrefixCache {
    /// The folder of the cache of a run in `out`.
    pub(super) fn folder(setup: &FinetuneSetup, out: &Path) -> PathBuf {
        setup.recipe.cache_dir.as_ref().map_or_else(|| out.join(FOLDER), PathBuf::from)
    }

    /// The cache of a run in a folder, and notices about it; no cache if the recipe asks for none, or where it
    /// cannot help.
    ///
    /// # Errors
    /// If a file of the training frames is gone.
    pub(super) fn of(
        setup: &FinetuneSetup,
        model: &PeftModel,
        training: &Loader,
        dir: &Path,
    ) -> Result<(Option<Self>, Vec<String>)> {
        let recipe = &setup.recipe;
        let views = recipe.cache_views as u64;
        if views == 0 {
            return Ok((None, Vec::new()));
        }
        let without = |why: &str| {
            let views = format!("every frame has {views} views, and nothing is kept: {why}");
            Ok((None, vec![views]))
        };
        if setup.mixing.is_some() {
            return without("images are mixed");
        }
        let Some(prefix) = model.frozen_prefix() else {
            return without("the first block, or what lies before it, is trained or prompted");
        };
        let config = model.vit.config();
        let Ok(grid) = recipe.arch.input_size.grid(config.patch_size) else {
            return without("the image is no multiple of the patch");
        };
        let tokens = config.inputs.len() * grid.area() + config.num_global_tokens;
        let frames = training.samples();
        let records = frames as u64 * views;
        let values = prefix.taps.len() * tokens * config.encoder.width;
        let notice = format!(
            "prefix cache: outputs of {} for {frames} frames in {views} views, up to {:.0} MB in {}",
            match prefix.computed_blocks() {
                1 => "the first block".to_owned(),
                blocks => format!("the first {blocks} blocks"),
            },
            file_bytes(records, values) as f64 / 1e6,
            dir.display()
        );
        let source = json!({
            "program": env!("CARGO_PKG_VERSION"),
            "blocks": prefix.blocks,
            "taps": &prefix.taps,
            "encoder": format!("{:?}", config.encoder),
            "inputs": &setup.card.inputs,
            "views": setup.views(),
            "precision": format!("{:?}", setup.precision),
            "device": &recipe.run.device,
            "kernels": std::env::var("MULTIMAE_KERNELS").ok(),
            "frames": training.facts()?,
            "files": stamps(setup),
        });
        let cache = Self {
            prefix,
            dir: dir.to_owned(),
            views,
            records,
            tokens,
            width: config.encoder.width,
            source,
            file: Mutex::default(),
        };
        Ok((Some(cache), vec![notice]))
    }

    /// The encoder's outputs for samples as an epoch shows them, from what is kept of them on; what is not
    /// yet is computed and kept.
    ///
    /// # Errors
    /// If the file cannot be read or written, or the inputs do not fit the model.
    pub(super) fn encode(
        &self,
        model: &PeftModel,
        (samples, inputs): (&[Sample], &Inputs),
        epoch: u64,
        phase: &mut Phase<'_>,
    ) -> Result<PeftEncoding> {
        let features = self.features(model, (samples, inputs), epoch)?;
        Ok(model.encode_from(inputs, (&self.prefix, &features), phase)?)
    }

    fn features(
        &self,
        model: &PeftModel,
        (samples, inputs): (&[Sample], &Inputs),
        epoch: u64,
    ) -> Result<PrefixFeatures> {
        let file = self.file(model)?;
        let record = |sample: &Sample| sample.index as u64 * self.views + epoch % self.views;
        let mut kept = Vec::with_capacity(samples.len());
        for sample in samples {
            kept.push(file.read(record(sample))?);
        }
        let device = model.vit.global_tokens.val().device();
        if kept.iter().any(Option::is_none) {
            let computed = model.prefix_features(&self.prefix, inputs.clone())?;
            let computed = self.rows(computed, samples.len());
            for ((sample, kept), values) in samples.iter().zip(&mut kept).zip(computed) {
                if kept.is_none() {
                    if values.iter().any(|value| value.abs() > f16::MAX.to_f32()) {
                        return Err(Error::Recipe(format!(
                            "sample `{}`: an output of the first {} blocks is beyond the range of 16 bits; \
                             set `cache_views: 0`",
                            sample.id,
                            self.prefix.computed_blocks()
                        )));
                    }
                    let values = rounded(&values);
                    file.write(record(sample), &values)?;
                    *kept = Some(values);
                }
            }
        }
        let rows: Vec<Vec<f32>> = kept.into_iter().flatten().map(|row| widened(&row)).collect();
        Ok(self.tensors(&rows, &device))
    }

    fn file(&self, model: &PeftModel) -> Result<Arc<CacheFile>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let values = self.prefix.taps.len() * self.tokens * self.width;
        let opened = CacheFile::open(&self.dir, &self.key(model), self.records, values)?;
        Ok(Arc::clone(file.insert(Arc::new(opened))))
    }

    /// The digest of all that makes the content.
    fn key(&self, model: &PeftModel) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.source.to_string());
        let of_prefix = |name: &str| {
            let block = name.strip_prefix("encoder.").and_then(|rest| rest.split('.').next());
            let block = block.and_then(|block| block.parse::<usize>().ok());
            name == "global_tokens"
                || name.starts_with("input_adapters.")
                || block.is_some_and(|block| block < self.prefix.computed_blocks())
        };
        let mut weights: Vec<_> =
            state_dict(model).into_iter().filter(|(name, _)| of_prefix(name)).collect();
        weights.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, data) in weights {
            digest.update(name);
            digest.update(data.as_bytes());
        }
        digest.finalize().into()
    }

    /// The values of each sample: its tokens of one tap after the other.
    fn rows(&self, features: PrefixFeatures, samples: usize) -> Vec<Vec<f32>> {
        let of_one = self.tokens * self.width;
        let mut rows = vec![Vec::with_capacity(features.len() * of_one); samples];
        for tap in features {
            let values: Vec<f32> = tap.into_data().iter().collect();
            rows.iter_mut().zip(values.chunks(of_one)).for_each(|(row, own)| row.extend(own));
        }
        rows
    }

    fn tensors(&self, rows: &[Vec<f32>], device: &Device) -> PrefixFeatures {
        let of_one = self.tokens * self.width;
        let tap = |index: usize| {
            let values: Vec<f32> =
                rows.iter().flat_map(|row| &row[index * of_one..][..of_one]).copied().collect();
            let data = TensorData::new(values, [rows.len(), self.tokens, self.width]);
            Tensor::from_data(data, device)
        };
        (0..self.prefix.taps.len()).map(tap).collect()
    }
}

/// A digest of the sizes and times of the frames' files: a file that was changed in place has another time.
fn stamps(setup: &FinetuneSetup) -> String {
    let mut digest = Sha256::new();
    for path in setup.training.samples().iter().flat_map(|sample| sample.paths) {
        let Ok(facts) = fs_err::metadata(path) else { continue };
        digest.update(facts.len().to_le_bytes());
        let time = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        digest.update(time.unwrap_or_default().as_nanos().to_le_bytes());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
