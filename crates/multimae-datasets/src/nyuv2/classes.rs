//! From the 894 label ids of NYUv2 to the usual 40 and 13 classes.
//!
//! Source of both maps: `mapClass` in `classMapping40.mat` (Gupta et al., CVPR 2013) and `labels13`
//! in `class13Mapping.mat` (Couprie et al., 2013), as published in `ankurhanda/nyuv2-meta-data`.

use std::path::Path;

use multimae_report::Palette;
use serde::{Deserialize, Serialize};

use super::{Error, Result, mat5};

/// Label ids in the file: 1 to this; 0 is void.
pub(super) const IDS: usize = 894;

/// The number of classes of the prepared labels. 0 is void in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Classes {
    /// 40 classes, in the folder `label40`.
    #[serde(rename = "40")]
    Forty,
    /// 13 classes, in the folder `label13`.
    #[serde(rename = "13")]
    Thirteen,
}

impl Classes {
    /// 40 or 13.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Forty => 40,
            Self::Thirteen => 13,
        }
    }

    /// The folder of the labels.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Forty => "label40",
            Self::Thirteen => "label13",
        }
    }

    /// The names of the labels, void first.
    pub(super) fn names(self) -> Vec<String> {
        let palette = match self {
            Self::Forty => Palette::nyu40(),
            Self::Thirteen => Palette::nyu13(),
        };
        (0..=self.count()).map(|id| palette.name(id as i64).to_owned()).collect()
    }
}

/// The ids that make up the classes 1 to 37: one each.
const SINGLE: [u16; 37] = [
    21, 11, 3, 157, 5, 83, 19, 28, 59, 88, 64, 7, 80, 36, 42, 89, 169, 119, 122, 143, 141, 4, 85,
    17, 172, 15, 135, 123, 26, 45, 331, 158, 124, 24, 144, 136, 55,
];

/// The ids of class 38, otherstructure.
const STRUCTURE: [u16; 68] = [
    8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153, 215, 216, 223, 225, 238,
    241, 242, 256, 295, 301, 339, 342, 354, 363, 372, 380, 392, 408, 412, 453, 456, 463, 477, 497,
    541, 550, 553, 567, 573, 582, 591, 609, 612, 615, 642, 645, 657, 658, 659, 663, 667, 668, 686,
    700, 702, 777, 778, 782, 850, 861, 868, 874,
];

/// The ids of class 39, otherfurniture.
const FURNITURE: [u16; 82] = [
    12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219, 221, 224, 236, 262, 278, 291,
    298, 313, 343, 344, 356, 359, 373, 393, 401, 414, 418, 419, 430, 443, 444, 447, 448, 457, 458,
    460, 462, 475, 479, 485, 486, 493, 494, 498, 499, 509, 510, 515, 521, 524, 540, 549, 551, 554,
    556, 558, 576, 580, 608, 625, 703, 734, 770, 772, 797, 800, 803, 804, 813, 814, 815, 820, 829,
    835, 858, 863, 882, 892,
];

/// The class of all other ids, otherprop.
const PROP: u8 = 40;

/// From the 40 classes to the 13.
const THIRTEEN: [u8; 41] = [
    0, 12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7, 3, 2, 6, 11, 7, 7, 7,
    7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
];

/// The class of every label id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassMap {
    to: Vec<u8>,
}

impl ClassMap {
    /// The map from a file if there is one, the usual one otherwise.
    pub(super) fn new(classes: Classes, file: Option<&Path>) -> Result<Self> {
        let forty = match file {
            Some(path) => read_forty(path)?,
            None => usual_forty(),
        };
        let to = match classes {
            Classes::Forty => forty,
            Classes::Thirteen => forty.iter().map(|&id| THIRTEEN[usize::from(id)]).collect(),
        };
        Ok(Self { to })
    }

    /// The class of a label id, `None` if there is no such id.
    pub(super) fn get(&self, id: u16) -> Option<u8> {
        self.to.get(usize::from(id)).copied()
    }
}

