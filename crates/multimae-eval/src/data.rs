//! The frames that a saved model is evaluated on.

use std::path::Path;

use multimae_data::{DataModality, Dataset, Encoding, Layout, has_folder};

use crate::Result;
use crate::ground_truth::{ANNOTATION, Annotation, GroundTruth, mask_modality};
use multimae_infer::saved_model::ModelCard;

/// Finds frames with a model's inputs and what its tasks predict, stored as in its training. The
/// mask of valid pixels is read if the folder has one. `inputs` are those that are needed.
///
/// # Errors
/// If files are missing or do not pair up.
pub fn frames(
    root: &Path,
    split: Option<&str>,
    card: &ModelCard,
    inputs: &[String],
) -> Result<(Dataset, GroundTruth)> {
    let needed = |data: &DataModality| inputs.contains(&data.name);
    let mut modalities: Vec<DataModality> =
        card.inputs.iter().map(|input| input.data.clone()).filter(needed).collect();
    let mut ground_truth = GroundTruth::default();
    for (name, task) in &card.tasks {
        let Some(target) = &task.target else { continue };
        let modality = add(&mut modalities, target);
        let encoding = target.encoding.clone();
        ground_truth.tasks.insert(name.clone(), Annotation { modality, encoding });
    }
    let mask = card.valid_mask.clone().unwrap_or_else(mask_modality);
    if has_folder(root, &mask.source()) {
        ground_truth.mask = Some(add(&mut modalities, &mask));
    }
    Ok((Dataset::open(root, &Layout::of(split), &modalities)?, ground_truth))
}

/// Adds a modality unless it is there, and gives the name under which it is. One that is stored
/// in another way than its namesake gets a name of its own.
fn add(modalities: &mut Vec<DataModality>, wanted: &DataModality) -> String {
    let alike = |m: &&DataModality| {
        let same = |a: &DataModality, b: &DataModality| {
            (&a.name, &a.folder, &a.naming, a.orientation)
                == (&b.name, &b.folder, &b.naming, b.orientation)
        };
        same(m, wanted) && decodes_alike(m, wanted)
    };
    if let Some(there) = modalities.iter().find(alike) {
        return there.name.clone();
    }
    let taken = modalities.iter().any(|m| m.name == wanted.name);
    let name = if taken { format!("{}{ANNOTATION}", wanted.name) } else { wanted.name.clone() };
    modalities.push(DataModality { name: name.clone(), stride: 1, ..wanted.clone() });
    name
}

/// Whether files decode to the same values. Numbers are decoded as they are stored but for the
/// invalid ones, whatever is made of them later.
fn decodes_alike(a: &DataModality, b: &DataModality) -> bool {
    match (&a.encoding, &b.encoding) {
        (
            Encoding::Continuous { channels, divisor, quantity, .. },
            Encoding::Continuous { channels: others, divisor: by, quantity: other, .. },
        ) => {
            let same_unit = (divisor, quantity) == (by, other);
            channels == others && a.rules == b.rules && (same_unit || a.rules.valid.is_all())
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_targets_share_files_that_decode_alike() {
        let labels = |offset| Encoding::labels(40, Some(255), offset);
        let modality = |folder: &str, encoding| DataModality {
            folder: folder.to_owned(),
            stride: 4,
            ..DataModality::new("semseg", encoding)
        };
        let mut modalities = vec![modality("a", labels(-1))];
        assert_eq!(add(&mut modalities, &modality("a", labels(-1))), "semseg");
        assert_eq!(add(&mut modalities, &modality("a", labels(0))), "semseg (target)");
        assert_eq!(modalities.len(), 2);
    }
}
