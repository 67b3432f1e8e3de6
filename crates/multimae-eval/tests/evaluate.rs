//! Protocols over frames in files, with predictors whose scores are known.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_data::encode::{depth_png, palette_png};
use multimae_data::{
    DataModality, Dataset, Encoding, IMAGENET_MEAN, IMAGENET_STD, Interpolation, Layout, RawMap,
    RawSample,
};
use multimae_eval::{Annotation, Evaluated, Evaluator, GroundTruth, Protocol};
use multimae_infer::predict::{FramePrediction, PredictOptions, Predictor, TaskPrediction};
use multimae_infer::saved_model::TaskCard;
use multimae_kernels::precision::Precision;
use multimae_report::Palette;
use multimae_tasks::ClassInfo;
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_tasks::kinds::labels::Labels;
use serde_json::json;

const SIZE: Size = Size { height: 48, width: 64 };
const FRAMES: usize = 5;

/// Depth of frame `i`: one number per column, metres.
fn depth(i: usize) -> Vec<f32> {
    (0..SIZE.area()).map(|p| 1.0 + i as f32 + 0.05 * (p % SIZE.width) as f32).collect()
}

/// Labels of frame `i`: void, wall, floor and further, in squares.
fn labels(i: usize) -> Vec<i64> {
    let label = |p: usize| ((p / SIZE.width / 12 + p % SIZE.width / 16 + i) % 7) as i64;
    (0..SIZE.area()).map(label).collect()
}

fn write(dir: &Path) {
    for folder in ["rgb", "depth", "label"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let size = (SIZE.height, SIZE.width);
    let palette = Palette::nyu40();
    let colors: Vec<[u8; 3]> = (0..41).map(|id| palette.color(id)).collect();
    for i in 0..FRAMES {
        let file = |folder: &str| dir.join(folder).join(format!("{i:03}.png"));
        let rgb = multimae_report::Picture::filled(size, [40 * i as u8, 90, 120]);
        rgb.write_png(&file("rgb")).unwrap();
        fs::write(file("depth"), depth_png(&depth(i), size).unwrap()).unwrap();
        fs::write(file("label"), palette_png(&labels(i), size, &colors).unwrap()).unwrap();
    }
}

fn millimetres() -> Encoding {
    Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: multimae_data::Quantity::Plain,
    }
}

