//! Time of one pre-training step on random input:
//! `step_time [tiny|small|base] [HEIGHT] [WIDTH] [BATCH] [VISIBLE] [STEPS]`.
//!
//! Four decoders (RGB, depth, labels, normalised RGB), forward, backward and AdamW.

use std::time::Instant;

use multimae::burn::tensor::{Device, Distribution, Tensor};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::{Objective, ReconstructionLoss, TaskObjective};
use multimae::masking::{MaskingStrategy, SampleMask, TokenMasks};
use multimae::modality::{Modality, Size};
use multimae::model::{Inputs, MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae_kernels::allocator::{self, Allocator};
use multimae_train::learner::Learner;
use multimae_train::optim::{AdamW, AdamWConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 41;
const PATCH: usize = 16;

#[global_allocator]
static ALLOCATOR: Allocator = allocator::ALLOCATOR;

fn config(encoder: EncoderConfig, size: Size) -> MultiMaeConfig {
    let inputs = vec![
        Modality::continuous("rgb", 3),
        Modality::continuous("depth", 1),
        Modality::categorical("semseg", CLASSES, 4),
    ];
    let norm_rgb = OutputTask { name: "norm_rgb".to_owned(), modality: inputs[0].clone() };
    MultiMaeConfig {
        encoder,
        patch_size: PATCH,
        image_size: size,
        num_global_tokens: 1,
        outputs: inputs.iter().cloned().map(OutputTask::of).chain([norm_rgb]).collect(),
        inputs,
        decoder: DecoderConfig::default(),
        tables: NonSquareTables::default(),
    }
}

fn objective() -> Objective {
    let mse = |norm_pix| ReconstructionLoss::Mse { norm_pix };
    let task = |name: &str, target: &str, loss, patch| TaskObjective {
        name: name.to_owned(),
        target: target.to_owned(),
        loss,
        patch,
    };
    let cross_entropy = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: None };
    Objective {
        tasks: vec![
            task("rgb", "rgb", mse(false), PATCH),
            task("depth", "depth", ReconstructionLoss::L1 { norm_pix: false }, PATCH),
            task("semseg", "semseg", cross_entropy, PATCH / 4),
            task("norm_rgb", "rgb", mse(true), PATCH),
        ],
        loss_on_unmasked: false,
        ignore_nan_samples: false,
    }
}

fn inputs(batch: usize, size: Size, device: &Device) -> Inputs {
    let noise = |channels: usize| {
        let shape = [batch, channels, size.height, size.width];
        ModalityTensor::Continuous(Tensor::random(shape, Distribution::Default, device))
    };
    let labels = Tensor::<3>::random(
        [batch, size.height / 4, size.width / 4],
        Distribution::Uniform(0.0, CLASSES as f64),
        device,
    );
    [("rgb", noise(3)), ("depth", noise(1)), ("semseg", ModalityTensor::Categorical(labels.int()))]
        .map(|(name, values)| (name.to_owned(), values))
        .into_iter()
        .collect()
}

#[allow(clippy::print_stdout, reason = "a program reports its measurement there")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    allocator::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(Ok(default), |text| text.parse())
    };
    let encoder = match arguments.first().map(String::as_str) {
        None | Some("tiny") => EncoderConfig::tiny(),
        Some("small") => EncoderConfig::small(),
        Some("base") => EncoderConfig::base(),
        Some(other) => return Err(format!("unknown size {other}").into()),
    };
    let size = Size::new(number(1, 96)?, number(2, 128)?);
    let (batch, visible, steps) = (number(3, 32)?, number(4, 24)?, number(5, 10)?);

    let device = Device::default().autodiff();
    let config = config(encoder, size);
    let layout = config.layout(size)?;
    let strategy = MaskingStrategy {
        num_encoded_tokens: visible,
        alphas: vec![1.0; 3],
        sample_tasks_uniformly: false,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let masks = (0..batch)
        .map(|_| SampleMask::sample(&strategy, &layout.tokens_per_task(), &mut rng))
        .collect::<Result<Vec<_>, _>>()?;
    let masks = TokenMasks::new(masks)?;
    let batch = inputs(batch, size, &device);
    let objective = objective();
    let model = multimae::init::initialise(MultiMae::new(&config, &device)?, |_| {
        ChaCha8Rng::seed_from_u64(1)
    });
    let mut learner = Learner {
        model,
        balancer: None,
        optimiser: AdamW::new(AdamWConfig::default()),
        balancer_lr_scale: 1.0,
    };
    let mut times = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        let pass =
            learner.forward(&objective, batch.clone(), &batch, &masks, &mut Phase::Evaluation)?;
        let loss: f64 = pass.total.clone().inner().into_data().iter::<f64>().sum();
        let forward = start.elapsed();
        let (gradients, of_balancer) = learner.backward(&pass.total);
        let backward = start.elapsed();
        learner.step(gradients, of_balancer, 1e-4, 0.05);
        let total = start.elapsed();
        println!(
            "loss {loss:.4}  forward {:.0} ms  backward {:.0} ms  AdamW {:.0} ms  total {:.0} ms",
            forward.as_secs_f64() * 1e3,
            (backward - forward).as_secs_f64() * 1e3,
            (total - backward).as_secs_f64() * 1e3,
            total.as_secs_f64() * 1e3,
        );
        times.push(total.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("median {:.1} ms per step", times[times.len() / 2]);
    Ok(())
}
