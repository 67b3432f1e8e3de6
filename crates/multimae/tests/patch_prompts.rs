//! Prompts that every patch reads, against their formulas in plain loops over 64-bit numbers: Rein
//! (arXiv 2312.04265), EVP (arXiv 2303.10883), cross prompts (arXiv 2408.14961) and bilinear prompts
//! (arXiv 2506.22908).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::module::Param;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::nn::{Block, BlockConfig};
use multimae::output_adapters::{HeadConfig, LightConfig, Prediction, TaskHead};
use multimae::peft::{PeftConfig, PeftModel, forward_batched, random_prompts, self_prompts};
use multimae::positions::NonSquareTables;
use multimae::prompts::{
    EvpConfig, EvpPrompts, ImagePatches, PromptConfig, Prompts, ReinConfig, ReinEntries,
    ReinPrompts, encode_with_prompts,
};
use multimae::state::{parameters, take_gradients, update};
use multimae::tokens::Inputs;
use multimae::tuning::ParameterKind;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 8;
const BLOCKS: usize = 2;
const PATCHES: usize = 5;
/// With a global token behind those of patches.
const TOKENS: usize = PATCHES + 1;
const BATCH: usize = 2;

fn values<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::default())
}

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

fn stream(name: &str) -> ChaCha8Rng {
    let seed = name.bytes().fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    ChaCha8Rng::seed_from_u64(seed)
}

fn blocks() -> Vec<Block> {
    let config = BlockConfig { width: WIDTH, heads: 2, mlp_ratio: 2.0 };
    (0..BLOCKS)
        .map(|index| {
            let block = Block::new(config, &Device::default());
            multimae::init::initialise(block, |name| stream(&format!("{index}{name}")))
        })
        .collect()
}

fn encoded(prompts: &[Prompts]) -> Vec<Tensor<3>> {
    let tokens = (values([BATCH, TOKENS, WIDTH], 0.5), PATCHES);
    encode_with_prompts(&blocks(), tokens, prompts, &[0.0; BLOCKS], &mut Phase::Evaluation).unwrap()
}

/// A matrix in 64-bit numbers, row by row.
#[derive(Clone)]
struct Rows {
    values: Vec<f64>,
    columns: usize,
}

impl Rows {
    fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self { values: numbers(tensor), columns: tensor.dims()[D - 1] }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks(self.columns)
    }

    fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..][..self.columns]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `W x + b`, of a weight `(outputs, inputs)`.
fn linear(weight: &Rows, bias: Option<&[f64]>, x: &[f64]) -> Vec<f64> {
    let row = |(index, row): (usize, &[f64])| dot(row, x) + bias.map_or(0.0, |bias| bias[index]);
    weight.rows().enumerate().map(row).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let raised: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|value| value / sum).collect()
}

/// The exact GELU, by the series of the error function.
fn gelu(x: f64) -> f64 {
    let z = x / 2.0_f64.sqrt();
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

fn assert_close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 2e-5, "{worst}");
}

/// All parameters of a module with values that differ everywhere.
fn with_values<M: multimae::burn::module::Module>(module: M) -> M {
    let mut seed = 0.0;
    update(module, |_, value| {
        seed += 3.7;
        Some(values(value.dims(), seed) * 0.4)
    })
}

