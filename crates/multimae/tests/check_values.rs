//! Check values computed with the published code in float64, for a model whose parameters follow a
//! formula. Float32 agrees to about 1e-4.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::{EncoderConfig, Phase};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::ReconstructionLoss;
use multimae::masking::{SampleMask, TokenMasks};
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::model::{Inputs, MultiMae, MultiMaeConfig, Reconstruction};
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::output_adapters::{
    ConvNeXtConfig, DecoderConfig, DptConfig, DptOutput, HeadConfig, LinearConfig, OutputTask,
    Prediction, SegmenterConfig, TaskHead,
};
use multimae::positions::NonSquareTables;
use multimae::state::update;

fn config() -> MultiMaeConfig {
    let semseg = Modality {
        kind: ModalityKind::Categorical { classes: 5, dim_class_emb: 8, padding: false },
        ..Modality::categorical("semseg", 5, 4)
    };
    let inputs = vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1), semseg];
    let norm_rgb = OutputTask { name: "norm_rgb".to_owned(), modality: inputs[0].clone() };
    MultiMaeConfig {
        encoder: EncoderConfig::new(32, 2, 4),
        patch_size: 16,
        image_size: Size::square(64),
        num_global_tokens: 1,
        outputs: inputs.iter().cloned().map(OutputTask::of).chain([norm_rgb]).collect(),
        inputs,
        decoder: DecoderConfig { width: 16, depth: 1, heads: 2, ..DecoderConfig::default() },
        tables: NonSquareTables::default(),
    }
}

/// `0.08 sin(0.7 i + h)`, `h` = sum of the name's ASCII codes modulo 101, plus one for norms.
fn formula<M: Module>(model: M) -> M {
    update(model, |name, current| {
        if name.ends_with("pos_emb") {
            return None;
        }
        let h = f64::from(name.bytes().map(u32::from).sum::<u32>() % 101);
        let mut parts = name.rsplit('.');
        let is_weight = parts.next() == Some("weight");
        let norm = is_weight && parts.next().is_some_and(|part| part.contains("norm"));
        let shift = if norm { 1.0 } else { 0.0 };
        let len = current.shape().num_elements();
        let value = |i: usize| (0.08 * (0.7 * i as f64 + h).sin() + shift) as f32;
        let values: Vec<f32> = (0..len).map(value).collect();
        Some(Tensor::from_data(TensorData::new(values, [len]), &current.device()))
    })
}

fn wave(shape: [usize; 4], f: impl Fn(f64) -> f64) -> ModalityTensor {
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|j| f(j as f64) as f32).collect();
    ModalityTensor::Continuous(Tensor::from_data(
        TensorData::new(values, shape),
        &Device::default(),
    ))
}

fn inputs() -> Inputs {
    let labels: Vec<i64> = (0..256).map(|j| (7 * j / 3) % 5).collect();
    assert_eq!(&labels[..8], [0, 2, 4, 2, 4, 1, 4, 1]);
    let labels = Tensor::from_data(TensorData::new(labels, [1, 16, 16]), &Device::default());
    [
        ("rgb", wave([1, 3, 64, 64], |j| (0.13 * j).sin())),
        ("depth", wave([1, 1, 64, 64], |j| (0.05 * j).cos())),
        ("semseg", ModalityTensor::Categorical(labels)),
    ]
    .map(|(name, values)| (name.to_owned(), values))
    .into_iter()
    .collect()
}

/// Visible: RGB 0, 3, 5, 10; depth 1, 2; labels 7, 15.
fn masks() -> TokenMasks {
    let mut masked = vec![true; 48];
    for index in [0, 3, 5, 10, 16 + 1, 16 + 2, 32 + 7, 32 + 15] {
        masked[index] = false;
    }
    TokenMasks::new(vec![SampleMask::new(masked)]).unwrap()
}

fn reconstruct() -> Reconstruction {
    let model = formula(MultiMae::new(&config(), &Device::default()).unwrap());
    model.forward(inputs(), &masks(), &mut Phase::Evaluation).unwrap()
}

