//! The engine: the computation of batches.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::masking::TokenMasks;
use multimae_infer::predict::{BankPredictor, FrameOutputs, PreparedFrame};
use multimae_infer::saved_model::ModelCard;
use multimae_infer::visualize::{PretrainView, Pretrained};
use multimae_infer::weights_source::WeightsSource;
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

/// A model that is served: its adapters, and engines that compute with them. Shared by the threads
/// that load adapters and the one that computes, so that loading does not stop predictions.
pub trait Backend: Send + Sync + 'static {
    /// The adapters that are loaded.
    fn adapters(&self) -> Vec<AdapterEntry>;

    /// Loads an adapter under a name, in place of one that has it. Batches that run are finished
    /// with the adapters of their start.
    ///
    /// # Errors
    /// Says why it cannot be loaded; nothing has changed then.
    fn load(&self, name: &str, path: &Path) -> std::result::Result<(), String>;

    /// Takes an adapter out; `false` if there is none of the name.
    fn unload(&self, name: &str) -> bool;

    /// Starts an engine, at first and after a panic of the one before. Called on the thread that
    /// computes.
    ///
    /// # Errors
    /// Says why there can be none.
    fn start(&self) -> std::result::Result<Box<dyn Engine>, String>;
}

/// A computation of batches. It belongs to the thread of the queue, and is dropped after a panic.
pub trait Engine {
    /// Returns the number of tokens of a request.
    fn cost(&self, request: &InferenceRequest) -> usize;

    /// Computes a batch; a result per request, in their order.
    fn run(
        &mut self,
        requests: &[InferenceRequest],
    ) -> Vec<std::result::Result<InferenceOutput, String>>;

    /// Runs a tiny forward pass, to see that the engine computes.
    ///
    /// # Errors
    /// Says why it does not.
    fn probe(&mut self) -> std::result::Result<(), String>;
}

/// A backbone with adapters, and its decoders if it has some.
pub struct BankBackend {
    bank: Arc<SharedBank>,
}

struct SharedBank {
    /// The adapters that new batches see. It is replaced, never changed.
    current: RwLock<Arc<BankPredictor>>,
    /// Held by the one who makes the next.
    changes: Mutex<()>,
    pretrained: Option<Arc<Pretrained>>,
}

impl SharedBank {
    fn current(&self) -> Arc<BankPredictor> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, next: BankPredictor) {
        let next = Arc::new(next);
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        // Weights that nothing uses any more are freed outside of the lock.
        drop(old);
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BankBackend {
    /// Creates a backend without adapters on the backbone of a file or a run's folder, with
    /// predictions in a precision that the device must [have](Precision::check). Without
    /// `pretrained` it reconstructs nothing; reconstructions are in that model's precision.
    #[must_use]
    pub fn new(
        backbone: impl Into<WeightsSource>,
        device: Device,
        precision: Precision,
        pretrained: Option<Arc<Pretrained>>,
    ) -> Self {
        let predictor = BankPredictor::new(backbone, device).with_precision(precision);
        let current = RwLock::new(Arc::new(predictor));
        Self { bank: Arc::new(SharedBank { current, changes: Mutex::new(()), pretrained }) }
    }
}

impl Backend for BankBackend {
    fn adapters(&self) -> Vec<AdapterEntry> {
        let current = self.bank.current();
        let bank = current.bank();
        let entry = |name: &str| {
            let card = Arc::clone(bank.card(name)?);
            Some(AdapterEntry { name: name.to_owned(), card })
        };
        bank.names().filter_map(entry).collect()
    }

    fn load(&self, name: &str, path: &Path) -> std::result::Result<(), String> {
        let _one = self.bank.changing();
        let mut next = BankPredictor::clone(&self.bank.current());
        next.bank_mut().add(name, path).map_err(|error| error.to_string())?;
        next.probe(name).map_err(|error| error.to_string())?;
        self.bank.publish(next);
        Ok(())
    }

    fn unload(&self, name: &str) -> bool {
        let _one = self.bank.changing();
        let mut next = BankPredictor::clone(&self.bank.current());
        let was_there = next.bank_mut().remove(name);
        self.bank.publish(next);
        was_there
    }

    fn start(&self) -> std::result::Result<Box<dyn Engine>, String> {
        Ok(Box::new(BankEngine(Arc::clone(&self.bank))))
    }
}

/// An engine of a [`BankBackend`]. It has no state of its own: every batch sees the adapters of
/// its start.
struct BankEngine(Arc<SharedBank>);

impl BankEngine {
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
        for ((place, ..), result) in frames.iter().zip(self.0.current().forward(&batch)) {
            results[*place] = Some(result.map(InferenceOutput::Frame).map_err(|e| e.to_string()));
        }
    }
}

impl Engine for BankEngine {
    fn cost(&self, request: &InferenceRequest) -> usize {
        match request {
            InferenceRequest::Predict { frame, .. } => frame.tokens(),
            InferenceRequest::Reconstruct { masks, .. } => masks.tokens(),
        }
    }

    fn run(
        &mut self,
        requests: &[InferenceRequest],
    ) -> Vec<std::result::Result<InferenceOutput, String>> {
        let mut results: Vec<Option<std::result::Result<InferenceOutput, String>>> =
            requests.iter().map(|_| None).collect();
        self.predict(requests, &mut results);
        for (request, result) in requests.iter().zip(&mut results) {
            if let InferenceRequest::Reconstruct { view, masks } = request {
                let model = self.0.pretrained.as_ref().ok_or("this server has no pre-trained model to reconstruct with; start it with `--model` of a run of `multimae pretrain`");
                *result = Some(model.map_err(str::to_owned).and_then(|model| {
                    let maps = model.reconstruct(std::slice::from_ref(&**view), masks);
                    maps.map(InferenceOutput::Maps).map_err(|error| error.to_string())
                }));
            }
        }
        let lost = || Err("a request of the batch has no result".to_owned());
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn probe(&mut self) -> std::result::Result<(), String> {
        let current = self.0.current();
        let first = current.bank().names().next();
        let probed = match (first, &self.0.pretrained) {
            (Some(name), _) => current.probe(name),
            (None, Some(model)) => model.probe(),
            // Nothing is loaded that could compute.
            (None, None) => Ok(()),
        };
        probed.map_err(|error| error.to_string())
    }
}