#[test]
fn rein_is_its_formula() {
    for map_rank in [None, Some(3)] {
        let config =
            ReinConfig { count: 4, rank: 2, map_rank, own: None, first: 1, layers: Some(1) };
        let module = with_values(ReinPrompts::new(&config, (1, 1), WIDTH, &Device::default()));
        let got = encoded(&[module.forward(BATCH)]);
        let plain = encoded(&[]);
        assert_close(&numbers(&got[0]), &numbers(&plain[0]));

        let map = |map: &multimae::prompts::WidthMap, x: &[f64]| {
            let x = match &map.down {
                Some(down) => linear(&Rows::of(&down.weight.val()), None, x),
                None => x.to_vec(),
            };
            let bias = numbers(&map.up.bias.as_ref().unwrap().val());
            linear(&Rows::of(&map.up.weight.val()), Some(&bias), &x)
        };
        let (left, right) = (Rows::of(&module.left.val()), Rows::of(&module.right.val()));
        let token = |index: usize| -> Vec<f64> {
            (0..WIDTH)
                .map(|column| {
                    (0..2).map(|r| left.row(index)[r] * right.row(r)[column]).sum::<f64>()
                })
                .collect()
        };
        let tokens: Vec<Vec<f64>> = (0..4).map(token).collect();
        let mut expected = Vec::new();
        for (index, f) in Rows::of(&plain[1]).rows().enumerate() {
            if index % TOKENS >= PATCHES {
                // The global token stays as the block made it.
                expected.extend(f);
                continue;
            }
            let scores: Vec<f64> =
                tokens.iter().map(|token| dot(f, token) / (WIDTH as f64).sqrt()).collect();
            let shares = softmax(&scores);
            let mut found = f.to_vec();
            for (share, token) in shares.iter().zip(&tokens).skip(1) {
                let value = map(&module.value, token);
                found.iter_mut().zip(value).for_each(|(sum, value)| *sum += share * value);
            }
            let change = map(&module.change, &found);
            expected.extend(f.iter().zip(change).map(|(f, change)| f + change));
        }
        assert_close(&numbers(&got[1]), &expected);
        assert!(numbers(&plain[1]).iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-2));
    }
}

/// `|x - blur(x)|` of a map, by a sum over the pixels around that there are.
fn plain_details(map: &[f64], (height, width): (usize, usize)) -> Vec<f64> {
    const BINOMIAL: [f64; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];
    let mut details = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (y, by_row) in BINOMIAL.iter().enumerate() {
                for (x, by_column) in BINOMIAL.iter().enumerate() {
                    let (y, x) = ((row + y).wrapping_sub(2), (column + x).wrapping_sub(2));
                    if y < height && x < width {
                        sum += by_row * by_column * map[y * width + x];
                        weights += by_row * by_column;
                    }
                }
            }
            details.push((map[row * width + column] - sum / weights).abs());
        }
    }
    details
}

#[test]
fn explicit_prompts_are_their_formula() {
    let (patch, height, width, channels, rank) = (2, 4, 4, 3, 6);
    let (count, patch_values) = (height / patch * (width / patch), channels * patch * patch);
    let maps = values([BATCH, channels, height, width], 2.0);
    let projected = values([BATCH, count, WIDTH], 8.0);
    // The prompted modality's tokens begin with the second.
    let patches = ImagePatches::new(projected.clone(), maps.clone(), patch, 1);
    let config = EvpConfig { rank, modality: "rgb".to_owned(), first: 0, layers: None };
    let sizes = (patch_values, WIDTH);
    let module = with_values(EvpPrompts::new(&config, (0, 2), sizes, &Device::default()));
    let got = encoded(&[module.forward(&patches)]);

    let maps = numbers(&maps);
    let planes: Vec<Vec<f64>> =
        maps.chunks(height * width).map(|map| plain_details(map, (height, width))).collect();
    let weight = |linear: &multimae::nn::Linear| Rows::of(&linear.weight.val());
    let bias = |linear: &multimae::nn::Linear| numbers(&linear.bias.as_ref().unwrap().val());
    let projected = Rows::of(&projected);
    let prompt = |sample: usize, index: usize, layer: usize| -> Vec<f64> {
        let (top, left) = (index / (width / patch) * patch, index % (width / patch) * patch);
        let mut cut = Vec::new();
        for channel in 0..channels {
            for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                cut.push(planes[sample * channels + channel][(top + y) * width + left + x]);
            }
        }
        let e = projected.row(sample * count + index);
        let e = linear(&weight(&module.embedding), Some(&bias(&module.embedding)), e);
        let h = linear(&weight(&module.detail), Some(&bias(&module.detail)), &cut);
        let s: Vec<f64> = e.iter().zip(h).map(|(e, h)| e + h).collect();
        let of_layer = Rows::of(&module.weight.val());
        let of_layer = Rows {
            values: of_layer.values[layer * rank * rank..][..rank * rank].to_vec(),
            columns: rank,
        };
        let own_bias = numbers(&module.bias.val())[layer * rank..][..rank].to_vec();
        let hidden: Vec<f64> =
            linear(&of_layer, Some(&own_bias), &s).into_iter().map(gelu).collect();
        linear(&weight(&module.up), Some(&bias(&module.up)), &hidden)
    };
    let mut x = values([BATCH, TOKENS, WIDTH], 0.5);
    for (layer, block) in blocks().iter().enumerate() {
        let mut tokens = numbers(&x);
        for sample in 0..BATCH {
            for index in 0..count {
                let at = (sample * TOKENS + 1 + index) * WIDTH;
                let added = prompt(sample, index, layer);
                tokens[at..at + WIDTH].iter_mut().zip(added).for_each(|(t, p)| *t += p);
            }
        }
        let tokens: Vec<f32> = tokens.iter().map(|value| *value as f32).collect();
        let data = TensorData::new(tokens, [BATCH, TOKENS, WIDTH]);
        x = block.forward(Tensor::from_data(data, &Device::default()));
        assert_close(&numbers(&got[layer]), &numbers(&x));
    }
}

