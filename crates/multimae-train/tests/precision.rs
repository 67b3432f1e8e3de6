//! Models of different precision in one process: each does what it does alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::sync::Barrier;
use std::thread;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::encoder::{EncoderConfig, Phase};
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, LightConfig, TaskHead};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::positions::NonSquareTables;
use multimae::state::state_dict;
use multimae_config::{Override, Resolved, TaskModality};
use multimae_data::{
    Batch, DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, Map, RawMap, RawSample,
    Sample, Values, stream,
};
use multimae_infer::batch;
use multimae_infer::predict::{FramePrediction, ModelPredictor, PredictOptions, Predictor as _};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, SavedModel, TaskCard};
use multimae_kernels::ops;
use multimae_kernels::precision::Precision::{self, Bf16, Fp32};
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_train::learner::Learner;
use multimae_train::peers::Peers;
use multimae_train::pretrain::PretrainSetup;
use multimae_train::step::{StepPlace, train_step};

/// Whether models of this process can be of two precisions; says so if not.
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn has_both() -> bool {
    let has = Bf16.check(&Device::flex()).is_ok() && ops::enabled();
    if !has {
        eprintln!("SKIPPED: no kernels, or a processor that does not multiply in bfloat16");
    }
    has
}

/// Runs `work` in both precisions at the same time, again and again, and in turn; `alone` is what each
/// gives alone.
#[track_caller]
fn assert_apart<T: PartialEq + Send + Sync>(
    rounds: usize,
    alone: &[T; 2],
    work: impl Fn(Precision) -> T + Sync,
) {
    assert!(alone[0] != alone[1], "precision makes no difference");
    for _ in 0..rounds {
        assert!(work(Fp32) == alone[0] && work(Bf16) == alone[1], "in turn");
        // Models have a precision of their own, whatever scope they are used in.
        assert!(Bf16.scope(|| work(Fp32)) == alone[0] && Fp32.scope(|| work(Bf16)) == alone[1]);
    }
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for (precision, alone) in [Fp32, Bf16].into_iter().zip(alone) {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                for round in 0..rounds {
                    start.wait();
                    assert!(work(precision) == *alone, "{precision:?} beside another, {round}");
                }
            });
        }
    });
}

fn saved() -> SavedModel {
    let rgb = DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    let light = LightConfig { num_classes: 1, hooks: vec![0, 1], width: 16, depth: 1 };
    let head = TaskHead {
        name: "depth".to_owned(),
        main_tasks: vec!["rgb".to_owned()],
        head: HeadConfig::Light(light),
    };
    let scale = DepthScale::Linear { mean: 2.5, std: 1.5 };
    let depth = TaskCard::new(Depth { scale, min: 0.001, max: 10.0 }, None);
    let card = ModelCard {
        model: MultiVitConfig {
            encoder: EncoderConfig::new(64, 2, 2),
            patch_size: 8,
            image_size: Size::new(48, 64),
            num_global_tokens: 1,
            inputs: vec![Modality::continuous("rgb", 3)],
            heads: vec![head],
            tables: NonSquareTables::RowColumn,
        },
        peft: PeftConfig::default(),
        inputs: vec![InputModality {
            data: rgb,
            adapter: "rgb".to_owned(),
            normalisation: Normalisation::None,
            unit: None,
        }],
        tasks: [("depth".to_owned(), depth)].into(),
        geometry: Geometry::Inside { size: (48, 64) },
        valid_mask: None,
    };
    let model = PeftModel::new(&card.model, &card.peft, &Device::flex()).unwrap();
    let model = multimae::init::initialise(model, |name| stream(1, name, 0, 0));
    SavedModel { model, card, notes: IndexMap::new(), precision: Fp32 }
}

fn frame() -> RawSample {
    let pixels: Vec<u8> = (0..48 * 64 * 3).map(|at| (at * 7 % 251) as u8).collect();
    RawSample {
        id: "a".to_owned(),
        index: 0,
        height: 48,
        width: 64,
        maps: [("rgb".to_owned(), RawMap::Color(pixels))].into_iter().collect(),
    }
}

