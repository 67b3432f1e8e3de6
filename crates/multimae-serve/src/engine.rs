//! The engine: the computation of batches.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::masking::TokenMasks;
use multimae_infer::predict::{BankPredictor, FrameOutputs, PreparedFrame};
use multimae_infer::saved_model::ModelCard;
use multimae_infer::visualize::{PretrainView, Pretrained};
use multimae_kernels::precision::Precision;

/// A request to the engine.
#[derive(Debug, Clone)]
pub enum InferenceRequest {
    /// A prediction of an adapter for a frame.
    Predict {
        /// The adapter.
        adapter: String,
        /// The frame, prepared with the adapter's card.
        frame: Box<PreparedFrame>,
    },
    /// A reconstruction of a frame by the pre-trained model.
    Reconstruct {
        /// The frame as the model sees it.
        view: Box<PretrainView>,
        /// The mask of visible patches.
        masks: TokenMasks,
    },
}

/// The result of an [`InferenceRequest`].
#[derive(Debug, Clone)]
pub enum InferenceOutput {
    /// Of [`InferenceRequest::Predict`]: what the heads say, not yet at the frame's size.
    Frame(FrameOutputs),
    /// Of [`InferenceRequest::Reconstruct`]: `(1, C, h, w)` by task, flat.
    Maps(IndexMap<String, Vec<f32>>),
}

/// An adapter that is loaded.
#[derive(Debug, Clone)]
pub struct AdapterEntry {
    /// Its name.
    pub name: String,
    /// Its inputs and tasks.
    pub card: Arc<ModelCard>,
}

/// A computation of batches. It belongs to the thread of the queue.
pub trait Engine: Send + 'static {
    /// The adapters that are loaded.
    fn adapters(&self) -> Vec<AdapterEntry>;

    /// Loads an adapter under a name, in place of one that has it.
    ///
    /// # Errors
    /// Says why it cannot be loaded; nothing has changed then.
    fn load(&mut self, name: &str, path: &Path) -> std::result::Result<(), String>;

    /// Takes an adapter out; `false` if there is none of the name.
    fn unload(&mut self, name: &str) -> bool;

    /// Returns the number of tokens of a request.
    fn cost(&self, request: &InferenceRequest) -> usize;

    /// Computes a batch; a result per piece, in their order.
    fn run(
        &mut self,
        requests: Vec<InferenceRequest>,
    ) -> Vec<std::result::Result<InferenceOutput, String>>;
}

/// A backbone with adapters, and its decoders if it has some.
pub struct BankEngine {
    predictor: BankPredictor,
    pretrained: Option<Arc<Pretrained>>,
}

impl BankEngine {
    /// Creates an engine without adapters on the backbone of a file or a run's folder. Without
    /// `pretrained` it reconstructs nothing.
    #[must_use]
    pub fn new(backbone: &Path, device: Device, pretrained: Option<Arc<Pretrained>>) -> Self {
        Self { predictor: BankPredictor::new(backbone, device), pretrained }
    }

    /// The same engine with predictions in another precision than 32 bits, which its device must
    /// [have](Precision::check). Reconstructions are in that of the pre-trained model.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { predictor: self.predictor.with_precision(precision), ..self }
    }

    fn predict(
        &self,
        requests: &[InferenceRequest],
        results: &mut [Option<std::result::Result<InferenceOutput, String>>],
    ) {
        let frames: Vec<(usize, &str, &PreparedFrame)> = requests
            .iter()
            .enumerate()
            .filter_map(|(place, request)| match request {
                InferenceRequest::Predict { adapter, frame } => {
                    Some((place, adapter.as_str(), &**frame))
                }
                InferenceRequest::Reconstruct { .. } => None,
            })
            .collect();
        let batch: Vec<(&str, &PreparedFrame)> = frames.iter().map(|(_, a, f)| (*a, *f)).collect();
        for ((place, ..), result) in frames.iter().zip(self.predictor.forward(&batch)) {
            results[*place] = Some(result.map(InferenceOutput::Frame).map_err(|e| e.to_string()));
        }
    }
}

impl Engine for BankEngine {
    fn adapters(&self) -> Vec<AdapterEntry> {
        let bank = self.predictor.bank();
        let entry = |name: &str| {
            let card = Arc::clone(bank.card(name)?);
            Some(AdapterEntry { name: name.to_owned(), card })
        };
        bank.names().filter_map(entry).collect()
    }

    fn load(&mut self, name: &str, path: &Path) -> std::result::Result<(), String> {
        self.predictor.bank_mut().add(name, path).map_err(|error| error.to_string())
    }

    fn unload(&mut self, name: &str) -> bool {
        self.predictor.bank_mut().remove(name)
    }

    fn cost(&self, request: &InferenceRequest) -> usize {
        match request {
            InferenceRequest::Predict { frame, .. } => frame.tokens(),
            InferenceRequest::Reconstruct { masks, .. } => masks.tokens(),
        }
    }

    fn run(
        &mut self,
        requests: Vec<InferenceRequest>,
    ) -> Vec<std::result::Result<InferenceOutput, String>> {
        let mut results: Vec<Option<std::result::Result<InferenceOutput, String>>> =
            requests.iter().map(|_| None).collect();
        self.predict(&requests, &mut results);
        for (request, result) in requests.iter().zip(&mut results) {
            if let InferenceRequest::Reconstruct { view, masks } = request {
                let model = self.pretrained.as_ref().ok_or("this server has no pre-trained model to reconstruct with; start it with `--model` of a run of `multimae pretrain`");
                *result = Some(model.map_err(str::to_owned).and_then(|model| {
                    let maps = model.reconstruct(std::slice::from_ref(&**view), masks);
                    maps.map(InferenceOutput::Maps).map_err(|error| error.to_string())
                }));
            }
        }
        let lost = || Err("a request of the batch has no result".to_owned());
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }
}
