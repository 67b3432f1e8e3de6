//! The files that fine-tuning reads: inputs, annotations and the mask of valid pixels.

use multimae::modality::{Modality, ModalityKind};
use multimae_data::{DataModality, Encoding, Interpolation, Quantity};
use multimae_tasks::{TaskKind, kind_of};

use crate::{Error, Result};
use multimae_config::{
    COCO_CLASSES, FinetuneRecipe, Kind, ModalityDefaults, ModalityRecipe, TaskModality, usual,
};
use multimae_infer::saved_model::{InputModality, Normalisation};

/// Stored depth is taken to be in millimetres where the recipe does not say.
const MILLIMETRES: f32 = 1000.0;
/// Labels of pixels that do not count.
const IGNORE: i64 = 255;
/// The published name of pseudo labels as an input, and the adapter they go to.
const PSEUDO_LABELS: (&str, &str) = ("pseudo_semseg", "semseg");
/// The modality of masks, and its published folder.
const MASK: &str = "mask_valid";

/// An input, and what the model knows of it.
pub(super) struct TaskInput {
    pub(super) card: InputModality,
    pub(super) model: Modality,
}

/// The input modalities of a recipe.
///
/// # Errors
/// If the properties of one do not fit together.
pub(super) fn inputs(recipe: &FinetuneRecipe) -> Result<Vec<TaskInput>> {
    recipe.tasks.in_domains.0.iter().map(|name| input(recipe, name)).collect()
}

fn input(recipe: &FinetuneRecipe, name: &str) -> Result<TaskInput> {
    let modality = match name {
        "depth" => depth(recipe)?,
        _ if name == PSEUDO_LABELS.0 => {
            recipe.tasks.modalities.resolve_over(name, pseudo_labels())?
        }
        _ => other(recipe, name)?,
    };
    let standardize = match name {
        "depth" => recipe
            .tasks
            .modalities
            .0
            .get(name)
            .and_then(|entry| entry.standardize)
            .unwrap_or(recipe.tasks.standardize_depth),
        _ => false,
    };
    let (min, max) = (recipe.depth_min as f32, recipe.depth_max as f32);
    let normalisation = match name {
        "depth" if standardize => Normalisation::Robust { min, max },
        "depth" => Normalisation::Range { min, max },
        _ => Normalisation::None,
    };
    let adapter = if name == PSEUDO_LABELS.0 { PSEUDO_LABELS.1 } else { name };
    let TaskModality { data, model, unit, .. } = modality;
    let kind = match model.kind {
        // A row of the table for pixels that are padding or no class.
        ModalityKind::Categorical { classes, dim_class_emb, .. } => {
            ModalityKind::Categorical { classes, dim_class_emb, padding: true }
        }
        continuous => continuous,
    };
    let unit = unit.or_else(|| (name == "depth").then(|| "m".to_owned()));
    Ok(TaskInput {
        model: Modality { name: adapter.to_owned(), stride: data.stride, kind },
        card: InputModality { data, adapter: adapter.to_owned(), normalisation, unit },
    })
}

/// Depth in metres, as an input or a task.
fn depth(recipe: &FinetuneRecipe) -> Result<TaskModality> {
    let folder = if recipe.load_pseudo_depth { "pseudo_depth" } else { "depth" };
    let usual = ModalityRecipe {
        folder: Some(folder.to_owned()),
        kind: Some(Kind::Continuous),
        channels: Some(1),
        divisor: Some(MILLIMETRES),
        interpolation: Some(Interpolation::Nearest),
        unit: Some("m".to_owned()),
        quantity: Some(Quantity::Distance),
        task: Some("depth".to_owned()),
        ..ModalityRecipe::default()
    };
    let mut modality = recipe.tasks.modalities.resolve_over("depth", usual)?;
    match &mut modality.data.encoding {
        Encoding::Continuous { channels: 1, mean, std, standardize, .. }
            if mean.is_empty() && std.is_empty() =>
        {
            *standardize = false;
            Ok(modality)
        }
        _ => Err(Error::Recipe(
            "modality `depth`: it has one channel, and after `divisor` it is in metres, without \
             `mean` and `std`; see `depth_mean` and `depth_std`"
                .to_owned(),
        )),
    }
}

/// Whether the unit of stored depth is a guess.
pub(super) fn guesses_millimetres(recipe: &FinetuneRecipe) -> Result<bool> {
    let uses = recipe
        .tasks
        .in_domains
        .0
        .iter()
        .chain(&recipe.tasks.out_domains.0)
        .any(|name| name == "depth");
    let said = recipe.tasks.modalities.0.get("depth").is_some_and(|entry| entry.divisor.is_some());
    Ok(uses && !said)
}

