//! The files that fine-tuning reads: inputs, annotations and the mask of valid pixels.

use multimae::modality::{Modality, ModalityKind};
use multimae_data::labels::usual_void;
use multimae_data::{DataModality, Encoding, Quantity};
use multimae_tasks::{TaskKind, kind_of};

use crate::{Error, Result};
use multimae_config::{
    FinetuneRecipe, Kind, MASK, ModalityDefaults, ModalityRecipe, Role, TaskModality, adapter_of,
    task_kind, usual, usual_target,
};
use multimae_eval::mask_modality;
use multimae_infer::saved_model::{InputModality, Normalisation};

/// The published folder of pseudo labels of depth.
const PSEUDO_DEPTH: &str = "pseudo_depth";
/// The unit of distances.
const METRE: &str = "m";

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
    let usual = usual_of(recipe, name, Role::Input);
    let mut modality = recipe.tasks.resolve_over(name, usual)?;
    let distance = quantity(&modality) == Some(Quantity::Distance);
    let normalisation = match distance {
        true => normalised_distance(recipe, name, &mut modality)?,
        false => Normalisation::None,
    };
    let adapter = adapter_of(name);
    let TaskModality { data, model, unit, .. } = modality;
    let kind = match model.kind {
        // A row of the table for pixels that are padding or no class.
        ModalityKind::Categorical { classes, dim_class_emb, .. } => {
            ModalityKind::Categorical { classes, dim_class_emb, padding: true }
        }
        continuous => continuous,
    };
    let unit = unit.or_else(|| distance.then(|| METRE.to_owned()));
    Ok(TaskInput {
        model: Modality { name: adapter.to_owned(), stride: data.stride, kind },
        card: InputModality { data, adapter: adapter.to_owned(), normalisation, unit },
    })
}

/// The published properties of a modality in a role, with those that keys of the recipe decide.
fn usual_of(recipe: &FinetuneRecipe, name: &str, role: Role) -> ModalityRecipe {
    let defaults = ModalityDefaults {
        imagenet_normalisation: recipe.tasks.imagenet_default_mean_and_std,
        standardize_depth: false,
    };
    let usual = usual(name, role, defaults);
    let depth = usual.task.as_deref() == Some(task_kind::DEPTH);
    let folder = (depth && recipe.load_pseudo_depth).then(|| PSEUDO_DEPTH.to_owned());
    ModalityRecipe { folder, ..ModalityRecipe::default() }.over(usual)
}

fn quantity(modality: &TaskModality) -> Option<Quantity> {
    match &modality.data.encoding {
        Encoding::Continuous { quantity, .. } => Some(*quantity),
        Encoding::Color { .. } | Encoding::Labels { .. } => None,
    }
}

/// The normalisation of a distance as an input, which the model does after its files are read.
fn normalised_distance(
    recipe: &FinetuneRecipe,
    name: &str,
    modality: &mut TaskModality,
) -> Result<Normalisation> {
    in_metres(name, modality)?;
    let own = recipe.tasks.modalities.0.get(name).and_then(|entry| entry.standardize);
    let (min, max) = (recipe.depth_min as f32, recipe.depth_max as f32);
    Ok(match own.unwrap_or(recipe.tasks.standardize_depth) {
        true => Normalisation::Robust { min, max },
        false => Normalisation::Range { min, max },
    })
}

/// Checks that a distance is read in metres, and takes back its own standardisation.
fn in_metres(name: &str, modality: &mut TaskModality) -> Result<()> {
    match &mut modality.data.encoding {
        Encoding::Continuous { channels: 1, mean, std, standardize, .. }
            if mean.is_empty() && std.is_empty() =>
        {
            *standardize = false;
            Ok(())
        }
        _ => Err(Error::Recipe(format!(
            "modality `{name}`: a distance has one channel, and after `divisor` it is in metres, \
             without `mean` and `std`; see `depth_mean` and `depth_std`"
        ))),
    }
}