fn dataset(dir: &Path) -> Dataset {
    let modality = |name: &str, folder: &str, encoding| DataModality {
        folder: folder.to_owned(),
        ..DataModality::new(name, encoding)
    };
    let modalities = [
        modality("rgb", "rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD }),
        modality("depth", "depth", millimetres()),
        modality("semseg", "label", Encoding::labels(41, Some(0), 0)),
    ];
    Dataset::open(dir, &Layout::Folders, &modalities).unwrap()
}

fn ground_truth() -> GroundTruth {
    let labels = Encoding::labels(41, Some(0), 0);
    let annotation = |modality: &str, encoding| {
        (modality.to_owned(), Annotation { modality: modality.to_owned(), encoding })
    };
    let tasks = [annotation("depth", millimetres()), annotation("semseg", labels)];
    GroundTruth { tasks: tasks.into(), mask: None }
}

fn depth_card() -> TaskCard {
    let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
    TaskCard::new(Depth { scale, min: 0.001, max: 10.0 }, None)
}

/// Says what the frame's own files say, or the same everywhere.
struct Fake {
    inputs: Vec<String>,
    tasks: IndexMap<String, TaskCard>,
    constant: Option<(f32, i64)>,
    precision: Precision,
}

impl Fake {
    fn new(constant: Option<(f32, i64)>) -> Self {
        let palette = Palette::nyu40();
        let class =
            |id: i64| ClassInfo { name: palette.name(id).to_owned(), color: palette.color(id) };
        let classes = (0..palette.len() as i64).map(class).collect();
        let labels = Labels { classes, ignore: 0, offset: 0, values: Vec::new() };
        let tasks = [
            ("depth".to_owned(), depth_card()),
            ("semseg".to_owned(), TaskCard::new(labels, None)),
        ];
        Self {
            inputs: vec!["rgb".to_owned()],
            tasks: tasks.into(),
            constant,
            precision: Precision::Fp32,
        }
    }
}

impl Predictor for Fake {
    fn predict(
        &self,
        frame: &RawSample,
        _options: &PredictOptions,
    ) -> multimae_infer::Result<FramePrediction> {
        let pixels = frame.height * frame.width;
        let (depth, labels) = match (self.constant, &frame.maps["depth"], &frame.maps["semseg"]) {
            (Some((depth, label)), ..) => (vec![depth; pixels], vec![label; pixels]),
            (_, RawMap::Continuous { data, .. }, RawMap::Labels(labels)) => {
                (data.iter().map(|d| d / 1000.0).collect(), labels.clone())
            }
            _ => panic!("depth and labels"),
        };
        let tasks = [
            ("depth".to_owned(), TaskPrediction::Values(depth)),
            ("semseg".to_owned(), TaskPrediction::Labels(labels)),
        ];
        Ok(FramePrediction { tasks: tasks.into() })
    }

    fn describe_input(
        &self,
        size: Size,
        _options: &PredictOptions,
    ) -> multimae_infer::Result<String> {
        Ok(format!("rgb at {}x{}", size.height, size.width))
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn tasks(&self) -> &IndexMap<String, TaskCard> {
        &self.tasks
    }
}

fn run(fake: &Fake, names: &[&str]) -> Vec<Evaluated> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let dataset = dataset(dir.path());
    let protocols: Vec<Protocol> =
        names.iter().flat_map(|name| Protocol::named(name).unwrap()).collect();
    let evaluator = Evaluator {
        predictor: fake,
        model: "fake".to_owned(),
        dataset: &dataset,
        data: "squares".to_owned(),
        split: None,
        ground_truth: &ground_truth(),
        worst: 3,
    };
    let mut seen = Vec::new();
    let inputs = fake.inputs.clone();
    let evaluated = evaluator
        .run(&protocols, &inputs, false, &mut |done, total| seen.push((done, total)))
        .unwrap();
    assert_eq!(seen.last().map(|(done, total)| done == total), Some(true));
    evaluated
}

#[test]
fn exact_predictions_have_the_best_scores_under_every_protocol() {
    let names = ["nyuv2-depth", "nyuv2-semseg", "depth", "semseg", "reference-compatible"];
    let evaluated = run(&Fake::new(None), &names);
    assert_eq!(evaluated.len(), 6);
    for evaluated in &evaluated {
        assert!(!evaluated.pictures.is_empty());
        let details = &evaluated.evaluation.outcome.details;
        assert_eq!(details["images"].as_array().unwrap().len(), FRAMES);
        for row in details["rows"].as_array().unwrap() {
            if evaluated.evaluation.task == "depth" {
                assert!(row["scores"]["rmse"].as_f64().unwrap() < 1e-6, "{row}");
                assert_eq!(row["scores"]["delta_1"], 1.0);
            } else {
                assert_eq!((&row["miou"], &row["pixel_acc"]), (&json!(1.0), &json!(1.0)));
            }
        }
    }
    let statement = &evaluated[4].evaluation.statement;
    assert_eq!(statement["protocol"], "reference-depth");
    assert!(statement["scored at"].starts_with("256x256"), "{statement:?}");
    assert_eq!(statement["model input"], "rgb at 256x256");
    // Without the padding of the square.
    assert!(evaluated[5].evaluation.statement["scored at"].starts_with("480x640"));
}

#[test]
fn the_precision_of_a_statement_is_that_of_the_predictor() {
    let bf16 = Fake { precision: Precision::Bf16, ..Fake::new(None) };
    let says =
        |fake: &Fake| run(fake, &["depth"])[0].evaluation.statement.get("precision").cloned();
    assert!(says(&bf16).unwrap().contains("bfloat16"));
    // The scope of the caller does not matter.
    assert_eq!(Precision::Bf16.scope(|| says(&Fake::new(None))), None);
}

#[test]
fn constant_predictions_have_scores_that_can_be_counted() {
    let evaluated = run(&Fake::new(Some((3.0, 1))), &["depth", "semseg"]);
    let depths = &evaluated[0].evaluation.outcome.scores;
    let (mut squares, mut pixels) = (0.0, 0.0);
    for target in (0..FRAMES).flat_map(depth) {
        // As stored, in whole millimetres.
        let target = (f64::from(target) * 1000.0).round() / 1000.0;
        squares += (3.0 - target).powi(2);
        pixels += 1.0;
    }
    assert!((depths["rmse"] - f64::sqrt(squares / pixels)).abs() < 1e-4);
    let result = &evaluated[1].evaluation.outcome;
    let all: Vec<i64> = (0..FRAMES).flat_map(labels).filter(|&label| label != 0).collect();
    let walls = all.iter().filter(|&&label| label == 1).count() as f64 / all.len() as f64;
    assert!((result.scores["pixel_acc"] - walls).abs() < 1e-12);
    assert!((result.scores["miou"] - walls / 6.0).abs() < 1e-12);
    // The worst are drawn: those whose depths are farthest from 3 m, worst first.
    let images = result.details["images"].as_array().unwrap();
    let worst = images.iter().map(|image| image["miou"].as_f64().unwrap()).fold(1.0, f64::min);
    assert!(worst < walls / 6.0 + 1e-9);
}

#[test]
fn a_protocol_of_what_the_model_does_not_predict_is_an_error() {
    struct DepthOnly(Fake, IndexMap<String, TaskCard>);
    impl Predictor for DepthOnly {
        fn predict(
            &self,
            f: &RawSample,
            r: &PredictOptions,
        ) -> multimae_infer::Result<FramePrediction> {
            self.0.predict(f, r)
        }
        fn describe_input(
            &self,
            size: Size,
            options: &PredictOptions,
        ) -> multimae_infer::Result<String> {
            self.0.describe_input(size, options)
        }
        fn precision(&self) -> Precision {
            self.0.precision()
        }
        fn inputs(&self) -> &[String] {
            self.0.inputs()
        }
        fn tasks(&self) -> &IndexMap<String, TaskCard> {
            &self.1
        }
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let evaluator = Evaluator {
        predictor: &DepthOnly(Fake::new(None), [("depth".to_owned(), depth_card())].into()),
        model: "fake".to_owned(),
        dataset: &dataset(dir.path()),
        data: "squares".to_owned(),
        split: None,
        ground_truth: &ground_truth(),
        worst: 0,
    };
    let protocols = Protocol::named("nyuv2-semseg").unwrap();
    let error = evaluator.run(&protocols, &["rgb".to_owned()], false, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("does not predict"), "{error}");
}
