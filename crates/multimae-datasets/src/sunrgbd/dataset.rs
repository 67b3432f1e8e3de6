//! SUN RGB-D in the list of data sets: its options by name.

use std::path::Path;

use super::frames;
use super::prepare::{DepthChoice, SunRgbdOptions, prepare};
use crate::{
    Choice, OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result,
    Summary,
};

/// SUN RGB-D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SunRgbd;

const DEPTHS: &[Choice] = &[
    Choice { word: "raw", help: "As measured: 0 where the sensor measured nothing" },
    Choice { word: "filled", help: "Fused from neighbouring frames (depth_bfx)" },
];

const NEEDS: &[OptionInfo] = &[
    OptionInfo {
        name: "data",
        kind: OptionKind::RequiredFolder,
        help: "The unpacked SUNRGBD, with kv1, kv2, realsense and xtion, or the folder that contains it",
    },
    OptionInfo {
        name: "toolbox",
        kind: OptionKind::OptionalFolder,
        help: "The unpacked SUNRGBDtoolbox, with the split and the labels; looked for beside the data if absent",
    },
    OptionInfo {
        name: "depth",
        kind: OptionKind::Choice(DEPTHS),
        help: "The published depth to use",
    },
    OptionInfo {
        name: "no-labels",
        kind: OptionKind::Flag,
        help: "Write no labels, and do without SUNRGBD2Dseg.mat and SUNRGBDMeta.mat",
    },
];

impl PrepareDataset for SunRgbd {
    fn name(&self) -> &'static str {
        "sunrgbd"
    }

    fn title(&self) -> &'static str {
        "SUN RGB-D: 10,335 frames of four depth sensors, from its folders and its toolbox"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes rgb/ as links to the published photographs, or copies on another file system, depth/ \
         (16-bit PNG, millimetres, 0 where unknown), label37/ (0 is void), mask_valid/ (255 where depth is \
         valid), lists (the official train and test), classes.txt, frames.csv and manifest.json. NYU Depth \
         V2 is part of this set, on both lists."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let recognised = |_| Recognised {
            dataset: self.name(),
            copy: "SUN RGB-D".to_owned(),
            option: "data",
            path: path.to_owned(),
            facts: vec![
                "its depth is rotated by three bits, and it contains NYU Depth V2".to_owned(),
            ],
        };
        frames::find(path).map(recognised).into_iter().collect()
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        let options = SunRgbdOptions {
            data: options.required_folder("data")?.to_owned(),
            toolbox: options.file("toolbox").map(ToOwned::to_owned),
            depth: options.choice("depth", DepthChoice::Raw, |word| match word {
                "raw" => Some(DepthChoice::Raw),
                "filled" => Some(DepthChoice::Filled),
                _ => None,
            })?,
            labels: !options.flag("no-labels"),
        };
        prepare(&options, run)
    }
}