/// Sum, sum of magnitudes, first four and last two values.
fn assert_values(what: &str, data: &TensorData, sums: [f64; 2], ends: [f64; 6]) {
    let values: Vec<f64> = data.iter::<f64>().collect();
    let got_sums = [values.iter().sum::<f64>(), values.iter().map(|v| v.abs()).sum()];
    for (got, expected) in got_sums.into_iter().zip(sums) {
        assert!((got - expected).abs() < 2e-4 * sums[1], "{what}: {got_sums:?}, not {sums:?}");
    }
    let got_ends = values[..4].iter().chain(&values[values.len() - 2..]);
    for (got, expected) in got_ends.zip(ends) {
        assert!((got - expected).abs() < 1e-4, "{what}: {got} among the ends, expected {ends:?}");
    }
}

#[test]
fn encoder_and_predictions() {
    let output = reconstruct();
    assert_values(
        "encoder",
        &output.encoder_tokens.to_data(),
        [135.86629274, 177.48477499],
        [0.15234613, 0.19052761, -0.50346006, 0.76183762, 0.21869317, 0.18157601],
    );
    let expected = [
        (
            "rgb",
            [-3.00285598, 911.31021140],
            [0.08365555, -0.09591242, -0.14855415, -0.03969965, -0.08454432, 0.04320255],
        ),
        (
            "depth",
            [2.98173806, 322.50445157],
            [-0.11804996, 0.01700297, 0.17458985, 0.14012888, 0.06445142, 0.15291640],
        ),
        (
            "semseg",
            [0.00657768, 84.81243894],
            [0.01441205, -0.12752060, -0.14860832, -0.01897190, 0.14362904, 0.01896767],
        ),
        (
            "norm_rgb",
            [1.49329266, 925.31395337],
            [-0.12700249, 0.04635023, 0.12231227, 0.04122506, 0.08956011, -0.01867125],
        ),
    ];
    for (task, sums, ends) in expected {
        assert_values(task, &output.predictions[task].to_data(), sums, ends);
    }
}

#[test]
fn losses_on_masked_patches_and_on_all() {
    let output = reconstruct();
    let targets = inputs();
    let mse = |norm_pix| ReconstructionLoss::Mse { norm_pix };
    let l1 = ReconstructionLoss::L1 { norm_pix: false };
    let cross_entropy = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: None };
    let cases = [
        ("rgb", "rgb", mse(false), 16, 0.5084099071, 0.5080453234),
        ("depth", "depth", l1, 16, 0.6580298817, 0.6371929457),
        ("semseg", "semseg", cross_entropy, 4, 1.6202641142, 1.6179257316),
        ("norm_rgb", "rgb", mse(true), 16, 1.0073180433, 1.0071468254),
    ];
    for (task, target, loss, patch, masked, all) in cases {
        let mask = output.layout.task_mask(&masks(), target);
        for (mask, expected) in [(mask.as_ref(), masked), (None, all)] {
            let prediction = output.predictions[task].clone();
            let loss =
                loss.forward(task, prediction, &targets[target], mask, patch, false).unwrap();
            let value = loss.value.into_data().iter::<f64>().sum::<f64>();
            assert!((value - expected).abs() < 1e-4, "{task}: {value}, expected {expected}");
        }
    }
}

/// The same encoder on RGB, or on RGB and depth, with a head named `t` that reads them all.
fn model_with_head(num_inputs: usize, head: HeadConfig) -> MultiVit {
    let MultiMaeConfig { encoder, patch_size, image_size, num_global_tokens, tables, .. } =
        config();
    let inputs: Vec<Modality> = config().inputs.into_iter().take(num_inputs).collect();
    let main_tasks = inputs.iter().map(|m| m.name.clone()).collect();
    let config = MultiVitConfig {
        encoder,
        patch_size,
        image_size,
        num_global_tokens,
        inputs,
        heads: vec![TaskHead { name: "t".to_owned(), main_tasks, head }],
        tables,
    };
    formula(MultiVit::new(&config, &Device::default()).unwrap())
}

fn predict(model: &MultiVit, inputs: Inputs) -> TensorData {
    let layers = model.forward(inputs, &mut Phase::Evaluation).unwrap();
    match &model.forward_heads(&layers, &mut Phase::Evaluation).unwrap()["t"] {
        Prediction::Maps(maps) => maps.to_data(),
        Prediction::Classes(logits) => logits.to_data(),
    }
}

fn predict_from(num_inputs: usize, head: HeadConfig) -> TensorData {
    predict(&model_with_head(num_inputs, head), inputs().into_iter().take(num_inputs).collect())
}