#[test]
fn cross_prompts_lie_between_attention_and_mlp() {
    let tokens = values([BLOCKS, 3, WIDTH], 4.0);
    let got = encoded(&[Prompts::Cross { first: 0, tokens: tokens.clone() }]);
    let mut x = values([BATCH, TOKENS, WIDTH], 0.5);
    for (layer, block) in blocks().iter().enumerate() {
        x = x.clone() + block.attn.forward(block.norm1.forward(x), None);
        // A softmax over the prompts alone, by the block's own projections, without a norm.
        let all = |rows: &Tensor<2>| Rows::of(&block.attn.qkv.forward(rows.clone()));
        let prompts = all(&tokens.clone().narrow(0, layer, 1).reshape([3, WIDTH]));
        let queries = all(&x.clone().reshape([BATCH * TOKENS, WIDTH]));
        let dim = WIDTH / 2;
        let (weight, bias) = (
            Rows::of(&block.attn.proj.weight.val()),
            numbers(&block.attn.proj.bias.as_ref().unwrap().val()),
        );
        let mut found = Vec::new();
        for query in queries.rows() {
            let mut mixed = Vec::new();
            for head in 0..2 {
                let of =
                    |row: &[f64], part: usize| row[part * WIDTH + head * dim..][..dim].to_vec();
                let scores: Vec<f64> = prompts
                    .rows()
                    .map(|prompt| dot(&of(query, 0), &of(prompt, 1)) / (dim as f64).sqrt())
                    .collect();
                let shares = softmax(&scores);
                mixed.extend((0..dim).map(|column| {
                    let rows = shares.iter().zip(prompts.rows());
                    rows.map(|(share, prompt)| share * of(prompt, 2)[column]).sum::<f64>()
                }));
            }
            found.extend(linear(&weight, Some(&bias), &mixed).into_iter().map(|v| v as f32));
        }
        let found = TensorData::new(found, [BATCH, TOKENS, WIDTH]);
        x = x + Tensor::from_data(found, &Device::default());
        x = x.clone() + block.mlp.forward(block.norm2.forward(x));
        assert_close(&numbers(&got[layer]), &numbers(&x));
    }
}

fn config() -> MultiVitConfig {
    let head = |name: &str, num_classes| TaskHead {
        name: name.to_owned(),
        main_tasks: vec!["rgb".to_owned()],
        head: HeadConfig::Light(LightConfig { num_classes, hooks: vec![1], width: 8, depth: 1 }),
    };
    MultiVitConfig {
        encoder: EncoderConfig::new(16, 3, 2),
        patch_size: 8,
        image_size: Size::new(16, 24),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3), Modality::categorical("semseg", 5, 4)],
        heads: vec![head("depth", 1), head("semseg", 4)],
        tables: NonSquareTables::RowColumn,
    }
}

fn peft(kind: &serde_json::Value) -> PeftConfig {
    let prompts: PromptConfig = serde_json::from_value(kind.clone()).unwrap();
    PeftConfig { prompts: Some(prompts), ..PeftConfig::default() }
}