fn usual_forty() -> Vec<u8> {
    let mut to = vec![PROP; IDS + 1];
    to[0] = 0;
    for (&id, class) in SINGLE.iter().zip(1..) {
        to[usize::from(id)] = class;
    }
    for (ids, class) in [(&STRUCTURE[..], 38), (&FURNITURE[..], 39)] {
        ids.iter().for_each(|&id| to[usize::from(id)] = class);
    }
    to
}

fn read_forty(path: &Path) -> Result<Vec<u8>> {
    let bad = |problem| Error::Input { path: path.to_owned(), problem };
    let values = mat5::read_numbers(path, "mapClass")?;
    if values.len() != IDS {
        return Err(bad(format!("`mapClass` has {} values, expected {IDS}", values.len())));
    }
    let class = |value: f64| match value as u8 {
        class if f64::from(class) == value && (1..=40).contains(&class) => Ok(class),
        _ => Err(bad(format!("`mapClass` holds {value}, expected classes from 1 to 40"))),
    };
    std::iter::once(Ok(0)).chain(values.into_iter().map(class)).collect()
}

/// Checks by their names that the label ids of a file mean what the map takes them for.
///
/// # Errors
/// Returns the differences, in words.
pub(super) fn check_names(names: &[String]) -> std::result::Result<(), String> {
    if names.len() != IDS {
        return Err(format!("it names {} labels, and NYUv2 has {IDS}", names.len()));
    }
    for (&id, class) in SINGLE.iter().zip(Classes::Forty.names().iter().skip(1)) {
        let name = &names[usize::from(id) - 1];
        if name != class {
            return Err(format!(
                "label id {id} is named `{name}`, and in NYUv2 it is `{class}`; these are other \
                 labels, which the class map would confuse"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class maps of `recipes/classes` are these tables: class 0 is ignored, the others count
    /// from 0.
    #[test]
    fn the_maps_among_the_recipes_say_the_same() {
        let read = |name: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/classes");
            multimae_data::labels::ClassMap::read(&folder.join(name)).unwrap()
        };
        let label = |class: u8| Some(i64::from(class) - 1);
        for (classes, name) in
            [(Classes::Forty, "nyu894_to_nyu40.txt"), (Classes::Thirteen, "nyu894_to_nyu13.txt")]
        {
            let (own, map) = (ClassMap::new(classes, None).unwrap(), read(name));
            for id in 0..=IDS {
                let class = own.get(id as u16).unwrap();
                assert_eq!(map.label(id as i64), label(class), "{name}, id {id}");
            }
            assert_eq!((map.label(IDS as i64 + 1), map.classes()), (None, classes.count()));
        }
        let map = read("nyu40_to_nyu13.txt");
        for (id, &class) in THIRTEEN.iter().enumerate() {
            assert_eq!(map.label(id as i64), label(class), "id {id}");
        }
        assert_eq!((map.label(41), map.classes()), (None, 13));
    }

    #[test]
    fn every_class_has_its_ids() {
        let map = ClassMap::new(Classes::Forty, None).unwrap();
        let count = |class| map.to.iter().filter(|&&to| to == class).count();
        assert_eq!((count(0), count(38), count(39), count(40)), (1, 68, 82, 707));
        assert!((1..=37).all(|class| count(class) == 1));
        assert_eq!(
            (map.get(0), map.get(21), map.get(894), map.get(895)),
            (Some(0), Some(1), Some(40), None)
        );
    }

    #[test]
    fn thirteen_follow_from_forty() {
        let map = ClassMap::new(Classes::Thirteen, None).unwrap();
        // wall, floor, bed, an unusual thing.
        assert_eq!([21, 11, 157, 894].map(|id| map.get(id).unwrap()), [12, 5, 1, 7]);
        assert!((1..=13).all(|class| map.to.contains(&class)));
        assert_eq!(Classes::Thirteen.names()[12], "wall");
    }
}