fn pseudo_labels() -> ModalityRecipe {
    ModalityRecipe {
        kind: Some(Kind::Labels),
        classes: Some(COCO_CLASSES),
        ignore: Some(IGNORE),
        ..ModalityRecipe::default()
    }
}

fn other(recipe: &FinetuneRecipe, name: &str) -> Result<TaskModality> {
    let defaults = ModalityDefaults {
        imagenet_normalisation: recipe.tasks.imagenet_default_mean_and_std,
        standardize_depth: false,
    };
    Ok(recipe.tasks.modalities.resolve_over(name, usual(name, defaults))?)
}

/// Returns the storage of a task's annotations.
///
/// # Errors
/// If the properties do not fit together.
pub(super) fn target(recipe: &FinetuneRecipe, name: &str) -> Result<TaskModality> {
    let mut modality = match name {
        "depth" => depth(recipe)?,
        "semseg" => labels(recipe, name)?,
        _ => values(recipe, name)?,
    };
    let usual = kind_of(name, Some(&modality))?.quantity;
    let said = recipe.tasks.modalities.0.get(name).and_then(|entry| entry.quantity);
    if let (Encoding::Continuous { quantity, .. }, None) = (&mut modality.data.encoding, said) {
        *quantity = usual;
    }
    // Annotations are at full resolution.
    (modality.data.stride, modality.model.stride) = (1, 1);
    Ok(modality)
}

/// The kind of one of a recipe's tasks.
///
/// # Errors
/// If the recipe does not describe the task.
pub fn kind_of_task(recipe: &FinetuneRecipe, name: &str) -> Result<&'static TaskKind> {
    let target = (!recipe.classifies()).then(|| target(recipe, name)).transpose()?;
    Ok(kind_of(name, target.as_ref())?)
}

fn labels(recipe: &FinetuneRecipe, name: &str) -> Result<TaskModality> {
    let own = recipe.tasks.modalities.0.get(name);
    let entry_classes = own.and_then(|entry| entry.classes);
    let classes = match (entry_classes, recipe.num_classes) {
        (Some(entry), Some(key)) if entry != key => {
            return Err(Error::Recipe(format!(
                "`num_classes` is {key}, `modalities.{name}.classes` {entry}; set one. With label 0 \
                 for unlabelled pixels, `num_classes` does not count it if `seg_reduce_zero_label` \
                 is true"
            )));
        }
        (entry, key) => entry.or(key),
    };
    let palette = match recipe.dataset_name.as_deref() {
        Some("nyu" | "hypersim") => Some("nyu40".to_owned()),
        _ => None,
    };
    let usual = ModalityRecipe {
        kind: Some(Kind::Labels),
        classes,
        ignore: Some(IGNORE),
        offset: recipe.seg_reduce_zero_label.then_some(-1),
        palette,
        ..ModalityRecipe::default()
    };
    Ok(recipe.tasks.modalities.resolve_over(name, usual)?)
}

/// Real values of the published dense regression, or any others.
fn values(recipe: &FinetuneRecipe, name: &str) -> Result<TaskModality> {
    let (channels, divisor) = match name {
        "normal" => (Some(3), Some(255.0)),
        "principal_curvature" => (Some(2), Some(255.0)),
        "reshading" => (Some(1), Some(255.0)),
        "depth_zbuffer" | "depth_euclidean" | "edge_texture" | "edge_occlusion" | "keypoints2d"
        | "keypoints3d" => (Some(1), Some(65535.0)),
        _ => (None, None),
    };
    let usual = ModalityRecipe {
        channels,
        divisor,
        interpolation: Some(Interpolation::Nearest),
        ..ModalityRecipe::default()
    };
    Ok(recipe.tasks.modalities.resolve_over(name, usual)?)
}

/// Returns the storage of valid masks, if the recipe uses them.
pub(super) fn valid_mask(recipe: &FinetuneRecipe) -> Option<DataModality> {
    let own = recipe.tasks.modalities.0.get(MASK);
    recipe.use_mask_valid.then(|| DataModality {
        name: MASK.to_owned(),
        folder: own.and_then(|entry| entry.folder.clone()).unwrap_or_else(|| MASK.to_owned()),
        encoding: Encoding::Labels { classes: 256, ignore: None, offset: 0 },
        stride: 1,
    })
}
