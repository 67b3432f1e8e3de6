//! A model whose speed and faults are known.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::output_adapters::Prediction;
use multimae_data::{
    DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, RawMap, RawSample,
};
use multimae_infer::predict::{PredictOptions, prepare};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, TaskCard};
use multimae_serve::{
    AdapterEntry, App, Backend, Engine, InferenceOutput, InferenceRequest, Queue, QueueConfig,
    ServerConfig, app,
};
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use tower::ServiceExt as _;

/// Adapters whose names say what happens: the engine panics on `broken` and loses the results of
/// `lossy`, panics on the cost of `priceless`, waits for the test at `gated`; `costly` takes more
/// tokens than any batch.
pub(crate) const ADAPTERS: [&str; 7] =
    ["a", "b", "broken", "lossy", "priceless", "gated", "costly"];

/// Says half a metre of every pixel, after a while.
#[derive(Default)]
pub(crate) struct Slow {
    names: Mutex<Vec<String>>,
    each: Duration,
    /// The adapters of every batch.
    pub(crate) batches: Mutex<Vec<Vec<String>>>,
    pub(crate) computed: AtomicUsize,
    pub(crate) starts: AtomicUsize,
    pub(crate) probes: AtomicUsize,
    /// Engines do not start.
    pub(crate) down: AtomicBool,
    /// Probes fail.
    pub(crate) failing: AtomicBool,
    /// Waited for by `gated` batches and by loads of files named `gated`.
    gate: Mutex<Option<Receiver<()>>>,
}

impl Slow {
    /// A message opens the gate once.
    pub(crate) fn gate(&self) -> Sender<()> {
        let (open, gate) = channel();
        *self.gate.lock().unwrap() = Some(gate);
        open
    }

    fn wait(&self) {
        let gate = self.gate.lock().unwrap();
        gate.as_ref().unwrap().recv().unwrap();
    }
}

/// A handle of the backend for the queue.
struct Handle(Arc<Slow>);

impl Backend for Handle {
    fn adapters(&self) -> Vec<AdapterEntry> {
        let card = Arc::new(card());
        let entry = |name: &String| AdapterEntry { name: name.clone(), card: Arc::clone(&card) };
        self.0.names.lock().unwrap().iter().map(entry).collect()
    }

    fn load(&self, name: &str, path: &Path) -> Result<(), String> {
        let file = path.file_stem().unwrap().to_str().unwrap();
        assert_ne!(file, "broken", "a broken file");
        match file {
            "gated" => self.0.wait(),
            "damaged" => return Err(format!("{}: damaged", path.display())),
            _ => {}
        }
        let mut names = self.0.names.lock().unwrap();
        names.retain(|own| own != name);
        names.push(name.to_owned());
        Ok(())
    }

    fn unload(&self, name: &str) -> bool {
        assert_ne!(name, "broken", "a broken model");
        let mut names = self.0.names.lock().unwrap();
        let before = names.len();
        names.retain(|own| own != name);
        names.len() < before
    }

    fn start(&self) -> Result<Box<dyn Engine>, String> {
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        if self.0.down.load(Ordering::SeqCst) {
            return Err("no memory for an engine".to_owned());
        }
        Ok(Box::new(SlowEngine { slow: Arc::clone(&self.0), sound: true }))
    }
}

struct SlowEngine {
    slow: Arc<Slow>,
    /// `false` after a panic: such an engine must not be used again.
    sound: bool,
}

impl Engine for SlowEngine {
    fn cost(&self, request: &InferenceRequest) -> usize {
        let InferenceRequest::Predict { adapter, .. } = request else { return 10 };
        assert_ne!(adapter, "priceless", "no cost");
        if adapter == "costly" { 1_000_000 } else { 10 }
    }

    fn run(&mut self, requests: &[InferenceRequest]) -> Vec<Result<InferenceOutput, String>> {
        assert!(self.sound, "an engine is used after its panic");
        self.sound = false;
        std::thread::sleep(self.slow.each);
        let mut names = Vec::new();
        let mut products: Vec<_> = requests
            .iter()
            .map(|work| {
                let InferenceRequest::Predict { adapter, frame } = work else {
                    return Err("no".to_owned());
                };
                assert_ne!(adapter, "broken", "a broken model");
                if adapter == "gated" {
                    self.slow.wait();
                }
                names.push(adapter.clone());
                let depth = Tensor::full([1, 1, 16, 16], 0.5, &Device::flex());
                let heads = IndexMap::from([("depth".to_owned(), Prediction::Maps(depth))]);
                Ok(InferenceOutput::Frame(frame.outputs(heads)))
            })
            .collect();
        if names.iter().any(|name| name == "lossy") {
            products.pop();
        }
        self.slow.computed.fetch_add(names.len(), Ordering::SeqCst);
        self.slow.batches.lock().unwrap().push(names);
        self.sound = true;
        products
    }

    fn probe(&mut self) -> Result<(), String> {
        self.slow.probes.fetch_add(1, Ordering::SeqCst);
        if self.slow.failing.load(Ordering::SeqCst) {
            return Err("the weights are damaged".to_owned());
        }
        Ok(())
    }
}

pub(crate) struct Server {
    pub(crate) queue: Queue,
    pub(crate) slow: Arc<Slow>,
}

pub(crate) fn server(each: Duration, config: QueueConfig) -> Server {
    let names = Mutex::new(ADAPTERS.map(str::to_owned).to_vec());
    let slow = Arc::new(Slow { names, each, ..Slow::default() });
    Server { queue: Queue::start(Handle(Arc::clone(&slow)), config).unwrap(), slow }
}

pub(crate) fn router(server: &Server, config: ServerConfig) -> Router {
    app(App::new(config, server.queue.clone(), None))
}

pub(crate) fn work(adapter: &str) -> InferenceRequest {
    let maps = IndexMap::from([("rgb".to_owned(), RawMap::Color(vec![9; 3 * 4 * 6]))]);
    let frame = RawSample { id: "x".to_owned(), index: 0, height: 4, width: 6, maps };
    let card = Arc::new(card());
    let frame = prepare(&card, &frame, &PredictOptions::all_inputs(&card)).unwrap();
    InferenceRequest::Predict { adapter: adapter.to_owned(), frame: Box::new(frame) }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
    image.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

pub(crate) fn predict(query: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(format!("/v1/predict{query}"))
        .header("content-type", "image/png")
        .body(Body::from(body))
        .unwrap()
}

pub(crate) async fn answer(router: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn card() -> ModelCard {
    let model = serde_json::json!({
        "encoder": {"width": 8, "depth": 1, "heads": 1, "mlp_ratio": 2.0, "drop_path": 0.0},
        "patch_size": 8, "image_size": {"height": 16, "width": 16}, "num_global_tokens": 1,
        "inputs": [], "heads": [], "tables": "row_column",
    });
    let rgb = DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
    let depth = TaskCard::new(Depth { scale, min: 0.001, max: 10.0 }, None);
    ModelCard {
        model: serde_json::from_value(model).unwrap(),
        peft: multimae::peft::PeftConfig::default(),
        inputs: vec![InputModality {
            data: rgb,
            adapter: "rgb".to_owned(),
            normalisation: Normalisation::None,
            unit: None,
        }],
        tasks: IndexMap::from([("depth".to_owned(), depth)]),
        geometry: Geometry::Inside { size: (16, 16) },
        valid_mask: None,
    }
}
