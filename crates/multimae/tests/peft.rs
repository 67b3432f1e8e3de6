//! PEFT modules: they start without effect, branches and merged weights agree with separate models,
//! and prompts that start from images lie among the tokens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::nn::{LoraConfig, LoraTarget};
use multimae::output_adapters::{HeadConfig, LightConfig, Prediction, TaskHead};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::peft::{random_prompts, self_prompts};
use multimae::positions::NonSquareTables;
use multimae::prompts::PromptConfig;
use multimae::state::{StateDict, parameters, state_dict, update};
use multimae::tokens::Inputs;
use multimae::tuning::ParameterKind;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const DEPTH: usize = 3;
const WIDTH: usize = 16;

fn config() -> MultiVitConfig {
    let head = |name: &str, num_classes| TaskHead {
        name: name.to_owned(),
        main_tasks: vec!["rgb".to_owned()],
        head: HeadConfig::Light(LightConfig { num_classes, hooks: vec![0, 2], width: 8, depth: 1 }),
    };
    MultiVitConfig {
        encoder: EncoderConfig::new(WIDTH, DEPTH, 2),
        patch_size: 8,
        image_size: Size::new(16, 24),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3)],
        heads: vec![head("depth", 1), head("semseg", 4)],
        tables: NonSquareTables::RowColumn,
    }
}

fn stream(name: &str) -> ChaCha8Rng {
    let seed = name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    ChaCha8Rng::seed_from_u64(seed)
}

fn model(peft: &PeftConfig) -> PeftModel {
    let model = PeftModel::new(&config(), peft, &Device::default()).unwrap();
    random_prompts(multimae::init::initialise(model, stream), stream).unwrap()
}

fn prompts(text: serde_json::Value) -> PeftConfig {
    let prompts: PromptConfig = serde_json::from_value(text).unwrap();
    PeftConfig { prompts: Some(prompts), ..PeftConfig::default() }
}

fn inputs(batch: usize) -> Inputs {
    let count = batch * 3 * 16 * 24;
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
    let data = TensorData::new(values, [batch, 3, 16, 24]);
    let rgb = Tensor::<4>::from_data(data, &Device::default());
    [("rgb".to_owned(), ModalityTensor::Continuous(rgb))].into_iter().collect()
}

fn predictions(model: &PeftModel) -> IndexMap<String, Vec<f32>> {
    let values = |prediction| match prediction {
        Prediction::Maps(maps) => maps.into_data().iter().collect(),
        Prediction::Classes(logits) => logits.into_data().iter().collect(),
    };
    let predicted = model.forward(inputs(2), &mut Phase::Evaluation).unwrap();
    predicted.predictions.into_iter().map(|(task, prediction)| (task, values(prediction))).collect()
}

