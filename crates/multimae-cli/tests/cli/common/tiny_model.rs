//! A fine-tuned model of random weights, for the data of the other helpers.

use std::path::Path;

use multimae::burn::tensor::Device;
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, LightConfig, TaskHead};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::positions::NonSquareTables;
use multimae_data::{
    DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, Interpolation, stream,
};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, SavedModel, TaskCard};
use multimae_tasks::ClassInfo;
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_tasks::kinds::labels::Labels;

/// The colours of the five classes.
pub(crate) const COLORS: [[u8; 3]; 5] =
    [[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0], [0, 200, 200]];

/// Writes a model that reads RGB and depth and predicts depth and five classes.
pub(crate) fn save(path: &Path) {
    save_of_width(path, 16);
}

/// The same with an encoder of another width.
pub(crate) fn save_of_width(path: &Path, width: usize) {
    let mut card = card();
    card.model.encoder = EncoderConfig::new(width, 2, 2);
    let model = PeftModel::new(&card.model, &card.peft, &Device::default()).unwrap();
    let model = multimae::init::initialise(model, |name| stream(7, name, 0, 0));
    let (notes, precision) = Default::default();
    SavedModel { model, card, notes, precision }.save(path).unwrap();
}

fn data(name: &str, encoding: Encoding) -> DataModality {
    DataModality::new(name, encoding)
}

fn head(name: &str, main_tasks: &[&str], num_classes: usize) -> TaskHead {
    let config = LightConfig { num_classes, hooks: vec![0, 1], width: 8, depth: 1 };
    let main_tasks = main_tasks.iter().map(|&name| name.to_owned()).collect();
    TaskHead { name: name.to_owned(), main_tasks, head: HeadConfig::Light(config) }
}

fn card() -> ModelCard {
    let rgb = data("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    let millimetres = Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: multimae_data::Quantity::Plain,
    };
    let depth = data("depth", millimetres);
    let labels = Encoding::labels(5, Some(255), -1);
    let semseg = DataModality { folder: "label".to_owned(), ..data("semseg", labels) };
    let names = ["one", "two", "three", "four", "five"];
    let class = |(name, color): (&str, [u8; 3])| ClassInfo { name: name.to_owned(), color };
    let classes = names.into_iter().zip(COLORS).map(class).collect();
    let scale = DepthScale::Linear { mean: 3.0, std: 1.0 };
    let (min, max) = (0.001, 10.0);
    let robust = Normalisation::Robust { min: 0.001, max: 10.0 };
    let input = |data: &DataModality, normalisation| InputModality {
        data: data.clone(),
        adapter: data.name.clone(),
        normalisation,
        unit: None,
    };
    ModelCard {
        model: MultiVitConfig {
            encoder: EncoderConfig::new(16, 2, 2),
            patch_size: 8,
            image_size: Size::new(24, 32),
            num_global_tokens: 1,
            inputs: vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1)],
            heads: vec![head("depth", &["rgb"], 1), head("semseg", &["rgb", "depth"], 5)],
            tables: NonSquareTables::RowColumn,
        },
        peft: PeftConfig::default(),
        inputs: vec![input(&rgb, Normalisation::None), input(&depth, robust)],
        tasks: [
            ("depth".to_owned(), TaskCard::new(Depth { scale, min, max }, Some(depth.clone()))),
            (
                "semseg".to_owned(),
                TaskCard::new(
                    Labels { classes, ignore: 255, offset: -1, values: Vec::new() },
                    Some(semseg),
                ),
            ),
        ]
        .into_iter()
        .collect(),
        geometry: Geometry::Inside { size: (24, 32) },
        valid_mask: None,
    }
}
