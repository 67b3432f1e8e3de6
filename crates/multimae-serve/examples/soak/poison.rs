//! An engine that panics on marked frames, around one that does not.

use std::path::Path;

use multimae_serve::{
    AdapterEntry, Backend, BankBackend, Engine, InferenceOutput, InferenceRequest,
};

/// Height and width of frames on which the forward pass panics.
pub(crate) const FORWARD: (u32, u32) = (31, 37);
/// Height and width of frames on whose cost the engine panics.
pub(crate) const COST: (u32, u32) = (37, 31);
/// The name of a file on which loading panics.
pub(crate) const LOAD: &str = "poisoned";

/// A backend that panics where it is told to.
pub(crate) struct Poisoned(pub(crate) BankBackend);

impl Backend for Poisoned {
    fn adapters(&self) -> Vec<AdapterEntry> {
        self.0.adapters()
    }

    fn load(&self, name: &str, path: &Path) -> Result<(), String> {
        assert!(path.file_stem().is_none_or(|stem| stem != LOAD), "a poisoned file");
        self.0.load(name, path)
    }

    fn unload(&self, name: &str) -> bool {
        self.0.unload(name)
    }

    fn start(&self) -> Result<Box<dyn Engine>, String> {
        Ok(Box::new(PoisonedEngine(self.0.start()?)))
    }
}

struct PoisonedEngine(Box<dyn Engine>);

impl Engine for PoisonedEngine {
    fn cost(&self, request: &InferenceRequest) -> usize {
        assert!(!is_marked(request, COST), "a poisoned cost");
        self.0.cost(request)
    }

    fn run(&mut self, requests: &[InferenceRequest]) -> Vec<Result<InferenceOutput, String>> {
        // In the middle of a batch: what was computed until then is lost.
        let results = self.0.run(requests);
        assert!(!requests.iter().any(|request| is_marked(request, FORWARD)), "a poisoned frame");
        results
    }

    fn probe(&mut self) -> Result<(), String> {
        self.0.probe()
    }
}

fn is_marked(request: &InferenceRequest, (height, width): (u32, u32)) -> bool {
    let InferenceRequest::Predict { frame, .. } = request else { return false };
    (frame.size().height, frame.size().width) == (height as usize, width as usize)
}
