//! Random weights and inputs of a case.

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, TensorData};
use multimae::init::initialise;
use multimae::masking::{MaskingStrategy, SampleMask};
use multimae::output_adapters::with_aliases;
use multimae::peft::random_prompts;
use multimae::state::{StateDict, state_dict};
use multimae_data::Geometry;
use multimae_export::onnx::{GRAPH_FILE, OnnxOptions, OutputForm, export_beside};
use multimae_infer::saved_model::{ModelCard, SavedModel};
use multimae_kernels::precision::Precision;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Result;
use crate::case::{BenchmarkCase, BenchmarkKind, Heads};
use crate::folder::{CaseFolder, WEIGHTS_FILE};
use crate::models::LABEL_STRIDE;

/// The seed of all material: the times must not depend on it.
const SEED: u64 = 0;

/// Writes a case's folder.
///
/// # Errors
/// If the case's sizes do not fit each other, or a file cannot be written.
pub fn prepare(dir: &Path, case: &BenchmarkCase) -> Result<()> {
    CaseFolder::write(dir, case, &weights(case)?, &inputs(case)?)?;
    if case.kind == BenchmarkKind::Inference { write_graph(dir, case) } else { Ok(()) }
}

/// Writes the model as a graph for other engines, with its weights in those of the case.
fn write_graph(dir: &Path, case: &BenchmarkCase) -> Result<()> {
    let model = random_prompts(random(case.peft_model(&Device::default())?), stream)?;
    let size = case.size();
    let card = ModelCard {
        model: model.vit.config().clone(),
        peft: model.peft().clone(),
        inputs: Vec::new(),
        tasks: IndexMap::new(),
        geometry: Geometry::CenterFit { size: (size.height, size.width) },
        valid_mask: None,
    };
    let notes = IndexMap::new();
    let saved = SavedModel { model, card, notes, precision: Precision::Fp32 };
    let options =
        OnnxOptions { batch: Some(case.batch), outputs: OutputForm::Raw, ..OnnxOptions::default() };
    let weights = fs::read(dir.join(WEIGHTS_FILE))?;
    let graph = export_beside(&saved, &options, (WEIGHTS_FILE, &weights))?;
    Ok(fs::write(dir.join(GRAPH_FILE), graph.bytes())?)
}

/// A generator of numbers that depend on the name alone.
fn stream(name: &str) -> ChaCha8Rng {
    multimae_data::stream(SEED, name, 0, 0)
}

fn random<M: Module>(model: M) -> M {
    initialise(model, stream)
}

fn weights(case: &BenchmarkCase) -> Result<StateDict> {
    let device = Device::default();
    Ok(match case.kind {
        BenchmarkKind::Pretrain => state_dict(&random(case.multimae(&device)?)),
        BenchmarkKind::Joint
        | BenchmarkKind::Prompts
        | BenchmarkKind::Inference
        | BenchmarkKind::Heads
        | BenchmarkKind::Startup => {
            let model = random_prompts(random(case.peft_model(&device)?), stream)?;
            with_aliases(state_dict(&model))
        }
        BenchmarkKind::Loading => StateDict::new(),
    })
}

fn inputs(case: &BenchmarkCase) -> Result<StateDict> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut inputs = StateDict::new();
    let [height, width] = case.image;
    let batch = case.batch;
    let needs_images = !matches!(
        case.kind,
        BenchmarkKind::Heads | BenchmarkKind::Loading | BenchmarkKind::Startup
    );
    for modality in case.modalities().iter().filter(|_| needs_images) {
        let data = match modality.name.as_str() {
            "semseg" => {
                let shape = [batch, height / LABEL_STRIDE, width / LABEL_STRIDE];
                labels(&mut rng, shape, case.classes)
            }
            "depth" => values(&mut rng, &[batch, 1, height, width]),
            _ => values(&mut rng, &[batch, 3, height, width]),
        };
        inputs.insert(format!("input.{}", modality.name), data);
    }
    if let (BenchmarkKind::Pretrain, Some(decoders)) = (case.kind, case.decoders) {
        insert_masks(&mut inputs, case, decoders.keep, &mut rng)?;
    }
    if let (Some(heads), BenchmarkKind::Joint | BenchmarkKind::Prompts | BenchmarkKind::Heads) =
        (case.task_heads, case.kind)
    {
        inputs.insert("target.depth".to_owned(), values(&mut rng, &[batch, 1, height, width]));
        let target = labels(&mut rng, [batch, height, width], heads.num_classes);
        inputs.insert("target.semseg".to_owned(), target);
        if case.kind == BenchmarkKind::Heads {
            insert_layers(&mut inputs, case, heads, &mut rng);
        }
    }
    Ok(inputs)
}

/// `mask.<modality>` `(B, N)`, 1 where a token is hidden.
fn insert_masks(
    inputs: &mut StateDict,
    case: &BenchmarkCase,
    keep: usize,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    let tokens = (case.image[0] / case.patch) * (case.image[1] / case.patch);
    let counts = vec![tokens; case.in_domains.len()];
    let strategy = MaskingStrategy {
        num_encoded_tokens: keep,
        alphas: vec![1.0; counts.len()],
        sample_tasks_uniformly: false,
    };
    let samples = (0..case.batch)
        .map(|_| SampleMask::sample(&strategy, &counts, rng))
        .collect::<multimae::Result<Vec<_>>>()?;
    for (index, name) in case.in_domains.iter().enumerate() {
        let flags: Vec<i64> = samples
            .iter()
            .flat_map(|sample| &sample.masked()[index * tokens..(index + 1) * tokens])
            .map(|&masked| i64::from(masked))
            .collect();
        inputs.insert(format!("mask.{name}"), TensorData::new(flags, [case.batch, tokens]));
    }
    Ok(())
}

/// `layer.<block>` `(B, N + G, dim)` of every block that a head reads.
fn insert_layers(inputs: &mut StateDict, case: &BenchmarkCase, heads: Heads, rng: &mut ChaCha8Rng) {
    let tokens = (case.image[0] / case.patch) * (case.image[1] / case.patch) + case.global_tokens;
    let mut blocks = heads.hooks.to_vec();
    blocks.push(case.sizes.depth - 1);
    for block in blocks {
        let shape = [case.batch, tokens, case.sizes.dim];
        inputs.entry(format!("layer.{block}")).or_insert_with(|| values(rng, &shape));
    }
}

/// Values between -1 and 1.
fn values(rng: &mut impl Rng, shape: &[usize]) -> TensorData {
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
    TensorData::new(values, shape.to_vec())
}

fn labels(rng: &mut impl Rng, shape: [usize; 3], classes: usize) -> TensorData {
    let len = shape.iter().product();
    let values: Vec<i64> = (0..len).map(|_| rng.random_range(0..classes as i64)).collect();
    TensorData::new(values, shape)
}