fn model(peft: &PeftConfig) -> PeftModel {
    let model = PeftModel::new(&config(), peft, &Device::default()).unwrap();
    random_prompts(multimae::init::initialise(model, stream), stream).unwrap()
}

fn inputs(batch: usize, seed: f32) -> Inputs {
    let rgb = values([batch, 3, 16, 24], seed);
    [("rgb".to_owned(), ModalityTensor::Continuous(rgb))].into_iter().collect()
}

fn maps(predictions: &indexmap::IndexMap<String, Prediction>) -> Vec<f64> {
    let of = |prediction: &Prediction| match prediction {
        Prediction::Maps(maps) => numbers(maps),
        Prediction::Classes(logits) => numbers(logits),
    };
    predictions.values().flat_map(of).collect()
}

fn kinds() -> Vec<serde_json::Value> {
    vec![
        serde_json::json!({"kind": "rein", "count": 7, "rank": 3, "map_rank": 4}),
        serde_json::json!({"kind": "rein", "count": 7, "rank": 3, "first": 1, "layers": 1}),
        serde_json::json!({"kind": "evp", "rank": 6}),
        serde_json::json!({"kind": "cross", "count": 4}),
        serde_json::json!({"kind": "deep", "count": 5, "bilinear": 3}),
    ]
}

#[test]
fn changes_of_patches_begin_without_effect() {
    let plain = model(&PeftConfig::default());
    let plain = maps(&plain.forward(inputs(2, 0.5), &mut Phase::Evaluation).unwrap().predictions);
    for kind in kinds() {
        let fresh = model(&peft(&kind));
        let got = maps(&fresh.forward(inputs(2, 0.5), &mut Phase::Evaluation).unwrap().predictions);
        let largest = plain.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        match kind["kind"].as_str() {
            Some("rein" | "evp") => assert!(largest < 1e-6, "{kind} {largest}"),
            _ => assert!(largest > 1e-4, "{kind} {largest}"),
        }
    }
}

/// A matrix with `a` in its upper left and `b` in its lower right.
fn diagonal(a: Tensor<3>, b: Tensor<3>) -> Tensor<3> {
    let [layers, rows, columns] = a.dims();
    let [_, more_rows, more_columns] = b.dims();
    let device = Device::default();
    let upper = Tensor::cat(vec![a, Tensor::zeros([layers, rows, more_columns], &device)], 2);
    let lower = Tensor::cat(vec![Tensor::zeros([layers, more_rows, columns], &device), b], 2);
    Tensor::cat(vec![upper, lower], 1)
}

#[test]
fn tokens_of_a_task_stand_beside_those_of_all() {
    let config =
        ReinConfig { count: 4, rank: 2, map_rank: Some(3), own: Some(3), first: 0, layers: None };
    let device = Device::default();
    let shared = with_values(ReinPrompts::new(&config, (0, BLOCKS), WIDTH, &device));
    let own = ReinEntries::new(&config, (0, BLOCKS), WIDTH, &device).unwrap();
    let own = update(own, |_, value| Some(values(value.dims(), 70.0)));
    let together = encoded(&[shared.forward_with(&own, BATCH)]);
    // Tokens of both ranks together.
    let left = diagonal(shared.left.val(), own.left.val());
    let right = Tensor::cat(vec![shared.right.val(), own.right.val()], 1);
    let mut one = shared.clone();
    (one.left, one.right) = (Param::from_tensor(left), Param::from_tensor(right));
    let expected = encoded(&[one.forward(BATCH)]);
    let without = encoded(&[shared.forward(BATCH)]);
    for (index, layer) in together.iter().enumerate() {
        assert_close(&numbers(layer), &numbers(&expected[index]));
        let change = numbers(&(layer.clone() - without[index].clone()));
        assert!(change.iter().any(|value| value.abs() > 1e-3));
    }
}

