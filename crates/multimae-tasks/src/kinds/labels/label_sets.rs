//! From a model's labels to the classes that are scored.

use super::label_names::LabelNames;
use multimae_report::palette::Palette;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The 13-class id (from 1) of each of the 40 classes (`class13Mapping.mat` of
/// `ankurhanda/nyuv2-meta-data`).
const NYU40_TO_13: [u8; 40] = [
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, //
    7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
];

/// Marks pixels that do not count, and predictions that are no class.
pub const VOID: i64 = -1;

/// The classes that are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSet {
    /// The model's own.
    Own,
    /// The 40 classes of Gupta et al. (2013).
    Nyu40,
    /// The 13 classes of Couprie et al. (2013).
    Nyu13,
}

impl LabelSet {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own classes",
            Self::Nyu40 => "NYUv2-40",
            Self::Nyu13 => "NYUv2-13",
        }
    }

    /// Returns the map of labels to its classes.
    ///
    /// # Errors
    /// If the labels are of another kind.
    pub fn map(self, labels: &LabelNames) -> Result<LabelMap> {
        let found = labels.classes().count();
        let classes = match self {
            Self::Own => found,
            Self::Nyu40 => 40,
            Self::Nyu13 => 13,
        };
        let table = match (self, found) {
            (Self::Own, _) | (Self::Nyu40, 40) | (Self::Nyu13, 13) => indices(labels),
            (Self::Nyu13, 40) => indices(labels).into_iter().map(to_13).collect(),
            _ => {
                return Err(Error::Evaluation(format!(
                    "the model has {found} classes, which are not those of NYUv2 ({}); use the \
                     protocol `semseg` for other classes",
                    self.name()
                )));
            }
        };
        Ok(LabelMap { classes, table })
    }

    /// Names and colours of its classes, counted from 0.
    #[must_use]
    pub fn palette(self, labels: &LabelNames) -> Palette {
        match self {
            Self::Own => {
                let all = &labels.palette;
                let class = |id| (all.name(id).to_owned(), all.color(id));
                Palette::new(labels.classes().map(class).collect())
            }
            Self::Nyu40 => Palette::nyu40().without_first(),
            Self::Nyu13 => Palette::nyu13().without_first(),
        }
    }

    /// The map in words.
    #[must_use]
    pub fn statement(self, labels: &LabelNames) -> String {
        let offset = labels.offset;
        let from = match labels.ignore {
            Some(ignore) if offset < 0 => format!(
                "stored values below {} and {ignore} are void, the others classes in their order",
                -offset
            ),
            Some(ignore) => {
                format!("label {ignore} is void, the others are classes in their order")
            }
            None => "no label is void, all are classes in their order".to_owned(),
        };
        match (self, labels.classes().count()) {
            (Self::Nyu13, 40) => format!(
                "{from}; targets and predictions are mapped from 40 to 13 classes, predictions \
                 after the largest logit is chosen"
            ),
            _ => from,
        }
    }
}

fn to_13(class: i64) -> i64 {
    let id = usize::try_from(class).ok().and_then(|class| NYU40_TO_13.get(class));
    id.map_or(VOID, |&id| i64::from(id) - 1)
}

/// For every label its index among the classes.
fn indices(labels: &LabelNames) -> Vec<i64> {
    let mut next = 0;
    let index = |label: i64| {
        if labels.ignore == Some(label) {
            return VOID;
        }
        next += 1;
        next - 1
    };
    (0..labels.palette.len() as i64).map(index).collect()
}

/// The class of every label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Classes are in `0..classes`.
    pub classes: usize,
    table: Vec<i64>,
}

impl LabelMap {
    /// The class of a label; [`VOID`] if it is none.
    #[must_use]
    pub fn class(&self, label: i64) -> i64 {
        let index = usize::try_from(label).ok();
        index.and_then(|index| self.table.get(index)).copied().unwrap_or(VOID)
    }

