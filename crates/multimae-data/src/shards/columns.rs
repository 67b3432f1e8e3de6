//! The fields of shards that a modality reads.

use super::naming::split_field;
use crate::names::plain_folder;
use crate::{DataModality, Encoding};

/// The columns of a shard that hold the files of a modality, of which a sample has one.
///
/// Where the folder of the shard is the modality's, these are the fields without a name of their
/// own (`png`). Otherwise the modality's `folder` is the name of the field, with or without its
/// extension; colours without such a field have those without a name (`jpg`, `webp`) that no other
/// modality asks for.
pub(super) fn columns(
    modality: &DataModality,
    all: &[DataModality],
    in_own_folder: bool,
    fields: &[String],
) -> Vec<usize> {
    let places = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..fields.len()).filter(|&at| fits(&fields[at])).collect()
    };
    let unnamed = |field: &str| split_field(field).0.is_empty();
    let named = places(&|field| is_named(field, modality));
    if in_own_folder {
        let plain = places(&unnamed);
        return if plain.is_empty() { named } else { plain };
    }
    if !named.is_empty() || !matches!(modality.encoding, Encoding::Color { .. }) {
        return named;
    }
    places(&|field| {
        let asked_for = all.iter().any(|other| is_named(field, other));
        unnamed(field) && field != "npy" && !asked_for
    })
}

/// Whether the folder of a modality is the name of a field, `depth` or `depth.png`.
fn is_named(field: &str, modality: &DataModality) -> bool {
    let wanted = plain_folder(&modality.folder).to_lowercase();
    field == wanted || split_field(field).0 == wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IMAGENET_MEAN, IMAGENET_STD};

    #[test]
    fn fields_are_chosen_by_folder_and_kind() {
        let colors = Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD };
        let rgb = DataModality::new("rgb", colors);
        let semseg = DataModality::new("semseg", Encoding::labels(9, None, 0));
        let png = DataModality { folder: "png".to_owned(), ..semseg.clone() };
        let of = |modality: &DataModality, all: &[DataModality], own, fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            columns(modality, all, own, &fields)
        };
        let all = [rgb.clone(), semseg.clone()];
        let fields = ["jpg", "semseg.png", "rgb.webp", "npy"];
        assert_eq!(of(&semseg, &all, false, &fields), [1]);
        assert_eq!(of(&rgb, &all, false, &fields), [2]);
        assert_eq!(of(&rgb, &all, false, &["jpg", "png", "npy"]), [0, 1]);
        // Another modality asks for the labels by their extension.
        let both = [rgb.clone(), png.clone()];
        assert_eq!(of(&rgb, &both, false, &["jpg", "png"]), [0]);
        assert_eq!(of(&png, &both, false, &["jpg", "png"]), [1]);
        assert_eq!(of(&semseg, &all, false, &["jpg", "png"]), [0; 0]);
        // In a folder of its own, any file is the modality's.
        assert_eq!(of(&semseg, &all, true, &["png"]), [0]);
        assert_eq!(of(&semseg, &all, true, &["rgb.png", "semseg.png"]), [1]);
    }
}