fn convnext() -> HeadConfig {
    HeadConfig::ConvNeXt(ConvNeXtConfig {
        embed_dim: 128,
        preds_per_patch: 16,
        depth: 2,
        ..ConvNeXtConfig::new(6)
    })
}

#[test]
fn linear_heads() {
    let linear = |use_mean_pooling| {
        predict_from(1, HeadConfig::Linear(LinearConfig { num_classes: 7, use_mean_pooling }))
    };
    assert_values(
        "mean of the tokens",
        &linear(true),
        [0.20169601, 2.20197378],
        [-0.19736949, -0.04668263, 0.28804357, -0.30470968, -0.45137709, 0.37656987],
    );
    assert_values(
        "global token",
        &linear(false),
        [0.34191797, 6.61308538],
        [0.46781643, -0.97832686, 1.33257024, -1.28993494, -0.86732191, 0.37637808],
    );
}

#[test]
fn convnext_heads() {
    let rgb = predict_from(1, convnext());
    assert_eq!(rgb.shape().as_slice(), [1, 6, 64, 64]);
    assert_values(
        "rgb",
        &rgb,
        [-222.37220444, 490.57968068],
        [-0.02502035, -0.02502035, -0.02433069, -0.02295137, 0.05283860, 0.05283860],
    );
    assert_values(
        "rgb and depth",
        &predict_from(2, convnext()),
        [71.99977146, 1519.63937931],
        [-0.04305711, -0.04305711, -0.04359981, -0.04468521, -0.09101330, -0.09101330],
    );
}

#[test]
fn segmenter_head() {
    let head = SegmenterConfig { depth: 1, heads: 4, embed_dim: 32, ..SegmenterConfig::new(6) };
    assert_values(
        "segmenter",
        &predict_from(1, HeadConfig::Segmenter(head)),
        [-415.14554792, 21310.72628414],
        [0.71489823, 0.71489823, 0.71489823, 0.71489823, 1.09494729, 1.09494729],
    );
}

#[test]
fn dpt_heads() {
    let dpt = |head_type| {
        predict_from(
            1,
            HeadConfig::Dpt(DptConfig {
                num_classes: 2,
                head_type,
                hooks: [0, 0, 1, 1],
                layer_dims: [8, 12, 16, 24],
                feature_dim: 16,
            }),
        )
    };
    assert_values(
        "regression",
        &dpt(DptOutput::Regression),
        [209.77358728, 325.60760120],
        [0.06567338, 0.06640818, 0.06812962, 0.06889391, -0.01414483, -0.01429734],
    );
    assert_values(
        "semseg",
        &dpt(DptOutput::Semseg),
        [117.21699632, 220.21754385],
        [0.04288541, 0.04144116, 0.03999691, 0.03998611, -0.01118803, -0.00952231],
    );
}

/// Position tables of 4x4 brought to 6x6: bicubic for images, bilinear for labels.
#[test]
fn images_larger_than_the_position_tables() {
    let model = model_with_head(1, convnext());
    let rgb = wave([1, 3, 96, 96], |j| (0.13 * j).sin());
    let (tokens, grid) =
        model.input_adapters.get("rgb").unwrap().forward("rgb", rgb.clone()).unwrap();
    assert_eq!(grid, Size::square(6));
    assert_values(
        "rgb tokens",
        &tokens.to_data(),
        [566.17946767, 713.61210202],
        [-0.22451385, 0.16756218, -0.36879088, 0.20931135, 0.70452980, 1.10321370],
    );
    assert_values(
        "prediction",
        &predict(&model, [("rgb".to_owned(), rgb)].into_iter().collect()),
        [-490.68858599, 1084.66472771],
        [-0.02451017, -0.02451017, -0.02395254, -0.02283727, 0.05282220, 0.05282220],
    );

    let labels: Vec<i64> = (0..576).map(|j| (7 * j / 3) % 5).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [1, 24, 24]), &Device::default());
    let model = model_with_head(3, convnext());
    let adapter = model.input_adapters.get("semseg").unwrap();
    let (tokens, _) = adapter.forward("semseg", ModalityTensor::Categorical(labels)).unwrap();
    assert_values(
        "semseg tokens",
        &tokens.to_data(),
        [565.46605036, 622.99261309],
        [-0.01354408, -0.08456925, -0.08662854, -0.03597543, 0.95075974, 0.99549581],
    );
}