    /// The classes of labels.
    #[must_use]
    pub fn classes_of(&self, labels: &[i64]) -> Vec<i64> {
        labels.iter().map(|&label| self.class(label)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(classes: usize, ignore: Option<i64>) -> LabelNames {
        LabelNames { palette: Palette::generated(classes), ignore, offset: 0 }
    }

    #[test]
    fn both_conventions_of_void_lead_to_the_same_classes() {
        let zero_void = LabelSet::Nyu40.map(&labels(41, Some(0))).unwrap();
        let shifted = LabelSet::Nyu40.map(&labels(40, Some(255))).unwrap();
        assert_eq!(zero_void.classes_of(&[0, 1, 40, 41]), [VOID, 0, 39, VOID]);
        assert_eq!(shifted.classes_of(&[0, 39, 40, 255, -1]), [0, 39, VOID, VOID, VOID]);
        assert_eq!((zero_void.classes, shifted.classes), (40, 40));
    }

    #[test]
    fn forty_classes_become_thirteen_by_name() {
        let map = LabelSet::Nyu13.map(&labels(41, Some(0))).unwrap();
        let (from, to) = (Palette::nyu40(), Palette::nyu13());
        let name = |id| to.name(map.class(id) + 1).to_owned();
        // Classes that both sets have keep their names.
        for (id, expected) in [
            (1, "wall"),
            (2, "floor"),
            (4, "bed"),
            (5, "chair"),
            (6, "sofa"),
            (7, "table"),
            (9, "window"),
            (11, "picture"),
            (22, "ceiling"),
            (23, "books"),
        ] {
            assert_eq!((from.name(id), name(id).as_str()), (expected, expected));
        }
        // And those with other names.
        for (id, expected) in [
            (3, "furniture"),
            (8, "wall"),
            (14, "table"),
            (16, "window"),
            (20, "floor"),
            (25, "tv"),
            (30, "objects"),
            (39, "furniture"),
            (40, "objects"),
        ] {
            assert_eq!(name(id), expected, "{}", from.name(id));
        }
        assert_eq!(map.class(0), VOID);
        let mut counts = [0; 13];
        (1..=40).for_each(|id| counts[map.class(id) as usize] += 1);
        assert_eq!(counts, [1, 1, 1, 1, 2, 8, 16, 1, 1, 2, 1, 2, 3]);
    }

    #[test]
    fn other_classes_are_refused_by_name() {
        let error = LabelSet::Nyu40.map(&labels(133, None)).unwrap_err();
        assert!(error.to_string().contains("133 classes"), "{error}");
        assert_eq!(
            LabelSet::Own.map(&labels(3, Some(1))).unwrap().classes_of(&[0, 1, 2]),
            [0, VOID, 1]
        );
        assert_eq!(LabelSet::Own.map(&labels(3, Some(1))).unwrap().classes, 2);
    }

    #[test]
    fn statements_speak_of_what_files_store() {
        let shifted = LabelNames { offset: -1, ..labels(40, Some(255)) };
        assert!(
            LabelSet::Nyu40.statement(&shifted).starts_with("stored values below 1 and 255 are")
        );
        assert!(LabelSet::Nyu40.statement(&labels(41, Some(0))).starts_with("label 0 is void"));
        assert!(LabelSet::Own.statement(&labels(6, None)).starts_with("no label is void"));
    }

    #[test]
    fn palettes_count_like_the_classes() {
        let zero_void = LabelNames { palette: Palette::nyu40(), ignore: Some(0), offset: 0 };
        for set in [LabelSet::Own, LabelSet::Nyu40] {
            let palette = set.palette(&zero_void);
            assert_eq!(
                (palette.len(), palette.name(0), palette.name(39)),
                (40, "wall", "otherprop")
            );
        }
        assert_eq!(LabelSet::Nyu13.palette(&zero_void).name(12), "window");
        let middle = LabelSet::Own.palette(&labels(3, Some(1)));
        assert_eq!((middle.name(0), middle.name(1)), ("class 0", "class 2"));
    }
}