fn difference(a: &IndexMap<String, Vec<f32>>, b: &IndexMap<String, Vec<f32>>, task: &str) -> f32 {
    a[task].iter().zip(&b[task]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The values of some parameters replaced by others.
fn changed(model: PeftModel, which: impl Fn(&str) -> bool) -> PeftModel {
    update(model, |name, value| {
        let [len] = value.dims();
        let shift: Vec<f32> = (0..len).map(|i| ((i + name.len()) as f32).cos() * 0.3).collect();
        let shift = Tensor::from_data(TensorData::new(shift, [len]), &value.device());
        which(name).then(|| value + shift)
    })
}

/// The parameters of the pre-trained model and its heads keep their values between models.
fn with_weights(model: PeftModel, weights: &StateDict) -> PeftModel {
    update(model, |name, value| {
        let data = weights.get(name)?.clone();
        let [len] = value.dims();
        let data = TensorData::from_bytes_vec(data.as_bytes().to_vec(), [len], data.dtype());
        Some(Tensor::from_data(data, &value.device()))
    })
}

#[test]
fn low_rank_adaptation_and_scale_and_shift_begin_without_effect_and_can_be_merged() {
    let plain = predictions(&model(&PeftConfig::default()));
    let all = vec![LoraTarget::Qkv, LoraTarget::Proj, LoraTarget::Fc1, LoraTarget::Fc2];
    let lora = LoraConfig { rank: 2, alpha: Some(4.0), targets: all };
    for peft in [
        PeftConfig { lora: Some(lora.clone()), ..PeftConfig::default() },
        PeftConfig { ssf: true, ..PeftConfig::default() },
        PeftConfig { lora: Some(lora), ssf: true, ..PeftConfig::default() },
    ] {
        let fresh = model(&peft);
        let begun = predictions(&fresh);
        assert!(difference(&begun, &plain, "depth") < 1e-6);
        let tuned = changed(fresh, |name| name.contains(".lora.") || name.contains(".ssf."));
        let expected = predictions(&tuned);
        assert!(difference(&expected, &plain, "depth") > 1e-2, "{peft:?}");
        let merged = tuned.merged();
        assert_eq!(*merged.peft(), PeftConfig::default());
        let is_peft = |name: &str| ParameterKind::of(name).is_peft();
        assert!(!parameters(&merged).iter().any(|parameter| is_peft(&parameter.name)));
        let got = predictions(&merged);
        for task in ["depth", "semseg"] {
            assert!(difference(&got, &expected, task) < 1e-5, "{peft:?} {task}");
        }
    }
}

#[test]
fn scale_and_shift_have_the_published_count() {
    let peft = PeftConfig { ssf: true, ..PeftConfig::default() };
    let base = MultiVitConfig { encoder: EncoderConfig::base(), heads: Vec::new(), ..config() };
    let model = PeftModel::new(&base, &peft, &Device::default()).unwrap();
    let count = |kind| -> usize {
        let all = parameters(&model).into_iter().filter(|p| ParameterKind::of(&p.name) == kind);
        all.map(|p| p.shape.iter().product::<usize>()).sum()
    };
    assert_eq!(count(ParameterKind::Ssf), 202_752);
}

/// Each branch is what a model would be whose prompts are those of the trunk and of its task.
#[test]
fn a_branch_is_a_pass_of_its_own() {
    for kind in [
        serde_json::json!({"kind": "deep", "count": 3}),
        serde_json::json!({"kind": "prefix", "count": 3}),
        serde_json::json!({"kind": "deep", "count": 3, "gate": 0.4, "first": 1}),
    ] {
        let shared = model(&prompts(kind.clone()));
        let all = predictions(&shared);
        for branch in 0..=DEPTH {
            let peft = PeftConfig { branch_at: Some(branch), ..prompts(kind.clone()) };
            let branched = model(&peft);
            let names: Vec<String> = parameters(&branched).into_iter().map(|p| p.name).collect();
            let of_tasks = names.iter().filter(|name| name.starts_with("task_prompts.")).count();
            assert_eq!(of_tasks > 0, branch < DEPTH, "{names:?}");
            assert_eq!(
                names.iter().any(|name| name.starts_with("prompts.")),
                branch > first(&kind)
            );
            // The tasks' prompts are those of the shared model, cut at the branch.
            if kind.get("gate").is_none() {
                let weights = cut(&state_dict(&shared), branch);
                let got = predictions(&with_weights(branched.clone(), &weights));
                for task in ["depth", "semseg"] {
                    assert!(difference(&got, &all, task) < 1e-5, "{kind} {branch} {task}");
                }
            }
            // Prompts of one task change that task alone.
            let before = predictions(&branched);
            let after =
                predictions(&changed(branched, |name| name.starts_with("task_prompts.depth.")));
            assert_eq!(difference(&before, &after, "depth") > 1e-4, branch < DEPTH);
            assert_eq!(difference(&before, &after, "semseg"), 0.0);
        }
    }
}

fn first(kind: &serde_json::Value) -> usize {
    kind.get("first").and_then(serde_json::Value::as_u64).unwrap_or(0) as usize
}

/// The weights of a model with shared prompts as those of one that branches.
fn cut(weights: &StateDict, branch: usize) -> StateDict {
    let mut cut = StateDict::new();
    for (name, data) in weights {
        let Some(prompt) = name.strip_prefix("prompts.") else {
            cut.insert(name.clone(), data.clone());
            continue;
        };
        let layer: usize = data.shape().as_slice()[1..].iter().product();
        let values: Vec<f32> = data.iter().collect();
        let part = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
        let (trunk, rest) = values.split_at(branch * layer);
        cut.insert(name.clone(), part(trunk));
        for task in ["depth", "semseg"] {
            cut.insert(format!("task_prompts.{task}.{prompt}"), part(rest));
        }
    }
    cut
}

#[test]
fn prompts_of_images_are_tokens_in_front_of_their_block() {
    let kind = serde_json::json!({"kind": "deep", "count": 4});
    let peft = PeftConfig { branch_at: Some(1), ..prompts(kind) };
    let fresh = model(&peft);
    let tuned = self_prompts(fresh.clone(), inputs(2), stream).unwrap();
    let output = fresh.vit.forward(inputs(2), &mut Phase::Evaluation).unwrap();
    let state = state_dict(&tuned);
    let rows = |data: &TensorData| -> Vec<Vec<f32>> {
        let values: Vec<f32> = data.iter().collect();
        values.chunks(WIDTH).map(<[f32]>::to_vec).collect()
    };
    // Prompts of block 1 and 2 of a task: tokens behind block 0 and 1.
    for task in ["depth", "semseg"] {
        let prompts = rows(&state[&format!("task_prompts.{task}.tokens")]);
        assert_eq!(prompts.len(), 8);
        for (index, prompt) in prompts.iter().enumerate() {
            let tokens = rows(&output.layers[index / 4].to_data());
            assert!(tokens.contains(prompt), "{task} {index}");
        }
    }
    assert_ne!(state["task_prompts.depth.tokens"], state["task_prompts.semseg.tokens"]);
    // Everything else is as it was.
    let before = state_dict(&fresh);
    let other = |name: &&String| ParameterKind::of(name) != ParameterKind::Prompts;
    assert!(before.keys().filter(other).all(|name| before[name] == state[name]));
    let low_rank = model(&prompts(serde_json::json!({"kind": "deep", "rank": 4})));
    assert!(self_prompts(low_rank, inputs(1), stream).unwrap_err().to_string().contains("rank"));
}

#[test]
fn entry_norms_are_for_the_layers_that_a_head_reads() {
    let peft = PeftConfig { entry_norms: true, ..PeftConfig::default() };
    let names: Vec<String> = parameters(&model(&peft))
        .into_iter()
        .map(|parameter| parameter.name)
        .filter(|name| name.starts_with("entry_norms."))
        .collect();
    assert_eq!(names.len(), 2 * 2 * 2, "{names:?}");
    assert!(names.contains(&"entry_norms.semseg.2.weight".to_owned()));
    let before = model(&peft);
    let after = changed(before.clone(), |name| name.starts_with("entry_norms.semseg."));
    let (before, after) = (predictions(&before), predictions(&after));
    assert_eq!(difference(&before, &after, "depth"), 0.0);
    assert!(difference(&before, &after, "semseg") > 1e-4);
}

#[test]
fn norms_that_prompts_condition_begin_without_effect() {
    let deep = prompts(serde_json::json!({"kind": "deep", "count": 2}));
    for branch_at in [None, Some(1)] {
        let plain = PeftConfig { branch_at, ..deep.clone() };
        let with = PeftConfig { prompt_norms: Some(3), ..plain.clone() };
        let fresh = model(&with);
        let begun = predictions(&fresh);
        assert_eq!(difference(&begun, &predictions(&model(&plain)), "depth"), 0.0);
        let up = |name: &str| name.starts_with("prompt_norms.") && name.ends_with("up.weight");
        let changed_ones = changed(fresh, up);
        assert!(difference(&begun, &predictions(&changed_ones), "semseg") > 1e-3);
        let names = parameters(&changed_ones).into_iter().filter(|p| up(&p.name)).count();
        assert_eq!(names, if branch_at.is_some() { 3 } else { 1 });
    }
}

#[test]
fn additions_that_do_not_fit_are_refused() {
    let refused = |peft: PeftConfig| {
        PeftModel::new(&config(), &peft, &Device::default()).unwrap_err().to_string()
    };
    let deep = |text| prompts(text);
    assert!(refused(deep(serde_json::json!({"kind": "deep", "first": 3}))).contains("has 3"));
    assert!(refused(deep(serde_json::json!({"kind": "deep", "count": 0}))).contains("count"));
    assert!(refused(deep(serde_json::json!({"kind": "deep", "dropout": 1.0}))).contains("dropout"));
    assert!(refused(deep(serde_json::json!({"kind": "deep", "rank": 0}))).contains("rank"));
    let branch = PeftConfig { branch_at: Some(1), ..PeftConfig::default() };
    assert!(refused(branch).contains("prompts"));
    let far = PeftConfig { branch_at: Some(4), ..deep(serde_json::json!({"kind": "deep"})) };
    assert!(refused(far).contains("branch_at"));
    let lora = LoraConfig { rank: 0, alpha: None, targets: vec![LoraTarget::Qkv] };
    assert!(refused(PeftConfig { lora: Some(lora), ..PeftConfig::default() }).contains("rank"));
}

/// Rows of attention sum to one, and its columns are those of all that is looked at.
#[test]
fn attention_is_over_patches_prompts_and_prefixes() {
    let patches = 6;
    let own = patches + 1;
    let branched = PeftConfig {
        branch_at: Some(1),
        ..prompts(serde_json::json!({"kind": "deep", "count": 2}))
    };
    let cases = [
        (PeftConfig::default(), 0, 0, 2),
        (prompts(serde_json::json!({"kind": "deep", "count": 2})), 2, 0, 2),
        (prompts(serde_json::json!({"kind": "shallow", "count": 4})), 4, 0, 2),
        (prompts(serde_json::json!({"kind": "prefix", "count": 3})), 0, 3, 2),
        // Behind the branch once per task.
        (branched, 2, 0, 3),
    ];
    for (peft, count, prefix, seen) in cases {
        let (attention, layout) = model(&peft).attention(inputs(2), &[0, 2]).unwrap();
        assert_eq!((layout.num_tokens(), attention.len()), (patches, seen));
        for one in &attention {
            let last = one.block == 2;
            if peft.branch_at.is_none() || last {
                assert_eq!((one.own, one.prompts, one.prefix), (own, count, prefix));
            }
            let rows = own + one.prompts;
            assert_eq!(one.weights.dims(), [2, 2, rows, rows + one.prefix]);
            let sums = one.weights.clone().sum_dim(3).into_data().try_to_vec::<f32>().unwrap();
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
        }
        let tasks: Vec<Option<&str>> =
            attention.iter().filter(|one| one.block == 2).map(|one| one.task.as_deref()).collect();
        let expected: &[Option<&str>] =
            if peft.branch_at.is_some() { &[Some("depth"), Some("semseg")] } else { &[None] };
        assert_eq!(tasks, expected);
    }
    let error = model(&PeftConfig::default()).attention(inputs(1), &[3]).unwrap_err().to_string();
    assert!(error.contains("no block 3"), "{error}");
}

/// The weights are those by which a block mixes its values.
#[test]
fn attention_mixes_values_as_the_block_does() {
    let model = model(&PeftConfig::default());
    let attention = &model.vit.encoder[0].attn;
    let values: Vec<f32> = (0..5 * WIDTH).map(|i| (i as f32 * 0.71).cos()).collect();
    let x = Tensor::<3>::from_data(TensorData::new(values, [1, 5, WIDTH]), &Device::default());
    let weights = attention.weights(x.clone(), None);
    let v = attention.qkv.forward(x.clone()).narrow(2, 2 * WIDTH, WIDTH);
    let v = v.reshape([1, 5, 2, WIDTH / 2]).swap_dims(1, 2);
    let mixed = weights.matmul(v).swap_dims(1, 2).reshape([1, 5, WIDTH]);
    let difference = (attention.proj.forward(mixed) - attention.forward(x, None)).abs().max();
    assert!(difference.into_scalar::<f32>() < 1e-5);
}