#[test]
fn predictors_of_different_precision_do_not_meet() {
    if !has_both() {
        return;
    }
    let predictors =
        [Fp32, Bf16].map(|p| ModelPredictor::new(saved().with_precision(p), Device::flex()));
    assert_eq!(predictors.each_ref().map(|predictor| predictor.precision()), [Fp32, Bf16]);
    let options = PredictOptions { inputs: vec!["rgb".to_owned()], canvas: None, flip: true };
    let predict = |precision: Precision| -> FramePrediction {
        let predictor = &predictors[usize::from(precision == Bf16)];
        predictor.predict(&frame(), &options).unwrap()
    };
    assert_apart(8, &[Fp32, Bf16].map(predict), predict);
}

/// A pre-training run in the precision.
fn setup(precision: &str) -> PretrainSetup {
    let overrides = [
        "model={width: 64, depth: 2, heads: 2}",
        "patch_size=8",
        "input_size=[48, 64]",
        "num_encoded_tokens=40",
        "decoder_dim=32",
        "decoder_depth=1",
        "decoder_num_heads=2",
        "batch_size=2",
        &format!("precision={precision}"),
    ];
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    PretrainSetup::new(Resolved::load(None, &overrides).unwrap().recipe).unwrap()
}

/// A map that depends on the sample alone.
fn map(modality: &TaskModality, sample: usize, size: Size) -> Map {
    let stride = modality.data.stride;
    let (height, width) = (size.height / stride, size.width / stride);
    let numbers = |count: usize| (0..count).map(move |at| (at + 1) * (sample + 3) % 97);
    let continuous = |channels: usize| Values::Continuous {
        channels,
        data: numbers(channels * height * width).map(|n| n as f32 / 40.0 - 1.0).collect(),
    };
    let values = match &modality.data.encoding {
        Encoding::Color { .. } => continuous(3),
        Encoding::Continuous { channels, .. } => continuous(*channels),
        Encoding::Labels { classes, .. } => {
            Values::Labels(numbers(height * width).map(|n| (n % classes) as i64).collect())
        }
    };
    Map { height, width, values }
}

/// The weights after two steps of four samples, whose passes of two run side by side.
fn trained(setup: &PretrainSetup) -> Vec<(String, Vec<u8>)> {
    let sample = |index: usize| {
        let maps = setup.spec.modalities.iter().map(|(name, modality)| {
            (name.clone(), map(modality, index, setup.spec.recipe.arch.input_size))
        });
        Sample { id: index.to_string(), index, maps: maps.collect() }
    };
    let samples: Vec<Sample> = (0..4).map(sample).collect();
    let device = setup.device.clone().autodiff();
    let losses = |learner: &Learner, samples: &[Sample], _: u64| {
        let targets = batch::targets(samples, setup.spec.modalities.values(), &device)?;
        let names = &setup.spec.recipe.tasks.in_domains.0;
        let inputs = batch::inputs(&targets, names, &setup.spec.modalities);
        let tokens = setup.spec.layout.tokens_per_task();
        let masks = batch::masks(&setup.spec.masking, (names, &tokens), samples, 0, 0)?;
        let phase = &mut Phase::Evaluation;
        Ok(learner.forward(&setup.spec.objective, inputs, &targets, &masks, phase)?.into())
    };
    let mut learner = setup.learner().unwrap();
    for step in 0..2 {
        let data = Batch::whole((0, step), samples.clone());
        let place = StepPlace { step, lr: 1e-3, weight_decay: 0.05 };
        let rate = |_: &str| place.rate();
        train_step(
            &setup.step_rules(),
            &mut learner,
            (&data, &Peers::none()),
            place,
            &losses,
            rate,
        )
        .unwrap();
    }
    let weights = state_dict(&learner.model).into_iter();
    weights.map(|(name, data)| (name, data.as_bytes().to_vec())).collect()
}

#[test]
fn runs_of_different_precision_do_not_meet() {
    if !has_both() {
        return;
    }
    let settings = [setup("fp32"), setup("bf16")];
    assert_eq!(settings.each_ref().map(|setup| setup.precision), [Fp32, Bf16]);
    let train = |precision: Precision| trained(&settings[usize::from(precision == Bf16)]);
    assert_apart(2, &[Fp32, Bf16].map(train), train);
}
