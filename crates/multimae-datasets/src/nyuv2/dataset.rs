//! NYUv2 in the list of data sets: its options by name.

use std::path::Path;

use super::copies::{self, CopyOptions, Found};
use super::prepare::{Nyuv2Options, prepare};
use super::{Classes, Crop, Error};
use crate::{
    Choice, OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result,
    Summary,
};

/// The labelled set of NYU Depth V2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nyuv2;

const CLASSES: &[Choice] = &[Choice { word: "40", help: "" }, Choice { word: "13", help: "" }];

const CROPS: &[Choice] = &[
    Choice { word: "none", help: "The whole frame" },
    Choice { word: "toolbox", help: "The field of view of the depth sensor, 561 x 427" },
    Choice { word: "eigen", help: "Eigen et al., 560 x 426" },
    Choice { word: "gupta", help: "Gupta et al., 560 x 425" },
];

const NEEDS: &[OptionInfo] = &[
    OptionInfo {
        name: "copy",
        kind: OptionKind::OptionalPath,
        help: "Any copy of NYUv2, a file or a folder; it is recognised by its layout",
    },
    OptionInfo {
        name: "mat",
        kind: OptionKind::OptionalFile,
        help: "nyu_depth_v2_labeled.mat, in place of --copy",
    },
    OptionInfo {
        name: "splits",
        kind: OptionKind::OptionalFile,
        help: "splits.mat, with trainNdxs and testNdxs, to use in place of the built-in official split",
    },
    OptionInfo {
        name: "classes",
        kind: OptionKind::Choice(CLASSES),
        help: "Classes of the labels",
    },
    OptionInfo {
        name: "class-map",
        kind: OptionKind::OptionalFile,
        help: "classMapping40.mat, to use in place of the built-in map of the 894 labels",
    },
    OptionInfo {
        name: "ids",
        kind: OptionKind::OptionalFile,
        help: "For an excerpt of the .mat file: a text file with the ids of its frames, in their order",
    },
    OptionInfo {
        name: "crop",
        kind: OptionKind::Choice(CROPS),
        help: "Mark depth as valid only inside this part of the frame",
    },
    OptionInfo {
        name: "measured-only",
        kind: OptionKind::Flag,
        help: "Mark depth as valid only where the sensor measured it (rawDepths), not where it was in-painted",
    },
];

impl PrepareDataset for Nyuv2 {
    fn name(&self) -> &'static str {
        "nyuv2"
    }

    fn title(&self) -> &'static str {
        "NYU Depth V2: 1449 labelled frames, from its MATLAB files or any copy of it"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes rgb/, depth/ (16-bit PNG, millimetres), label40/ or label13/ (0 is void), mask_valid/ \
         (255 where depth is valid), lists (the official train and test, and train in two: train_fit, \
         val), classes.txt, frames.csv and manifest.json. Names are the official ids. Every value is \
         checked. Of a copy, ids and lists are the official ones where the copy has them, and those of \
         the copy elsewhere; labels are written where it has them."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        copies::recognise(path)
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        let path = match (options.file("mat"), options.file("copy")) {
            (Some(mat), None) => return prepare(&Nyuv2Options::from_values(options, mat)?, run),
            (None, Some(path)) => path,
            _ => {
                let problem = "give either --copy PATH, any copy of NYUv2, or --mat FILE";
                return Err(Error::Options(problem.to_owned()));
            }
        };
        match copies::find(path)? {
            Found::Mat => {
                let mut summary = prepare(&Nyuv2Options::from_values(options, path)?, run)?;
                summary.notes.insert(0, format!("this is {}", Found::Mat.title()));
                Ok(summary)
            }
            Found::Copy(copy) => {
                let given =
                    OF_MAT.iter().find(|name| options.file(name).is_some() || options.flag(name));
                if let Some(name) = given {
                    return Err(Error::Options(format!(
                        "--{name} belongs to the official file, and {} is {}",
                        path.display(),
                        copy.title()
                    )));
                }
                let options = CopyOptions { path: path.to_owned(), crop: crop(options)? };
                copies::prepare_open(copy, &options, run)
            }
        }
    }
}

/// The options that only the official file has a use for. The classes of the labels of a copy are its
/// own.
const OF_MAT: [&str; 4] = ["splits", "ids", "class-map", "measured-only"];

fn crop(values: &OptionValues) -> Result<Crop> {
    values.choice("crop", Crop::None, |word| match word {
        "none" => Some(Crop::None),
        "toolbox" => Some(Crop::Toolbox),
        "eigen" => Some(Crop::Eigen),
        "gupta" => Some(Crop::Gupta),
        _ => None,
    })
}

impl Nyuv2Options {
    /// The options of the command line for an official file.
    fn from_values(values: &OptionValues, mat: &Path) -> Result<Self> {
        let file = |name| values.file(name).map(ToOwned::to_owned);
        Ok(Self {
            mat: mat.to_owned(),
            splits: file("splits"),
            ids: file("ids"),
            classes: values.choice("classes", Classes::Forty, |word| match word {
                "40" => Some(Classes::Forty),
                "13" => Some(Classes::Thirteen),
                _ => None,
            })?,
            class_map: file("class-map"),
            crop: crop(values)?,
            measured_only: values.flag("measured-only"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_an_option() {
        let (values, mat) = (OptionValues::default(), Path::new("a.mat"));
        let options = Nyuv2Options::from_values(&values, mat).unwrap();
        assert_eq!((options.classes, options.crop), (Classes::Forty, Crop::None));
        for info in NEEDS {
            let OptionKind::Choice(choices) = info.kind else { continue };
            for (at, choice) in choices.iter().enumerate() {
                let given = values.clone().with_choice(info.name, choice.word);
                let given = Nyuv2Options::from_values(&given, mat).unwrap();
                assert_eq!(
                    given == options,
                    at == 0,
                    "{} {}: the first is the default",
                    info.name,
                    choice.word
                );
            }
            let unknown = values.clone().with_choice(info.name, "other");
            let message = Nyuv2Options::from_values(&unknown, mat).unwrap_err().to_string();
            assert!(message.contains(info.name), "{message}");
        }
    }
}
