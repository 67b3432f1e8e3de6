//! Cases of masked pre-training.

use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::losses::{Objective, ReconstructionLoss, TaskBalancer, TaskObjective};
use multimae::masking::TokenMasks;
use multimae::modality::{ModalityKind, Size};
use multimae::model::{Inputs, MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae_train::learner::{ForwardPass, Learner};
use multimae_train::optim::{AdamW, AdamWConfig, clip, norm};
use serde_json::json;

use crate::case::{Case, Files, ParityError, Tensors, encode};
use crate::shared::{encoder, insert_gradients, modality};

/// The trace: as many steps, up to this learning rate in equal parts.
const TRACE_STEPS: usize = 6;
const TRACE_LR: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 0.05;

/// A case ready to run.
struct CaseSetup {
    learner: Learner,
    objective: Objective,
    inputs: Inputs,
    targets: Inputs,
    masks: TokenMasks,
    clip_grad: Option<f64>,
}

/// Computes the forward and backward pass and the trace.
pub(crate) fn compute(case: &Case) -> Result<Files, ParityError> {
    let setup = CaseSetup::read(case)?;
    let tensors = setup.forward_backward()?;
    let (trace, weights) = setup.trace()?;
    Ok(vec![
        ("forward_backward.safetensors", encode(&tensors)?),
        ("training_trace.json", trace.to_string().into_bytes()),
        ("weights_after_trace.safetensors", encode(&weights)?),
    ])
}

fn model_config(case: &Case) -> Result<MultiMaeConfig, ParityError> {
    let modalities = |key| {
        case.names(key)?.iter().map(|name| modality(case, name)).collect::<Result<Vec<_>, _>>()
    };
    let mut outputs: Vec<OutputTask> =
        modalities("out_domains")?.into_iter().map(OutputTask::of).collect();
    if case.flag("extra_norm_pix") {
        outputs.push(OutputTask { name: "norm_rgb".to_owned(), modality: modality(case, "rgb")? });
    }
    Ok(MultiMaeConfig {
        encoder: encoder(case)?,
        patch_size: case.count("patch")?,
        image_size: Size::square(case.count("image")?),
        num_global_tokens: case.count_or("global_tokens", 1)?,
        inputs: modalities("in_domains")?,
        outputs,
        decoder: DecoderConfig {
            width: case.count("dec_dim")?,
            depth: case.count("dec_depth")?,
            heads: case.count("dec_heads")?,
            ..DecoderConfig::default()
        },
        tables: NonSquareTables::default(),
    })
}

/// The published losses: squared error for RGB, absolute error for depth, cross-entropy for labels.
fn objective(config: &MultiMaeConfig) -> Result<Objective, ParityError> {
    let task = |task: &OutputTask| {
        let loss = match (&task.modality.kind, task.name.as_str()) {
            (ModalityKind::Categorical { .. }, _) => {
                ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: None }
            }
            (_, "depth") => ReconstructionLoss::L1 { norm_pix: false },
            (_, name) => ReconstructionLoss::Mse { norm_pix: name == "norm_rgb" },
        };
        Ok(TaskObjective {
            name: task.name.clone(),
            target: task.modality.name.clone(),
            loss,
            patch: task.modality.patch(config.patch_size)?,
        })
    };
    Ok(Objective {
        tasks: config.outputs.iter().map(task).collect::<Result<_, ParityError>>()?,
        loss_on_unmasked: false,
        ignore_nan_samples: false,
    })
}

impl CaseSetup {
    fn read(case: &Case) -> Result<Self, ParityError> {
        let device = Device::default().autodiff();
        let config = model_config(case)?;
        let weights = case.tensors("weights.safetensors")?.tensors;
        let batch = case.tensors("forward_backward.safetensors")?;
        let in_domains = case.names("in_domains")?;
        let objective = objective(&config)?;
        let read = |names: &mut dyn Iterator<Item = &String>| {
            names
                .map(|name| Ok((name.clone(), batch.input(name, &device)?)))
                .collect::<Result<Inputs, ParityError>>()
        };
        Ok(Self {
            inputs: read(&mut in_domains.iter())?,
            targets: read(&mut objective.tasks.iter().map(|task| &task.target))?,
            masks: batch.masks(&in_domains)?,
            learner: Learner {
                model: load(MultiMae::new(&config, &device)?, weights, &AllowedKeys::default())?,
                balancer: balancer(case, &objective, &batch, &device)?,
                optimiser: AdamW::new(AdamWConfig::default()),
                balancer_lr_scale: 1.0,
            },
            clip_grad: case.number("clip_grad"),
            objective,
        })
    }