/// The distances whose unit in the files is a guess.
pub(super) fn guessed_units(recipe: &FinetuneRecipe) -> Vec<&str> {
    let tasks = &recipe.tasks;
    let inputs = tasks.in_domains.0.iter().map(|name| (name, Role::Input));
    let targets = tasks.out_domains.0.iter().map(|name| (name, Role::Target));
    let guessed = |(name, role): &(&String, Role)| {
        let usual = usual_of(recipe, name, *role);
        let own = tasks.modalities.0.get(*name);
        usual.quantity == Some(Quantity::Distance)
            && usual.unit.is_some()
            && own.is_none_or(|entry| {
                entry.divisor.is_none() && entry.kind.is_none_or(|kind| Some(kind) == usual.kind)
            })
    };
    inputs.chain(targets).filter(guessed).map(|(name, _)| name.as_str()).collect()
}

/// Returns the storage of a task's annotations.
///
/// # Errors
/// If the properties do not fit together.
pub(super) fn target(recipe: &FinetuneRecipe, name: &str) -> Result<TaskModality> {
    let entries = &recipe.tasks.modalities;
    let kind = entries.kind_in(name, Role::Target);
    let of_keys = match kind {
        Kind::Labels => labels_of_keys(recipe, name)?,
        Kind::Continuous | Kind::Color => ModalityRecipe::default(),
    };
    let usual = of_keys.over(usual_of(recipe, name, Role::Target)).over(usual_target(kind));
    let mut modality = recipe.tasks.resolve_over(name, usual)?;
    let of_task = kind_of(name, Some(&modality))?;
    if of_task.name == task_kind::DEPTH {
        in_metres(name, &mut modality)?;
    }
    let said = entries.0.get(name).and_then(|entry| entry.quantity);
    // A task of plain numbers does not change what they are.
    if let (Encoding::Continuous { quantity, .. }, None) = (&mut modality.data.encoding, said)
        && !of_task.quantity.is_plain()
    {
        *quantity = of_task.quantity;
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

/// The properties of a task of labels that keys outside `modalities:` decide.
fn labels_of_keys(recipe: &FinetuneRecipe, name: &str) -> Result<ModalityRecipe> {
    let own = recipe.tasks.modalities.0.get(name).cloned().unwrap_or_default();
    let entry_classes = own.said_classes();
    let classes = match (entry_classes, recipe.num_classes) {
        (Some(entry), Some(key)) if entry != key && only_labels(recipe) => {
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
    let mapped = own.class_map().is_some();
    let values = own.values.unwrap_or_default();
    let zero_is_void = recipe.seg_reduce_zero_label;
    // In a list of values, classes have their places: 0 is only ignored.
    let offset = (zero_is_void && values.is_empty()).then_some(-1);
    let void = if zero_is_void && !values.is_empty() {
        0
    } else {
        usual_void(classes, own.offset.or(offset).unwrap_or(0), &values)
    };
    if mapped {
        // Its map says what every stored value is.
        if zero_is_void {
            return Err(Error::Recipe(format!(
                "`seg_reduce_zero_label` and a class map of `{name}` exclude each other; write \
                 `0 ignore` into the map"
            )));
        }
        return Ok(ModalityRecipe { palette, ..ModalityRecipe::default() });
    }
    let classes = classes.map(Into::into);
    Ok(ModalityRecipe { classes, ignore: Some(void), offset, palette, ..ModalityRecipe::default() })
}

/// Whether a recipe has no more than one task of labels, which its keys are then about.
fn only_labels(recipe: &FinetuneRecipe) -> bool {
    let tasks = &recipe.tasks;
    let labels = |name: &&String| tasks.modalities.task_kind(name) == task_kind::LABELS;
    tasks.out_domains.0.iter().filter(labels).count() < 2
}

/// Returns the storage of valid masks, if the recipe uses them.
pub(super) fn valid_mask(recipe: &FinetuneRecipe) -> Option<DataModality> {
    let own = recipe.tasks.modalities.0.get(MASK);
    recipe.use_mask_valid.then(|| {
        let usual = mask_modality();
        DataModality {
            folder: own.and_then(|entry| entry.folder.clone()).unwrap_or(usual.folder),
            orientation: own.and_then(|entry| entry.orientation).unwrap_or(usual.orientation),
            naming: own.map(|entry| entry.naming(&usual.naming)).unwrap_or_default(),
            ..usual
        }
    })
}
