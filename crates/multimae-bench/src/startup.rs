//! A case of start-up: a whole model with its card, and a picture to predict.

use std::path::Path;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::state::{AllowedKeys, load};
use multimae_data::{DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, SavedModel, TaskCard};
use multimae_kernels::precision::Precision;
use multimae_report::picture::Picture;
use multimae_tasks::ClassInfo;
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_tasks::kinds::labels::Labels;

use crate::case::{BenchmarkCase, Heads};
use crate::folder::CaseFolder;
use crate::{Result, material};

/// The model's file in the case's folder.
pub const MODEL: &str = "model.safetensors";
/// The picture's.
pub const PICTURE: &str = "picture.png";
/// The folder of the predictions.
pub const PREDICTIONS: &str = "predictions";

/// Height and width of the picture: square, so that the whole of it is the model's input.
const SIZE: (usize, usize) = (480, 480);

/// Writes the case's folder with the model as other commands read it.
///
/// # Errors
/// If a file cannot be written.
pub fn prepare(dir: &Path, case: &BenchmarkCase) -> Result<()> {
    let picture = dir.join(PICTURE);
    let case =
        BenchmarkCase { picture: Some(picture.to_string_lossy().into_owned()), ..case.clone() };
    material::prepare(dir, &case)?;
    let mut folder = CaseFolder::read(dir)?;
    let weights = multimae::output_adapters::merge_aliases(std::mem::take(&mut folder.weights))?;
    let model = load(case.peft_model(&Device::default())?, weights, &AllowedKeys::default())?;
    let card = card(&case, model.vit.config().clone()).ok_or_else(|| folder.error("no heads"))?;
    let (notes, precision) = (IndexMap::new(), Precision::Fp32);
    SavedModel { model, card, notes, precision }.save(&dir.join(MODEL))?;
    let (height, width) = SIZE;
    let pixels: Vec<u8> =
        (0..height * width * 3).map(|at| ((at / 3 % width) ^ (at / width / 3)) as u8).collect();
    Ok(Picture::new(SIZE, pixels)?.write_png(&picture)?)
}

/// The parts of the model card that other commands read.
fn card(case: &BenchmarkCase, model: multimae::multivit::MultiVitConfig) -> Option<ModelCard> {
    let Heads { num_classes, .. } = case.task_heads?;
    let input = |name: &String| InputModality {
        data: DataModality::new(name, Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD }),
        adapter: name.clone(),
        normalisation: Normalisation::None,
        unit: None,
    };
    let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
    let depth = TaskCard::new(Depth { scale, min: 0.001, max: 10.0 }, None);
    let class = |index: usize| ClassInfo {
        name: format!("class {index}"),
        color: [(index * 5) as u8, (index * 3) as u8, (255 - index) as u8],
    };
    let classes = (0..num_classes).map(class).collect();
    let labels =
        TaskCard::new(Labels { classes, ignore: 255, offset: -1, values: Vec::new() }, None);
    let tasks = [("depth", depth), ("semseg", labels)].map(|(name, card)| (name.to_owned(), card));
    Some(ModelCard {
        model,
        peft: multimae::peft::PeftConfig::default(),
        inputs: case.in_domains.iter().map(input).collect(),
        tasks: tasks.into_iter().collect(),
        geometry: Geometry::CenterFit { size: (case.image[0], case.image[1]) },
        valid_mask: None,
    })
}