    fn pass(&self, learner: &Learner) -> Result<ForwardPass, ParityError> {
        Ok(learner.forward(
            &self.objective,
            self.inputs.clone(),
            &self.targets,
            &self.masks,
            &mut Phase::Evaluation,
        )?)
    }

    fn forward_backward(&self) -> Result<StateDict, ParityError> {
        let pass = self.pass(&self.learner)?;
        let (gradients, of_balancer) = self.learner.backward(&pass.total);
        let mut out = StateDict::new();
        for (task, prediction) in &pass.output.predictions {
            out.insert(format!("pred.{task}"), prediction.clone().inner().into_data());
        }
        for (task, loss) in &pass.losses {
            out.insert(format!("loss.{task}"), loss.value.clone().inner().into_data());
        }
        for (task, loss) in &pass.weighted {
            out.insert(format!("weighted_loss.{task}"), loss.clone().inner().into_data());
        }
        out.insert("loss.total".to_owned(), pass.total.inner().into_data());
        insert_gradients(&mut out, &gradients, &self.learner.model);
        if let Some(balancer) = &self.learner.balancer {
            let log_vars = balancer.log_vars.val().inner().into_data();
            out.insert("balancer.log_vars".to_owned(), log_vars);
            if let Some(gradient) = of_balancer.get("log_vars") {
                out.insert("balancer.grad".to_owned(), gradient.to_data());
            }
        }
        Ok(out)
    }

    fn trace(&self) -> Result<(serde_json::Value, StateDict), ParityError> {
        let mut learner = self.learner.clone();
        let mut steps = Vec::new();
        for step in 0..TRACE_STEPS {
            let lr = TRACE_LR * (step + 1) as f64 / TRACE_STEPS as f64;
            let pass = self.pass(&learner)?;
            let (gradients, of_balancer) = learner.backward(&pass.total);
            let grad_norm = norm(&gradients);
            let gradients = match self.clip_grad {
                Some(max_norm) => clip(gradients, grad_norm, max_norm),
                None => gradients,
            };
            let task_losses: serde_json::Map<String, serde_json::Value> = pass
                .losses
                .iter()
                .map(|(task, loss)| (task.clone(), json!(number(&loss.value))))
                .collect();
            steps.push(json!({
                "step": step,
                "lr": lr,
                "loss": number(&pass.total),
                "grad_norm": grad_norm,
                "task_losses": task_losses,
            }));
            learner.step(gradients, of_balancer, lr, WEIGHT_DECAY);
        }
        let AdamWConfig { beta_1, beta_2, eps, .. } = AdamWConfig::default();
        let trace = json!({
            "optimizer": {
                "name": "adamw",
                "betas": [beta_1, beta_2],
                "eps": eps,
                "weight_decay": WEIGHT_DECAY,
                "clip_grad": self.clip_grad,
            },
            "no_weight_decay_params": [],
            "trace": steps,
        });
        Ok((trace, state_dict(&learner.model)))
    }
}

fn balancer(
    case: &Case,
    objective: &Objective,
    batch: &Tensors,
    device: &Device,
) -> Result<Option<TaskBalancer>, ParityError> {
    if case.text("balancer") != Some("uncertainty") {
        return Ok(None);
    }
    let tasks = objective.tasks.iter().map(|task| task.name.clone()).collect();
    let log_vars = batch.get("balancer.log_vars")?.clone();
    let weights: StateDict = [("log_vars".to_owned(), log_vars)].into_iter().collect();
    Ok(Some(load(TaskBalancer::new(tasks, device), weights, &AllowedKeys::default())?))
}

fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().inner().into_data().iter::<f64>().sum()
}
