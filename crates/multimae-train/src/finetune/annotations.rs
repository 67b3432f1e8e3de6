//! Statistics of the training annotations before any training: their mean, their class frequencies.

use indexmap::IndexMap;
use multimae_data::labels::{LabelCounts, LabelRule};
use multimae_data::{Dataset, Encoding, RawMap, RawSample};

use super::modalities::kind_of_task;
use crate::labels::{Counted, LABELS_OF, check_labels};
use crate::{Error, Result};
use multimae_config::{BadSamplesChoice, FinetuneRecipe};
use multimae_tasks::{AnnotationStatistics, Constant, class_of, mask_values, valid_values};

/// The statistics of the annotations by task, from which constant predictions follow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constants {
    /// By task.
    pub tasks: IndexMap<String, Constant>,
    /// Notices about tasks with labels.
    pub label_notices: Vec<String>,
}

/// Looks at the annotations of training samples. `data` holds the modalities of the tasks and the
/// mask; `classes` are the names of the classes of images, if there are any.
///
/// # Errors
/// If a sample cannot be read and is not to be left out, or a task has no annotation at all.
pub(super) fn annotation_constants(
    recipe: &FinetuneRecipe,
    data: &Dataset,
    mask: Option<&str>,
    classes: &[String],
) -> Result<Constants> {
    let mut found: IndexMap<String, AnnotationStatistics> = IndexMap::new();
    let mut ranges = IndexMap::new();
    for name in &recipe.tasks.out_domains.0 {
        let kind = kind_of_task(recipe, name)?;
        ranges.insert(name.clone(), (kind.valid_range)(recipe));
    }
    let mut constants = Constants::default();
    let (mut counts, mut samples) = (IndexMap::new(), 0);
    let stride = data.len().div_ceil(LABELS_OF).max(1);
    let skips = recipe.data.bad_samples == BadSamplesChoice::Skip;
    for index in (0..data.len()).step_by(stride) {
        if recipe.classifies() {
            let id = data.id(index).unwrap_or_default();
            let class = class_of(classes, &id)?;
            found
                .entry(recipe.tasks.out_domains.0[0].clone())
                .or_default()
                .label(class, classes.len());
            continue;
        }
        let raw = match data.decode(index) {
            Ok(raw) => raw,
            Err(error) if skips && error.is_bad_sample() => continue,
            Err(error) => return Err(error.into()),
        };
        samples += 1;
        add_sample(&ranges, (&mut found, &mut counts), data, &raw, mask);
    }
    let allow_missing = recipe.tasks.allow_missing_classes;
    for modality in data.modalities() {
        let Some(counts) = counts.get(&modality.name) else { continue };
        let counted = Counted { samples, more: stride > 1 };
        let notices = check_labels(modality, counts, counted, allow_missing)?;
        constants.label_notices.extend(notices);
    }
    for task in &recipe.tasks.out_domains.0 {
        let constant = found.swap_remove(task).unwrap_or_default().constant();
        let problem = if recipe.classifies() {
            "there is no sample"
        } else {
            "no value is valid; look at the `divisor` of the modality (depth is in metres after \
             it), `depth_min`, `depth_max` and the masks"
        };
        let constant = constant.ok_or_else(|| {
            Error::Recipe(format!("task `{task}`: in the training samples, {problem}"))
        })?;
        constants.tasks.insert(task.clone(), constant);
    }
    Ok(constants)
}

/// Adds the annotations of a sample; `ranges` holds every task with the range of its valid values.
fn add_sample(
    ranges: &IndexMap<String, (f64, f64)>,
    (found, counts): (
        &mut IndexMap<String, AnnotationStatistics>,
        &mut IndexMap<String, LabelCounts>,
    ),
    data: &Dataset,
    raw: &RawSample,
    mask: Option<&str>,
) {
    let valid = mask.and_then(|name| match raw.maps.get(name) {
        Some(RawMap::Labels(mask)) => Some(mask_values(mask)),
        _ => None,
    });
    for modality in data.modalities() {
        if !ranges.contains_key(&modality.name) {
            continue;
        }
        let found = found.entry(modality.name.clone()).or_default();
        match (raw.maps.get(&modality.name), &modality.encoding) {
            (Some(RawMap::Continuous { channels, data }), encoding) => {
                let values = encoding.decoded_values(data, *channels);
                let range = ranges.get(&modality.name).copied();
                let range = range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
                let pixels = raw.height * raw.width;
                let flags = valid_values(&values, pixels, range, valid.as_deref());
                found.moments.add(*channels, &values, &flags);
            }
            (Some(RawMap::Labels(labels)), Encoding::Labels { classes, .. }) => {
                counts.entry(modality.name.clone()).or_default().add_map(labels);
                let void = LabelRule::of(&modality.encoding).and_then(|rule| rule.void());
                for &label in labels.iter().filter(|label| Some(**label) != void) {
                    if let Ok(label) = usize::try_from(label) {
                        found.label(label, *classes);
                    }
                }
            }
            _ => {}
        }
    }
}