#[test]
fn own_tokens_change_their_task_alone() {
    let kind = serde_json::json!({"kind": "rein", "count": 4, "rank": 2, "own": 3});
    let peft = PeftConfig { branch_at: Some(1), ..peft(&kind) };
    let moved = |more: &str| {
        update(model(&peft), |name, value| {
            let start = ParameterKind::of(name) == ParameterKind::Prompts;
            let more = if name.starts_with(more) { 0.5 } else { 0.0 };
            let shift = values(value.dims(), name.len() as f32) * 0.3;
            start.then(|| value + shift + more)
        })
    };
    let of = |model: &PeftModel, task: &str| {
        let output = model.forward(inputs(2, 0.5), &mut Phase::Evaluation).unwrap();
        let Prediction::Maps(maps) = &output.predictions[task] else { panic!() };
        numbers(maps)
    };
    let before = moved("none");
    let own = moved("task_prompts.depth.left");
    assert_ne!(of(&own, "depth"), of(&before, "depth"));
    assert_eq!(of(&own, "semseg"), of(&before, "semseg"));
    let shared = moved("branch_prompts.left");
    assert_ne!(of(&shared, "depth"), of(&before, "depth"));
    assert_ne!(of(&shared, "semseg"), of(&before, "semseg"));
    // They are those of a branch.
    let without = PeftConfig { branch_at: None, ..peft.clone() };
    let got = PeftModel::new(&config(), &without, &Device::default()).map(drop).unwrap_err();
    assert!(got.to_string().contains("`branch_at`"), "{got}");
}

/// Every parameter but the pre-trained ones gets a gradient after the first step has moved the zeros.
#[test]
fn every_parameter_learns() {
    let device = Device::default().autodiff();
    for kind in kinds() {
        let model = PeftModel::new(&config(), &peft(&kind), &device).unwrap();
        let model = random_prompts(multimae::init::initialise(model, stream), stream).unwrap();
        let model = update(model, |name, value| {
            let moved = ParameterKind::of(name) == ParameterKind::Prompts;
            let shift = values(value.dims(), name.len() as f32) * 0.1;
            moved.then(|| value + shift)
        });
        let rgb = ModalityTensor::Continuous(Tensor::from_data(
            values([2, 3, 16, 24], 0.5).into_data(),
            &device,
        ));
        let inputs: Inputs = [("rgb".to_owned(), rgb)].into_iter().collect();
        let output = model.forward(inputs, &mut Phase::Evaluation).unwrap();
        let Prediction::Maps(depth) = &output.predictions["depth"] else { panic!() };
        let mut gradients = depth.clone().square().sum().backward();
        let gradients = take_gradients(&model, &mut gradients);
        for parameter in parameters(&model) {
            if ParameterKind::of(&parameter.name) == ParameterKind::Prompts {
                let gradient = gradients.get(&parameter.name).map(numbers);
                let learns = gradient.is_some_and(|values| values.iter().any(|v| v.abs() > 1e-9));
                assert!(learns, "{kind}: {}", parameter.name);
            }
        }
    }
}

#[test]
fn models_with_different_prompts_share_a_pass() {
    let kinds = kinds();
    let models: Vec<PeftModel> = kinds
        .iter()
        .map(|kind| {
            update(model(&peft(kind)), |name, value| {
                let own = ParameterKind::of(name) == ParameterKind::Prompts;
                own.then(|| values(value.dims(), name.len() as f32) * 0.3)
            })
        })
        .collect();
    let batches: Vec<(&PeftModel, Inputs)> = models
        .iter()
        .enumerate()
        .map(|(at, model)| (model, inputs(1 + at % 2, at as f32)))
        .collect();
    let together = forward_batched(batches, &mut Phase::Evaluation).unwrap();
    for (at, (model, together)) in models.iter().zip(&together).enumerate() {
        let alone = model.forward(inputs(1 + at % 2, at as f32), &mut Phase::Evaluation).unwrap();
        assert_close(&maps(together), &maps(&alone.predictions));
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let says = |kind: serde_json::Value| {
        PeftModel::new(&config(), &peft(&kind), &Device::default())
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let cases = [
        (serde_json::json!({"kind": "rein", "count": 0}), "`count` must be at least 1"),
        (serde_json::json!({"kind": "rein", "map_rank": 0}), "`map_rank` must be at least 1"),
        (serde_json::json!({"kind": "rein", "first": 3}), "blocks from 3 on"),
        (serde_json::json!({"kind": "evp", "rank": 0}), "`rank` must be at least 1"),
        (serde_json::json!({"kind": "evp", "modality": "depth"}), "`depth` is no input"),
        (serde_json::json!({"kind": "evp", "modality": "semseg"}), "`semseg` holds classes"),
        (serde_json::json!({"kind": "cross", "count": 0}), "`count` must be at least 1"),
        (serde_json::json!({"kind": "deep", "rank": 2, "bilinear": 2}), "exclude each other"),
    ];
    for (kind, expected) in cases {
        let got = says(kind.clone());
        assert!(got.contains(expected), "{kind}: {got}");
    }
    let norms = PeftConfig { prompt_norms: Some(2), ..peft(&serde_json::json!({"kind": "rein"})) };
    let got = PeftModel::new(&config(), &norms, &Device::default()).map(drop).unwrap_err();
    assert!(got.to_string().contains("tokens or a prefix"), "{got}");
    for other in [serde_json::json!({"ssf": true}), serde_json::json!({"lora": {"rank": 2}})] {
        let mut peft: PeftConfig = serde_json::from_value(other).unwrap();
        peft.prompts = serde_json::from_value(serde_json::json!({"kind": "cross"})).unwrap();
        let got = PeftModel::new(&config(), &peft, &Device::default()).map(drop).unwrap_err();
        assert!(got.to_string().contains("without SSF and without LoRA"), "{got}");
    }
    // Prompts that begin without effect do not begin with tokens of images.
    let rein = model(&peft(&serde_json::json!({"kind": "rein"})));
    assert!(self_prompts(rein, inputs(1, 0.0), stream).is_err());
    // Nor are there prompts of an image that is not in the batch.
    let evp = model(&peft(&serde_json::json!({"kind": "evp"})));
    let labels = ModalityTensor::Categorical(Tensor::zeros([1, 4, 6], &Device::default()));
    let without: Inputs = [("semseg".to_owned(), labels)].into_iter().collect();
    let got = evp.forward(without, &mut Phase::Evaluation).map(drop).unwrap_err().to_string();
    assert!(got.contains("not in the batch"), "{got}");
}

/// The counts that follow from the papers' formulas, for ViT-Base and ViT-Small.
#[test]
fn parameters_have_the_published_count() {
    let count = |encoder: EncoderConfig, kind: serde_json::Value| -> usize {
        let base = MultiVitConfig {
            encoder,
            patch_size: 16,
            image_size: Size::new(32, 32),
            heads: Vec::new(),
            ..config()
        };
        let model = PeftModel::new(&base, &peft(&kind), &Device::default()).unwrap();
        let own = parameters(&model)
            .into_iter()
            .filter(|p| ParameterKind::of(&p.name) == ParameterKind::Prompts);
        own.map(|p| p.shape.iter().product::<usize>()).sum()
    };
    let small = || EncoderConfig { width: 384, heads: 6, ..EncoderConfig::base() };
    let rein = serde_json::json!({"kind": "rein"});
    // Without the published scalar factor, which begins at 0.001 where this begins with zeros.
    assert_eq!(count(EncoderConfig::base(), rein.clone()), 1_347_841 - 1);
    assert_eq!(count(small(), rein), 388_609 - 1);
    let narrow = serde_json::json!({"kind": "rein", "map_rank": 48});
    assert_eq!(count(small(), narrow), 167_425 - 1);
    let evp = |rank: usize| serde_json::json!({"kind": "evp", "rank": rank});
    assert_eq!(count(EncoderConfig::base(), evp(24)), 63_312);
    assert_eq!(count(small(), evp(48)), 102_432);
    let bilinear = serde_json::json!({"kind": "deep", "count": 50, "bilinear": 50});
    assert_eq!(count(EncoderConfig::base(), bilinear), 490_800);
    let cross = serde_json::json!({"kind": "cross", "count": 10});
    assert_eq!(count(EncoderConfig::base(), cross), 92_160);
}
